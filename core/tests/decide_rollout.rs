//! `replace-pod` and `observe-image`, row by row (10.3, 10.4): which pod is old, what is waited for, what is recorded.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use seinode_core::Decision;
use seinode_core::api::{TaskStatus, TaskType};
use seinode_core::effect::{Fault, Op, Outcome};
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen, Topic};

const IMAGE: &str = "registry.example.net/seid:v9";
const SIDECAR: &str = "registry.example.net/seictl:v9";

/// An update of both images is stored, and the tasks before this one are complete. The StatefulSet is at revision `new`,
/// and there is no pod.
fn at(task_type: &TaskType) -> Scene {
    let mut scene = story::running(node::full());
    scene.node.spec.image = IMAGE.into();
    scene.node.spec.sidecar.get_or_insert_default().image = Some(SIDECAR.into());
    scene.node.metadata.generation = Some(2);
    assert!(scene.commit(), "an update");
    let plan = scene.node.status.plan.as_mut().expect("a plan");
    let at = plan.tasks.iter().position(|t| t.task_type == *task_type).expect("the task");
    plan.tasks.iter_mut().take(at).for_each(|task| task.status = TaskStatus::Complete);
    let mut sts = object::statefulset(&scene.node, &scene.settings.platform, 1);
    let status = sts.status.get_or_insert_default();
    status.update_revision = Some("new".into());
    status.current_revision = Some("old".into());
    scene.observed.statefulset = Seen::Present(sts);
    scene.observed.pods = Seen::Present(Vec::new());
    scene
}

fn statefulset(scene: &mut Scene) -> &mut StatefulSet {
    let Seen::Present(sts) = &mut scene.observed.statefulset else { panic!("a StatefulSet") };
    sts
}

/// The pod of the node at this revision; without the label if `None`.
fn pod(scene: &Scene, revision: Option<&str>, stage: object::PodStage) -> Pod {
    let mut pod = object::pod(scene.observed.statefulset.present().expect("a StatefulSet"), stage);
    pod.metadata.labels = revision.map(|r| [("controller-revision-hash".to_owned(), r.to_owned())].into());
    pod
}

fn with(mut scene: Scene, change: impl FnOnce(&mut Scene)) -> Scene {
    change(&mut scene);
    scene
}

/// The node with this pod only.
fn beside(task_type: &TaskType, revision: Option<&str>, stage: object::PodStage) -> Scene {
    let mut scene = at(task_type);
    scene.observed.pods = Seen::Present(vec![pod(&scene, revision, stage)]);
    scene
}

const REPLACE: TaskType = TaskType::ReplacePod;
const OBSERVE: TaskType = TaskType::ObserveImage;
const READY: object::PodStage = object::PodStage::Ready;
const DELETES: &str = "commit Active Running, delete Pod alice-0";

#[test]
fn each_row_of_replace_pod() {
    let rolled = |s: &mut Scene| {
        let status = statefulset(s).status.get_or_insert_default();
        status.current_revision.clone_from(&status.update_revision);
    };
    let rows: Vec<(&str, Scene, &str)> = vec![
        (
            "no StatefulSet",
            with(beside(&REPLACE, Some("old"), READY), |s| s.observed.statefulset = Seen::Absent),
            "rest 5000ms: the StatefulSet does not exist",
        ),
        (
            "its controller has not seen the template",
            with(beside(&REPLACE, Some("old"), READY), |s| statefulset(s).metadata.generation = Some(2)),
            "rest 5000ms: the StatefulSet's new template was not observed by its controller yet",
        ),
        (
            "no update revision yet",
            with(beside(&REPLACE, Some("old"), READY), |s| {
                statefulset(s).status.get_or_insert_default().update_revision = Some(String::new());
            }),
            "rest 5000ms: the StatefulSet's new template was not observed by its controller yet",
        ),
        (
            "more than one replica: final",
            with(beside(&REPLACE, Some("old"), READY), |s| {
                statefulset(s).spec.get_or_insert_default().replicas = Some(2);
            }),
            "commit Failed Running",
        ),
        ("an old pod: its turn is stored, then it goes", beside(&REPLACE, Some("old"), READY), DELETES),
        (
            "W2: the StatefulSet's current revision has no say",
            with(beside(&REPLACE, Some("old"), READY), rolled),
            DELETES,
        ),
        ("S15: no revision label", beside(&REPLACE, None, READY), DELETES),
        (
            "S15: an old pod that is stuck",
            with(beside(&REPLACE, Some("old"), READY), |s| {
                let stuck = object::deleting(pod(s, Some("old"), READY), scene::noon());
                s.observed.pods = Seen::Present(vec![stuck]);
            }),
            "rest 5000ms: pod alice-0 of the old revision is being deleted",
        ),
        (
            "a pod that is not the StatefulSet's is left alone",
            with(beside(&REPLACE, Some("old"), READY), |s| {
                let other =
                    object::owned_by(pod(s, Some("old"), READY), Some(("apps/v1", "ReplicaSet", "x", "y")));
                s.observed.pods = Seen::Present(vec![other]);
            }),
            "rest 5000ms: the pod of the new revision does not exist yet",
        ),
        (
            "no pod: nothing to replace",
            at(&REPLACE),
            "rest 5000ms: the pod of the new revision does not exist yet",
        ),
        (
            "the new pod is there",
            beside(&REPLACE, Some("new"), object::PodStage::Pending),
            "rest 5000ms: pod alice-0: container seid does not run yet",
        ),
        (
            "the pods can't be told",
            with(at(&REPLACE), |s| s.observed.pods = Seen::Unknown(Blind::Forbidden)),
            "rest 1000ms: can't tell about Pods: the server refused the request",
        ),
    ];
    for (word, scene, expected) in rows {
        assert_eq!(digest::of(&scene), expected, "{word}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn s14_a_pod_counts_as_replaced_by_a_live_list_only() {
    let scene = at(&REPLACE);
    let (old, new) = (pod(&scene, Some("old"), READY), pod(&scene, Some("new"), object::PodStage::Pending));
    let cached = [
        ("no pod", Seen::Present(Vec::new())),
        ("none known", Seen::Absent),
        ("not told", Seen::Unknown(Blind::Forbidden)),
        ("the new pod", Seen::Present(vec![new])),
        ("the old pod", Seen::Present(vec![old.clone()])),
    ];
    for (word, pods) in cached {
        let mut scene = scene.clone();
        scene.observed.pods = pods;
        for seen in [vec![], vec![Topic::Pods], vec![Topic::StatefulSet]] {
            let before = scene.clone().looking(seen.clone());
            assert_eq!(digest::first(&before), "look StatefulSet, Pods", "{word}, after a look at {seen:?}");
        }
        // The live list still shows the old one.
        let mut live = scene.looking([Topic::StatefulSet, Topic::Pods]);
        live.observed.pods = Seen::Present(vec![old.clone()]);
        assert_eq!(digest::of(&live), DELETES, "{word}");
        let task = |s: &Scene| {
            let mut s = s.clone();
            let Some(Decision::Commit(commit)) = s.settle() else { panic!("its turn is stored") };
            let plan = commit.write().status.plan.clone().expect("a plan");
            plan.tasks.into_iter().find(|t| t.task_type == REPLACE).expect("the task")
        };
        assert_eq!(task(&live).status, TaskStatus::Pending, "{word}");
        assert!(task(&live).submitted_at.is_some(), "{word}");
    }
}

#[test]
fn l02_the_delete_is_of_the_pod_that_was_seen() {
    let mut scene = beside(&REPLACE, Some("old"), READY);
    let decision = scene.settle().expect("a decision");
    let deletes = law::effects(decision, &scene.node);
    let Op::Delete { uid, .. } = &deletes[0].op else { panic!("a delete") };
    assert_eq!(uid.as_str(), "uid-pod");
    // It went wrong: it is waited for and said, and nothing counts as done.
    for fault in [Fault::Conflict, Fault::Transient, Fault::Ambiguous, Fault::Terminal] {
        let result = Err(fault("no".to_owned()));
        let mut after = beside(&REPLACE, Some("old"), READY);
        after.observed.outcomes = vec![Outcome { effect: deletes[0].id.clone(), result }];
        assert_eq!(digest::of(&after), "rest 5000ms: the pod of the old revision could not be deleted: no");
    }
}

#[test]
fn each_row_of_observe_image() {
    let rows: Vec<(&str, Scene, &str)> = vec![
        (
            "no StatefulSet",
            with(at(&OBSERVE), |s| s.observed.statefulset = Seen::Absent),
            "rest 5000ms: the StatefulSet does not exist",
        ),
        (
            "its controller has not seen the template",
            with(beside(&OBSERVE, Some("new"), READY), |s| statefulset(s).metadata.generation = Some(2)),
            "rest 5000ms: the StatefulSet's new template was not observed by its controller yet",
        ),
        ("no pod", at(&OBSERVE), "rest 5000ms: the pod of the new revision does not exist yet"),
        (
            "the old pod",
            beside(&OBSERVE, Some("old"), READY),
            "rest 5000ms: pod alice-0 is still at the old revision",
        ),
        (
            "S8: the pod exists and runs nothing",
            beside(&OBSERVE, Some("new"), object::PodStage::Pending),
            "rest 5000ms: pod alice-0: container seid does not run yet",
        ),
    ];
    for (word, scene, expected) in rows {
        assert_eq!(digest::of(&scene), expected, "{word}");
        let recorded = scene.node.status.current_image.as_deref();
        assert_eq!(recorded, Some("registry.example.net/seid:v6.3.0"), "{word}");
    }
}

#[test]
fn s08_the_images_are_those_that_the_pod_was_asked_to_run() {
    let mut scene = beside(&OBSERVE, Some("new"), object::PodStage::Sidecar);
    // The dark keeps the walk from going further than this task.
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("dark".into()));
    scene = scene.later(std::time::Duration::from_secs(20));
    let Some(Decision::Commit(commit)) = scene.settle() else {
        panic!("the mark of 10 s: {}", digest::of(&scene))
    };
    let status = &commit.write().status;
    assert_eq!(status.current_image.as_deref(), Some(IMAGE));
    assert_eq!(status.current_sidecar_image.as_deref(), Some(SIDECAR), "both in one write");
}
