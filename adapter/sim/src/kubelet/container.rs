//! One container of a pod.
//!
//! Answers: whether it waits, runs or has ended, and how that reads in a status.
//! Refuses to know: its neighbours.
//! Upholds: a container that ended is neither started nor ready.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Waiting(&'static str),
    Running { since: Timestamp },
    Ended { since: Timestamp, at: Timestamp, exit: i32 },
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) is_init: bool,
    /// An init container that goes on running.
    pub(super) is_sidecar: bool,
    pub(super) has_startup_probe: bool,
    pub(super) has_readiness_probe: bool,
    pub(super) run: Run,
    pub(super) restarts: u32,
    pub(super) started: bool,
    pub(super) ready: bool,
    /// When a waiting container is to be started.
    pub(super) due: Option<Timestamp>,
}

impl Container {
    /// All containers of a pod, init containers first.
    pub(super) fn of(spec: &core::PodSpec) -> Vec<Self> {
        let init = spec.init_containers.iter().flatten().map(|container| Self::new(container, true));
        init.chain(spec.containers.iter().map(|container| Self::new(container, false))).collect()
    }

    fn new(spec: &core::Container, is_init: bool) -> Self {
        Self {
            name: spec.name.clone(),
            image: spec.image.clone().unwrap_or_default(),
            is_init,
            is_sidecar: is_init && spec.restart_policy.as_deref() == Some("Always"),
            has_startup_probe: spec.startup_probe.is_some(),
            has_readiness_probe: spec.readiness_probe.is_some(),
            run: Run::Waiting("PodInitializing"),
            restarts: 0,
            started: false,
            ready: false,
            due: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.run, Run::Running { .. })
    }

    /// Whether containers after it may start.
    pub(super) fn is_passed(&self) -> bool {
        match self.run {
            Run::Waiting(_) => false,
            Run::Running { .. } => self.is_sidecar && self.started,
            Run::Ended { exit, .. } => exit == 0,
        }
    }

    pub(super) fn end(&mut self, exit: i32, at: Timestamp) {
        if let Run::Running { since } = self.run {
            self.run = Run::Ended { since, at, exit };
        }
        self.started = false;
        self.ready = false;
    }

    pub(super) fn restart(&mut self, now: Timestamp) {
        self.restarts += 1;
        self.run = Run::Running { since: now };
        self.started = !self.has_startup_probe;
        self.ready = false;
    }

    pub(super) fn to_status(&self, pod: &str) -> Value {
        let id = format!("pretend://{pod}/{}/{}", self.name, self.restarts);
        let state = match self.run {
            Run::Waiting(reason) => json!({"waiting": {"reason": reason}}),
            Run::Running { since } => json!({"running": {"startedAt": stamp(since)}}),
            Run::Ended { since, at, exit } => json!({"terminated": {
                "exitCode": exit,
                "reason": if exit == 0 { "Completed" } else { "Error" },
                "startedAt": stamp(since),
                "finishedAt": stamp(at),
                "containerID": id,
            }}),
        };
        let is_done = self.is_init && !self.is_sidecar && self.is_passed();
        let mut status = json!({
            "name": self.name,
            "image": self.image,
            "imageID": format!("pretend://{}", self.image),
            "restartCount": self.restarts,
            "ready": self.ready || is_done,
            "started": self.started,
            "state": state,
            "lastState": {},
        });
        if !matches!(self.run, Run::Waiting(_)) {
            status["containerID"] = json!(id);
        }
        status
    }
}

/// Whole seconds, as Kubernetes writes times.
pub(super) fn stamp(at: Timestamp) -> String {
    crate::store::stamp(at)
}
