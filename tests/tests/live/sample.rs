//! Nodes for the live cases, and what is asked of their end.

use std::collections::BTreeMap;

use seinode_core::api::{NodePhase, PlanPhase, SeiNode, TaskStatus};
use seinode_sim::sidecar::Event;
use seinode_tests::live::AuditEvent;
use seinode_tests::stage::Stage;
use serde_json::{Value, json};

/// A full node with state sync and witnesses of its own: four sidecar tasks and mark-ready.
pub(crate) fn full_node(name: &str) -> Value {
    node(
        name,
        &json!({"fullNode": {"snapshot": {"stateSync": {}, "rpcServers": ["a.example.net:26657", "b.example.net:26657"]}}}),
    )
}

/// A node with the given mode and whatever else its spec has.
pub(crate) fn node(name: &str, fields: &Value) -> Value {
    let mut spec = json!({"chainId": "atlantic-2", "image": "registry.example.net/seid:1"});
    seinode_core::patch::apply(&mut spec, fields);
    json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": name}, "spec": spec})
}

pub(crate) fn is_running(node: &SeiNode) -> bool {
    node.status.phase == Some(NodePhase::Running)
}

/// The plan has ended well, and no task was run more than once.
pub(crate) fn ended_well_without_repeats(stage: &Stage, node: &SeiNode) {
    let plan = node.status.plan.as_ref().unwrap();
    assert_eq!(plan.phase, PlanPhase::Complete);
    assert!(plan.tasks.iter().all(|t| t.status == TaskStatus::Complete));
    let mut runs: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in stage.kubelet.director(node.namespace(), node.name()).journal() {
        if matches!(entry.event, Event::Started | Event::Repeated) {
            *runs.entry((entry.kind, entry.id)).or_default() += 1;
        }
    }
    assert!(runs.values().all(|n| *n == 1), "submitted more than once: {runs:?}");
    let ours =
        plan.tasks.iter().filter(|t| runs.contains_key(&(t.task_type.to_string(), t.id.clone()))).count();
    assert_eq!(ours, runs.len(), "the sidecar saw tasks that are not in the plan: {runs:?}");
    assert_eq!(seinode_core::plan::lint::status(&node.status), []);
    assert_eq!(seinode_core::plan::lint::derived_ids(&node.status), []);
}

/// What operators asked of the API server, events and leases aside.
pub(crate) fn of_operators(log: Vec<AuditEvent>) -> Vec<AuditEvent> {
    log.into_iter()
        .filter(|e| e.user_agent.starts_with("seinode-operator/"))
        .filter(|e| e.resource != "events" && e.resource != "leases")
        .collect()
}

/// One line for a request.
pub(crate) fn line(event: &AuditEvent) -> String {
    let AuditEvent { verb, resource, subresource, name, code, .. } = event;
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{verb} {resource}{slash}{subresource} {name} {code}")
}
