//! Writes of a long wait: at 10 s and then at doubled distance, never twice the same mark, none for a quick plan.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeSet;
use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::{ConditionType, TaskType};
use seinode_core::ident::TaskId;
use seinode_core::testkit::toy::Toy;
use seinode_core::testkit::{Scene, digest, node, story};
use seinode_core::world::{Blind, Seen, SidecarTaskStatus};
use serde_json::json;

/// Seconds, of the given ones, at which the waiting scene is worth a write, with the message of the write.
fn marks(scene: &Scene, seconds: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
    let mut scene = scene.clone();
    let start = scene.now;
    let mut out = Vec::new();
    for second in seconds {
        scene.now = start.checked_add(Duration::from_secs(second)).expect("a time");
        scene.observed.looked.clear();
        while let Some(Decision::Commit(commit)) = scene.settle() {
            let write = commit.write().clone();
            let ready = write.status.conditions.iter().find(|c| c.condition_type == ConditionType::Ready);
            out.push((second, ready.map(|c| c.message.clone()).unwrap_or_default()));
            scene.store(&write);
            assert!(out.len() < 100, "no end of writes: {out:#?}");
        }
    }
    out
}

fn waiting() -> Scene {
    let mut scene = story::at_task(node::full(), &TaskType::ConfigureGenesis);
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    scene
}

#[test]
fn l05_marks_stand_at_doubled_distance() {
    let written = marks(&waiting(), 0..2500);
    let at: Vec<u64> = written.iter().map(|(s, _)| *s).collect();
    assert_eq!(at, [10, 30, 70, 150, 310, 630, 1230, 1830, 2430]);
    assert_eq!(written[0].1, "connection refused (for over 10s)");
    assert_eq!(written[8].1, "connection refused (for over 40m30s)");
}

#[test]
fn a_look_that_comes_late_writes_the_last_mark_only() {
    let written = marks(&waiting(), [0, 100, 101, 3600].into_iter());
    assert_eq!(written.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [100, 3600]);
}

#[test]
fn v10_a_reason_that_changes_its_text_is_no_reason_to_write() {
    let mut scene = waiting();
    let start = scene.now;
    let mut writes = Vec::new();
    for second in 0..600 {
        scene.now = start.checked_add(Duration::from_secs(second)).expect("a time");
        scene.observed.looked.clear();
        let text = format!("connection from port {second} refused");
        scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable(text));
        if let Some(Decision::Commit(commit)) = scene.settle() {
            let write = commit.write().clone();
            writes.push(second);
            scene.store(&write);
        }
    }
    assert_eq!(writes, [10, 30, 70, 150, 310]);
}

/// A Running node whose sidecar was restarted and does not answer about its tasks.
fn lost() -> Scene {
    let mut scene = story::running(node::full());
    scene.restart_sidecar();
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    assert!(scene.commit(), "a mark-ready plan");
    scene
}

#[test]
fn v10_a_running_node_writes_each_mark_once_too() {
    let mut scene = lost();
    let start = scene.now;
    let mut writes = Vec::new();
    for second in 0..600 {
        scene.now = start.checked_add(Duration::from_secs(second)).expect("a time");
        scene.observed.looked.clear();
        let text = format!("connection from port {second} refused");
        scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable(text));
        if let Some(Decision::Commit(commit)) = scene.settle() {
            let write = commit.write().clone();
            writes.push(second);
            scene.store(&write);
        }
    }
    assert_eq!(writes, [10, 30, 70, 150, 310]);
}

#[test]
fn v10_a_node_that_serves_writes_each_mark_of_a_repair_once() {
    let mut scene = story::repairing(node::full());
    scene.observed.service = Seen::Unknown(Blind::Forbidden);
    let written = marks(&scene, 0..100);
    assert_eq!(written.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [10, 30, 70], "{written:?}");
    assert!(written[0].1.ends_with("(for over 10s)"), "{written:?}");
}

#[test]
fn v10_what_a_node_that_serves_waits_for_stays_when_something_else_is_written() {
    let message = |scene: &Scene| {
        let conditions = &scene.node.status.conditions;
        conditions.iter().find(|c| c.condition_type == ConditionType::Ready).map(|c| c.message.clone())
    };
    let mut scene = story::repairing(node::full()).later(Duration::from_secs(11));
    scene.observed.service = Seen::Unknown(Blind::Forbidden);
    assert!(scene.commit(), "the first mark");
    let marked = message(&scene);
    assert!(marked.as_ref().is_some_and(|m| m.ends_with("(for over 10s)")), "{marked:?}");
    let mut scene = scene.later(Duration::from_secs(1));
    scene.node.status.endpoint = None;
    assert!(scene.commit(), "the endpoint");
    assert_eq!(message(&scene), marked);
}

#[test]
fn a_quick_plan_makes_no_progress_write() {
    let mut toy = Toy::of(node::full());
    toy.live(200).expect("a full node comes up");
    // The new plan, and its end; what becomes of the pod after that is two more at most.
    assert!(toy.writes <= 4, "{} writes", toy.writes);
}

#[test]
fn l09_a_mark_ready_that_fails_at_once_does_not_spin() {
    let mut toy = Toy::of(node::full());
    toy.live(200).expect("a full node comes up");
    toy.sidecar.failures = [(TaskType::MarkReady, i64::MAX)].into();
    toy.sidecar.restart();
    toy.tick();
    let (before, start) = (toy.writes, toy.now);
    toy.live(400);
    let minutes = toy.now.duration_since(start).as_secs() / 60;
    let writes = toy.writes - before;
    assert!(i64::try_from(writes).expect("few") <= 6 * (minutes + 1), "{writes} writes in {minutes} minutes");
}

/// A node whose update fails in the write it begins in: somebody has scaled it up, which ends every update, and its pod is
/// of an older image.
fn scaled_up() -> Scene {
    let mut scene = story::running(node::full());
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    scene.observed.health = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    scene.observed.silence = Duration::from_mins(5);
    if let (Seen::Present(sts), Seen::Present(pods)) =
        (&mut scene.observed.statefulset, &mut scene.observed.pods)
    {
        sts.spec.as_mut().expect("a spec").replicas = Some(2);
        sts.status.get_or_insert_default().update_revision = Some("new".into());
        let containers = pods.iter_mut().flat_map(|pod| &mut pod.spec.as_mut().expect("a spec").containers);
        containers.for_each(|container| container.image = Some("registry.example.net/seid:old".into()));
    }
    scene
}

/// The seconds of ten minutes at which there was a failure.
fn failures(scene: &mut Scene) -> BTreeSet<u64> {
    let (start, mut writes) = (scene.now, Vec::new());
    for second in 0..600 {
        scene.now = start.checked_add(Duration::from_secs(second)).expect("a time");
        scene.observed.looked.clear();
        while scene.commit() {
            writes.push(second);
            assert!(writes.len() < 40, "no end of writes: {writes:?}");
        }
    }
    writes.into_iter().collect()
}

#[test]
fn l06_an_update_that_fails_at_once_waits_out_its_back_off_each_time() {
    let failures = failures(&mut scaled_up());
    assert!((3..=6).contains(&failures.len()), "minutes lie between failures: {failures:?}");
}

#[test]
fn l06_a_failure_whose_time_can_not_be_read_is_waited_out_too() {
    let mut scene = scaled_up();
    assert!(scene.commit(), "it fails");
    for condition in &mut scene.node.status.conditions {
        condition.last_transition_time = Some(serde_json::from_value(json!("yesterday")).expect("a stamp"));
    }
    let failures = failures(&mut scene);
    assert!((3..=6).contains(&failures.len()), "minutes lie between failures: {failures:?}");
}

#[test]
fn a_wait_is_as_old_as_the_end_of_the_task_before_it_where_that_can_be_told() {
    // What is shown three hours after all of it, of a plan that is stored as far as one task while the sidecar runs another.
    let shown = |stored: &TaskType, current: &TaskType| {
        let mut scene = story::at_task(node::full(), stored);
        let tasks = scene.node.status.plan.clone().expect("a plan").tasks;
        let index = tasks.iter().position(|t| t.task_type == *current).expect("it");
        scene.observed.sidecar_tasks = story::mid_plan(node::full(), index + 1).observed.sidecar_tasks;
        let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
        let record = records.get_mut(&TaskId::new(&tasks[index].id)).expect("a record");
        record.status = SidecarTaskStatus::Running;
        record.completed_at = None;
        scene.now = scene.now.checked_add(Duration::from_hours(3)).expect("a time");
        digest::condition(&scene, &ConditionType::Ready).expect("it is there").message
    };
    let (own, first, second) = (TaskType::ApplyService, TaskType::ConfigureGenesis, TaskType::ConfigApply);
    let rows = [
        ("the operator's own task ends now", shown(&own, &first), "(for over 10s)"),
        ("the end of that is stored", shown(&first, &first), "(for over 2h50m)"),
        (
            "the sidecar tells when the one before ended",
            shown(&first, &second),
            "not done within 10m0s: the sidecar is carrying out config-apply",
        ),
    ];
    for (word, message, wanted) in rows {
        assert!(message.ends_with(wanted), "{word}: {message}");
    }
}

#[test]
fn the_first_task_of_a_stored_plan_has_waited_since_the_plan_began() {
    let mut scene = story::at_task(node::full(), &TaskType::EnsureDataPvc);
    scene.observed.data_pvc = Seen::Unknown(Blind::Forbidden);
    scene.now = scene.now.checked_add(Duration::from_hours(3)).expect("a time");
    let message = digest::condition(&scene, &ConditionType::Ready).expect("it is there").message;
    assert!(message.ends_with("(for over 2h50m)"), "{message}");
}

#[test]
fn a_mark_that_is_shown_before_the_turn_is_stored_is_written_with_it() {
    let mut scene = waiting();
    for shown in &mut scene.node.status.conditions {
        if shown.condition_type == ConditionType::Ready {
            shown.message = "connection refused (for over 10s)".into();
        }
    }
    let mut later = scene.later(Duration::from_secs(11));
    let Some(Decision::Commit(commit)) = later.settle() else { panic!("{}", digest::of(&later)) };
    let tasks = commit.write().status.plan.clone().expect("a plan").tasks;
    let current = tasks.iter().find(|t| t.task_type == TaskType::ConfigureGenesis).expect("it");
    assert!(current.submitted_at.is_some());
}

#[test]
fn l10_every_wait_says_what_it_waits_for() {
    let line = digest::of(&waiting());
    assert_eq!(line, "rest 100ms: connection refused");
}

#[test]
fn l15_a_sidecar_whose_clock_is_ahead_makes_no_task_look_old() {
    // The restore took three hours by the stored stamps, and has ended a minute from now by the sidecar's clock.
    let mut scene = story::at_task(node::full_s3(), &TaskType::ConfigureGenesis);
    scene.now = scene.now.checked_add(Duration::from_hours(3)).expect("a time");
    let soon = scene.now.checked_add(Duration::from_mins(1)).expect("a time");
    let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
    for record in records.values_mut() {
        record.completed_at = Some(seinode_core::api::Stamp::of(soon));
    }
    let line = digest::of(&scene);
    assert_eq!(line, "act, submit configure-genesis");
    scene.observed.sidecar_tasks = Seen::Present(records_with_running(&scene, &TaskType::ConfigureGenesis));
    assert_eq!(
        digest::of(&scene),
        "rest 100ms: the sidecar is carrying out configure-genesis",
        "no mark of three hours"
    );
}

/// The records of the scene, and one that runs.
fn records_with_running(
    scene: &Scene,
    task_type: &TaskType,
) -> std::collections::BTreeMap<TaskId, seinode_core::world::SidecarTask> {
    let mut records = scene.observed.sidecar_tasks.present().expect("records").clone();
    let plan = scene.node.status.plan.as_ref().expect("a plan");
    let id = &plan.tasks.iter().find(|t| t.task_type == *task_type).expect("the task").id;
    let status = SidecarTaskStatus::Running;
    records.insert(TaskId::new(id), story::record(id, task_type, None, status, scene.now));
    records
}

#[test]
fn l07_a_time_limit_does_not_start_from_before_the_dark() {
    // The restore took three hours; the sidecar went away before the start of the next task was stored.
    let mut scene = story::at_task(node::full_s3(), &TaskType::ConfigApply);
    scene.now = scene.now.checked_add(Duration::from_hours(3)).expect("a time");
    scene.observed.pods = Seen::Present(Vec::new());
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::NotAsked);
    let written = marks(&scene, [0, 300, 599].into_iter());
    assert!(written.iter().all(|(_, message)| message.contains("the pod does not exist yet")), "{written:?}");
    // Ten minutes of it are the limit, from when it was seen.
    let line = |seconds| {
        let mut scene = scene.clone();
        let Some(Decision::Commit(commit)) = scene.settle() else { panic!("the first mark") };
        let write = commit.write().clone();
        scene.store(&write);
        digest::of(&scene.later(Duration::from_secs(seconds)))
    };
    assert!(line(580).starts_with("commit Active"), "{}", line(580));
    assert_eq!(line(600), "commit Failed Failed");
}
