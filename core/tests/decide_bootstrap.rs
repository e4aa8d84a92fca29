//! The tasks of a bootstrap, row by row (10): its Service, its Job, its end and its removal.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use seinode_core::api::{ConditionType, Stamp, TaskStatus, TaskType};
use seinode_core::effect::{Fault, Op, Outcome};
use seinode_core::render;
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen, Topic};
use serde_json::{Value, json};

/// The bootstrap plan is at this task; the bootstrap's Service and Job are there, its pod runs, and no StatefulSet exists.
fn at(task_type: &TaskType) -> Scene {
    let mut scene = story::at_task(node::bootstrap(), task_type);
    let job = job(&scene, &json!({}));
    scene.observed.pods = Seen::Present(vec![pod(&job, &json!({}))]);
    scene.observed.job = Seen::Present(job);
    scene.observed.service = Seen::Present(service(&scene));
    scene.observed.statefulset = Seen::Absent;
    scene
}

fn service(scene: &Scene) -> Service {
    object::stored(render::bootstrap_service(&scene.node), "uid-service", 202)
}

fn job(scene: &Scene, status: &Value) -> Job {
    let job = render::bootstrap_job(&scene.node, &scene.settings.platform, false).expect("a Job");
    let mut job = object::stored(job, "uid-job", 207);
    job.status = object::parse(status.clone());
    job
}

/// A Job at this end.
fn ended(scene: &Scene, kind: &str) -> Job {
    job(scene, &json!({"conditions": [{"type": kind, "status": "True", "message": "it says why"}]}))
}

/// The pod of the Job, with this status.
fn pod(job: &Job, status: &Value) -> Pod {
    let spec = job.spec.as_ref().and_then(|s| s.template.spec.clone());
    let mut pod: Pod = object::parse(json!({
        "metadata": {
            "name": "alice-bootstrap-x", "namespace": "lab", "uid": "uid-pod", "resourceVersion": "206",
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "alice-bootstrap", "uid": "uid-job", "controller": true,
            }],
        },
        "status": {"phase": "Running"},
    }));
    let mut whole = serde_json::to_value(pod.status.take()).expect("a status is JSON");
    seinode_core::patch::apply(&mut whole, status);
    pod.status = object::parse(whole);
    pod.spec = spec;
    pod
}

fn with(mut scene: Scene, change: impl FnOnce(&mut Scene)) -> Scene {
    change(&mut scene);
    scene
}

fn starts_as(rows: Vec<(&str, Scene, &str)>) {
    for (word, scene, expected) in rows {
        let line = digest::of(&scene);
        assert!(line.starts_with(expected), "{word}: {line}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

const EARLIER: Option<(&str, &str, &str, &str)> = Some(("sei.io/v1alpha1", "SeiNode", "alice", "old"));

#[test]
fn each_row_of_the_service() {
    let task = &TaskType::DeployBootstrapService;
    let with_service = |service: Option<Service>| {
        with(at(task), |s| {
            s.observed.service = service.map_or(Seen::Absent, Seen::Present);
            s.observed.job = Seen::Absent;
            s.observed.pods = Seen::Present(Vec::new());
        })
    };
    let ours = || service(&at(task));
    starts_as(vec![
        ("absent: made", with_service(None), "act, apply Service"),
        ("ours: the Job follows", with_service(Some(ours())), "act, apply Job"),
        (
            "S13: of somebody else",
            with_service(Some(object::owned_by(ours(), None))),
            "rest 15000ms: Service alice exists and is not controlled by this node",
        ),
        (
            "of an earlier node",
            with_service(Some(object::owned_by(ours(), EARLIER))),
            "rest 15000ms: Service alice belongs to an earlier node",
        ),
    ]);
}

#[test]
fn each_row_of_the_job() {
    let task = &TaskType::DeployBootstrapJob;
    let with_job = |job: Option<Job>| {
        with(at(task), |s| {
            s.observed.job = job.map_or(Seen::Absent, Seen::Present);
            s.observed.pods = Seen::Present(Vec::new());
        })
    };
    let ours = || job(&at(task), &json!({}));
    starts_as(vec![
        ("absent: made", with_job(None), "act, apply Job"),
        ("ours: it is never changed", with_job(Some(ours())), "rest 5000ms: the pod does not exist yet"),
        (
            "S13: of somebody else",
            with_job(Some(object::owned_by(ours(), Some(("apps/v1", "Other", "x", "y"))))),
            "rest 15000ms: Job alice-bootstrap exists and is not controlled by this node",
        ),
        (
            "of an earlier node",
            with_job(Some(object::owned_by(ours(), EARLIER))),
            "rest 15000ms: Job alice-bootstrap belongs to an earlier node",
        ),
        (
            "being deleted",
            with_job(Some(object::deleting(ours(), scene::noon()))),
            "rest 15000ms: Job alice-bootstrap is being deleted",
        ),
        (
            "can't be told",
            with(at(task), |s| s.observed.job = Seen::Unknown(Blind::Forbidden)),
            "rest 1000ms: can't tell about Job",
        ),
    ]);
    let decision = with_job(None).settle().expect("a decision");
    let made = law::effects(decision, &at(task).node);
    let Op::Apply { manifest, .. } = &made[0].op else { panic!("an apply") };
    let json = manifest.to_json();
    assert_eq!(json["spec"]["suspend"], true, "W1: it is let go by another write, after a look at all pods");
    let text = json.to_string();
    assert!(!text.contains("\"secret\"") && !text.contains("secretKeyRef"), "it has no Secret: {text}");
}

#[test]
fn each_row_of_its_end() {
    let task = &TaskType::AwaitBootstrapComplete;
    let end = |kind: &str, status: Value| {
        with(at(task), |s| {
            let job = ended(s, kind);
            s.observed.pods = Seen::Present(vec![pod(&job, &status)]);
            s.observed.job = Seen::Present(job);
        })
    };
    let exit = |code: i32| {
        json!({"phase": "Failed", "containerStatuses": [{
            "name": "seid", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code}},
        }]})
    };
    let evicted = json!({"phase": "Failed", "reason": "Evicted"});
    starts_as(vec![
        ("it runs", at(task), "rest 5000ms: the bootstrap Job runs"),
        (
            "it can't be told",
            with(at(task), |s| s.observed.job = Seen::Unknown(Blind::Forbidden)),
            "rest 1000ms: can't tell about Job",
        ),
        (
            "it is of somebody else",
            with(at(task), |s| {
                let job = object::owned_by(ended(s, "Complete"), None);
                s.observed.job = Seen::Present(job);
            }),
            "rest 15000ms: Job alice-bootstrap exists and is not controlled by this node",
        ),
        ("Failed, and seid ended by itself: final", end("Failed", exit(1)), "commit Failed Failed"),
        (
            "S13: Failed by an eviction: what is left of it goes first",
            end("Failed", evicted),
            "commit Active Initializing, delete Job alice-bootstrap",
        ),
        (
            "W6: gone, its end unseen: what is left of it goes first",
            with(at(task), |s| {
                s.observed.job = Seen::Absent;
                s.observed.pods = Seen::Present(Vec::new());
            }),
            "commit Active Initializing, delete Service alice",
        ),
        (
            "Complete: stored before anything is removed",
            end("Complete", json!({"phase": "Succeeded"})),
            "commit Active Initializing, delete Job alice-bootstrap",
        ),
    ]);
    let stored = |mut scene: Scene| {
        let Some(seinode_core::Decision::Commit(commit)) = scene.settle() else { panic!("it is stored") };
        let plan = commit.write().status.plan.clone().expect("a plan");
        plan.tasks.into_iter().find(|t| t.task_type == *task).expect("the task").status
    };
    let complete = end("Complete", json!({"phase": "Succeeded"}));
    assert_eq!(stored(complete), TaskStatus::Complete, "W6: its end is stored with the first removal");
    let lost = end("Failed", json!({"phase": "Failed", "reason": "Evicted"}));
    assert_eq!(stored(lost), TaskStatus::Pending, "S13: what was lost has not ended");

    let mut failed = end("Failed", exit(1));
    let Some(seinode_core::Decision::Commit(commit)) = failed.settle() else { panic!("it fails") };
    let detail = commit.write().status.plan.clone().and_then(|p| p.failed_task_detail).expect("a detail");
    assert_eq!(detail.error, "the bootstrap ended with exit code 1: it says why");
}

#[test]
fn each_row_of_its_removal() {
    let task = &TaskType::TeardownBootstrap;
    let row = |change: fn(&mut Scene)| with(at(task), change);
    let no_job = |s: &mut Scene| s.observed.job = Seen::Absent;
    starts_as(vec![
        ("the Job first", row(|_| {}), "act, delete Job alice-bootstrap"),
        (
            "S10: an accepted delete is no absence",
            row(|s| {
                let Seen::Present(job) = s.observed.job.clone() else { panic!("a Job") };
                s.observed.job = Seen::Present(object::deleting(job, scene::noon()));
            }),
            "rest 5000ms: the bootstrap Job is being deleted",
        ),
        ("then the Service", with(at(task), no_job), "act, delete Service alice"),
        (
            "which has to be gone too",
            row(|s| {
                s.observed.job = Seen::Absent;
                s.observed.service = Seen::Present(object::deleting(service(s), scene::noon()));
            }),
            "rest 5000ms: the bootstrap Service is being deleted",
        ),
        (
            "S10: the pod is still there",
            row(|s| {
                s.observed.job = Seen::Absent;
                s.observed.service = Seen::Absent;
            }),
            "rest 5000ms: pod alice-bootstrap-x still mounts claim data-alice",
        ),
        (
            "the pods can't be told",
            row(|s| {
                s.observed.job = Seen::Absent;
                s.observed.service = Seen::Absent;
                s.observed.pods = Seen::Unknown(Blind::Forbidden);
            }),
            "rest 5000ms: can't tell about Pods",
        ),
        (
            "all gone: the node's own objects follow, and that is stored at once",
            row(|s| {
                s.observed.job = Seen::Absent;
                s.observed.service = Seen::Absent;
                s.observed.pods = Seen::Present(Vec::new());
            }),
            "commit Active Initializing, apply StatefulSet",
        ),
        (
            "what is not ours stays",
            row(|s| {
                let Seen::Present(job) = s.observed.job.clone() else { panic!("a Job") };
                s.observed.job = Seen::Present(object::owned_by(job, None));
                s.observed.service = Seen::Present(object::owned_by(service(s), None));
                s.observed.pods = Seen::Present(Vec::new());
            }),
            "commit Active Initializing, apply StatefulSet",
        ),
    ]);
    let scene = at(task);
    let deletes = law::effects(scene.clone().settle().expect("a decision"), &scene.node);
    let Op::Delete { uid, .. } = &deletes[0].op else { panic!("a delete") };
    assert_eq!(uid.as_str(), "uid-job");
    let result = Err(Fault::Transient("500".to_owned()));
    let mut refused = scene;
    refused.observed.outcomes = vec![Outcome { effect: deletes[0].id.clone(), result }];
    assert_eq!(digest::of(&refused), "rest 5000ms: Job alice-bootstrap could not be deleted: 500");
}

#[test]
fn w3_a_job_that_can_not_start_is_made_anew_for_another_image() {
    let state = |name: &str, state: &Value| json!({"name": name, "ready": false, "image": "", "imageID": "", "restartCount": 0, "state": state});
    let waiting = |task: &TaskType, init: &Value, seid: &Value| {
        with(at(task), |s| {
            let job = job(s, &json!({}));
            let status = json!({
                "initContainerStatuses": [state("seid-init", init), state("sei-sidecar", &json!({"running": {}}))],
                "containerStatuses": [state("seid", seid)],
            });
            s.observed.pods = Seen::Present(vec![pod(&job, &status)]);
            s.observed.looked = [Topic::Node, Topic::Neighbourhood, Topic::Job, Topic::Pods].into();
            let snapshot =
                s.node.spec.full_node.as_mut().and_then(|f| f.snapshot.as_mut()).expect("a snapshot");
            snapshot.bootstrap_image = Some("registry.example.net/seid:corrected".to_owned());
        })
    };
    let (typo, runs) = (json!({"waiting": {"reason": "ImagePullBackOff"}}), json!({"running": {}}));
    let done = json!({"terminated": {"exitCode": 0}});
    let (restore, teardown) = (&TaskType::SnapshotRestore, &TaskType::TeardownBootstrap);
    let rows = vec![
        ("it can't be pulled", waiting(restore, &typo, &json!({"waiting": {}})), true),
        ("it runs", waiting(restore, &done, &runs), false),
        ("it has run", waiting(restore, &done, &done), false),
        ("the bootstrap is over", waiting(teardown, &typo, &typo), false),
    ];
    for (word, scene, anew) in rows {
        let mut scene = scene;
        let effects = scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default();
        let deletes = effects
            .iter()
            .any(|e| matches!(&e.op, Op::Delete { target, .. } if target.name == "alice-bootstrap"));
        let tears_down = word == "the bootstrap is over";
        assert_eq!(deletes, anew || tears_down, "{word}: {}", digest::of(&scene));
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn an_edit_after_the_end_of_a_bootstrap_replaces_the_plan_although_no_sidecar_answers() {
    let edited = |change: fn(&mut Scene)| {
        with(at(&TaskType::TeardownBootstrap), |s| {
            s.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("connection refused".into()));
            s.observed.pods = Seen::Present(Vec::new());
            change(s);
            s.edit(|node| node.spec.overrides = Some([("evm.max_tx".to_owned(), "1".to_owned())].into()));
        })
    };
    let rows = vec![
        ("the Job has completed", edited(|s| s.observed.job = Seen::Present(ended(s, "Complete")))),
        ("the Job is gone", edited(|s| s.observed.job = Seen::Absent)),
    ];
    for (word, mut scene) in rows {
        let plan = |scene: &Scene| scene.node.status.plan.as_ref().map(|p| p.id.clone());
        let before = plan(&scene);
        assert!(scene.commit(), "{word}: {}", digest::of(&scene));
        assert_ne!(plan(&scene), before, "{word}");
        let tasks = scene.node.status.plan.iter().flat_map(|p| &p.tasks);
        let types: Vec<_> = tasks.map(|t| t.task_type.as_str()).collect();
        assert!(types.contains(&"teardown-bootstrap"), "{word}: {types:?}");
        assert!(!types.contains(&"deploy-bootstrap-job"), "{word}: {types:?}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

/// Whoever deletes a Job without its pod leaves a pod that is nobody's: it is not ours to delete, so it has to be told.
#[test]
fn v2_a_pod_that_a_removed_job_has_left_is_told_of_at_once() {
    let mut scene = at(&TaskType::SnapshotRestore);
    let noon = scene.now;
    scene.node.status.plan.iter_mut().flat_map(|p| &mut p.tasks).for_each(|task| {
        if task.task_type == TaskType::SnapshotRestore {
            task.submitted_at = Some(Stamp::of(noon));
        }
    });
    scene.now = noon.checked_add(Duration::from_secs(45)).expect("a time");
    assert!(scene.commit(), "the first mark of the wait for the task");
    if let Seen::Present(pods) = &mut scene.observed.pods {
        for pod in pods {
            pod.metadata.owner_references = None;
        }
    }
    scene.observed.job = Seen::Absent;
    scene.observed.service = Seen::Absent;
    assert!(scene.commit(), "what is waited for now is another thing");
    let ready = digest::condition(&scene, &ConditionType::Ready).expect("it is there");
    assert!(ready.message.contains("alice-bootstrap-x still mounts claim data-alice"), "{ready:?}");
    assert!(!scene.commit(), "once");
}
