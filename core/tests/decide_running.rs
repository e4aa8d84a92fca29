//! A Running node: what begins an update, and what keeps it waiting.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use seinode_core::Decision;
use seinode_core::api::{ConditionType, PlanPhase, TaskStatus};
use seinode_core::rivals::{self, Mount, Neighbourhood};
use seinode_core::testkit::{Scene, digest, node, story};
use seinode_core::world::{Seen, Topic};

const V9: &str = "registry.example.net/seid:v9";

/// The types of the plan that is stored after the next decision; none if there is no active one.
fn plan(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    scene.commit();
    let plan = scene.node.status.plan.filter(|p| p.phase == PlanPhase::Active);
    plan.iter().flat_map(|p| &p.tasks).map(|t| t.task_type.to_string()).collect()
}

fn is_update(types: &[String]) -> bool {
    types.iter().any(|t| t == "observe-image")
}

#[test]
fn an_update_begins_on_live_reads_of_statefulset_and_pods() {
    let mut scene = story::running(node::full());
    scene.edit(|node| node.spec.image = V9.into());
    let live = [Topic::StatefulSet, Topic::Pods];
    assert!(live.iter().all(|topic| !scene.observed.looked.contains(topic)));
    assert!(is_update(&plan(&scene)));
    scene.settle();
    assert!(live.iter().all(|topic| scene.observed.looked.contains(topic)), "{:?}", scene.observed.looked);
}

#[test]
fn s19_config_is_compared_with_what_the_sidecar_tells_now() {
    let mut scene = story::running(node::full());
    scene.edit(|_| {});
    assert_eq!(digest::first(&scene), "look SidecarTasks");
    let looked = scene.looking([Topic::SidecarTasks]);
    assert!(digest::first(&looked).starts_with("commit Complete Running"), "{}", digest::first(&looked));
}

#[test]
fn s04_a_held_node_is_marked_ready_and_not_updated() {
    let mut scene = story::running(node::full());
    scene.edit(|node| {
        node.spec.image = V9.into();
        node.spec.chain_id = "another".into();
    });
    assert_eq!(plan(&scene), Vec::<String>::new());
    scene.restart_sidecar();
    assert_eq!(plan(&scene), ["mark-ready"]);
}

#[test]
fn an_update_replaces_a_repair_unless_the_node_is_held_or_updates_back_off() {
    let mut scene = story::repairing(node::full());
    assert_eq!(plan(&scene), ["apply-service"]);
    scene.edit(|node| node.spec.image = V9.into());
    assert!(is_update(&plan(&scene)), "nothing stands in the way");

    let mut held = scene.clone();
    held.node.spec.chain_id = "another".into();
    assert_eq!(plan(&held), ["apply-service"]);

    // The last update has failed a moment ago.
    let mut failed = story::running(node::full());
    failed.edit(|node| node.spec.image = V9.into());
    let Some(Decision::Commit(commit)) = failed.settle() else { panic!("an update") };
    let mut write = commit.write().clone();
    let task = write.status.plan.iter_mut().flat_map(|p| &mut p.tasks).next().expect("a task");
    task.status = TaskStatus::Failed;
    failed.store(&write);
    while failed.commit() {}
    failed.observed.service = Seen::Absent;
    assert!(failed.commit(), "the Service comes back meanwhile: {}", digest::of(&failed));
    assert_eq!(plan(&failed), ["apply-service"], "the update waits");
    let hour = std::time::Duration::from_hours(1);
    assert!(is_update(&plan(&failed.later(hour))), "and then it is tried again");
}

#[test]
fn s03_a_running_node_that_shares_a_key_with_another_is_not_let_go_again() {
    let mut scene = story::running(node::validator());
    scene.restart_sidecar();
    assert_eq!(plan(&scene), ["mark-ready"]);
    let what: std::collections::BTreeSet<_> = rivals::named(scene.node.name(), &scene.node.spec)
        .into_iter()
        .filter(|thing| matches!(thing, rivals::Exclusive::Key(_)))
        .collect();
    let mount = |node: &str, name: &str| Mount {
        object: format!("StatefulSet {name}"),
        node: Some(node.to_owned()),
        template: true,
        what: what.clone(),
        live: true,
    };
    let own = scene.node.uid().to_owned();
    let around =
        Neighbourhood { nodes: Vec::new(), mounts: vec![mount(&own, "alice"), mount("other", "bob")] };
    scene.observed.neighbourhood = Seen::Present(around);
    assert_eq!(plan(&scene), Vec::<String>::new());
    let shown = digest::condition(&scene, &ConditionType::KeyConflict).expect("a condition");
    assert!(shown.message.contains("StatefulSet bob"), "{}", shown.message);
}
