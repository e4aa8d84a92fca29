//! From the text of `/metrics` to what OTLP sends.

use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Names that the Go operator pushes under (`seinode.md` 18).
const NAMES: [(&str, &str); 8] = [
    ("sei_controller_seinode_phase", "sei.controller.seinode.phase"),
    ("sei_controller_seinode_phase_transitions", "sei.controller.seinode.phase.transitions"),
    ("sei_controller_seinode_phase_duration_seconds", "sei.controller.seinode.phase.duration"),
    ("sei_controller_plan_duration_seconds", "sei.controller.plan.duration"),
    ("sei_controller_plan_active", "sei.controller.plan.active"),
    ("sei_controller_seinode_sidecar_health_probes", "sei.controller.seinode.sidecar_health_probes"),
    ("sei_controller_seinode_sidecar_ready", "sei.controller.seinode.sidecar_ready"),
    ("sei_controller_reconcile_errors", "sei.controller.reconcile.errors"),
];

/// One sample of the text.
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// All metrics of an exposition as one request.
pub(super) fn request(
    text: &str,
    resource: &[(String, String)],
    start: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let times = (nanos(start), nanos(now));
    let mut metrics: Vec<Metric> = Vec::new();
    let (mut help, mut family): (BTreeMap<&str, &str>, Option<(&str, &str)>) = (BTreeMap::new(), None);
    let mut samples: Vec<Sample> = Vec::new();
    for line in text.lines() {
        if let Some((name, said)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name, said);
        } else if let Some(next) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            metrics.extend(family.take().and_then(|f| metric(f, &help, std::mem::take(&mut samples), times)));
            family = Some(next);
        } else if !line.starts_with('#') {
            samples.extend(sample(line));
        }
    }
    metrics.extend(family.and_then(|f| metric(f, &help, samples, times)));
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: attributes(resource), ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

fn metric(
    (family, kind): (&str, &str),
    help: &BTreeMap<&str, &str>,
    samples: Vec<Sample>,
    times: (u64, u64),
) -> Option<Metric> {
    if samples.is_empty() {
        return None;
    }
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match kind {
        "counter" => Data::Sum(Sum {
            data_points: samples.iter().map(|s| point(s, times)).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        "histogram" => Data::Histogram(Histogram {
            data_points: histogram(samples, times),
            aggregation_temporality: temporality,
        }),
        _ => Data::Gauge(Gauge { data_points: samples.iter().map(|s| point(s, times)).collect() }),
    };
    let name = NAMES.iter().find(|(ours, _)| *ours == family).map_or(family, |(_, name)| name);
    Some(Metric {
        name: name.to_owned(),
        description: help.get(family).map(|said| said.trim_end_matches('.').to_owned()).unwrap_or_default(),
        unit: if family.ends_with("_seconds") { "s" } else { "" }.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn point(sample: &Sample, (start, now): (u64, u64)) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(Number::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    }
}

/// The text counts what is at most a bound; OTLP counts what is between two.
fn histogram(samples: Vec<Sample>, (start, now): (u64, u64)) -> Vec<HistogramDataPoint> {
    let mut points: Vec<HistogramDataPoint> = Vec::new();
    let mut places: BTreeMap<Vec<(String, String)>, usize> = BTreeMap::new();
    for mut sample in samples {
        let bound =
            sample.labels.iter().position(|(key, _)| key == "le").map(|at| sample.labels.remove(at).1);
        let place = *places.entry(sample.labels.clone()).or_insert_with(|| {
            points.push(HistogramDataPoint {
                attributes: attributes(&sample.labels),
                start_time_unix_nano: start,
                time_unix_nano: now,
                ..HistogramDataPoint::default()
            });
            points.len() - 1
        });
        let Some(point) = points.get_mut(place) else { continue };
        match bound {
            Some(bound) => {
                let before: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push(count(sample.value).saturating_sub(before));
                point.explicit_bounds.extend(bound.parse::<f64>().ok().filter(|bound| bound.is_finite()));
            }
            None if sample.name.ends_with("_sum") => point.sum = Some(sample.value),
            None => point.count = count(sample.value),
        }
    }
    points
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count is a whole number and none is negative"
)]
fn count(value: f64) -> u64 {
    value as u64
}

/// Reads `name{key="value",...} 1.0`.
fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(at) => line.split_at(at),
        None => return None,
    };
    let mut labels = Vec::new();
    let rest = match rest.strip_prefix('{') {
        None => rest,
        Some(mut rest) => loop {
            if let Some(after) = rest.strip_prefix('}') {
                break after;
            }
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((key.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        },
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A text up to its closing quote, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

fn attributes(pairs: &[(String, String)]) -> Vec<KeyValue> {
    let value = |text: &str| Some(AnyValue { value: Some(Value::StringValue(text.to_owned())) });
    pairs
        .iter()
        .map(|(key, text)| KeyValue { key: key.clone(), value: value(text), ..KeyValue::default() })
        .collect()
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn translated(text: &str) -> Vec<Metric> {
        let now = SystemTime::now();
        let request = request(text, &[("service.name".into(), "op".into())], now, now);
        let [of_resource] = &request.resource_metrics[..] else { panic!("one resource") };
        of_resource.scope_metrics[0].metrics.clone()
    }

    #[test]
    fn what_the_program_counts_is_translated_under_the_names_of_the_go_operator() {
        let metrics = crate::telemetry::Metrics::new();
        metrics.reconciled(std::time::Duration::from_millis(3), true);
        metrics.effect("apply", None);
        let text = metrics.exposition().unwrap();
        let found = translated(&text);
        let named =
            |name: &str| found.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("no {name}: {text}"));
        let Some(Data::Sum(errors)) = &named("sei.controller.reconcile.errors").data else {
            panic!("no sum")
        };
        assert!(errors.is_monotonic);
        assert_eq!(errors.data_points[0].value, Some(Number::AsDouble(1.0)));
        let Some(Data::Histogram(passes)) = &named("sei_controller_reconcile_duration_seconds").data else {
            panic!("no histogram")
        };
        let [passes] = &passes.data_points[..] else { panic!("one series") };
        assert_eq!((passes.count, passes.bucket_counts.iter().sum::<u64>()), (1, 1));
        assert_eq!(passes.bucket_counts.len(), passes.explicit_bounds.len() + 1);
        // 3 ms is above the first bound of 1 ms and below the second of 4 ms.
        assert_eq!((passes.bucket_counts[0], passes.bucket_counts[1]), (0, 1));
        let Some(Data::Sum(effects)) = &named("sei_controller_effects").data else { panic!("no sum") };
        let keys: Vec<&str> = effects.data_points[0].attributes.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(keys, ["verb", "outcome"]);
    }

    #[test]
    fn labels_are_read_with_whatever_is_in_them() {
        let found = sample(r#"a{b="c\"d\\e\nf",g="h, i}"} 2.5"#).unwrap();
        assert_eq!(found.labels, [("b".into(), "c\"d\\e\nf".into()), ("g".into(), "h, i}".into())]);
        assert!((found.value - 2.5).abs() < f64::EPSILON);
        assert!(sample("nothing").is_none() && sample(r#"a{b="c 1"#).is_none());
    }
}
