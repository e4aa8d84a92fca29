//! What tools make of a node: the table in the runbook is made from decisions about nodes in each state.

use std::fmt::Write as _;

use seinode_core::Decision;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use seinode_core::testkit::{Scene, node, story};
use seinode_core::world::{Registry, Seen};

use crate::is_generated;

/// kstatus, as Flux and `kustomize` read an object of a kind that they don't know.
fn kstatus(node: &SeiNode) -> &'static str {
    if node.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    let status = |name: &str| {
        let kind = ConditionType::from(name.to_owned());
        condition::find(&node.status.conditions, &kind).map(|c| c.status.clone())
    };
    match (status("Reconciling"), status("Stalled"), status("Ready")) {
        (Some(ConditionStatus::True), ..) => "InProgress",
        (_, Some(ConditionStatus::True), _) => "Failed",
        (.., Some(ConditionStatus::True) | None) => "Current",
        (.., Some(_)) => "InProgress",
    }
}

/// The health check of the page, in Rust.
fn argo(node: &SeiNode) -> &'static str {
    let is = |kind: ConditionType| {
        condition::find(&node.status.conditions, &kind).is_some_and(|c| c.status == ConditionStatus::True)
    };
    match node.status.phase {
        Some(NodePhase::Failed) => "Degraded",
        _ if is(ConditionType::Paused) => "Suspended",
        Some(NodePhase::Running) if is(ConditionType::Ready) => "Healthy",
        _ => "Progressing",
    }
}

/// The node with the status that is stored next, if one is.
fn settled(mut scene: Scene) -> SeiNode {
    let mut node = scene.node.clone();
    for _ in 0..8 {
        match scene.settle() {
            Some(Decision::Commit(commit)) => {
                scene.store(commit.write());
                node = scene.node.clone();
            }
            _ => break,
        }
    }
    node
}

fn row(what: &str, node: &SeiNode) -> String {
    let phase = node.status.phase.as_ref().map_or("none", NodePhase::as_str);
    let ready = condition::find(&node.status.conditions, &ConditionType::Ready).unwrap();
    let waits = if ready.status == ConditionStatus::True { "ends" } else { "goes on" };
    let (kstatus, argo) = (kstatus(node), argo(node));
    format!("| {what} | {phase} | {} `{}` | {waits} | {kstatus} | {argo} |\n", ready.status, ready.reason)
}

/// A node that starts from a snapshot, and nobody who could vouch for it.
fn without_witnesses() -> Scene {
    let snapshot = serde_json::json!({"fullNode": {"snapshot": {"stateSync": {}}}});
    let mut scene = story::fresh(node::with_spec(&snapshot));
    scene.observed.registry = Registry::Entries(Vec::new());
    scene
}

/// Paused, and nothing of it runs.
fn stopped() -> Scene {
    story::fresh(story::pausing(node::full()).node)
}

#[test]
fn the_table_of_all_phases() {
    let stories: Vec<(&str, Scene)> = vec![
        ("waits for something before its first plan", without_witnesses()),
        ("first start", story::mid_plan(node::full(), 3)),
        ("serves", story::running(node::full())),
        ("runs, its pod is not ready", unready(story::running(node::full()))),
        ("first start failed", story::failed(node::full())),
        ("asked to stop, and its pod is not gone yet", story::pausing(node::full())),
        ("stopped", stopped()),
        ("is being deleted", story::deleting(node::full())),
    ];
    let mut out = String::from(
        "| state | phase | `Ready` | `kubectl wait` | kstatus | Argo CD |\n|---|---|---|---|---|---|\n",
    );
    let mut phases = std::collections::BTreeSet::new();
    for (what, scene) in stories {
        let node = settled(scene);
        phases.extend(node.status.phase.clone());
        let _ = write!(out, "{}", row(what, &node));
    }
    // Pending is the Go operator's word for no phase yet; it reads the same.
    phases.insert(NodePhase::Pending);
    assert_eq!(phases.len(), NodePhase::KNOWN.len(), "a phase is missing: {phases:?}");
    is_generated("docs/runbook.md", "health", &out);
}

fn unready(mut scene: Scene) -> Scene {
    if let Seen::Present(pods) = &mut scene.observed.pods {
        for pod in pods {
            let conditions = pod.status.iter_mut().flat_map(|s| s.conditions.iter_mut().flatten());
            conditions.filter(|c| c.type_ == "Ready").for_each(|c| "False".clone_into(&mut c.status));
        }
    }
    scene
}
