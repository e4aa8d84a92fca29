//! The workflow slot (`seinode.md` 15), row by row: one that has a node is run to its end, or released.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use seinode_core::Decision;
use seinode_core::api::workflow::{FINALIZER, FORCE, Workflow};
use seinode_core::api::{ConditionType, TaskType};
use seinode_core::effect::{Effect, Op, WorkflowChange};
use seinode_core::ident::TaskId;
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen, SidecarTaskStatus};
use serde_json::{Value, json};

/// A workflow that has the node, and a plan whose first `done` tasks are complete; without a plan if `None`.
fn workflow(done: Option<usize>) -> Workflow {
    let kinds = ["mark-not-ready", "stop-seid", "reset-data", "configure-state-sync", "mark-ready"];
    let task = |(at, kind): (usize, &&str)| {
        let params = if at == 3 {
            json!({"UseLocalSnapshot": false, "TrustPeriod": "", "BackfillBlocks": 0, "RpcServers": ["b:1", "a:1"]})
        } else {
            json!({})
        };
        let status = if done.is_some_and(|done| at < done) { "Complete" } else { "Pending" };
        json!({"type": kind, "id": format!("task-{at}"), "status": status, "params": params})
    };
    let tasks: Vec<Value> = kinds.iter().enumerate().map(task).collect();
    let mut stored = json!({
        "metadata": {"name": "resync", "namespace": "alpha", "uid": "uid-w", "resourceVersion": "9", "generation": 1,
                     "finalizers": ["example.net/other", FINALIZER]},
        "spec": {"kind": "StateSync", "target": {"nodeRef": {"name": "n"}}, "stateSync": {"rpcServers": ["b:1", "a:1"]}},
        "status": {"phase": "Running", "targetFirstObservedAt": "2026-01-02T03:04:05Z"},
    });
    if done.is_some() {
        stored["status"]["plan"] = json!({"id": "plan-w", "phase": "Active", "tasks": tasks});
    }
    object::parse(stored)
}

/// A Running node that the workflow has.
fn occupied(workflow: Workflow) -> Scene {
    let mut scene = story::running(node::full());
    scene.node.status.adopted_workflow =
        Some(json!({"name": "resync", "uid": "uid-w", "adoptedAt": "2026-01-02T03:04:05Z"}));
    scene.observed.workflows = Seen::Present(vec![workflow]);
    while let Some(Decision::Commit(commit)) = scene.settle() {
        let write = commit.write().clone();
        if write.status.adopted_workflow.is_none() {
            break;
        }
        scene.store(&write);
    }
    scene
}

fn record(scene: &mut Scene, id: &str, kind: &TaskType, status: SidecarTaskStatus) {
    let params = (*kind == TaskType::ConfigureStateSync).then(|| json!({"rpcServers": ["b:1", "a:1"]}));
    let record = story::record(id, kind, params, status, scene::noon());
    match &mut scene.observed.sidecar_tasks {
        Seen::Present(records) => records.insert(TaskId::new(id), record),
        other => panic!("a running node has records: {other:?}"),
    };
}

fn effects(scene: &Scene) -> Vec<Effect> {
    let mut scene = scene.clone();
    scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default()
}

fn status(scene: &Scene) -> Value {
    let written = effects(scene).into_iter().find_map(|e| match e.op {
        Op::Workflow(write) => match write.change {
            WorkflowChange::Status(status) => Some(status),
            WorkflowChange::Finalizers(_) => None,
        },
        _ => None,
    });
    written.unwrap_or(Value::Null)
}

fn shown(scene: &Scene, kind: &ConditionType) -> (String, String) {
    let c = digest::condition(scene, kind).expect("a condition");
    (c.reason, c.message)
}

fn deleted(mut workflow: Workflow) -> Workflow {
    workflow.metadata.deletion_timestamp = Some(object::parse(json!("2026-01-02T03:04:05Z")));
    workflow
}

#[test]
fn each_task_is_stored_then_sent_and_the_end_releases_the_node() {
    let mut scene = occupied(workflow(Some(0)));
    assert_eq!(
        digest::of(&scene),
        "act, workflow progress, submit mark-not-ready",
        "its turn is stored first"
    );
    let kinds = [
        TaskType::MarkNotReady,
        TaskType::StopSeid,
        TaskType::ResetData,
        TaskType::ConfigureStateSync,
        TaskType::MarkReady,
    ];
    for (at, kind) in kinds.iter().enumerate() {
        record(&mut scene, &format!("task-{at}"), kind, SidecarTaskStatus::Completed);
        let next = kinds.get(at + 1).map_or_else(
            || "act, workflow Complete".to_owned(),
            |next| format!("act, workflow progress, submit {next}"),
        );
        assert_eq!(digest::of(&scene), next);
    }
    let ended = status(&scene);
    assert_eq!((&ended["phase"], &ended["plan"]["phase"]), (&json!("Complete"), &json!("Complete")));
    assert_eq!(ended.get("targetFirstObservedAt"), None, "what is not ours stays");
    assert_eq!(digest::events(&scene), ["WorkflowComplete"]);

    let mut done = workflow(Some(5));
    done.status.plan.as_mut().expect("a plan").phase = seinode_core::api::PlanPhase::Complete;
    let scene = occupied(done.clone());
    assert_eq!(digest::of(&scene), r#"act, workflow finalizers ["example.net/other"]"#);
    done.metadata.finalizers = Some(vec!["example.net/other".to_owned()]);
    assert_eq!(released(&occupied(done)), (true, "NoWorkflow".to_owned()));
}

/// Whether the next write gives the node back, and the reason it shows.
fn released(scene: &Scene) -> (bool, String) {
    let mut scene = scene.clone();
    let Some(Decision::Commit(commit)) = scene.settle() else { return (false, String::new()) };
    let reason = shown(&scene, &ConditionType::WorkflowInProgress).0;
    (commit.write().status.adopted_workflow.is_none(), reason)
}

#[test]
fn what_has_gone_or_goes_by_force_releases_the_node() {
    let gone = {
        let mut scene = occupied(workflow(Some(2)));
        scene.observed.workflows = Seen::Present(Vec::new());
        scene
    };
    assert_eq!(released(&gone), (true, "NoWorkflow".to_owned()));
    let mut other = workflow(Some(2));
    other.metadata.uid = Some("uid-of-the-next".to_owned());
    assert!(released(&occupied(other)).0, "another one of the same name");
    let mut unmarked = deleted(workflow(Some(2)));
    unmarked.metadata.finalizers = Some(vec!["example.net/other".to_owned()]);
    assert!(released(&occupied(unmarked)).0);

    let held = occupied(deleted(workflow(Some(2))));
    let (reason, message) = shown(&held, &ConditionType::WorkflowInProgress);
    assert_eq!(reason, "WorkflowFailedHeld");
    assert!(message.contains("annotate the workflow with sei.io/force-delete-workflow=true"), "{message}");
    assert_eq!(shown(&held, &ConditionType::Ready).0, "WorkflowOccupied");
    assert!(digest::of(&held).starts_with("rest 30000ms"), "{}", digest::of(&held));

    let mut forced = deleted(workflow(Some(2)));
    forced.metadata.annotations = Some([(FORCE.to_owned(), "yes".to_owned())].into());
    let scene = occupied(forced.clone());
    assert_eq!(digest::of(&scene), r#"act, workflow finalizers ["example.net/other"]"#);
    assert_eq!(digest::events(&scene), ["WorkflowForceDeleted"]);
    // D18: also while the node is paused.
    let mut paused = occupied(forced);
    paused.node.spec.paused = Some(true);
    paused.observed.statefulset = Seen::Absent;
    paused.observed.pods = Seen::Present(Vec::new());
    while paused.commit() {}
    assert_eq!(digest::of(&paused), r#"act, workflow finalizers ["example.net/other"]"#);
}

#[test]
fn what_can_not_be_told_keeps_the_node() {
    for unseen in [Seen::Absent, Seen::Unknown(Blind::Forbidden)] {
        let mut scene = occupied(workflow(Some(2)));
        scene.observed.workflows = unseen;
        assert!(!released(&scene).0);
        assert_eq!(shown(&scene, &ConditionType::Ready).0, "WorkflowOccupied");
    }
}

#[test]
fn s27_a_plan_that_can_not_be_made_yet_is_waited_for() {
    let mut bare = workflow(None);
    bare.spec.state_sync.as_mut().expect("a recipe").rpc_servers.clear();
    let scene = occupied(bare.clone());
    assert_eq!(status(&scene), Value::Null, "it does not fail");
    let line = digest::of(&scene);
    assert!(line.starts_with("rest 30000ms") && line.contains("it needs 2 witnesses"), "{line}");
    let mut named = scene;
    named.node.status.resolved_state_syncers = vec!["a:1".into(), "b:1".into()];
    let line = digest::of(&named);
    assert!(line.ends_with("workflow progress"), "{line}");

    // What the Go operator leaves behind in that case: Failed without a plan. Nothing was done to the node.
    bare.status.phase = Some("Failed".to_owned());
    assert_eq!(digest::of(&occupied(bare)), r#"act, workflow finalizers ["example.net/other"]"#);
}

#[test]
fn a_plan_is_made_as_the_contract_has_it() {
    let mut migrating = workflow(None);
    let sync = migrating.spec.state_sync.as_mut().expect("a recipe");
    sync.migration = Some(object::parse(json!({"kind": "GigaStore", "gigaStore": {"backend": "rocksdb"}})));
    let plan = &status(&occupied(migrating))["plan"];
    let tasks: Vec<_> = plan["tasks"].as_array().into_iter().flatten().map(|t| &t["type"]).collect();
    let kinds =
        ["mark-not-ready", "stop-seid", "reset-data", "config-patch", "configure-state-sync", "mark-ready"];
    assert_eq!(tasks, kinds);
    assert_eq!(
        plan["tasks"][3]["params"],
        json!({"files": {"app.toml": {
            "state-store": {"ss-enable": true, "evm-ss-split": true, "ss-backend": "rocksdb"},
            "state-commit": {"sc-enable": true},
        }}})
    );
    assert_eq!(
        plan["tasks"][4]["params"]["RpcServers"],
        json!(["b:1", "a:1"]),
        "in the order they were given"
    );
    assert_eq!(plan.get("targetPhase"), None);
}

#[test]
fn a_failure_holds_the_node_and_names_the_remedy() {
    let mut scene = occupied(workflow(Some(2)));
    record(&mut scene, "task-2", &TaskType::ResetData, SidecarTaskStatus::Failed);
    assert_eq!(digest::of(&scene), "act, workflow progress", "a retry is stored before it is made");
    let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
    records.get_mut(&TaskId::new("task-2")).expect("a record").run = 21;
    assert_eq!(digest::of(&scene), "act, workflow Failed");
    assert_eq!(digest::events(&scene), ["WorkflowFailed"]);

    let mut failed = workflow(Some(2));
    failed.status.plan.as_mut().expect("a plan").phase = seinode_core::api::PlanPhase::Failed;
    let scene = occupied(failed);
    let (reason, message) = shown(&scene, &ConditionType::WorkflowInProgress);
    assert_eq!(reason, "WorkflowFailedHeld");
    assert!(message.contains("delete the workflow with annotation"), "{message}");
}

#[test]
fn a_paused_node_runs_no_workflow() {
    let mut scene = occupied(workflow(Some(1)));
    scene.node.spec.paused = Some(true);
    assert!(!digest::of(&scene).contains("workflow"), "{}", digest::of(&scene));
}

#[test]
fn a_deleted_node_leaves_no_workflow_behind() {
    let mut scene = story::deleting(node::full());
    scene.observed.data_pvc = Seen::Absent;
    scene.observed.workflows = Seen::Present(vec![workflow(Some(5))]);
    let mut line = digest::of(&scene);
    while let Some(Decision::Commit(commit)) = scene.settle() {
        let write = commit.write().clone();
        scene.store(&write);
        line = digest::of(&scene);
    }
    assert_eq!(line, r#"act, workflow finalizers ["example.net/other"]"#);
    for nothing in [Seen::Absent, Seen::Present(Vec::new())] {
        scene.observed.workflows = nothing;
        assert_eq!(digest::of(&scene), "act, finalizers []");
    }
    scene.observed.workflows = Seen::Unknown(Blind::Forbidden);
    assert!(digest::of(&scene).starts_with("rest 2000ms"), "{}", digest::of(&scene));
}

#[test]
fn p05_phases_in_the_plan_of_a_workflow_move_no_node() {
    use seinode_core::api::{NodePhase, PlanPhase};
    let with_phases = |done| {
        let mut workflow = workflow(Some(done));
        let plan = workflow.status.plan.as_mut().expect("a plan");
        plan.target_phase = Some(NodePhase::Terminating);
        plan.failed_phase = Some(NodePhase::Failed);
        workflow
    };
    // Its last task is complete; its third has failed for good; and both ends as stored.
    let mut completing = occupied(with_phases(4));
    record(&mut completing, "task-4", &TaskType::MarkReady, SidecarTaskStatus::Completed);
    assert_eq!(digest::of(&completing), "act, workflow Complete");
    let mut failing = occupied(with_phases(2));
    record(&mut failing, "task-2", &TaskType::ResetData, SidecarTaskStatus::Failed);
    let Seen::Present(records) = &mut failing.observed.sidecar_tasks else { panic!("records") };
    records.get_mut(&TaskId::new("task-2")).expect("a record").run = 21;
    assert_eq!(digest::of(&failing), "act, workflow Failed");
    let mut scenes = vec![completing, failing];
    for (done, end) in [(5, PlanPhase::Complete), (2, PlanPhase::Failed)] {
        let mut ended = with_phases(done);
        ended.status.plan.as_mut().expect("a plan").phase = end;
        scenes.push(occupied(ended));
    }
    for mut scene in scenes {
        for _ in 0..4 {
            match scene.settle() {
                Some(Decision::Commit(commit)) => {
                    let write = commit.write().clone();
                    assert_eq!(write.status.phase, Some(NodePhase::Running));
                    scene.store(&write);
                }
                _ => break,
            }
        }
        assert_eq!(scene.node.status.phase, Some(NodePhase::Running));
        assert_eq!(digest::events(&scene).iter().filter(|e| *e == "PhaseTransition").count(), 0);
    }
}

#[test]
fn s28_a_workflow_that_asks_for_a_phase_keeps_no_node_waiting() {
    let asking = |phase: &str| {
        let mut json = serde_json::to_value(workflow(None)).expect("a workflow is JSON");
        json["spec"]["target"]["requirePhase"] = json!(phase);
        json["spec"]["target"]["phaseTimeout"] = json!("5m");
        json["status"] = json!({});
        object::parse::<Workflow>(json)
    };
    for phase in ["Running", "Failed", "Initializing"] {
        // It is for the node, and does not have it: nothing waits, and an update goes on as without it.
        let mut scene = story::running(node::full());
        scene.observed.workflows = Seen::Present(vec![asking(phase)]);
        assert!(digest::of(&scene).starts_with("rest on change"), "{phase}: {}", digest::of(&scene));
        scene.node.spec.image = "registry.example.net/seid:v9".into();
        assert!(digest::of(&scene).starts_with("commit Active Running"), "{phase}: {}", digest::of(&scene));
        // It has the node: it is run to its end, whatever phase it asked for.
        let mut adopted = asking(phase);
        adopted.status = workflow(Some(0)).status;
        let scene = occupied(adopted);
        assert_eq!(digest::of(&scene), "act, workflow progress, submit mark-not-ready", "{phase}");
    }
    // The one wait for a plan has three ways out: witnesses, a deletion, a failure.
    let mut bare = asking("Failed");
    bare.spec.state_sync.as_mut().expect("a recipe").rpc_servers.clear();
    let waiting = occupied(bare.clone());
    assert!(digest::of(&waiting).starts_with("rest 30000ms"), "{}", digest::of(&waiting));
    assert_eq!(shown(&waiting, &ConditionType::Ready).0, "WorkflowOccupied", "and it is said");
    let mut known = waiting;
    known.node.status.resolved_state_syncers = vec!["a:1".into(), "b:1".into()];
    assert_eq!(digest::of(&known), "act, workflow Running", "its plan is stored");
    let mut failed = bare.clone();
    failed.status.phase = Some("Failed".to_owned());
    for over in [deleted(bare), failed] {
        assert_eq!(digest::of(&occupied(over)), r#"act, workflow finalizers ["example.net/other"]"#);
    }
}

#[test]
fn a_workflow_has_a_node_that_is_failed_or_starts_to_itself_too() {
    let adopted = json!({"name": "resync", "uid": "uid-w", "adoptedAt": "2026-01-02T03:04:05Z"});
    let scenes: [fn() -> Scene; 2] = [|| story::failed(node::full()), || story::mid_plan(node::full(), 2)];
    for scene in scenes {
        let mut scene = scene();
        scene.node.status.adopted_workflow = Some(adopted.clone());
        scene.observed.workflows = Seen::Present(vec![workflow(Some(0))]);
        let before = scene.node.status.plan.clone();
        let decision = scene.settle().expect("a decision");
        if let Decision::Commit(commit) = &decision {
            assert_eq!(commit.write().status.plan, before, "the node's own plan stands still");
        }
        let effects = law::effects(decision, &scene.node);
        let is_its_own = |task: &TaskId| task.as_str().starts_with("task-");
        assert!(effects.iter().all(|e| e.task.as_ref().is_none_or(is_its_own)), "{effects:?}");
        assert!(effects.iter().any(|e| matches!(e.op, Op::Workflow(_))), "it goes on: {effects:?}");
    }
}
