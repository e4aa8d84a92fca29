//! Events: which writes they follow (17), and that nothing else brings them.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use seinode_core::api::{ConditionType, NodePhase, TaskType};
use seinode_core::effect::Op;
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Health, Registry, Seen};

/// The world of a Running node whose pod has come to this stage.
fn at_stage(stage: object::PodStage) -> Scene {
    let mut scene = story::running(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, stage)]);
    scene.observed.health = Seen::Present(Health::NotReady);
    scene
}

fn after_write(mut scene: Scene) -> Scene {
    scene.commit();
    scene
}

#[test]
fn a_first_plan_tells_its_phase() {
    assert_eq!(digest::events(&story::fresh(node::full())), ["PhaseTransition"]);
}

#[test]
fn a_failed_plan_tells_phase_failure_and_reason() {
    let mut scene = story::at_task(node::full(), &TaskType::EnsureDataPvc);
    let claim = scene.observed.data_pvc.present().expect("a claim").clone();
    scene.observed.data_pvc = Seen::Present(object::owned_by(claim, None));
    assert_eq!(digest::events(&scene), ["PhaseTransition", "NodeFailed", "PlanFailed"]);
    assert_eq!(digest::events(&after_write(scene)), Vec::<String>::new(), "V8: once");
}

#[test]
fn readiness_of_the_sidecar_is_told_when_lost_and_when_back() {
    let lost = at_stage(object::PodStage::Sidecar);
    assert_eq!(digest::events(&lost), ["SidecarReadinessLost"]);
    let mut back = after_write(lost);
    let sts = back.observed.statefulset.present().expect("a StatefulSet").clone();
    back.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Ready)]);
    let plan = back.node.status.plan.clone().expect("a mark-ready plan");
    let record = story::record(
        &plan.tasks[0].id,
        &TaskType::MarkReady,
        None,
        seinode_core::world::SidecarTaskStatus::Completed,
        scene::noon(),
    );
    back.observed.sidecar_tasks =
        Seen::Present([(seinode_core::ident::TaskId::new(&record.id), record)].into());
    assert_eq!(digest::events(&back), ["SidecarReadinessRestored"]);
}

#[test]
fn v11_readiness_is_restored_also_by_way_of_unknown() {
    let mut dark = at_stage(object::PodStage::Sidecar);
    dark.observed.health = Seen::Unknown(Blind::Unreachable("refused".into()));
    let mut dark = after_write(dark);
    let shown = digest::condition(&dark, &ConditionType::SidecarReady).expect("a condition");
    assert_eq!((shown.status.as_str(), shown.reason.as_str()), ("Unknown", "Unreachable"));
    let sts = dark.observed.statefulset.present().expect("a StatefulSet").clone();
    dark.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Ready)]);
    assert_eq!(digest::events(&dark), ["SidecarReadinessRestored"]);
}

#[test]
fn a_closed_gate_is_told_once() {
    let mut scene = story::fresh(node::full_s3());
    if let Some(snapshot) = scene.node.spec.full_node.as_mut().and_then(|n| n.snapshot.as_mut()) {
        snapshot.rpc_servers = None;
    }
    scene.observed.registry = Registry::Entries(Vec::new());
    assert_eq!(digest::events(&scene), ["StateSyncBlocked"]);
    let mut scene = after_write(scene);
    assert_eq!(digest::events(&scene), Vec::<String>::new());
    scene.observed.registry = Registry::Unreadable("no such file".into());
    assert_eq!(digest::events(&scene), ["StateSyncBlocked"], "another reason is told again");
}

#[test]
fn l01_events_come_only_behind_a_write_and_name_the_version() {
    let mut scene = story::fresh(node::full());
    let Some(decision @ seinode_core::Decision::Commit(_)) = scene.settle() else { panic!("a commit") };
    let events: Vec<_> =
        law::effects(decision, &scene.node).into_iter().filter(|e| matches!(e.op, Op::Announce(_))).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].id.as_str(), "event/100/PhaseTransition");
    assert_eq!(scene.node.status.phase, None::<NodePhase>);
}

#[test]
fn a_steady_node_tells_nothing() {
    assert_eq!(digest::events(&story::running(node::archive())), Vec::<String>::new());
}

/// What the next write is told of: type, reason and text.
fn told(scene: &Scene) -> Vec<(bool, &'static str, String)> {
    let mut scene = scene.clone();
    let effects = scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default();
    let notices = effects.into_iter().filter_map(|e| match e.op {
        Op::Announce(notice) => Some((notice.warning, notice.reason, notice.message)),
        _ => None,
    });
    notices.collect()
}

/// A node that starts with a snapshot and knows no witnesses but those of this registry.
fn blocked(registry: Registry) -> Scene {
    let mut scene = story::fresh(node::full_s3());
    if let Some(snapshot) = scene.node.spec.full_node.as_mut().and_then(|n| n.snapshot.as_mut()) {
        snapshot.rpc_servers = None;
    }
    scene.observed.registry = registry;
    scene
}

#[test]
fn each_event_of_the_contract_has_its_type_and_says_what() {
    let failing = {
        let mut scene = story::at_task(node::full(), &TaskType::EnsureDataPvc);
        let claim = scene.observed.data_pvc.present().expect("a claim").clone();
        scene.observed.data_pvc = Seen::Present(object::owned_by(claim, None));
        scene
    };
    let back = {
        let mut scene = after_write(at_stage(object::PodStage::Sidecar));
        scene.node.status.plan = None;
        let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
        scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Ready)]);
        scene
    };
    let rows: Vec<(Scene, bool, &str, &[&str])> = vec![
        (story::fresh(node::full()), false, "PhaseTransition", &["from none to Initializing"]),
        (failing.clone(), false, "PhaseTransition", &["from Initializing to Failed"]),
        (failing.clone(), true, "NodeFailed", &["needs attention", "PlanFailed"]),
        (failing, true, "PlanFailed", &["task ensure-data-pvc", "data-alice"]),
        (at_stage(object::PodStage::Sidecar), true, "SidecarReadinessLost", &["restarted"]),
        (back, false, "SidecarReadinessRestored", &["lets seid run"]),
        (
            blocked(Registry::Entries(Vec::new())),
            true,
            "StateSyncBlocked",
            &["atlantic-2", "0 of at least 2"],
        ),
        (
            blocked(Registry::Unreadable("permission denied".into())),
            true,
            "StateSyncBlocked",
            &["can't be read", "permission denied"],
        ),
    ];
    for (scene, warning, reason, words) in rows {
        let told = told(&scene);
        let found = told.iter().find(|(_, r, _)| *r == reason);
        let (is_warning, _, message) = found.unwrap_or_else(|| panic!("{reason} is not among {told:?}"));
        assert_eq!(*is_warning, warning, "{reason}");
        for word in words {
            assert!(message.contains(word), "{reason}: {message}");
        }
    }
}

#[test]
fn a_deletion_is_told_by_nothing_but_the_phase() {
    assert_eq!(digest::events(&story::deleting(node::full())), Vec::<String>::new());
}

#[test]
fn lost_readiness_is_told_once_and_restored_readiness_only_where_it_was_lost() {
    let lost = after_write(at_stage(object::PodStage::Sidecar));
    // Lost already: another pass, and another day, tell nothing of it.
    assert_eq!(digest::events(&lost), Vec::<String>::new());
    let mut again = lost.later(std::time::Duration::from_hours(24));
    again.node.status.plan = None;
    assert_eq!(digest::events(&again), Vec::<String>::new());
    // Never lost: the first answer of a node's life is no return.
    let mut first = story::at_task(node::full(), &TaskType::MarkReady);
    let sts = first.observed.statefulset.present().expect("a StatefulSet").clone();
    first.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Ready)]);
    let plan = first.node.status.plan.clone().expect("a plan");
    let task = plan.tasks.iter().find(|t| t.task_type == TaskType::MarkReady).expect("the task");
    let done = seinode_core::world::SidecarTaskStatus::Completed;
    let record = story::record(&task.id, &TaskType::MarkReady, None, done, scene::noon());
    let Seen::Present(records) = &mut first.observed.sidecar_tasks else { panic!("records") };
    records.insert(seinode_core::ident::TaskId::new(&record.id), record);
    assert_eq!(digest::events(&first), ["PhaseTransition"]);
}

#[test]
fn a_child_that_can_not_be_rendered_is_said_on_the_object_and_not_in_each_pass() {
    let mut scene = story::at_task(node::full(), &TaskType::ApplyStatefulSet);
    scene.settings.platform.images.kube_rbac_proxy = String::new();
    scene.observed.statefulset = Seen::Absent;
    scene = scene.later(std::time::Duration::from_secs(11));
    let ready = digest::condition(&scene, &ConditionType::Ready).expect("a condition");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "RenderFailed"));
    assert!(ready.message.contains("images.kubeRBACProxy"), "{}", ready.message);
    assert_eq!(digest::events(&scene), Vec::<String>::new());
    assert_eq!(digest::events(&after_write(scene)), Vec::<String>::new());
}
