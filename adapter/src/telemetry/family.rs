//! Metrics with labels.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::add;

/// Labels as pairs.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Labels<const N: usize>([(&'static str, String); N]);

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

pub(super) fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Labels<N> {
    Labels(pairs.map(|(key, value)| (key, value.to_owned())))
}

/// A counter for each set of labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters<const N: usize>(Family<Labels<N>, Counter<u64, AtomicU64>>);

impl<const N: usize> Counters<N> {
    pub(super) fn add(registry: &mut Registry, name: &str, help: &str) -> Self {
        Self(add(registry, name, help, Family::default()))
    }

    pub(super) fn inc(&self, pairs: [(&'static str, &str); N]) {
        self.0.get_or_create(&labels(pairs)).inc();
    }
}

/// A histogram for each set of labels.
#[derive(Clone, Debug)]
pub(super) struct Histograms<const N: usize>(Family<Labels<N>, Histogram, fn() -> Histogram>);

impl<const N: usize> Histograms<N> {
    pub(super) fn add(registry: &mut Registry, name: &str, help: &str, make: fn() -> Histogram) -> Self {
        Self(add(registry, name, help, Family::new_with_constructor(make)))
    }

    pub(super) fn observe(&self, pairs: [(&'static str, &str); N], value: Duration) {
        self.0.get_or_create(&labels(pairs)).observe(value.as_secs_f64());
    }
}
