//! Plans as stored, one golden file per mode and way to start; ids included, so that they stay still.
//!
//! And the plans of the recorded cases: what the Go operator plans for the same node, exact to the parameter.
#![cfg(feature = "testkit")]
#![allow(clippy::disallowed_methods, reason = "this test reads files, the core does not")]

use std::path::Path;

use seinode_core::Decision;
use seinode_core::api::status::StoredPlan;
use seinode_core::api::{NodePhase, SeiNode};
use seinode_core::platform;
use seinode_core::render::compare;
use seinode_core::testkit::object::PodStage;
use seinode_core::testkit::{Scene, node, object, story};
use seinode_core::world::{Blind, Health, PeerNode, Registry, Seen, Settings};
use serde_json::Value;

/// The plan that the first write of a world stores.
fn first_write(scene: &mut Scene) -> Option<StoredPlan> {
    match scene.settle() {
        Some(Decision::Commit(commit)) => commit.write().status.plan.clone(),
        Some(Decision::Act(_) | Decision::Look(_) | Decision::Rest(_)) | None => {
            scene.node.status.plan.clone()
        }
    }
}

#[test]
fn the_first_plan_of_each_mode() {
    for (word, node) in node::each() {
        let plan = first_write(&mut story::fresh(node)).expect("a fresh node gets a plan");
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_yaml_snapshot!(format!("plan-{word}"), plan);
        });
    }
}

#[test]
fn the_mark_ready_plan() {
    let mut scene = story::running(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, PodStage::Sidecar)]);
    scene.observed.health = Seen::Present(Health::NotReady);
    let plan = first_write(&mut scene).expect("a restarted sidecar gets a plan");
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_yaml_snapshot!("plan-mark-ready", plan);
    });
}

#[test]
fn a_whole_first_decision_shows_write_and_effects() {
    let decision = story::fresh(node::validator()).settle().expect("a decision");
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_yaml_snapshot!("decision-validator", decision.show());
    });
}

/// Recorded cases whose plan is not compared, each with its reason.
const SKIPPED: &[(&str, &str)] = &[
    ("workflow-statesync-plain", "workflows are not carried out"),
    ("workflow-target-rejected", "workflows are not carried out"),
];

/// The world of a recorded case: nothing but the node, its peers and its witnesses; the children of a Running node are
/// there as rendered.
fn recorded(folder: &Path) -> Option<Scene> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let mut node: SeiNode = serde_yaml_ng::from_str(&read("node.yaml")?).ok()?;
    node.metadata.resource_version = Some("100".to_owned());
    node.metadata.finalizers = Some(vec![seinode_core::api::FINALIZER.to_owned()]);
    let file = platform::parse(&read("platform.yaml")?).ok()?;
    let settings = Settings { platform: file.check().ok()?, asks_ec2: false };
    let mut scene = Scene { settings, ..story::fresh(node) };
    scene.observed.registry = Registry::Entries(platform::witnesses(&file, &scene.node.spec.chain_id));
    scene.observed.data_pvc = Seen::Absent;
    scene.observed.peers = Seen::Present(resolved_earlier(&scene.node));
    if scene.node.status.phase == Some(NodePhase::Running) {
        // The pod tells the same as the stored condition; the recorded cases have none.
        let ready = scene.node.status.conditions.iter().find(|c| c.condition_type.as_str() == "SidecarReady");
        let stage = match ready.map(|c| c.status.as_str()) {
            Some("True") => PodStage::Ready,
            Some("False") => PodStage::Sidecar,
            _ => PodStage::Pending,
        };
        let around = story::populated(scene.node.clone(), stage).observed;
        let sts = object::statefulset(&scene.node, &scene.settings.platform, 1);
        scene.observed.pods = Seen::Present(vec![object::pod(&sts, stage)]);
        scene.observed.statefulset = Seen::Present(sts);
        scene.observed.service = around.service;
        scene.observed.config_map = around.config_map;
        scene.observed.health = around.health;
        scene.observed.sidecar_tasks = around.sidecar_tasks;
    }
    Some(scene)
}

/// Label peers that resolve to what the status already lists: known by address, their ids can't be asked.
fn resolved_earlier(node: &SeiNode) -> Vec<PeerNode> {
    let label = node.spec.peers.iter().flatten().find_map(|p| p.label.clone());
    let Some(label) = label else { return Vec::new() };
    let entries = node.status.resolved_peers.iter().filter_map(|entry| entry.split_once('@'));
    entries
        .map(|(_, address)| PeerNode {
            namespace: label.namespace.clone().unwrap_or_else(|| node.namespace().to_owned()),
            name: address.split(['-', '.']).next().unwrap_or_default().to_owned(),
            chain_id: node.spec.chain_id.clone(),
            labels: label.selector.clone(),
            external_address: Some(address.to_owned()),
            deleting: false,
            node_id: Seen::Unknown(Blind::NotAsked),
        })
        .collect()
}

#[test]
fn the_plans_of_the_recorded_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rendered");
    let (mut compared, mut skipped, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut folders: Vec<_> =
        std::fs::read_dir(&root).expect("the cases").filter_map(|e| Some(e.ok()?.path())).collect();
    folders.sort();
    for folder in folders.into_iter().filter(|f| f.is_dir()) {
        let case = folder.file_name().and_then(|n| n.to_str()).expect("a name").to_owned();
        if SKIPPED.iter().any(|(name, _)| *name == case) {
            skipped.push(case);
            continue;
        }
        let Ok(text) = std::fs::read_to_string(folder.join("plan.json")) else { continue };
        let expected: Value = serde_json::from_str(&text).expect("a plan is JSON");
        let mut scene = recorded(&folder).expect("the case can be read");
        let plan = first_write(&mut scene);
        let produced = serde_json::to_value(plan).expect("a plan is JSON");
        let differences = compare::plans(&expected, &produced);
        wrong.extend(differences.iter().map(|d| format!("{case}: {d}")));
        compared.push(case);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(skipped.len(), SKIPPED.len(), "a skipped case is gone: {skipped:?}");
    assert!(compared.len() >= 20, "{compared:?}");
}
