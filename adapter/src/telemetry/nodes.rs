//! What is shown of each node: one entry a node, so that nothing stays of one that is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, PlanPhase, SeiNode};
use seinode_core::ident::NodeKey;

use super::CONTROLLER;

/// The nodes that this operator works on.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<HashMap<NodeKey, Shown>>);

#[derive(Debug, Default)]
struct Shown {
    phase: Option<NodePhase>,
    plan_active: bool,
    sidecar_ready: bool,
    waiting_on: Option<&'static str>,
}

impl Nodes {
    fn map(&self) -> MutexGuard<'_, HashMap<NodeKey, Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a node as the cache has it.
    pub(super) fn show(&self, node: &SeiNode) {
        let mut map = self.map();
        let shown = map.entry(NodeKey::of(node)).or_default();
        shown.phase.clone_from(&node.status.phase);
        shown.plan_active = node.status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active);
        // The condition keeps what was last heard; of a node that is stopped or has failed nothing is ready.
        let runs = node.status.phase == Some(NodePhase::Running) && node.spec.paused != Some(true);
        shown.sidecar_ready = runs
            && condition::find(&node.status.conditions, &ConditionType::SidecarReady)
                .is_some_and(|c| c.status == ConditionStatus::True);
    }

    /// Shows what a node waits for.
    pub(super) fn waits(&self, node: &NodeKey, reason: Option<&'static str>) {
        if let Some(shown) = self.map().get_mut(node) {
            shown.waiting_on = reason;
        }
    }

    /// Drops a node that is gone.
    pub(super) fn forget(&self, node: &NodeKey) {
        self.map().remove(node);
    }

    /// Keeps only nodes that are still there.
    pub(super) fn retain(&self, is_there: impl Fn(&NodeKey) -> bool) {
        self.map().retain(|node, _| is_there(node));
    }
}

impl Collector for Nodes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let map = self.map();
        // In a fixed order, so that two scrapes can be compared.
        let nodes: BTreeMap<&NodeKey, &Shown> = map.iter().collect();
        let mut gauges = |name: &str, help: &str, rows: Vec<(Vec<(&str, &str)>, i64)>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in rows {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
            Ok::<_, std::fmt::Error>(())
        };
        let rows = nodes.iter().flat_map(|(node, shown)| {
            NodePhase::KNOWN.iter().map(|phase| {
                let labels =
                    vec![("namespace", &*node.namespace), ("name", &*node.name), ("phase", phase.as_str())];
                (labels, i64::from(shown.phase.as_ref() == Some(phase)))
            })
        });
        gauges("sei_controller_seinode_phase", "1 for the current phase of a node", rows.collect())?;
        let rows = nodes.iter().map(|(node, shown)| {
            let labels =
                vec![("controller", CONTROLLER), ("namespace", &*node.namespace), ("name", &*node.name)];
            (labels, i64::from(shown.plan_active))
        });
        gauges("sei_controller_plan_active", "1 while a plan of the node runs", rows.collect())?;
        let rows = nodes.iter().map(|(node, shown)| {
            let labels = vec![("namespace", &*node.namespace), ("name", &*node.name)];
            (labels, i64::from(shown.sidecar_ready))
        });
        gauges(
            "sei_controller_seinode_sidecar_ready",
            "1 while the sidecar of a Running node lets seid run",
            rows.collect(),
        )?;
        let mut waiting: BTreeMap<&str, i64> = BTreeMap::new();
        for shown in nodes.values() {
            if let Some(reason) = shown.waiting_on {
                *waiting.entry(reason).or_default() += 1;
            }
        }
        let rows = waiting.into_iter().map(|(reason, nodes)| (vec![("reason", reason)], nodes));
        gauges(
            "sei_controller_waiting_nodes",
            "Nodes by what they wait for first; the reasons are those of condition Ready",
            rows.collect(),
        )
    }
}
