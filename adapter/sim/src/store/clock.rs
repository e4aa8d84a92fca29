//! The only clock of the pretend cluster.
//!
//! Answers: what time it is. Refuses to know: the time of the machine. Upholds: time moves exactly as
//! tokio's does, so a test that pauses or advances tokio's clock moves every timestamp with it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// A start time plus what has passed on tokio's clock since.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that shows `base` now. Under paused time it has to be made inside the runtime.
    pub fn starting_at(base: Timestamp) -> Self {
        Self { base, start: Instant::now() }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.base.checked_add(self.elapsed()).unwrap_or(Timestamp::MAX)
    }

    /// The current time as Kubernetes writes it: whole seconds.
    pub fn stamp(&self) -> String {
        stamp(self.now())
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A point in time in whole seconds, as `metav1.Time` is written.
pub(crate) fn stamp(at: Timestamp) -> String {
    format!("{at:.0}")
}
