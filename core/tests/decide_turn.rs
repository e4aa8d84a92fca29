//! S24: an update that a new default asks for waits for its turn; nothing else does.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::status::StoredPlan;
use seinode_core::api::{ConditionType, PlanPhase, SeiNode, Stamp, TaskType};
use seinode_core::testkit::{Scene, digest, node, object, scene, story};
use seinode_core::turn;
use seinode_core::world::{Blind, Health, Seen, Topic, Turn};

const NEW_SIDECAR: &str = "registry.example.net/sidecar:v99";

/// A Running validator after the operator was started with another default.
fn outdated() -> Scene {
    let mut scene = story::running(node::validator());
    NEW_SIDECAR.clone_into(&mut scene.settings.platform.images.sidecar);
    scene
}

fn with(mut scene: Scene, turn: Seen<Turn>) -> Scene {
    scene.observed.turn = turn;
    scene
}

fn others() -> Seen<Turn> {
    Seen::Present(Turn::Others(vec!["alpha/one".to_owned(), "beta/two".to_owned()]))
}

fn shown(scene: &Scene) -> (String, String) {
    let c = digest::condition(scene, &ConditionType::NodeUpdateInProgress).expect("a condition");
    (c.reason, c.message)
}

#[test]
fn s24_a_new_default_waits_for_its_turn() {
    let mut unasked = outdated();
    unasked.observed.looked.remove(&Topic::Turn);
    assert_eq!(digest::first(&unasked), "look Turn");
    assert_eq!(shown(&with(outdated(), Seen::Present(Turn::Own))).0, "UpdateStarted");

    let waiting = with(outdated(), others());
    assert_eq!(
        shown(&waiting),
        (
            "WaitingForTurn".to_owned(),
            "the update to the new default waits for its turn: alpha/one, beta/two first".to_owned()
        )
    );
    // Once that is stored nothing is written, whoever it is that comes first.
    let mut stored = waiting;
    while stored.commit() {}
    stored.observed.turn = Seen::Present(Turn::Others(vec!["alpha/three".to_owned()]));
    assert!(digest::of(&stored).starts_with("rest 5000ms: the update"), "{}", digest::of(&stored));
    let dark = with(stored.clone(), Seen::Unknown(Blind::Forbidden));
    assert!(digest::of(&dark).starts_with("rest 5000ms: whose turn"), "{}", digest::of(&dark));
    // The default is taken back.
    stored.settings.platform = story::running(node::validator()).settings.platform;
    assert_eq!(shown(&stored).0, "NoUpdate");
}

#[test]
fn s24_what_a_user_asks_of_a_node_does_not_wait() {
    let mut image = with(outdated(), others());
    image.node.spec.image = "registry.example.net/seid:v7".to_owned();
    assert_eq!(shown(&image).0, "UpdateStarted");
    let mut named = with(story::running(node::validator()), others());
    named.node.spec.sidecar.get_or_insert_default().image = Some(NEW_SIDECAR.to_owned());
    assert_eq!(shown(&named).0, "UpdateStarted");
}

#[test]
fn s24_a_node_that_does_not_run_is_not_made_to_wait() {
    let mut gone = with(outdated(), others());
    gone.observed.pods = Seen::Present(Vec::new());
    assert_eq!(shown(&gone).0, "UpdateStarted");
    let mut pending = with(outdated(), others());
    let sts = pending.observed.statefulset.present().expect("a StatefulSet").clone();
    pending.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Pending)]);
    assert_eq!(shown(&pending).0, "UpdateStarted");
}

fn tasks(scene: &Scene) -> Vec<TaskType> {
    scene.node.status.plan.iter().flat_map(|p| &p.tasks).map(|t| t.task_type.clone()).collect()
}

/// The same world once the next status write is stored.
fn stored(mut scene: Scene) -> Scene {
    let Some(Decision::Commit(commit)) = scene.settle() else {
        panic!("nothing to store: {}", digest::of(&scene))
    };
    let write = commit.write().clone();
    scene.store(&write);
    scene
}

/// Its sidecar was restarted: seid stands still until that is told again to let it run.
fn restarted(mut scene: Scene) -> Scene {
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Sidecar)]);
    scene.observed.health = Seen::Present(Health::NotReady);
    scene
}

/// A plan of it has failed just now.
fn fail(scene: &mut Scene, plan: fn(&SeiNode) -> StoredPlan) {
    let mut failed = plan(&scene.node);
    failed.phase = PlanPhase::Failed;
    scene.node.status.plan = Some(failed);
    let now = Stamp::of(scene.now);
    for c in &mut scene.node.status.conditions {
        let (status, reason) = match &c.condition_type {
            ConditionType::PlanFailed => ("True", "TaskFailed"),
            ConditionType::RetryHandled => ("False", "PlanFailed"),
            _ => continue,
        };
        (c.status, c.reason) = (status.to_owned().into(), reason.to_owned());
        c.last_transition_time = Some(now.clone());
    }
}

#[test]
fn s24_a_mark_ready_plan_is_not_replaced_before_the_turn_has_come() {
    let mut scene = stored(restarted(story::running(node::validator())));
    assert_eq!(tasks(&scene), [TaskType::MarkReady]);
    NEW_SIDECAR.clone_into(&mut scene.settings.platform.images.sidecar);

    let mut unasked = with(scene.clone(), others());
    unasked.observed.looked = [Topic::Health].into();
    assert_eq!(digest::first(&unasked), "look Turn");
    let waiting = with(scene.clone(), others());
    assert_eq!(shown(&waiting).0, "WaitingForTurn");
    assert_eq!(tasks(&stored(waiting)), [TaskType::MarkReady], "it goes on");
    let own = stored(with(scene, Seen::Present(Turn::Own)));
    assert!(tasks(&own).contains(&TaskType::ObserveImage), "{:?}", tasks(&own));
}

#[test]
fn s24_who_waits_for_a_turn_is_kept_alive_meanwhile() {
    let waiting = stored(with(outdated(), others()));
    assert_eq!(shown(&waiting).0, "WaitingForTurn");
    assert_eq!(tasks(&stored(restarted(waiting.clone()))), [TaskType::MarkReady]);
    let mut robbed = waiting;
    robbed.observed.service = Seen::Absent;
    // The StatefulSet has another sidecar than is rendered now, and keeps it until the update.
    assert_eq!(tasks(&stored(robbed)), [TaskType::ApplyService]);
}

#[test]
fn who_waits_out_the_back_off_of_an_update_is_marked_ready_meanwhile() {
    let mut scene = with(outdated(), Seen::Present(Turn::Own));
    fail(&mut scene, |node| story::update_plan(node, true));
    assert!(digest::of(&scene).contains("the last plan failed"), "{}", digest::of(&scene));
    let mut marking = stored(restarted(scene));
    assert_eq!(tasks(&marking), [TaskType::MarkReady]);
    marking = restarted(marking).later(Duration::from_secs(10));
    assert!(!digest::of(&marking).contains("replac"), "the update still waits: {}", digest::of(&marking));
    marking = marking.later(Duration::from_mins(1));
    let updating = stored(marking);
    assert!(tasks(&updating).contains(&TaskType::ObserveImage), "{:?}", tasks(&updating));
}

#[test]
fn a_mark_ready_that_failed_waits_itself() {
    let mut scene = restarted(story::running(node::validator()));
    fail(&mut scene, story::mark_ready_plan);
    let waiting = stored(scene);
    assert!(digest::of(&waiting).contains("the last plan failed"), "{}", digest::of(&waiting));
}

#[test]
fn s24_a_node_that_keeps_the_others_waiting_does_not_wait_itself() {
    let mut scene = with(outdated(), others());
    for c in &mut scene.node.status.conditions {
        match &c.condition_type {
            ConditionType::NodeUpdateInProgress => {
                c.status = "False".to_owned().into();
                c.reason = "UpdateFailed".to_owned();
            }
            ConditionType::Ready => c.status = "False".to_owned().into(),
            _ => {}
        }
    }
    assert!(turn::occupies(&scene.node, scene.now));
    assert_eq!(shown(&scene).0, "UpdateStarted");
}

#[test]
fn who_keeps_the_others_waiting() {
    let started = {
        let mut scene = with(outdated(), Seen::Present(Turn::Own));
        let Some(Decision::Commit(commit)) = scene.settle() else { panic!("an update") };
        scene::stored(&scene.node, commit.write())
    };
    let now = scene::noon();
    let later = now.checked_add(Duration::from_mins(6)).expect("a time");
    let changed = |change: &dyn Fn(&mut SeiNode)| {
        let mut node = started.clone();
        change(&mut node);
        node
    };
    let with_conditions = |reason: &'static str, ready: bool| {
        changed(&move |node: &mut SeiNode| {
            for c in &mut node.status.conditions {
                match &c.condition_type {
                    ConditionType::NodeUpdateInProgress => {
                        c.status = "False".to_owned().into();
                        c.reason = reason.to_owned();
                    }
                    ConditionType::Ready => {
                        c.status = if ready { "True" } else { "False" }.to_owned().into();
                    }
                    _ => {}
                }
            }
        })
    };
    let rows = vec![
        ("under way", started.clone(), now, true),
        ("under way, however long", started.clone(), later, true),
        ("paused", changed(&|n| n.spec.paused = Some(true)), now, false),
        ("deleted", object::deleting(started.clone(), now), now, false),
        ("done and Ready", with_conditions("UpdateComplete", true), now, false),
        ("done, not Ready yet", with_conditions("UpdateComplete", false), now, true),
        ("done, not Ready for long", with_conditions("UpdateComplete", false), later, false),
        ("failed, not Ready yet", with_conditions("UpdateFailed", false), now, true),
        ("failed, not Ready for long", with_conditions("UpdateFailed", false), later, true),
        ("failed, and its old pod serves", with_conditions("UpdateFailed", true), now, false),
        ("never updated", with_conditions("NoUpdate", false), now, false),
        ("waits itself", with_conditions("WaitingForTurn", true), now, false),
    ];
    for (word, node, at, expected) in rows {
        assert_eq!(turn::occupies(&node, at), expected, "{word}");
    }
}
