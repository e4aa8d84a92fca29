//! The state-sync gate (13), row by row, and the checks of a spec before a first plan.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]
#![allow(clippy::type_complexity, clippy::large_stack_arrays, reason = "tables of rows, read top down")]

use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::{ConditionType, NodePhase, SeiNode, TaskType};
use seinode_core::ident::TaskId;
use seinode_core::testkit::{Scene, digest, law, node, object, story};
use seinode_core::world::{Health, Registry, Seen, SidecarTaskStatus};
use serde_json::json;

fn entries(list: &[&str]) -> Registry {
    Registry::Entries(list.iter().map(ToString::to_string).collect())
}

/// A full node that state-syncs with these witnesses in its spec.
fn syncing(servers: &[&str]) -> SeiNode {
    node::with_spec(&json!({"fullNode": {"snapshot": {"stateSync": {}, "rpcServers": servers}}}))
}

fn shown(scene: &Scene) -> (String, String, Vec<String>) {
    let condition = digest::condition(scene, &ConditionType::StateSyncReady)
        .expect("the condition is there from the first pass");
    let mut after = scene.clone();
    let syncers = match after.settle() {
        Some(Decision::Commit(commit)) => commit.write().status.resolved_state_syncers.clone(),
        _ => scene.node.status.resolved_state_syncers.clone(),
    };
    (condition.status.to_string(), condition.reason, syncers)
}

#[test]
fn each_row_of_the_gate() {
    let two = ["a:1", "b:1"];
    let rows: Vec<(&str, SeiNode, Registry, (&str, &str), Vec<&str>, bool)> = vec![
        ("no snapshot source", node::full(), Registry::NotAsked, ("False", "NotApplicable"), vec![], false),
        (
            "no snapshot source, archive",
            node::archive(),
            Registry::NotAsked,
            ("False", "NotApplicable"),
            vec![],
            false,
        ),
        ("no snapshot source, seed", node::seed(), entries(&[]), ("False", "NotApplicable"), vec![], false),
        (
            "two in spec",
            syncing(&["b:1", "a:1"]),
            Registry::NotAsked,
            ("True", "Ready"),
            vec!["a:1", "b:1"],
            false,
        ),
        (
            "two in spec, registry not read",
            syncing(&two),
            Registry::Unreadable("x".into()),
            ("True", "Ready"),
            vec!["a:1", "b:1"],
            false,
        ),
        (
            "items of spec are taken whole",
            syncing(&["a:1,b:1", "c:1"]),
            Registry::NotAsked,
            ("True", "Ready"),
            vec!["a:1,b:1", "c:1"],
            false,
        ),
        (
            "the same twice is one",
            syncing(&["a:1", "a:1"]),
            entries(&[]),
            ("False", "NoSyncersConfigured"),
            vec![],
            true,
        ),
        (
            "one in spec, two in the registry",
            syncing(&["z:1"]),
            entries(&two),
            ("True", "Ready"),
            vec!["a:1", "b:1"],
            false,
        ),
        (
            "registry unreadable",
            syncing(&[]),
            Registry::Unreadable("no such file".into()),
            ("Unknown", "SyncerSourceError"),
            vec![],
            true,
        ),
        (
            "registry not read",
            syncing(&[]),
            Registry::NotAsked,
            ("Unknown", "SyncerSourceError"),
            vec![],
            true,
        ),
        ("registry empty", syncing(&[]), entries(&[]), ("False", "NoSyncersConfigured"), vec![], true),
        ("registry has one", syncing(&[]), entries(&["a:1"]), ("False", "NoSyncersConfigured"), vec![], true),
        (
            "s3 needs witnesses too",
            node::with_spec(&json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 5}}}})),
            entries(&[]),
            ("False", "NoSyncersConfigured"),
            vec![],
            true,
        ),
    ];
    assert_eq!(rows.len(), 13);
    for (word, node, registry, (status, reason), syncers, blocked) in rows {
        let mut scene = story::fresh(node);
        scene.observed.registry = registry;
        let wanted =
            (status.to_owned(), reason.to_owned(), syncers.iter().map(ToString::to_string).collect());
        assert_eq!(shown(&scene), wanted, "{word}");
        let line = digest::of(&scene);
        let expected = if blocked { "commit none none" } else { "commit Active Initializing" };
        assert!(line.starts_with(expected), "{word}: {line}");
        assert_eq!(law::restless(&scene), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn a_closed_gate_is_looked_at_every_thirty_seconds_and_says_what_is_missing() {
    let mut scene = story::fresh(syncing(&[]));
    scene.observed.registry = entries(&["a:1"]);
    assert!(scene.commit(), "a commit");
    let line = digest::of(&scene);
    assert!(line.starts_with("rest 30000ms: 1 of at least 2 witnesses for chain atlantic-2"), "{line}");
}

#[test]
fn v13_a_running_node_needs_no_witnesses() {
    let mut scene = story::running(syncing(&["a:1", "b:1"]));
    scene.node.spec = syncing(&[]).spec;
    scene.observed.registry = Registry::Unreadable("no such file".into());
    assert!(digest::of(&scene).starts_with("rest on change"), "{}", digest::of(&scene));
}

#[test]
fn an_active_plan_keeps_its_frozen_witnesses() {
    let mut scene = story::mid_plan(syncing(&["a:1", "b:1"]), 4);
    let before = scene.node.status.plan.clone();
    scene.node.spec = syncing(&[]).spec;
    scene.observed.registry = Registry::Unreadable("no such file".into());
    assert_eq!(digest::of(&scene), "act, submit configure-genesis");
    assert_eq!(scene.node.status.plan, before);
}

#[test]
fn needs_registry_says_when_the_file_has_to_be_read() {
    for (node, needed) in [
        (node::full(), false),
        (node::seed(), false),
        (syncing(&[]), true),
        (syncing(&["a:1"]), true),
        (syncing(&["a:1", "a:1"]), true),
        (syncing(&["a:1", "b:1"]), false),
    ] {
        assert_eq!(seinode_core::needs_registry(&node), needed, "{:?}", node.spec);
    }
}

#[test]
fn v3_an_invalid_spec_is_held_and_shown() {
    let mut scene =
        story::fresh(node::with_spec(&json!({"validator": {"nodeKey": {"secret": {"secretName": "x"}}}})));
    let ready = digest::condition(&scene, &ConditionType::Ready).expect("a condition");
    assert_eq!(ready.reason, "InvalidSpec");
    assert_eq!(digest::of(&scene), "commit none none");
    assert!(scene.commit(), "a commit");
    assert!(digest::of(&scene).starts_with("rest on change: validator:"), "{}", digest::of(&scene));
}

#[test]
fn s30_a_name_that_is_too_long_for_a_pod_has_a_reason_of_its_own() {
    for (length, reason) in [(52, "Initializing"), (53, "NameTooLong")] {
        let mut node = node::full();
        node.metadata.name = Some("n".repeat(length));
        let ready = digest::condition(&story::fresh(node), &ConditionType::Ready).expect("a condition");
        assert_eq!(ready.reason, reason, "{length}: {}", ready.message);
    }
}

/// The record of the current task holds other params than ours, so the plan has to be replaced.
fn with_foreign_record(node: SeiNode) -> Scene {
    let mut scene = story::at_task(node, &TaskType::ConfigApply);
    let plan = scene.node.status.plan.clone().expect("a plan");
    let task = plan.tasks.iter().find(|t| t.task_type == TaskType::ConfigApply).expect("one");
    let record = story::record(
        &task.id,
        &TaskType::ConfigApply,
        Some(json!({"mode": "archive"})),
        SidecarTaskStatus::Completed,
        scene.now,
    );
    let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
    records.insert(TaskId::new(&task.id), record);
    scene
}

#[test]
fn a_plan_that_replaces_another_passes_the_same_gates_as_a_first_one() {
    let plan_after = |scene: &Scene| match scene.clone().settle() {
        Some(Decision::Commit(commit)) => commit.write().status.plan.clone().expect("a plan").id,
        _ => scene.node.status.plan.clone().expect("a plan").id,
    };
    let scene = with_foreign_record(syncing(&[]));
    let old = scene.node.status.plan.clone().expect("a plan").id;
    assert_ne!(plan_after(&scene), old, "nothing stands in the way");

    let mut without_witnesses = scene.clone();
    without_witnesses.observed.registry = entries(&["only:1"]);
    assert_eq!(plan_after(&without_witnesses), old);
    let ready = digest::condition(&without_witnesses, &ConditionType::Ready).expect("a condition");
    assert_eq!(ready.reason, "WaitingForWitnesses");

    // A held node keeps its plan, whatever is wrong with it.
    let mut held = scene.clone();
    held.node.spec.chain_id = "another".into();
    assert_eq!(plan_after(&held), old);
    let ready = digest::condition(&held, &ConditionType::Ready).expect("a condition");
    assert_eq!(ready.reason, "SpecHeld");

    let mut invalid = scene;
    let full = invalid.node.spec.full_node.as_mut().expect("a full node");
    full.snapshot_generation = serde_json::from_value(json!({})).ok();
    assert_eq!(plan_after(&invalid), old);
    let ready = digest::condition(&invalid, &ConditionType::Ready).expect("a condition");
    assert_eq!(ready.reason, "InvalidSpec");
}

#[test]
fn l15_a_clock_that_jumps_back_does_not_prolong_a_back_off() {
    let mut scene = story::failed(node::full());
    scene.observed.silence = Duration::from_mins(2);
    for generation in 1..=2 {
        scene.node.metadata.generation = Some(generation);
        assert!(scene.commit(), "the failure is adopted, the edit seen");
    }
    assert!(digest::of(&scene).starts_with("rest 60000ms"), "{}", digest::of(&scene));
    let hour = Duration::from_hours(1);
    scene.now = scene.now.checked_sub(hour).expect("a time");
    assert!(digest::of(&scene).contains("Initializing"), "{}", digest::of(&scene));
}

#[test]
fn s21_an_invalid_spec_of_a_running_node_keeps_it_alive() {
    let mut scene = story::running(node::replayer());
    scene.node.spec.peers = None;
    assert!(scene.commit(), "it is shown");
    assert!(digest::of(&scene).starts_with("rest on change"), "{}", digest::of(&scene));
    // Its sidecar was restarted.
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Sidecar)]);
    scene.observed.health = Seen::Present(Health::NotReady);
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("a plan") };
    let tasks = commit.write().status.plan.iter().flat_map(|p| &p.tasks).map(|t| t.task_type.clone());
    assert_eq!(tasks.collect::<Vec<_>>(), [TaskType::MarkReady]);
}

#[test]
fn v3_an_invalid_edit_of_a_running_node_is_shown() {
    let mut scene = story::running(node::replayer());
    scene.node.spec.peers = None;
    let held = digest::condition(&scene, &ConditionType::SpecHeld).expect("seeded");
    assert_eq!((held.status.to_string().as_str(), held.reason.as_str()), ("True", "InvalidSpec"));
    assert!(held.message.contains("peers"), "{}", held.message);
    assert!(scene.commit(), "it is shown");
    scene.node.spec.peers = node::replayer().spec.peers;
    let held = digest::condition(&scene, &ConditionType::SpecHeld).expect("seeded");
    assert_eq!(held.reason, "NotHeld");
}

#[test]
fn a_failed_node_rests_and_shows_why() {
    let mut scene = story::failed(node::full());
    assert_eq!(digest::of(&scene), "commit Failed Failed");
    assert!(scene.commit(), "a commit");
    assert_eq!(digest::of(&scene), "rest on change: task ensure-data-pvc failed: foreign claim");
}

#[test]
fn l16_what_a_newer_version_has_stored_is_held_and_reported() {
    let mut scene = story::mid_plan(node::full(), 2);
    if let Some(plan) = &mut scene.node.status.plan {
        plan.phase = seinode_core::api::PlanPhase::Other("Suspended".into());
    }
    let ready = digest::condition(&scene, &ConditionType::Ready).expect("a condition");
    assert_eq!(ready.reason, "PlanUnreadable");

    // An unknown phase is not "no phase": an init plan on a live volume would be the worst guess.
    let mut scene = story::running(node::full_s3());
    scene.node.status.phase = Some(NodePhase::Other("Hibernating".into()));
    let ready = digest::condition(&scene, &ConditionType::Ready).expect("a condition");
    assert!(ready.message.contains("Hibernating"), "{ready:?}");
    assert!(!digest::of(&scene).contains("Active"), "{}", digest::of(&scene));

    // An empty one is: an older operator may have stored the field so.
    let mut scene = story::fresh(node::full());
    let new = digest::of(&scene);
    scene.node.status.phase = Some(NodePhase::Other(String::new()));
    assert_eq!(digest::of(&scene), new);
}

#[test]
fn the_gate_is_shown_on_failed_and_paused_nodes_and_says_how_many_of_which_chain() {
    let mut failed = story::failed(syncing(&[]));
    failed.observed.registry = entries(&["a:1"]);
    let mut paused = story::fresh(syncing(&[]));
    paused.node.spec.paused = Some(true);
    paused.observed.registry = entries(&["a:1"]);
    for scene in [failed, paused] {
        let condition = digest::condition(&scene, &ConditionType::StateSyncReady).expect("seeded");
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "NoSyncersConfigured"));
        for word in ["1 of at least 2", "atlantic-2"] {
            assert!(condition.message.contains(word), "{}", condition.message);
        }
    }
    let open = digest::condition(&story::fresh(syncing(&["a:1", "b:1"])), &ConditionType::StateSyncReady);
    assert_eq!(open.expect("seeded").message, "2 witnesses for chain atlantic-2 from spec");
    let mut unreadable = story::fresh(syncing(&[]));
    unreadable.observed.registry = Registry::Unreadable("permission denied".into());
    let condition = digest::condition(&unreadable, &ConditionType::StateSyncReady).expect("seeded");
    let expected = "the witness registry can't be read for chain atlantic-2: permission denied";
    assert_eq!(condition.message, expected);
}

#[test]
fn a_running_node_shows_of_the_gate_what_its_spec_alone_tells() {
    let shown = |scene: &Scene| {
        let condition = digest::condition(scene, &ConditionType::StateSyncReady).expect("seeded");
        (condition.reason, condition.message)
    };
    let mut scene = story::running(syncing(&["a:1", "b:1"]));
    assert_eq!(shown(&scene).1, "2 witnesses for chain atlantic-2 from spec");
    // From now on the registry would have a say: what was shown stays (V13).
    scene.node.spec = syncing(&[]).spec;
    scene.observed.registry = Registry::Unreadable("no such file".into());
    assert_eq!(shown(&scene).0, "Ready");
    scene.node.spec.full_node.as_mut().expect("a full node").snapshot = None;
    assert_eq!(shown(&scene).0, "NotApplicable");
}

#[test]
fn a_gate_that_closes_clears_what_was_resolved_and_one_that_opens_again_starts_the_node() {
    let mut scene = story::fresh(syncing(&[]));
    scene.node.status.resolved_state_syncers = vec!["x:1".into(), "y:1".into()];
    for registry in [entries(&[]), Registry::Unreadable("no such file".into())] {
        scene.observed.registry = registry;
        let Some(Decision::Commit(commit)) = scene.settle() else { panic!("a commit") };
        assert_eq!(commit.write().status.resolved_state_syncers, Vec::<String>::new());
        let write = commit.write().clone();
        scene.store(&write);
    }
    scene.observed.registry = entries(&["a:1", "b:1"]);
    assert!(digest::of(&scene).starts_with("commit Active Initializing"), "{}", digest::of(&scene));
}
