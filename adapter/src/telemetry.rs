//! Tracing setup and the metric registry; every name in one place.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use seinode_core::api::{NodePhase, PlanPhase, SeiNode, SeiNodeStatus};
use seinode_core::effect::Fault;
use seinode_core::world::{Health, Seen};
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// Value of the label `controller` (`seinode.md` 1).
const CONTROLLER: &str = "seinode";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NodeLabels {
    controller: String,
    namespace: String,
    name: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabels {
    namespace: String,
    name: String,
    phase: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProbeLabels {
    controller: String,
    namespace: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EffectLabels {
    verb: String,
    outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TaskLabels {
    controller: String,
    namespace: String,
    task_type: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    reconciles: Histogram,
    errors: Counter<u64, AtomicU64>,
    panics: Counter<u64, AtomicU64>,
    status_writes: Counter<u64, AtomicU64>,
    conflicts: Counter<u64, AtomicU64>,
    effects: Family<EffectLabels, Counter<u64, AtomicU64>>,
    probes: Family<ProbeLabels, Counter<u64, AtomicU64>>,
    task_failures: Family<TaskLabels, Counter<u64, AtomicU64>>,
    task_retries: Family<TaskLabels, Counter<u64, AtomicU64>>,
    phase: Family<PhaseLabels, Gauge<i64, AtomicI64>>,
    plan_active: Family<NodeLabels, Gauge<i64, AtomicI64>>,
    unmanaged: Family<KindLabels, Gauge<i64, AtomicI64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty set.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let this = Self {
            reconciles: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            errors: Counter::default(),
            panics: Counter::default(),
            status_writes: Counter::default(),
            conflicts: Counter::default(),
            effects: Family::default(),
            probes: Family::default(),
            task_failures: Family::default(),
            task_retries: Family::default(),
            phase: Family::default(),
            plan_active: Family::default(),
            unmanaged: Family::default(),
            registry: Registry::default(),
        };
        registry.register(
            "sei_controller_reconcile_duration_seconds",
            "Time of one reconcile pass",
            this.reconciles.clone(),
        );
        registry.register(
            "sei_controller_reconcile_errors",
            "Reconcile passes that came to no rest",
            this.errors.clone(),
        );
        registry.register(
            "sei_controller_reconcile_panics",
            "Reconcile passes that panicked",
            this.panics.clone(),
        );
        registry.register("sei_controller_status_writes", "Stored status writes", this.status_writes.clone());
        registry.register(
            "sei_controller_status_conflicts",
            "Status writes refused as stale",
            this.conflicts.clone(),
        );
        registry.register("sei_controller_effects", "Effects by verb and outcome", this.effects.clone());
        registry.register(
            "sei_controller_seinode_sidecar_health_probes",
            "Readiness probes of sidecars",
            this.probes.clone(),
        );
        registry.register(
            "sei_controller_task_failures",
            "Tasks that failed their plan",
            this.task_failures.clone(),
        );
        registry.register(
            "sei_controller_task_retries",
            "Counted retries of tasks",
            this.task_retries.clone(),
        );
        registry.register(
            "sei_controller_seinode_phase",
            "1 for the current phase of a node",
            this.phase.clone(),
        );
        registry.register(
            "sei_controller_plan_active",
            "1 while a plan of the node runs",
            this.plan_active.clone(),
        );
        registry.register(
            "sei_controller_unmanaged_objects",
            "1 where objects of a kind exist that no controller of this program handles",
            this.unmanaged.clone(),
        );
        Self { registry, ..this }
    }

    /// The exposition text of Prometheus.
    pub fn exposition(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
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

    pub(crate) fn status_write(&self) {
        self.status_writes.inc();
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.inc();
    }

    pub(crate) fn effect(&self, verb: &str, fault: Option<&Fault>) {
        let outcome = match fault {
            None => "ok",
            Some(Fault::Ambiguous(_)) => "ambiguous",
            Some(Fault::Conflict(_)) => "conflict",
            Some(Fault::Terminal(_)) => "terminal",
            Some(Fault::Transient(_)) => "transient",
        };
        self.effects
            .get_or_create(&EffectLabels { verb: verb.to_owned(), outcome: outcome.to_owned() })
            .inc();
    }

    pub(crate) fn health_probe(&self, namespace: &str, health: &Seen<Health>) {
        let outcome = match health {
            Seen::Present(Health::Ready) => "ready",
            Seen::Present(Health::NotReady) => "not_ready",
            Seen::Absent | Seen::Unknown(_) => "unreachable",
        };
        let labels = ProbeLabels {
            controller: CONTROLLER.to_owned(),
            namespace: namespace.to_owned(),
            outcome: outcome.to_owned(),
        };
        self.probes.get_or_create(&labels).inc();
    }

    /// Counts what a stored status says of tasks that the one before it did not.
    pub(crate) fn stored(&self, namespace: &str, before: &SeiNodeStatus, after: &SeiNodeStatus) {
        let labels = |task_type: &str| TaskLabels {
            controller: CONTROLLER.to_owned(),
            namespace: namespace.to_owned(),
            task_type: task_type.to_owned(),
        };
        let Some(plan) = &after.plan else { return };
        let known = before.plan.as_ref().filter(|p| p.id == plan.id);
        if plan.phase == PlanPhase::Failed
            && known.is_none_or(|p| p.phase != PlanPhase::Failed)
            && let Some(detail) = &plan.failed_task_detail
        {
            self.task_failures.get_or_create(&labels(&detail.task_type)).inc();
        }
        for (old, new) in known.iter().flat_map(|p| p.tasks.iter().zip(&plan.tasks)) {
            if new.retry_count > old.retry_count {
                self.task_retries.get_or_create(&labels(new.task_type.as_str())).inc();
            }
        }
    }

    /// Shows phase and plan of a node as the cache has it.
    pub(crate) fn node(&self, node: &SeiNode) {
        for phase in NodePhase::KNOWN {
            let is = node.status.phase.as_ref() == Some(phase);
            self.phase.get_or_create(&phase_labels(node, phase)).set(i64::from(is));
        }
        let active = node.status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active);
        self.plan_active.get_or_create(&node_labels(node)).set(i64::from(active));
    }

    /// Drops the series of a node that is gone.
    pub(crate) fn forget(&self, node: &SeiNode) {
        for phase in NodePhase::KNOWN {
            self.phase.remove(&phase_labels(node, phase));
        }
        self.plan_active.remove(&node_labels(node));
    }

    /// Objects of a kind exist that nobody handles.
    pub(crate) fn unmanaged(&self, kind: &str) {
        self.unmanaged.get_or_create(&KindLabels { kind: kind.to_owned() }).set(1);
    }
}

fn node_labels(node: &SeiNode) -> NodeLabels {
    NodeLabels {
        controller: CONTROLLER.to_owned(),
        namespace: node.namespace().to_owned(),
        name: node.name().to_owned(),
    }
}

fn phase_labels(node: &SeiNode, phase: &NodePhase) -> PhaseLabels {
    PhaseLabels {
        namespace: node.namespace().to_owned(),
        name: node.name().to_owned(),
        phase: phase.to_string(),
    }
}

/// Logs go to stderr: stdout is for results.
pub fn init(level: &str, format: LogFormat) {
    let filter = EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| {
        EnvFilter::new(format!("{level},kube_runtime=warn,kube_client=warn,hyper=warn,tower=warn"))
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (in tests) leaves the first setup in place.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Console => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}
