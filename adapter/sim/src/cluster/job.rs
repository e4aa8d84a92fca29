//! The Job controller for Jobs of one pod.
//!
//! Answers: when the pod is made, what its end means, when the Job itself goes.
//! Refuses to know: parallelism, indexes, deadlines and failure policies.
//! Upholds: a pod's end is counted before the pod may disappear; a finished Job never changes again.

use super::Cluster;
use super::object::{count, finalizers, has_finalizer, is_deleting, text};
use super::pod::{controller, from_template, has_condition, has_ended, is_ready, is_terminating, phase};
use crate::error::StoreError;
use crate::store::{DeleteOptions, Key, Kind, Propagation};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

impl Cluster {
    pub(super) fn look_after_job(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(job) = self.find(key) else { return Ok(()) };
        let pods = self.pods_of_job(&job);
        if is_deleting(&job) || is_finished(&job) {
            for pod in &pods {
                self.let_go(pod)?;
            }
            return if is_deleting(&job) { Ok(()) } else { self.expire(key, &job) };
        }
        let mut tally = Tally::of(&job, &pods);
        let is_suspended = job["spec"]["suspend"] == true;
        let limit = job["spec"]["backoffLimit"].as_u64().and_then(|n| usize::try_from(n).ok());
        let limit = limit.unwrap_or(DEFAULT_BACKOFF);
        let is_over = tally.succeeded > 0 || tally.failed > limit;
        if is_suspended || is_over {
            for pod in pods.iter().filter(|pod| !has_ended(pod) && !is_terminating(pod)) {
                if is_suspended {
                    // How it ends is not to count.
                    self.let_go(pod)?;
                }
                self.delete_job_pod(pod)?;
            }
        } else if tally.active == 0 {
            self.store.create(Kind::Pod, new_pod(&job, tally.failed))?;
            tally.active += 1;
        }
        let status = self.job_status(&job, &tally, is_suspended, is_over.then_some(tally.succeeded > 0));
        self.patch_status(key, &status)?;
        for pod in pods.iter().filter(|pod| has_ended(pod) || is_terminating(pod)) {
            self.let_go(pod)?;
        }
        Ok(())
    }

    /// Frees a pod whose Job is gone.
    pub(super) fn release_orphan(&self, key: &Key) -> Result<(), StoreError> {
        let Some(pod) = self.find(key).filter(|pod| has_finalizer(pod, TRACKING)) else { return Ok(()) };
        let owner = controller(&pod).filter(|owner| owner["kind"] == "Job");
        let job =
            owner.and_then(|owner| self.store.get(Kind::Job, &key.namespace, owner["name"].as_str()?).ok());
        let is_owned = job.is_some_and(|job| owner.is_some_and(|owner| owner["uid"] == text(&job, "uid")));
        if is_owned { Ok(()) } else { self.let_go(&pod) }
    }

    fn job_status(&self, job: &Value, tally: &Tally, is_suspended: bool, end: Option<bool>) -> Value {
        let now = self.store.clock().stamp();
        let mut conditions = Conditions {
            all: job["status"]["conditions"].as_array().cloned().unwrap_or_default(),
            now: &now,
        };
        let was_suspended = has_condition(job, "Suspended");
        if is_suspended {
            conditions.set("Suspended", "True", "JobSuspended", "Job suspended");
        } else if was_suspended {
            conditions.set("Suspended", "False", "JobResumed", "Job resumed");
        }
        let started = match (&job["status"]["startTime"], is_suspended) {
            (_, true) => Value::Null,
            (Value::Null, false) => json!(now),
            (time, false) => time.clone(),
        };
        let mut status = json!({
            "active": count(tally.active),
            "ready": tally.ready,
            "succeeded": count(tally.succeeded),
            "failed": count(tally.failed),
            "terminating": tally.terminating,
            "startTime": started,
            "uncountedTerminatedPods": {},
        });
        let is_quiet = tally.active == 0 && tally.terminating == 0;
        match end {
            Some(true) => {
                conditions.set(
                    "SuccessCriteriaMet",
                    "True",
                    "CompletionsReached",
                    "Reached expected number of succeeded pods",
                );
                if is_quiet {
                    conditions.set(
                        "Complete",
                        "True",
                        "CompletionsReached",
                        "Reached expected number of succeeded pods",
                    );
                    status["completionTime"] = json!(now);
                }
            }
            Some(false) => {
                let why = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
                conditions.set("FailureTarget", "True", why.0, why.1);
                if is_quiet {
                    conditions.set("Failed", "True", why.0, why.1);
                }
            }
            None => {}
        }
        if !conditions.all.is_empty() {
            status["conditions"] = Value::Array(conditions.all);
        }
        status
    }

    /// Deletes a finished Job when its time is over.
    fn expire(&mut self, key: &Key, job: &Value) -> Result<(), StoreError> {
        let Some(seconds) = job["spec"]["ttlSecondsAfterFinished"].as_i64() else { return Ok(()) };
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ended = conditions
            .iter()
            .find(|one| END.iter().any(|end| one["type"] == *end) && one["status"] == "True");
        let ended = ended.and_then(|one| one["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok());
        let Some(at) = ended.and_then(|at| at.checked_add(SignedDuration::from_secs(seconds)).ok()) else {
            return Ok(());
        };
        if at > self.store.clock().now() {
            self.alarms.insert(key.clone(), at);
            return Ok(());
        }
        let options = DeleteOptions {
            propagation: Some(Propagation::Foreground),
            uid: Some(text(job, "uid").to_owned()),
            ..DeleteOptions::default()
        };
        self.store.delete(Kind::Job, &key.namespace, &key.name, &options).map(|_| ())
    }

    fn pods_of_job(&self, job: &Value) -> Vec<Arc<Value>> {
        let mut pods = self.store.list(Kind::Pod, Some(text(job, "namespace")));
        pods.retain(|pod| controller(pod).is_some_and(|owner| owner["uid"] == text(job, "uid")));
        pods
    }

    fn delete_job_pod(&self, pod: &Value) -> Result<(), StoreError> {
        let options = DeleteOptions { uid: Some(text(pod, "uid").to_owned()), ..DeleteOptions::default() };
        self.store.delete(Kind::Pod, text(pod, "namespace"), text(pod, "name"), &options).map(|_| ())
    }

    /// Takes the tracking finalizer off.
    fn let_go(&self, pod: &Value) -> Result<(), StoreError> {
        if !has_finalizer(pod, TRACKING) {
            return Ok(());
        }
        let kept: Vec<_> = finalizers(pod).into_iter().filter(|one| *one != TRACKING).collect();
        let patch = json!({"metadata": {"uid": text(pod, "uid"), "finalizers": kept}});
        self.store.merge_patch(Kind::Pod, text(pod, "namespace"), text(pod, "name"), &patch).map(|_| ())
    }
}

/// The pods of a Job, counted. A pod counts as ended once: while it has the tracking finalizer it is not yet in the
/// stored counts.
struct Tally {
    active: usize,
    ready: usize,
    terminating: usize,
    succeeded: usize,
    failed: usize,
}

impl Tally {
    fn of(job: &Value, pods: &[Arc<Value>]) -> Self {
        let stored =
            |field: &str| job["status"][field].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let is_suspended = job["spec"]["suspend"] == true;
        let mut tally = Self {
            active: 0,
            ready: 0,
            terminating: 0,
            succeeded: stored("succeeded"),
            failed: stored("failed"),
        };
        for pod in pods {
            let is_new = has_finalizer(pod, TRACKING);
            match phase(pod) {
                "Succeeded" if is_new => tally.succeeded += 1,
                "Failed" if is_new => tally.failed += 1,
                "Succeeded" | "Failed" => {}
                _ if is_terminating(pod) => {
                    tally.terminating += 1;
                    // Suspending a Job is no failure of the pod that it stops.
                    if is_new && !is_suspended {
                        tally.failed += 1;
                    }
                }
                _ => {
                    tally.active += 1;
                    tally.ready += usize::from(is_ready(pod));
                }
            }
        }
        tally
    }
}

struct Conditions<'a> {
    all: Vec<Value>,
    now: &'a str,
}

impl Conditions<'_> {
    fn set(&mut self, name: &str, status: &str, reason: &str, message: &str) {
        let mut condition = json!({
            "type": name, "status": status, "reason": reason, "message": message,
            "lastProbeTime": self.now, "lastTransitionTime": self.now,
        });
        match self.all.iter_mut().find(|one| one["type"] == name) {
            Some(known) if known["status"] == status => {}
            Some(known) => *known = condition.take(),
            None => self.all.push(condition),
        }
    }
}

fn is_finished(job: &Value) -> bool {
    END.iter().any(|end| has_condition(job, end))
}

fn new_pod(job: &Value, earlier: usize) -> Value {
    let (name, uid) = (text(job, "name"), text(job, "uid"));
    let suffix: String = uid.chars().filter(char::is_ascii_alphanumeric).take(5).collect();
    let mut pod =
        from_template(Kind::Job, job, &job["spec"]["template"], &format!("{name}-{suffix}{earlier}"));
    for prefix in ["", "batch.kubernetes.io/"] {
        pod["metadata"]["labels"][format!("{prefix}job-name")] = json!(name);
        pod["metadata"]["labels"][format!("{prefix}controller-uid")] = json!(uid);
    }
    let mut all: Vec<Value> = finalizers(&pod).into_iter().map(|one| json!(one)).collect();
    all.push(json!(TRACKING));
    pod["metadata"]["finalizers"] = Value::Array(all);
    pod
}

const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const END: [&str; 2] = ["Complete", "Failed"];
/// The default of the API.
const DEFAULT_BACKOFF: usize = 6;
