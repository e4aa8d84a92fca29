//! The metric registry; every name in one place. Names and labels that the Go operator has are the same here, with the
//! meaning that their names promise. `docs/metrics.md` lists them.

mod bounded;
mod family;
mod logs;
mod nodes;
#[cfg(feature = "otlp")]
pub mod otlp;
mod requests;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::{MetricType, info::Info};
use prometheus_client::registry::{Metric, Registry};
use seinode_core::api::status::StoredPlan;
use seinode_core::api::{NodePhase, PlanPhase, SeiNode, SeiNodeStatus, Stamp};
use seinode_core::effect::Fault;
use seinode_core::ident::NodeKey;
use seinode_core::plan::metric_kind;
use seinode_core::world::{Health, Seen};

use crate::backlog::Backlog;
use bounded::Bounded;
use family::{Counters, Histograms, Labels, labels};
use nodes::Nodes;

#[cfg(feature = "otlp")]
pub(crate) use logs::init_with;
pub use logs::{init, log_panics};
pub use requests::Requests;

/// Value of the label `controller` (`seinode.md` 1).
const CONTROLLER: &str = "seinode";

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    nodes: Arc<Nodes>,
    backlog: Arc<Backlog>,
    namespaces: Bounded,
    chains: Bounded,
    reconciles: Histogram,
    queue_wait: Histogram,
    errors: Counter<u64, AtomicU64>,
    panics: Counter<u64, AtomicU64>,
    status_writes: Counter<u64, AtomicU64>,
    conflicts: Counter<u64, AtomicU64>,
    behind: Histogram,
    effects: Counters<2>,
    api_requests: Counters<3>,
    sidecar_requests: Histograms<2>,
    probes: Counters<3>,
    transitions: Counters<4>,
    phase_duration: Histograms<3>,
    plan_duration: Histograms<4>,
    task_failures: Counters<3>,
    task_retries: Counters<3>,
    unmanaged: Family<Labels<1>, Gauge<i64, AtomicI64>>,
    leader: Family<Labels<1>, Gauge<i64, AtomicI64>>,
    definition_missing: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// From a millisecond to a quarter of a minute: passes, requests, turns in the queue.
fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 8))
}

fn phase_durations() -> Histogram {
    Histogram::new([10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 3600.0])
}

fn plan_durations() -> Histogram {
    Histogram::new([1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0])
}

impl Metrics {
    /// An empty set.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let nodes = Arc::new(Nodes::default());
        let backlog = Arc::new(Backlog::default());
        registry.register_collector(Box::new(Arc::clone(&nodes)));
        registry.register_collector(Box::new(Queue(Arc::clone(&backlog))));
        let build = [("version", env!("CARGO_PKG_VERSION")), ("otlp", otlp_built_in())];
        registry.register(
            "sei_controller_build",
            "What this program was built from",
            Info::new(labels(build)),
        );
        let r = &mut registry;
        Self {
            reconciles: add(r, "reconcile_duration_seconds", "Time of one reconcile pass", short()),
            queue_wait: add(r, "queue_wait_seconds", "Time for which a node waited for its turn", short()),
            errors: add(r, "reconcile_errors", "Reconcile passes that came to no rest", Counter::default()),
            panics: add(r, "reconcile_panics", "Reconcile passes that panicked", Counter::default()),
            status_writes: add(r, "status_writes", "Stored status writes", Counter::default()),
            conflicts: add(r, "status_conflicts", "Status writes refused as stale", Counter::default()),
            behind: add(
                r,
                "behind_own_writes_seconds",
                "Time until a watch showed what the operator had written",
                short(),
            ),
            effects: Counters::add(r, "effects", "Effects by verb and outcome"),
            api_requests: Counters::add(r, "api_requests", "Requests to the API server"),
            sidecar_requests: Histograms::add(
                r,
                "sidecar_request_duration_seconds",
                "Time of requests to sidecars",
                short,
            ),
            probes: Counters::add(r, "seinode_sidecar_health_probes", "Readiness probes of sidecars"),
            transitions: Counters::add(r, "seinode_phase_transitions", "Changes of the phase of nodes"),
            phase_duration: Histograms::add(
                r,
                "seinode_phase_duration_seconds",
                "Time for which nodes were in the phase that they left",
                phase_durations,
            ),
            plan_duration: Histograms::add(
                r,
                "plan_duration_seconds",
                "Time from the turn of a plan's first task to the plan's end",
                plan_durations,
            ),
            task_failures: Counters::add(r, "task_failures", "Tasks that failed their plan"),
            task_retries: Counters::add(r, "task_retries", "Counted retries of tasks"),
            unmanaged: add(
                r,
                "unmanaged_objects",
                "1 where objects of a kind exist that no controller of this program handles",
                Family::default(),
            ),
            leader: add(r, "leader", "1 while this operator holds the lease", Family::default()),
            definition_missing: add(
                r,
                "definition_missing",
                "1 while the CustomResourceDefinition of SeiNode is not installed",
                Gauge::default(),
            ),
            registry,
            nodes,
            backlog,
            namespaces: Bounded::default(),
            chains: Bounded::default(),
        }
    }

    /// The exposition text of Prometheus.
    pub fn exposition(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// What waits and what is worked on.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// How far watches are behind; for the caches to fill.
    pub(crate) fn behind(&self) -> Histogram {
        self.behind.clone()
    }

    /// Whether this operator holds a lease.
    pub(crate) fn leader(&self, lease: &str, leads: bool) {
        self.leader.get_or_create(&labels([("lease", lease)])).set(i64::from(leads));
    }

    /// Whether the definition of SeiNode is missing.
    pub(crate) fn definition_missing(&self, missing: bool) {
        self.definition_missing.set(i64::from(missing));
    }

    /// A node got its turn.
    pub(crate) fn waited(&self, time: Duration) {
        self.queue_wait.observe(time.as_secs_f64());
    }

    /// A pass has ended.
    pub fn reconciled(&self, took: Duration, failed: bool) {
        self.reconciles.observe(took.as_secs_f64());
        if failed {
            self.errors.inc();
        }
    }

    /// A pass has panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }

    pub(crate) fn api_request(&self, verb: &str, kind: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.api_requests.inc([("verb", verb), ("kind", kind), ("code", &code)]);
    }

    pub(crate) fn sidecar_request(&self, operation: &str, status: Option<http::StatusCode>, took: Duration) {
        let outcome = match status.map(|s| s.as_u16()) {
            None => "no_answer",
            Some(..400) => "ok",
            Some(401 | 403) => "refused",
            Some(400..500) => "client_error",
            Some(500..) => "server_error",
        };
        self.sidecar_requests.observe([("operation", operation), ("outcome", outcome)], took);
    }

    pub(crate) fn effect(&self, verb: &str, fault: Option<&Fault>) {
        let outcome = match fault {
            None => "ok",
            Some(Fault::Ambiguous(_)) => "ambiguous",
            Some(Fault::Conflict(_)) => "conflict",
            Some(Fault::Terminal(_)) => "terminal",
            Some(Fault::Transient(_)) => "transient",
        };
        self.effects.inc([("verb", verb), ("outcome", outcome)]);
    }

    pub(crate) fn health_probe(&self, namespace: &str, health: &Seen<Health>) {
        let outcome = match health {
            Seen::Present(Health::Ready) => "ready",
            Seen::Present(Health::NotReady) => "not_ready",
            Seen::Absent | Seen::Unknown(_) => "unreachable",
        };
        let namespace = self.namespaces.label(namespace);
        self.probes.inc([("controller", CONTROLLER), ("namespace", &namespace), ("outcome", outcome)]);
    }

    /// Counts what a status that was just stored says and the one before it did not.
    pub(crate) fn stored(&self, before: &SeiNodeStatus, node: &SeiNode, now: Timestamp) {
        self.status_writes.inc();
        self.nodes.show(node);
        let namespace = &*self.namespaces.label(node.namespace());
        self.phase_left(before, node, namespace);
        self.plan_ended(before, &node.status, namespace, now);
        let Some(plan) = &node.status.plan else { return };
        let known = before.plan.as_ref().filter(|p| p.id == plan.id);
        let count = |counters: &Counters<3>, task_type: &str| {
            counters.inc([("controller", CONTROLLER), ("namespace", namespace), ("task_type", task_type)]);
        };
        if plan.phase == PlanPhase::Failed
            && known.is_none_or(|p| p.phase != PlanPhase::Failed)
            && let Some(detail) = &plan.failed_task_detail
        {
            count(&self.task_failures, &detail.task_type);
        }
        for (old, new) in known.iter().flat_map(|p| p.tasks.iter().zip(&plan.tasks)) {
            if new.retry_count > old.retry_count {
                count(&self.task_retries, new.task_type.as_str());
            }
        }
    }

    /// The time in a phase is that between the two stored moments of change, not that since the one just written.
    fn phase_left(&self, before: &SeiNodeStatus, node: &SeiNode, namespace: &str) {
        let phase = |status: &SeiNodeStatus| {
            status.phase.as_ref().map(ToString::to_string).filter(|phase| !phase.is_empty())
        };
        let (left, entered) = (phase(before), phase(&node.status));
        if left == entered {
            return;
        }
        self.transitions.inc([
            ("controller", CONTROLLER),
            ("namespace", namespace),
            ("from_phase", left.as_deref().unwrap_or_default()),
            ("to_phase", entered.as_deref().unwrap_or_default()),
        ]);
        let moment = |status: &SeiNodeStatus| status.phase_transition_time.as_ref().and_then(Stamp::at);
        if let (Some(phase), Some(from), Some(to)) = (left, moment(before), moment(&node.status)) {
            let chain = self.chains.label(&node.spec.chain_id);
            let labels = [("namespace", namespace), ("chain_id", &*chain), ("phase", &*phase)];
            self.phase_duration.observe(labels, passed(from, to));
        }
    }

    /// A plan ends once, in the write that ends it. One that is replaced has no outcome.
    fn plan_ended(&self, before: &SeiNodeStatus, after: &SeiNodeStatus, namespace: &str, now: Timestamp) {
        let was = before.plan.as_ref().filter(|p| p.phase == PlanPhase::Active);
        let (plan, outcome): (&StoredPlan, _) = match (&after.plan, was) {
            // A plan of a Running node is removed by the write that completes it.
            (None, Some(was)) if after.phase != Some(NodePhase::Terminating) => (was, "complete"),
            (Some(plan), was) if was.is_none_or(|was| was.id == plan.id) => match plan.phase {
                PlanPhase::Complete if before.plan.as_ref() != Some(plan) => (plan, "complete"),
                PlanPhase::Failed if before.plan.as_ref() != Some(plan) => (plan, "failed"),
                PlanPhase::Active | PlanPhase::Complete | PlanPhase::Failed | PlanPhase::Other(_) => return,
            },
            (Some(_) | None, _) => return,
        };
        let Some(start) = plan.tasks.first().and_then(|t| t.submitted_at.as_ref()?.at()) else { return };
        let labels = [
            ("controller", CONTROLLER),
            ("namespace", namespace),
            ("plan_type", metric_kind(plan)),
            ("outcome", outcome),
        ];
        self.plan_duration.observe(labels, passed(start, now));
    }

    /// Shows a node as the cache has it.
    pub(crate) fn node(&self, node: &SeiNode) {
        self.nodes.show(node);
    }

    /// Shows what a node waits for first.
    pub(crate) fn waits(&self, node: &NodeKey, reason: Option<&'static str>) {
        self.nodes.waits(node, reason);
    }

    /// Drops the series of a node that is gone.
    pub(crate) fn forget(&self, node: &NodeKey) {
        self.nodes.forget(node);
        self.backlog.left(node);
    }

    /// Drops the series of all nodes that are not there any more.
    pub(crate) fn retain(&self, is_there: impl Fn(&NodeKey) -> bool) {
        self.nodes.retain(&is_there);
        self.backlog.retain(is_there);
    }

    /// Whether objects of a kind exist that nobody handles.
    pub(crate) fn unmanaged(&self, kind: &str) {
        self.unmanaged.get_or_create(&labels([("kind", kind)])).set(1);
    }
}

fn passed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The backlog as gauges, computed when they are asked for.
#[derive(Debug)]
struct Queue(Arc<Backlog>);

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let figures = self.0.figures();
        let depth = ConstGauge::new(i64::try_from(figures.waiting).unwrap_or(i64::MAX));
        let help = "Nodes that wait for their turn";
        depth.encode(encoder.encode_descriptor(
            "sei_controller_queue_depth",
            help,
            None,
            MetricType::Gauge,
        )?)?;
        let oldest = ConstGauge::new(figures.oldest.as_secs_f64());
        let help = "How long the first node in the queue waits";
        let name = "sei_controller_queue_oldest_seconds";
        oldest.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        let working = ConstGauge::new(i64::try_from(figures.working).unwrap_or(i64::MAX));
        let help = "Nodes that are worked on";
        working.encode(encoder.encode_descriptor("sei_controller_passes", help, None, MetricType::Gauge)?)
    }
}

/// Registers a metric under the prefix that all share.
fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(format!("sei_controller_{name}"), help, metric.clone());
    metric
}

const fn otlp_built_in() -> &'static str {
    if cfg!(feature = "otlp") { "true" } else { "false" }
}

#[cfg(test)]
mod tests;
