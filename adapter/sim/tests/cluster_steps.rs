//! The controllers alone, step by step, with pods moved by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use seinode_sim::cluster::Cluster;
use seinode_sim::store::{Clock, DeleteOptions, Kind, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

struct Bench {
    store: Store,
    cluster: Cluster,
}

fn bench() -> Bench {
    let store = Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let cluster = Cluster::new(&store);
    Bench { store, cluster }
}

impl Bench {
    fn get(&self, kind: Kind, name: &str) -> Arc<Value> {
        self.store.get(kind, "ns", name).unwrap()
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        self.store.get(kind, "ns", name).is_ok()
    }

    fn settle(&mut self) {
        self.cluster.settle();
        let version = self.store.version();
        self.cluster.settle();
        assert_eq!(self.store.version(), version, "a settled cluster writes nothing");
    }

    fn set(&mut self, image: &str) {
        let set = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "n", "namespace": "ns"},
            "spec": {
                "replicas": 1,
                "serviceName": "n",
                "selector": {"matchLabels": {"sei.io/node": "n"}},
                "updateStrategy": {"type": "OnDelete"},
                "template": {
                    "metadata": {"labels": {"sei.io/node": "n"}, "annotations": {"a": "b"}},
                    "spec": {"containers": [{"name": "seid", "image": image}]},
                },
            },
        });
        let done = self.store.apply(Kind::StatefulSet, "ns", "n", &set, true);
        done.unwrap();
        self.settle();
    }

    fn pod_becomes(&mut self, name: &str, phase: &str, ready: bool) {
        let ready = if ready { "True" } else { "False" };
        let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        self.store.update_status(Kind::Pod, "ns", name, &status).unwrap();
        self.settle();
    }

    fn revision_of_pod(&self) -> String {
        let pod = self.get(Kind::Pod, "n-0");
        pod["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap().to_owned()
    }

    fn status(&self) -> Value {
        self.get(Kind::StatefulSet, "n")["status"].clone()
    }

    /// A count in the status; the server leaves zeros out.
    fn count(&self, field: &str) -> u64 {
        self.status()[field].as_u64().unwrap_or(0)
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        self.store.delete(kind, "ns", name, &DeleteOptions::default()).unwrap();
        self.settle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_statefulset_gets_its_pod_with_everything_on_it() {
    let mut bench = bench();
    bench.set("v1");
    let pod = bench.get(Kind::Pod, "n-0");
    let set = bench.get(Kind::StatefulSet, "n");
    let revision = set["status"]["updateRevision"].as_str().unwrap();
    assert!(revision.starts_with("n-"));
    assert_eq!(
        pod["metadata"]["labels"],
        json!({
            "sei.io/node": "n",
            "apps.kubernetes.io/pod-index": "0",
            "controller-revision-hash": revision,
            "statefulset.kubernetes.io/pod-name": "n-0",
        })
    );
    assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"]);
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("n-0"), &json!("n")));
    assert_eq!(bench.count("replicas"), 1);
    assert_eq!(bench.count("readyReplicas"), 0);
    bench.pod_becomes("n-0", "Running", true);
    assert_eq!(bench.count("readyReplicas"), 1);
}

#[tokio::test(start_paused = true)]
async fn on_delete_replaces_only_what_is_deleted_and_never_moves_current() {
    let mut bench = bench();
    bench.set("v1");
    bench.pod_becomes("n-0", "Running", true);
    let first = bench.revision_of_pod();
    bench.set("v2");
    let second = bench.status()["updateRevision"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(bench.revision_of_pod(), first, "the pod stays");
    let status = bench.status();
    assert_eq!((bench.count("updatedReplicas"), bench.count("currentReplicas")), (0, 1));
    assert_eq!(status["observedGeneration"], bench.get(Kind::StatefulSet, "n")["metadata"]["generation"]);
    bench.delete(Kind::Pod, "n-0");
    assert_eq!(bench.revision_of_pod(), second);
    bench.pod_becomes("n-0", "Running", true);
    let status = bench.status();
    assert_eq!((bench.count("updatedReplicas"), bench.count("currentReplicas")), (1, 0));
    assert_eq!(status["currentRevision"], first.as_str());
    bench.set("v1");
    assert_eq!(bench.status()["updateRevision"], first.as_str(), "an equal template is the same revision");
    assert_eq!(bench.revision_of_pod(), second);
    let revisions = bench.store.list(Kind::ControllerRevision, Some("ns"));
    let numbers: Vec<_> = revisions.iter().map(|one| one["revision"].as_i64().unwrap()).collect();
    assert_eq!(numbers.iter().max(), Some(&3));
    assert_eq!(numbers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn zero_replicas_remove_the_pod_and_failed_pods_are_replaced() {
    let mut bench = bench();
    bench.set("v1");
    let uid = bench.get(Kind::Pod, "n-0")["metadata"]["uid"].clone();
    bench.pod_becomes("n-0", "Failed", false);
    assert_ne!(bench.get(Kind::Pod, "n-0")["metadata"]["uid"], uid);
    let scale = |replicas: u64| json!({"spec": {"replicas": replicas}});
    bench.store.merge_patch(Kind::StatefulSet, "ns", "n", &scale(0)).unwrap();
    bench.settle();
    assert!(!bench.has(Kind::Pod, "n-0"));
    assert_eq!(bench.count("replicas"), 0);
    bench.store.merge_patch(Kind::StatefulSet, "ns", "n", &scale(1)).unwrap();
    bench.settle();
    assert!(bench.has(Kind::Pod, "n-0"));
}

#[tokio::test(start_paused = true)]
async fn a_terminating_pod_is_waited_for() {
    let mut bench = bench();
    bench.set("v1");
    bench.store.merge_patch(Kind::Pod, "ns", "n-0", &json!({"spec": {"nodeName": "host-0"}})).unwrap();
    bench.pod_becomes("n-0", "Running", true);
    let uid = bench.get(Kind::Pod, "n-0")["metadata"]["uid"].clone();
    bench.delete(Kind::Pod, "n-0");
    assert_eq!(bench.get(Kind::Pod, "n-0")["metadata"]["uid"], uid);
    assert_eq!((bench.count("replicas"), bench.count("updatedReplicas")), (1, 0));
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    bench.store.delete(Kind::Pod, "ns", "n-0", &now).unwrap();
    bench.settle();
    assert_ne!(bench.get(Kind::Pod, "n-0")["metadata"]["uid"], uid);
}

#[tokio::test(start_paused = true)]
async fn deleting_the_set_takes_everything_with_it() {
    let mut bench = bench();
    bench.set("v1");
    bench.delete(Kind::StatefulSet, "n");
    assert!(!bench.has(Kind::Pod, "n-0"));
    assert!(bench.store.list(Kind::ControllerRevision, None).is_empty());
}

fn job(bench: &mut Bench, spec: &Value) -> String {
    let mut job = json!({
        "metadata": {"name": "n-bootstrap", "namespace": "ns"},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 3600,
            "template": {"spec": {"containers": [{"name": "seid", "image": "v1"}], "restartPolicy": "Never"}},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    bench.store.create(Kind::Job, job).unwrap();
    bench.settle();
    pod_of_job(bench).unwrap_or_default()
}

fn pod_of_job(bench: &Bench) -> Option<String> {
    let pods = bench.store.list(Kind::Pod, Some("ns"));
    pods.first().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
}

fn conditions(bench: &Bench) -> Vec<(String, String)> {
    let job = bench.get(Kind::Job, "n-bootstrap");
    let all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|one| (word(&one["type"]), word(&one["status"]))).collect()
}

fn pair(name: &str, status: &str) -> (String, String) {
    (name.to_owned(), status.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_job_completes_and_expires() {
    let mut bench = bench();
    let pod = job(&mut bench, &json!({}));
    let labels = bench.get(Kind::Pod, &pod)["metadata"]["labels"].clone();
    assert_eq!(labels["batch.kubernetes.io/job-name"], "n-bootstrap");
    assert_eq!(bench.get(Kind::Job, "n-bootstrap")["status"]["active"], 1);
    bench.pod_becomes(&pod, "Succeeded", false);
    assert_eq!(conditions(&bench), [pair("SuccessCriteriaMet", "True"), pair("Complete", "True")]);
    let job = bench.get(Kind::Job, "n-bootstrap");
    assert_eq!((&job["status"]["succeeded"], &job["status"]["active"]), (&json!(1), &Value::Null));
    assert!(bench.get(Kind::Pod, &pod)["metadata"]["finalizers"].is_null());
    tokio::time::advance(Duration::from_secs(3599)).await;
    bench.settle();
    assert!(bench.has(Kind::Job, "n-bootstrap"));
    assert!(bench.cluster.next_due().is_some());
    tokio::time::advance(Duration::from_secs(2)).await;
    bench.settle();
    assert!(!bench.has(Kind::Job, "n-bootstrap") && !bench.has(Kind::Pod, &pod));
}

#[tokio::test(start_paused = true)]
async fn a_job_fails_with_its_only_pod() {
    for deleted in [false, true] {
        let mut bench = bench();
        let pod = job(&mut bench, &json!({}));
        if deleted {
            bench.delete(Kind::Pod, &pod);
        } else {
            bench.pod_becomes(&pod, "Failed", false);
        }
        assert_eq!(conditions(&bench), [pair("FailureTarget", "True"), pair("Failed", "True")], "{deleted}");
        assert_eq!(bench.get(Kind::Job, "n-bootstrap")["status"]["failed"], 1);
        assert_eq!(pod_of_job(&bench).is_none(), deleted, "no second pod");
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_has_no_pod() {
    let mut bench = bench();
    job(&mut bench, &json!({"suspend": true}));
    assert_eq!(pod_of_job(&bench), None);
    assert_eq!(conditions(&bench), [pair("Suspended", "True")]);
    let suspend = |is: bool| json!({"spec": {"suspend": is}});
    bench.store.merge_patch(Kind::Job, "ns", "n-bootstrap", &suspend(false)).unwrap();
    bench.settle();
    let first = pod_of_job(&bench).unwrap();
    assert_eq!(conditions(&bench), [pair("Suspended", "False")]);
    bench.store.merge_patch(Kind::Job, "ns", "n-bootstrap", &suspend(true)).unwrap();
    bench.settle();
    assert_eq!(pod_of_job(&bench), None);
    let status = bench.get(Kind::Job, "n-bootstrap")["status"].clone();
    assert_eq!((&status["failed"], &status["active"]), (&Value::Null, &Value::Null), "{first}");
    assert!(status["startTime"].is_null());
}

/// The real controller takes its finalizer off a pod before it deletes it, so how the pod ends counts for nothing.
#[tokio::test(start_paused = true)]
async fn a_pod_that_a_suspended_job_stops_does_not_complete_it() {
    let mut bench = bench();
    job(&mut bench, &json!({"ttlSecondsAfterFinished": 60}));
    let pod = pod_of_job(&bench).unwrap();
    bench.store.merge_patch(Kind::Pod, "ns", &pod, &json!({"spec": {"nodeName": "host-0"}})).unwrap();
    bench.pod_becomes(&pod, "Running", true);
    bench.store.merge_patch(Kind::Job, "ns", "n-bootstrap", &json!({"spec": {"suspend": true}})).unwrap();
    // It ends at the moment it is told to.
    while bench.get(Kind::Pod, &pod)["metadata"]["deletionTimestamp"].is_null() {
        assert!(bench.cluster.step(), "it is stopped");
    }
    bench.pod_becomes(&pod, "Succeeded", false);
    assert_eq!(conditions(&bench), [pair("Suspended", "True")]);
    assert_eq!(bench.get(Kind::Job, "n-bootstrap")["status"]["succeeded"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn claims_bind_are_protected_and_release_their_volume() {
    let mut bench = bench();
    let claim = json!({
        "metadata": {"name": "data-n", "namespace": "ns"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Ti"}}},
    });
    let claim = bench.store.create(Kind::PersistentVolumeClaim, claim).unwrap();
    bench.settle();
    assert_eq!(bench.get(Kind::PersistentVolumeClaim, "data-n")["status"]["phase"], "Pending");
    let volume = json!({
        "metadata": {"name": "pv"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Ti"},
            "claimRef": {"namespace": "ns", "name": "data-n", "uid": claim["metadata"]["uid"]},
        },
    });
    bench.store.create(Kind::PersistentVolume, volume).unwrap();
    bench.settle();
    let bound = bench.get(Kind::PersistentVolumeClaim, "data-n");
    assert_eq!((&bound["status"]["phase"], &bound["spec"]["volumeName"]), (&json!("Bound"), &json!("pv")));
    assert_eq!(bound["status"]["capacity"]["storage"], "1Ti");
    let phase =
        |bench: &Bench| bench.store.get(Kind::PersistentVolume, "", "pv").unwrap()["status"]["phase"].clone();
    assert_eq!(phase(&bench), "Bound");

    let pod = json!({
        "metadata": {"name": "user", "namespace": "ns"},
        "spec": {
            "nodeName": "host-0",
            "containers": [],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-n"}}],
        },
    });
    bench.store.create(Kind::Pod, pod).unwrap();
    bench.delete(Kind::PersistentVolumeClaim, "data-n");
    assert!(bench.has(Kind::PersistentVolumeClaim, "data-n"), "a mounted claim stays");
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    bench.store.delete(Kind::Pod, "ns", "user", &now).unwrap();
    bench.settle();
    assert!(!bench.has(Kind::PersistentVolumeClaim, "data-n"));
    assert_eq!(phase(&bench), "Released");
    bench.store.delete(Kind::PersistentVolume, "", "pv", &DeleteOptions::default()).unwrap();
    bench.settle();
    assert!(bench.store.list(Kind::PersistentVolume, None).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_volume_vanishes_is_lost() {
    let mut bench = bench();
    let claim = json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": {"volumeName": "pv"}});
    bench.store.create(Kind::PersistentVolumeClaim, claim).unwrap();
    bench.store.create(Kind::PersistentVolume, json!({"metadata": {"name": "pv"}, "spec": {}})).unwrap();
    bench.settle();
    assert_eq!(bench.get(Kind::PersistentVolumeClaim, "c")["status"]["phase"], "Bound");
    let bare = json!({"metadata": {"finalizers": null}});
    bench.store.merge_patch(Kind::PersistentVolume, "", "pv", &bare).unwrap();
    bench.store.delete(Kind::PersistentVolume, "", "pv", &DeleteOptions::default()).unwrap();
    bench.settle();
    assert_eq!(bench.get(Kind::PersistentVolumeClaim, "c")["status"]["phase"], "Lost");
}

#[tokio::test(start_paused = true)]
async fn equal_stores_take_equal_steps() {
    let run = || {
        let mut bench = bench();
        bench.set("v1");
        bench.set("v2");
        job(&mut bench, &json!({}));
        let kinds = [Kind::StatefulSet, Kind::Job, Kind::Pod, Kind::ControllerRevision];
        kinds.map(|kind| bench.store.list(kind, None))
    };
    assert_eq!(run(), run());
}
