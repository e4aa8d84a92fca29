//! Starting and stopping: `replicas` follows `spec.paused`, by looks, by guards, and never next to another pod.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use seinode_core::api::{ConditionType, SeiNode, TaskType};
use seinode_core::effect::{Effect, Fault, Field, Op, Outcome};
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen, Topic};

/// A Running node whose StatefulSet has 0 replicas and no pod.
fn stopped(node: SeiNode) -> Scene {
    let mut scene = story::running(node);
    let sts = object::statefulset(&scene.node, &scene.settings.platform, 0);
    scene.observed.statefulset = Seen::Present(sts);
    scene.observed.pods = Seen::Present(Vec::new());
    settled(scene)
}

/// The same world after its writes.
fn settled(mut scene: Scene) -> Scene {
    while let Some(seinode_core::Decision::Commit(commit)) = scene.settle() {
        let write = commit.write().clone();
        scene.store(&write);
    }
    scene.observed.looked.clear();
    scene
}

fn effects(scene: &Scene) -> Vec<Effect> {
    let mut scene = scene.clone();
    scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default()
}

#[test]
fn a_start_looks_at_node_statefulset_and_pods_first() {
    let scene = stopped(node::full());
    assert_eq!(digest::first(&scene), "look Node, StatefulSet, Pods, Neighbourhood");
    for short in [Topic::StatefulSet, Topic::Pods] {
        assert_eq!(
            digest::first(&scene.clone().looking([short])),
            "look Node, StatefulSet, Pods, Neighbourhood"
        );
    }
    let mut blind = scene.clone().looking([Topic::StatefulSet, Topic::Pods]);
    for unseen in [Topic::Node, Topic::Neighbourhood] {
        blind.observed.looked.remove(&unseen);
        assert_eq!(digest::first(&blind), "look Node, StatefulSet, Pods, Neighbourhood");
        blind.observed.looked.insert(unseen);
    }
    assert!(digest::of(&scene).ends_with("replicas 1"), "{}", digest::of(&scene));
}

#[test]
fn l02_a_start_carries_uid_and_version_of_what_was_seen() {
    let start =
        effects(&stopped(node::full())).into_iter().find(|e| e.op.verb() == "patch").expect("a start");
    let Op::Patch { field, uid, version, .. } = start.op else { panic!("a patch") };
    assert_eq!((field, uid.as_str(), version.as_str()), (Field::Replicas(1), "uid-sts", "201"));
    assert_eq!(start.task, None);
}

#[test]
fn invariant_1_no_start_next_to_a_pod_that_mounts_the_claim() {
    let mut scene = stopped(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    let foreign = object::owned_by(object::pod(&sts, object::PodStage::Pending), None);
    scene.observed.pods = Seen::Present(vec![foreign.clone()]);
    let line = digest::of(&settled(scene.clone()));
    assert!(
        line.contains("pod alice-0 still mounts claim data-alice; the node starts once it is gone"),
        "{line}"
    );
    // One that has ended for good holds nothing.
    let mut done = foreign;
    done.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    scene.observed.pods = Seen::Present(vec![done]);
    assert!(digest::of(&scene).ends_with("replicas 1"));
}

#[test]
fn v2_a_start_that_is_held_back_says_why() {
    let mut scene = stopped(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    let foreign = object::owned_by(object::pod(&sts, object::PodStage::Pending), None);
    scene.observed.pods = Seen::Present(vec![foreign]);
    let ready = digest::condition(&scene, &ConditionType::Ready).expect("seeded");
    assert_eq!(ready.reason, "WaitingForPod");
    assert!(ready.message.starts_with("pod alice-0 still mounts claim data-alice"), "{}", ready.message);
    // Said once.
    let mut scene = settled(scene);
    assert!(matches!(scene.settle(), Some(seinode_core::Decision::Rest(_))), "{}", digest::of(&scene));
}

#[test]
fn l07_unknown_pods_hold_the_start() {
    let mut scene = stopped(node::full());
    scene.observed.pods = Seen::Unknown(Blind::NotSynced);
    let line = digest::of(&settled(scene));
    assert!(line.contains("can't tell about Pods"), "{line}");
}

#[test]
fn what_is_not_ours_is_neither_started_nor_stopped() {
    for owner in
        [None, Some(("sei.io/v1alpha1", "SeiNode", "alice", "old")), Some(("apps/v1", "Other", "x", "y"))]
    {
        let mut scene = stopped(node::full());
        let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
        scene.observed.statefulset = Seen::Present(object::owned_by(sts, owner));
        assert!(effects(&settled(scene.clone())).is_empty());
        scene.node.spec.paused = Some(true);
        assert!(effects(&settled(scene)).is_empty());
    }
}

#[test]
fn w1_no_start_while_a_task_before_it_is_open() {
    for (task_type, starts) in [
        (TaskType::EnsureDataPvc, false),
        (TaskType::ApplyStatefulSet, true),
        (TaskType::ConfigureGenesis, true),
    ] {
        let mut scene = story::at_task(node::full(), &task_type);
        let sts = object::statefulset(&scene.node, &scene.settings.platform, 0);
        scene.observed.statefulset = Seen::Present(sts);
        scene.observed.pods = Seen::Present(Vec::new());
        if task_type == TaskType::EnsureDataPvc {
            scene.observed.data_pvc = Seen::Unknown(Blind::NotSynced);
        }
        let found = effects(&scene).iter().any(|e| matches!(e.op, Op::Patch { .. }));
        assert_eq!(found, starts, "{task_type}: {}", digest::of(&scene));
    }
    let mut bootstrap = story::mid_plan(node::bootstrap(), 3);
    let sts = object::statefulset(&bootstrap.node, &bootstrap.settings.platform, 0);
    bootstrap.observed.statefulset = Seen::Present(sts);
    let starts =
        effects(&bootstrap).iter().any(|e| matches!(e.op, Op::Patch { field: Field::Replicas(1), .. }));
    assert!(!starts, "the StatefulSet waits for the end of the bootstrap");
    let sts = object::statefulset(&bootstrap.node, &bootstrap.settings.platform, 1);
    bootstrap.observed.statefulset = Seen::Present(sts);
    assert!(
        digest::of(&bootstrap).contains("replicas 0"),
        "one that runs is stopped: {}",
        digest::of(&bootstrap)
    );
}

#[test]
fn a_pause_looks_stops_waits_and_only_then_says_paused() {
    let mut scene = story::pausing(node::full());
    assert_eq!(digest::first(&scene), "look Node, StatefulSet");
    assert_eq!(digest::of(&scene), "act, pause 2");

    let mut sts = object::statefulset(&scene.node, &scene.settings.platform, 0);
    let mark = (seinode_core::PAUSED_GENERATION.to_owned(), "2".to_owned());
    sts.metadata.annotations.get_or_insert_default().extend([mark]);
    sts.status.get_or_insert_default().replicas = 1;
    scene.observed.statefulset = Seen::Present(sts.clone());
    let paused = |scene: &Scene| {
        digest::condition(scene, &ConditionType::Paused).map(|c| (c.status.to_string(), c.reason))
    };
    let stopping = Some(("False".to_owned(), "Stopping".to_owned()));
    assert_eq!(paused(&scene), stopping, "the StatefulSet still counts a pod");

    sts.status.get_or_insert_default().replicas = 0;
    scene.observed.statefulset = Seen::Present(sts);
    assert_eq!(paused(&scene), stopping, "W9: the pod is still there");
    scene.observed.pods = Seen::Unknown(Blind::NotSynced);
    assert_eq!(paused(&scene), stopping, "the pods can't be told");
    scene.observed.pods = Seen::Present(Vec::new());
    assert_eq!(paused(&scene), Some(("True".to_owned(), "Paused".to_owned())));
    let line = digest::of(&settled(scene));
    assert_eq!(line, "rest on change: paused by spec.paused; set it to false to go on");
}

#[test]
fn w9_a_pause_is_not_told_from_what_the_caches_lack() {
    let mut scene = story::pausing(node::bootstrap());
    scene.observed.statefulset = Seen::Absent;
    scene.observed.job = Seen::Absent;
    scene.observed.pods = Seen::Present(Vec::new());
    assert_eq!(digest::first(&scene), "look StatefulSet, Job, Pods", "a late cache shows no Job yet");
    let job = seinode_core::render::bootstrap_job(&scene.node, &scene.settings.platform, false);
    scene.observed.job = Seen::Present(object::stored(job.expect("a Job"), "uid-of-job", 77));
    assert_eq!(digest::of(&scene), "act, pause 2", "the live look shows it");
}

#[test]
fn w9_a_failed_node_is_paused_too() {
    let mut scene = story::failed(node::validator());
    scene.node.spec.paused = Some(true);
    scene.observed.statefulset = Seen::Present(object::statefulset(&scene.node, &scene.settings.platform, 1));
    assert_eq!(digest::of(&scene), "act, pause 1");
}

#[test]
fn a_newer_pause_marks_the_statefulset_again() {
    let mut scene = story::pausing(node::full());
    let mut sts = object::statefulset(&scene.node, &scene.settings.platform, 0);
    let mark = (seinode_core::PAUSED_GENERATION.to_owned(), "1".to_owned());
    sts.metadata.annotations.get_or_insert_default().extend([mark]);
    scene.observed.statefulset = Seen::Present(sts);
    assert_eq!(digest::of(&scene), "act, pause 2");
}

#[test]
fn a_paused_node_runs_no_plan() {
    let mut scene = story::at_task(node::full(), &TaskType::ConfigureGenesis);
    scene.node.spec.paused = Some(true);
    assert_eq!(digest::of(&scene), "act, pause 1");
    let mut fresh = story::fresh(node::full());
    fresh.node.spec.paused = Some(true);
    assert_eq!(digest::of(&fresh), "commit none none");
    assert_eq!(
        digest::of(&settled(fresh)),
        "rest on change: paused by spec.paused; set it to false to go on"
    );
}

#[test]
fn a_scale_that_went_wrong_is_tried_again_later() {
    let mut scene = stopped(node::full());
    let effect = effects(&scene).remove(0);
    for (fault, wait) in [
        (Fault::Conflict("moved".to_owned()), "rest 200ms"),
        (Fault::Transient("500".to_owned()), "rest 5000ms"),
        (Fault::Ambiguous("timeout".to_owned()), "rest 5000ms"),
        (Fault::Terminal("403".to_owned()), "rest 5000ms"),
    ] {
        scene.observed.outcomes = vec![Outcome { effect: effect.id.clone(), result: Err(fault) }];
        assert!(digest::of(&scene).starts_with(wait), "{}", digest::of(&scene));
    }
}

#[test]
fn a_paused_imported_claim_is_watched_by_its_own_name() {
    let mut scene = story::pausing(node::importing());
    let mut sts = object::statefulset(&scene.node, &scene.settings.platform, 0);
    let mark = (seinode_core::PAUSED_GENERATION.to_owned(), "2".to_owned());
    sts.metadata.annotations.get_or_insert_default().extend([mark]);
    let stranger = object::owned_by(object::pod(&sts, object::PodStage::Ready), None);
    scene.observed.statefulset = Seen::Present(sts);
    scene.observed.pods = Seen::Present(vec![stranger]);
    let shown = digest::condition(&scene, &ConditionType::Paused).expect("a condition");
    assert_eq!(shown.message, "a pod still mounts claim old-data");
    assert_eq!(scene::noon(), scene.now);
}

#[test]
fn w1_an_inert_job_that_no_plan_wants_is_removed_and_one_that_ran_is_not() {
    let mut scene = settled(story::running(node::bootstrap()));
    let job =
        seinode_core::render::bootstrap_job(&scene.node, &scene.settings.platform, true).expect("a Job");
    let late = object::stored(job, "uid-of-job", 77);
    scene.observed.job = Seen::Present(late.clone());
    assert_eq!(digest::first(&scene.clone().looking([])), "look Node, Job");
    let removed = effects(&scene).into_iter().next().expect("a removal");
    let Op::Delete { target, uid, version } = removed.op else { panic!("a delete") };
    assert_eq!(
        (target.name.as_str(), uid.as_str()),
        (late.metadata.name.as_deref().unwrap_or(""), "uid-of-job")
    );
    assert_eq!(version.map(|v| v.to_string()), late.metadata.resource_version);

    let mut let_go = late.clone();
    let_go.spec.get_or_insert_default().suspend = Some(false);
    scene.observed.job = Seen::Present(let_go);
    assert_eq!(effects(&scene), []);
    scene.observed.job = Seen::Present(object::owned_by(late, None));
    assert_eq!(effects(&scene), []);
}
