//! The rule of sidecar tasks, row by row.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeMap;
use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::{ConditionType, Stamp, TaskType};
use seinode_core::effect::{Fault, Outcome};
use seinode_core::ident::TaskId;
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen, SidecarTask, SidecarTaskStatus};
use serde_json::json;

/// A full node at `configure-genesis` (budget 180) or `config-apply` (budget 0) after so many counted retries.
fn at(task_type: &TaskType, retries: i64) -> Scene {
    let mut scene = story::at_task(node::full(), task_type);
    let task = current(&mut scene, task_type);
    task.retry_count = retries;
    scene
}

fn current<'a>(scene: &'a mut Scene, task_type: &TaskType) -> &'a mut seinode_core::api::StoredTask {
    let plan = scene.node.status.plan.as_mut().expect("a plan");
    plan.tasks.iter_mut().find(|t| t.task_type == *task_type).expect("the task")
}

/// Puts a record under the id of the task.
fn with_record(mut scene: Scene, task_type: &TaskType, change: impl FnOnce(&mut SidecarTask)) -> Scene {
    let task = current(&mut scene, task_type).clone();
    let params = (*task_type == TaskType::ConfigApply)
        .then(|| json!({"mode": "full", "incremental": false, "targetVersion": 0, "overrides": task.params["overrides"]}));
    let mut record = story::record(&task.id, task_type, params, SidecarTaskStatus::Failed, scene::noon());
    change(&mut record);
    let Seen::Present(records) = &mut scene.observed.sidecar_tasks else {
        panic!("a populated world has records")
    };
    records.insert(TaskId::new(&task.id), record);
    scene
}

fn failed(run: i64) -> impl Fn(&mut SidecarTask) {
    move |record| record.run = run
}

const GENESIS: TaskType = TaskType::ConfigureGenesis;

#[test]
fn each_row_of_the_table() {
    let rows: Vec<(&str, Scene, &str)> = vec![
        ("absent", at(&GENESIS, 0), "act, submit configure-genesis"),
        ("absent after retries: the volume was replaced", at(&GENESIS, 3), "act, submit configure-genesis"),
        (
            "running: adopted, polled soon",
            with_record(at(&GENESIS, 0), &GENESIS, |r| r.status = SidecarTaskStatus::Running),
            "rest 100ms: the sidecar is carrying out configure-genesis",
        ),
        (
            "a status of a newer sidecar reads as running",
            with_record(at(&GENESIS, 0), &GENESIS, |r| r.status = SidecarTaskStatus::Unknown),
            "rest 100ms: the sidecar is carrying out configure-genesis",
        ),
        (
            "completed: adopted, and the next task starts",
            with_record(at(&GENESIS, 0), &GENESIS, |r| r.status = SidecarTaskStatus::Completed),
            "act, submit config-apply",
        ),
        (
            "failed, run = k + 1: the retry is stored first",
            with_record(at(&GENESIS, 0), &GENESIS, failed(1)),
            "commit Active Initializing retry 1",
        ),
        (
            "failed, run = k: counted, waits out its back-off",
            with_record(at(&GENESIS, 1), &GENESIS, failed(1)),
            "rest 10000ms: configure-genesis failed and waits for retry 1: disk full",
        ),
        (
            "failed, run < k: waits as long as the count says",
            with_record(at(&GENESIS, 3), &GENESIS, failed(1)),
            "rest 30000ms: configure-genesis failed and waits for retry 3: disk full",
        ),
        (
            "failed, run > k + 1: somebody else ran it, their count is adopted",
            with_record(at(&GENESIS, 0), &GENESIS, failed(7)),
            "commit Active Initializing retry 7",
        ),
        (
            "the last retry",
            with_record(at(&GENESIS, 179), &GENESIS, failed(180)),
            "commit Active Initializing retry 180",
        ),
        ("out of budget", with_record(at(&GENESIS, 180), &GENESIS, failed(181)), "commit Failed Failed"),
        (
            "no budget",
            with_record(at(&TaskType::ConfigApply, 0), &TaskType::ConfigApply, failed(1)),
            "commit Failed Failed",
        ),
        (
            "another type",
            with_record(at(&GENESIS, 0), &GENESIS, |r| r.task_type = "mark-ready".into()),
            "commit Active Initializing",
        ),
        (
            "other params",
            with_record(at(&GENESIS, 0), &GENESIS, |r| r.params = Some(json!({"expectedGenesisHash": "ab"}))),
            "commit Active Initializing",
        ),
        (
            "empty params are none",
            with_record(at(&GENESIS, 0), &GENESIS, |r| {
                r.status = SidecarTaskStatus::Completed;
                r.params = Some(json!({}));
            }),
            "act, submit config-apply",
        ),
    ];
    for (word, scene, expected) in rows {
        assert_eq!(digest::of(&scene), expected, "{word}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn a_record_that_is_not_ours_replaces_the_plan_with_new_ids() {
    let scene = with_record(at(&GENESIS, 0), &GENESIS, |r| r.task_type = "mark-ready".into());
    let mut after = scene.clone();
    let Some(Decision::Commit(commit)) = after.settle() else { panic!("a commit") };
    let (old, new) =
        (scene.node.status.plan.expect("a plan"), commit.write().status.plan.clone().expect("a plan"));
    assert_ne!(old.id, new.id);
    assert_eq!(new.tasks.iter().filter(|t| old.tasks.iter().any(|o| o.id == t.id)).count(), 0);
    let kinds: Vec<_> =
        new.tasks.iter().map(|t| t.task_type.clone()).filter(|t| *t != TaskType::ReplacePod).collect();
    assert_eq!(kinds, old.tasks.iter().map(|t| t.task_type.clone()).collect::<Vec<_>>());
}

#[test]
fn a_retry_starts_when_its_back_off_is_over() {
    let counted = || with_record(at(&GENESIS, 1), &GENESIS, failed(1));
    let after = |s| digest::of(&counted().later(Duration::from_secs(s)));
    assert_eq!(after(9), "rest 1000ms: configure-genesis failed and waits for retry 1: disk full");
    assert_eq!(after(10), "act, submit configure-genesis");
    // A completion that can't be read says nothing: the retry is stored already, so it may start.
    let garbled = with_record(counted(), &GENESIS, |r| r.completed_at = None);
    assert_eq!(digest::of(&garbled), "act, submit configure-genesis");
}

#[test]
fn l15_clock_skew_is_waited_out_up_to_five_minutes() {
    let ended = |ahead: u64| {
        let at_sidecar = scene::noon().checked_add(Duration::from_secs(ahead)).expect("a time");
        with_record(at(&GENESIS, 1), &GENESIS, |r| r.completed_at = Some(Stamp::of(at_sidecar)))
    };
    assert_eq!(
        digest::of(&ended(60)),
        "rest 70000ms: configure-genesis failed and waits for retry 1: disk full"
    );
    assert_eq!(digest::of(&ended(301)), "act, submit configure-genesis");
}

#[test]
fn polls_of_a_running_task_slow_down_to_five_seconds() {
    let running = || with_record(at(&GENESIS, 0), &GENESIS, |r| r.status = SidecarTaskStatus::Running);
    let wait = |s| digest::of(&running().later(Duration::from_secs(s)));
    assert!(wait(0).starts_with("rest 100ms"));
    assert!(wait(4).starts_with("rest 1000ms"));
    // From 10 s on the wait is shown on the object too.
    let mut long = running().later(Duration::from_mins(1));
    let Some(Decision::Commit(commit)) = long.settle() else { panic!("the mark of 30 s") };
    let answer = scene::stored(&long.node, commit.write());
    let (_, rest) = commit.stored(&answer).expect("stored").into_parts();
    assert!(digest::said(&rest).starts_with("rest 5000ms"), "{}", digest::said(&rest));
}

#[test]
fn nobody_is_asked_where_the_pod_tells_that_nobody_is_there() {
    let with_pods = |change: fn(&mut Scene)| {
        let mut scene = at(&GENESIS, 0);
        change(&mut scene);
        digest::first(&scene)
    };
    let none = with_pods(|s| s.observed.pods = Seen::Present(Vec::new()));
    assert_eq!(none, "rest 5000ms: the pod does not exist yet");
    let pending = with_pods(|s| {
        let sts = s.observed.statefulset.present().expect("a StatefulSet").clone();
        s.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Pending)]);
    });
    assert_eq!(pending, "rest 5000ms: pod alice-0: container sei-sidecar does not run yet");
    let unknown = with_pods(|s| s.observed.pods = Seen::Unknown(Blind::Forbidden));
    assert_eq!(unknown, "look SidecarTasks");
    let doubtful = with_pods(|s| s.observed.pods = Seen::Unknown(Blind::NotSynced));
    assert_eq!(doubtful, "look Pods", "what was read is older than what the watch has begun anew with");
    let deleted = with_pods(|s| {
        let Seen::Present(pods) = &mut s.observed.pods else { panic!("pods") };
        let pod = pods.remove(0);
        pods.push(object::deleting(pod, scene::noon()));
    });
    assert_eq!(deleted, "rest 5000ms: pod alice-0 is being deleted");
}

#[test]
fn l07_a_sidecar_that_does_not_answer_is_waited_for() {
    let mut scene = at(&GENESIS, 0);
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    assert_eq!(digest::of(&scene), "rest 100ms: connection refused");
    scene.observed.sidecar_tasks = Seen::Absent;
    assert_eq!(digest::of(&scene), "rest 100ms: the sidecar gave no list of its tasks");
}

#[test]
fn a_submit_that_went_wrong_is_looked_at_again_before_anything_else() {
    let mut scene = at(&GENESIS, 0);
    let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    for fault in [Fault::Ambiguous, Fault::Transient, Fault::Conflict] {
        let result = Err(fault("no route to host".to_owned()));
        scene.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result }];
        assert_eq!(digest::of(&scene), "rest 100ms: no route to host");
    }
}

#[test]
fn s17_a_refusal_is_waited_out_and_fails_the_plan_when_it_lasts() {
    let mut scene = at(&GENESIS, 0);
    let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    let result = Err(Fault::Terminal("400: unknown type".to_owned()));
    scene.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result }];
    let text = "the sidecar does not take configure-genesis: 400: unknown type";
    assert_eq!(digest::of(&scene), format!("rest 100ms: {text}"));
    // The turn of the task is stored with what is shown of the refusal.
    let mut later = scene.later(Duration::from_secs(11));
    let Some(Decision::Commit(commit)) = later.settle() else { panic!("the refusal is shown") };
    let write = commit.write().clone();
    later.store(&write);
    let shown = digest::condition(&later, &ConditionType::Ready).expect("it is stored");
    assert_eq!((shown.reason.as_str(), shown.message.contains(text)), ("SidecarRefused", true));
    // A wait that is called slow is told by its text.
    for reason in ["SidecarRefused", "Slow"] {
        let mut at_last = later.clone().later(Duration::from_mins(11));
        for shown in &mut at_last.node.status.conditions {
            if shown.condition_type == ConditionType::Ready {
                reason.clone_into(&mut shown.reason);
            }
        }
        let result = Err(Fault::Terminal("400: unknown type".to_owned()));
        at_last.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result }];
        assert_eq!(digest::of(&at_last), "commit Failed Failed", "{reason}");
    }
}

#[test]
fn p30_a_submit_that_went_wrong_stores_nothing_and_what_can_not_be_sent_fails_the_plan() {
    let scene = at(&GENESIS, 0);
    let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    let faults: [fn(String) -> Fault; 4] =
        [Fault::Ambiguous, Fault::Transient, Fault::Conflict, Fault::Terminal];
    for fault in faults {
        let mut scene = scene.clone();
        let result = Err(fault("no".to_owned()));
        scene.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result }];
        // No write at all: a rest, after which it is sent again under the same id.
        assert!(matches!(scene.clone().settle(), Some(Decision::Rest(_))), "{}", digest::of(&scene));
        scene.observed.outcomes.clear();
        let again = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
        assert_eq!(again[0], effects[0]);
    }

    // Nothing that could be sent: final, with the detail of P3.
    let mut scene = story::running(node::full());
    let mut plan = story::mark_ready_plan(&scene.node);
    plan.tasks[0].task_type = TaskType::ConfigPatch;
    plan.tasks[0].params = json!({"files": {}});
    let id = plan.tasks[0].id.clone();
    scene.node.status.plan = Some(plan);
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("it fails: {}", digest::of(&scene)) };
    let plan = commit.write().status.plan.clone().expect("a plan");
    assert_eq!((plan.phase.as_str(), plan.failed_task_index), ("Failed", Some(0)));
    assert_eq!(plan.tasks[0].status.as_str(), "Failed");
    let detail = plan.failed_task_detail.expect("a detail");
    assert_eq!((detail.task_type.as_str(), detail.id, detail.retry_count), ("config-patch", id, 0));
    assert!(!detail.error.is_empty());
}

#[test]
fn s16_an_override_that_the_sidecar_does_not_know_fails_the_plan_with_its_text() {
    let text = "unknown config key: no.such.key";
    let kind = TaskType::ConfigApply;
    let mut node = node::full();
    node.spec.overrides = Some([("no.such.key".to_owned(), "1".to_owned())].into());
    let mut scene = story::at_task(node, &kind);
    let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    let sent = serde_json::to_value(&effects[0].op).expect("an op is JSON")["Submit"]["params"].clone();
    assert_eq!(sent["overrides"]["no.such.key"], "1", "the user's word goes to the one who knows the keys");
    // It takes the task and fails it: at once final, since the same input fails again.
    let failing = with_record(scene.clone(), &kind, |r| {
        r.params = Some(sent.clone());
        r.error = Some(text.to_owned());
    });
    let mut failing = failing;
    let Some(Decision::Commit(commit)) = failing.settle() else { panic!("it fails") };
    let status = &commit.write().status;
    assert_eq!(status.phase.as_ref().map(ToString::to_string).as_deref(), Some("Failed"));
    let detail = status.plan.as_ref().and_then(|p| p.failed_task_detail.clone()).expect("a detail");
    assert_eq!(detail.error, text);
    let shown =
        status.conditions.iter().find(|c| c.condition_type == ConditionType::PlanFailed).expect("seeded");
    assert!(shown.message.contains(text), "{}", shown.message);
    // It does not even take it: said in Ready after 10 s.
    let result = Err(Fault::Terminal(format!("400: {text}")));
    scene.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result }];
    let ready =
        digest::condition(&scene.later(Duration::from_secs(11)), &ConditionType::Ready).expect("seeded");
    assert_eq!(ready.reason, "SidecarRefused");
    assert!(ready.message.contains(text), "{}", ready.message);
}

#[test]
fn s17_one_refusal_after_a_long_silence_fails_nothing() {
    for kind in [GENESIS, TaskType::ConfigApply] {
        let scene = at(&kind, 0).later(Duration::from_mins(30));
        let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
        let mut refused = scene;
        let result = Err(Fault::Terminal("400: disk is full".to_owned()));
        refused.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result }];
        assert!(!digest::of(&refused).contains("Failed"), "{kind}: {}", digest::of(&refused));
    }
}

#[test]
fn a_task_fails_once_its_time_is_over_and_not_when_it_is_up() {
    let kind = TaskType::ConfigApply;
    let scene = with_record(at(&kind, 0), &kind, |record| {
        record.status = SidecarTaskStatus::Running;
        record.completed_at = None;
    });
    let after = |seconds| digest::of(&scene.clone().later(Duration::from_secs(seconds)));
    assert!(!after(600).contains("Failed"), "{}", after(600));
    assert!(after(601).contains("Failed"), "{}", after(601));
}

#[test]
fn a_task_of_another_plan_that_was_sent_meanwhile_means_a_new_plan() {
    let at_validate = |sent: &str| {
        let mut scene = story::at_task(node::full(), &TaskType::ConfigValidate);
        let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
        let at = sent.parse().expect("a time");
        let kind = TaskType::ConfigApply;
        let record =
            story::record("other", &kind, Some(json!({"mode": "full"})), SidecarTaskStatus::Completed, at);
        records.insert(TaskId::new("other"), record);
        scene
    };
    let first = scene::noon();
    let before = at_validate(&(first - Duration::from_mins(1)).to_string());
    assert_eq!(digest::of(&before), "act, submit config-validate");
    let mut after = at_validate(&(first + Duration::from_mins(1)).to_string());
    let old = after.node.status.plan.clone().expect("a plan").id;
    let Some(Decision::Commit(commit)) = after.settle() else { panic!("a new plan") };
    assert_ne!(commit.write().status.plan.as_ref().expect("a plan").id, old);
}

#[test]
fn p32_what_does_not_decode_fails_a_plan_that_the_spec_has_no_say_in() {
    let stands_alone = |change: fn(&mut seinode_core::api::StoredTask)| {
        let mut scene = story::running(node::full());
        let mut plan = story::mark_ready_plan(&scene.node);
        change(&mut plan.tasks[0]);
        scene.node.status.plan = Some(plan);
        digest::of(&scene)
    };
    assert_eq!(stands_alone(|t| t.task_type = TaskType::Other("dance".into())), "commit Failed Running");
    let undecodable = stands_alone(|t| {
        t.task_type = GENESIS;
        t.params = json!({"ExpectedGenesisHash": 7});
    });
    assert_eq!(undecodable, "commit Failed Running");
}

#[test]
fn what_the_spec_does_not_ask_for_replaces_a_first_plan() {
    let mut scene = at(&GENESIS, 0);
    current(&mut scene, &GENESIS).params = json!({"ExpectedGenesisHash": 7});
    assert_eq!(digest::of(&scene), "commit Active Initializing");
    let mut scene = at(&GENESIS, 0);
    current(&mut scene, &GENESIS).task_type = TaskType::Other("dance".into());
    assert_eq!(digest::of(&scene), "commit Active Initializing");
}

#[test]
fn l16_params_of_the_go_operator_are_read_in_any_letter_case() {
    let mut scene = story::at_task(node::full_s3(), &TaskType::SnapshotRestore);
    current(&mut scene, &TaskType::SnapshotRestore).params = json!({"targetheight": 1000});
    let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    let shown = serde_json::to_value(&effects[0].op).expect("an op is JSON");
    assert_eq!(shown["Submit"]["params"], json!({"targetHeight": 1000}));
}

#[test]
fn budgets_are_what_is_stored_or_what_the_table_grants() {
    let granted = [
        (node::full_s3(), TaskType::SnapshotRestore, 5),
        (node::full_s3(), TaskType::ConfigureStateSync, 20),
        (node::ceremony(), TaskType::SetGenesisPeers, 20),
        (node::ceremony(), TaskType::UploadGenesisArtifacts, 20),
        (node::ceremony(), TaskType::GenerateGentx, 0),
        (node::full(), TaskType::ConfigValidate, 0),
        (node::full(), TaskType::MarkReady, 0),
    ];
    for (node, task_type, budget) in granted {
        let mut scene = story::at_task(node, &task_type);
        let task = current(&mut scene, &task_type).clone();
        // The params that we send are those of the submit.
        let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
        let params = serde_json::to_value(&effects[0].op).expect("JSON")["Submit"].get("params").cloned();
        for (run, over) in [(budget, false), (budget + 1, true)] {
            if run == 0 {
                continue;
            }
            let mut record =
                story::record(&task.id, &task_type, params.clone(), SidecarTaskStatus::Failed, scene::noon());
            record.run = run;
            scene.observed.sidecar_tasks = Seen::Present(BTreeMap::from([(TaskId::new(&task.id), record)]));
            let line = digest::of(&scene);
            let wanted = if over {
                "commit Failed Failed".to_owned()
            } else {
                format!("commit Active Initializing retry {run}")
            };
            assert_eq!(line, wanted, "{task_type} run {run}");
        }
    }
}

/// The types of the tasks of the plan that the next write stores.
fn planned(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    let Some(Decision::Commit(commit)) = scene.settle() else { return Vec::new() };
    let plan = commit.write().status.plan.clone();
    plan.into_iter().flat_map(|p| p.tasks).map(|t| t.task_type.to_string()).collect()
}

#[test]
fn s09_a_sidecar_that_is_silent_behind_a_ready_proxy_gets_the_other_order() {
    let mut scene = story::running(node::full());
    scene.node.spec.image = "registry.example.net/seid:v7".to_owned();
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("no answer in time".to_owned()));
    let order = |silence| {
        let mut scene = scene.clone();
        scene.observed.silence = Duration::from_secs(silence);
        let tasks = planned(&scene);
        let at = |kind: &str| tasks.iter().position(|t| t == kind);
        (at("config-patch") < at("replace-pod"), tasks.len())
    };
    assert_eq!(order(0), (true, 7), "it answers, as far as is known");
    assert_eq!(order(119), (true, 7));
    assert_eq!(order(120), (false, 7), "it has not for 2 min");

    // The same in the middle of the first order.
    assert!(scene.commit(), "an update");
    let first = scene.node.status.plan.clone().expect("a plan").id;
    scene.observed.silence = Duration::from_mins(2);
    let mut later = scene.clone();
    let Some(Decision::Commit(commit)) = later.settle() else { panic!("another plan") };
    let next = commit.write().status.plan.clone().expect("a plan");
    assert_ne!(next.id, first);
    let kinds: Vec<_> = next.tasks.iter().map(|t| t.task_type.as_str()).collect();
    assert_eq!(kinds.first(), Some(&"apply-statefulset"));
    assert!(
        kinds.iter().position(|k| *k == "replace-pod") < kinds.iter().position(|k| *k == "config-patch"),
        "{kinds:?}"
    );
}

#[test]
fn a_plan_is_not_replaced_while_a_silent_sidecar_may_run_its_task() {
    let mut scene = story::at_task(node::full(), &GENESIS).later(Duration::from_hours(5));
    scene.node.spec.image = "registry.example.net/seid:v7".to_owned();
    scene.node.metadata.generation = Some(2);
    let sts = object::statefulset(&scene.node, &scene.settings.platform, 1);
    scene.node.spec.image = "registry.example.net/seid:v8".to_owned();
    scene.observed.statefulset = Seen::Present(sts);
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("no answer in time".to_owned()));
    let before = scene.node.status.plan.clone().expect("a plan").id;
    let plan = |scene: &Scene| {
        let mut scene = scene.clone();
        match scene.settle() {
            Some(Decision::Commit(commit)) => commit.write().status.plan.clone().expect("a plan").id,
            _ => scene.node.status.plan.expect("a plan").id,
        }
    };
    scene.observed.silence = Duration::from_secs(119);
    assert_eq!(plan(&scene), before, "that the task is current for hours says nothing of the sidecar");
    scene.observed.silence = Duration::from_mins(2);
    assert_ne!(plan(&scene), before);
}
