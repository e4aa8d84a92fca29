//! The life of one pod on its host, as a state machine over the time that is passed in.
//!
//! Answers: which containers run, whether the pod is ready, when something changes next.
//! Refuses to know: the API server.
//! Upholds: containers start in order; the node program runs only after its sidecar was ready; the sidecar outlives
//! the node program when a pod stops.

use super::cache::Name;
use super::container::{Container, Run};
use super::options::{JobEnding, Timing};
use super::shared::Shared;
use super::tend::claims;
use crate::sidecar::{Bucket, Director, Seid, Sidecar, Surroundings, Volume};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a pod finds on its host.
pub(super) struct Setting<'a> {
    pub(super) pod: &'a Pod,
    pub(super) timing: &'a Timing,
    pub(super) shared: &'a Shared,
    pub(super) director: &'a Director,
    pub(super) bucket: &'a Bucket,
    pub(super) token: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// How a pod came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its containers ended; their exit codes say how.
    Ran,
    /// It was made to fail, for this reason.
    Failed(&'static str),
}

#[derive(Debug)]
pub(super) struct Life {
    pub(super) name: Name,
    pub(super) uid: String,
    pub(super) node: String,
    pub(super) host: String,
    pub(super) ip: String,
    /// The Service and node that its hostname belongs to.
    pub(super) line: String,
    /// Claims that it mounts.
    pub(super) claims: Vec<Name>,
    pub(super) job: Option<String>,
    pub(super) containers: Vec<Container>,
    /// The data volume, from when everything is mounted.
    pub(super) volume: Option<Volume>,
    pub(super) started: Option<Timestamp>,
    pub(super) sidecar: Option<Arc<Sidecar>>,
    seid: Seid,
    seid_since: Option<Timestamp>,
    seid_due: Option<Timestamp>,
    stop_due: Option<Timestamp>,
    grace: Duration,
    /// No container runs any more and none will.
    pub(super) over: Option<End>,
    /// When the agent looks again, and for what it waits by itself.
    pub(super) deadline: Option<Timestamp>,
    pub(super) next_try: Option<Timestamp>,
    pub(super) conditions: BTreeMap<&'static str, (bool, Timestamp)>,
    pub(super) written: Option<serde_json::Value>,
    /// The server was told to forget the pod.
    pub(super) is_removed: bool,
}

impl Life {
    pub(super) fn new(pod: &Pod, ip: String) -> Self {
        let owner = pod.owner_references().iter().find(|owner| owner.kind == "Job");
        let label = |key: &str| pod.labels().get(key).cloned();
        Self {
            name: Name::of(pod),
            uid: pod.uid().unwrap_or_default(),
            node: label("sei.io/node").unwrap_or_default(),
            host: String::new(),
            ip,
            line: pod.spec.as_ref().and_then(|spec| spec.subdomain.clone()).unwrap_or_default(),
            claims: claims(pod).into_iter().map(|(claim, _)| claim).collect(),
            job: label("batch.kubernetes.io/job-name").or_else(|| owner.map(|owner| owner.name.clone())),
            containers: pod.spec.as_ref().map(Container::of).unwrap_or_default(),
            volume: None,
            started: None,
            sidecar: None,
            seid: Seid::default(),
            seid_since: None,
            seid_due: None,
            stop_due: None,
            grace: Duration::MAX,
            over: None,
            deadline: None,
            next_try: None,
            conditions: BTreeMap::new(),
            written: None,
            is_removed: false,
        }
    }

    /// Moves everything that is due and answers when to look again.
    pub(super) fn advance(&mut self, setting: &Setting<'_>, is_stopping: bool) -> Option<Timestamp> {
        if self.over.is_some() {
            return None;
        }
        let now = setting.now;
        let mut due = Due::default();
        if is_stopping {
            due.add(self.stop(setting.timing, now));
        } else if self.volume.is_some() {
            self.start_containers(setting, &mut due);
            self.run_seid(setting, &mut due);
        }
        self.look_at_probes(now);
        due.add(self.sidecar.as_ref().and_then(|sidecar| sidecar.next_due()));
        due.0
    }

    /// Lets the node program stop in its time, within the pod's grace; answers when that is over, if it is not yet.
    pub(super) fn stop(&mut self, timing: &Timing, now: Timestamp) -> Option<Timestamp> {
        if self.over.is_some() {
            return None;
        }
        let needs = if self.seid_since.is_some() { timing.seid_stop } else { Duration::ZERO };
        let at = *self.stop_due.get_or_insert_with(|| later(now, needs.min(self.grace)));
        if at > now {
            return Some(at);
        }
        self.finish(TERMINATED, now);
        None
    }

    /// Takes over the grace period that a deletion gave.
    pub(super) fn pod_stops(&mut self, grace: Option<i64>) {
        if let Some(seconds) = grace {
            self.grace = Duration::from_secs(seconds.max(0).unsigned_abs());
        }
    }

    pub(super) fn add_deadline(&mut self, at: Option<Timestamp>) {
        let mut due = Due(self.deadline);
        due.add(at);
        self.deadline = due.0;
    }

    /// Ends everything at once; the main containers with this code.
    pub(super) fn finish(&mut self, exit: i32, now: Timestamp) {
        for container in &mut self.containers {
            container.end(if container.is_init { 0 } else { exit }, now);
        }
        self.sidecar = None;
        self.seid.stop();
        self.over = Some(End::Ran);
    }

    /// Makes the pod fail from outside.
    pub(super) fn fail(&mut self, reason: &'static str, now: Timestamp) {
        self.finish(KILLED, now);
        self.over = Some(End::Failed(reason));
    }

    /// Replaces the sidecar's process, as a crash of its container does.
    pub(super) fn restart_sidecar(&mut self, setting: &Setting<'_>) {
        self.sidecar = None;
        if let Some(index) = self.index(SIDECAR).filter(|index| self.containers[*index].is_running()) {
            self.start_sidecar(index, setting);
            self.containers[index].restart(setting.now);
            self.containers[index].started = true;
        }
    }

    /// Ends the node program; its container restarts.
    pub(super) fn crash_seid(&self) {
        self.seid.stop();
    }

    /// Sets the height that the node program reports, if it runs.
    pub(super) fn set_height(&self, height: u64) {
        if self.seid.height().is_some() {
            self.seid.start(height);
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        let mut needed =
            self.containers.iter().filter(|container| !container.is_init || container.is_sidecar);
        self.over.is_none() && needed.all(|container| container.ready)
    }

    pub(super) fn is_initialised(&self) -> bool {
        self.containers.iter().filter(|container| container.is_init).all(Container::is_passed)
    }

    fn start_containers(&mut self, setting: &Setting<'_>, due: &mut Due) {
        let now = setting.now;
        for index in 0..self.containers.len() {
            let is_init = self.containers[index].is_init;
            let waits_for = self.containers[..index].iter().filter(|before| before.is_init);
            if !waits_for.into_iter().all(Container::is_passed) {
                if is_init {
                    break;
                }
                continue;
            }
            let container = &mut self.containers[index];
            match container.run {
                Run::Running { since } if is_init && !container.is_sidecar => {
                    if due.is_past(later(since, setting.timing.init), now) {
                        container.end(0, now);
                        self.after_init(index);
                    }
                }
                Run::Ended { .. } | Run::Running { .. } => {}
                Run::Waiting(_) if setting.shared.is_missing(&container.image) => {
                    container.run = Run::Waiting("ImagePullBackOff");
                    container.due = None;
                    due.add(Some(later(now, setting.timing.retry)));
                }
                Run::Waiting(_) => {
                    let at = *container.due.get_or_insert_with(|| later(now, setting.timing.pull));
                    if due.is_past(at, now) {
                        self.start_container(index, setting, due);
                    }
                }
            }
        }
    }

    fn start_container(&mut self, index: usize, setting: &Setting<'_>, due: &mut Due) {
        if self.containers[index].name == SIDECAR && !self.start_sidecar(index, setting) {
            let again = later(setting.now, setting.timing.retry);
            let container = &mut self.containers[index];
            container.run = Run::Waiting("CrashLoopBackOff");
            container.restarts += 1;
            container.due = Some(again);
            due.add(Some(again));
            return;
        }
        self.started.get_or_insert(setting.now);
        let container = &mut self.containers[index];
        container.run = Run::Running { since: setting.now };
        container.started = container.is_sidecar || !container.has_startup_probe;
        if container.is_init && !container.is_sidecar {
            container.started = false;
            due.add(Some(later(setting.now, setting.timing.init)));
        }
    }

    /// Whether the process came up; it refuses some environments.
    fn start_sidecar(&mut self, index: usize, setting: &Setting<'_>) -> bool {
        let spec = setting.pod.spec.as_ref();
        let found = spec.and_then(|spec| spec.init_containers.as_ref()).and_then(|all| all.get(index));
        let variables = found.iter().flat_map(|container| container.env.iter().flatten());
        // A value taken from a Secret is there once the pod may start.
        let variables = variables.map(|variable| {
            (variable.name.clone(), variable.value.clone().unwrap_or_else(|| "from elsewhere".to_owned()))
        });
        let Ok(around) = Surroundings::from_variables(&variables.collect()) else { return false };
        let around = Surroundings {
            seid: self.seid.clone(),
            bucket: setting.bucket.clone(),
            token: setting.token.map(str::to_owned),
            health_is_open: self.job.is_none(),
            ..around
        };
        let volume = self.volume.clone().unwrap_or_default();
        let process = Sidecar::start(volume, around, setting.director.clone(), setting.now);
        self.sidecar = Some(Arc::new(process));
        true
    }

    fn after_init(&mut self, index: usize) {
        if self.containers[index].name == "seid-init"
            && let Some(volume) = &self.volume
        {
            volume.initialise();
        }
    }

    /// The main container: waits for the sidecar, runs the node program, restarts when that ends, ends with a Job.
    fn run_seid(&mut self, setting: &Setting<'_>, due: &mut Due) {
        let Some(index) = self.main().filter(|index| self.containers[*index].is_running()) else { return };
        let now = setting.now;
        let is_let = self.sidecar.as_ref().is_none_or(|sidecar| sidecar.is_ready(now));
        if self.seid_since.is_some() && self.seid.height().is_none() {
            self.seid_since = None;
            self.containers[index].restart(now);
        }
        if self.seid_since.is_none() {
            if !is_let {
                self.seid_due = None;
                return;
            }
            let at = *self.seid_due.get_or_insert_with(|| later(now, setting.timing.seid_start));
            if !due.is_past(at, now) {
                return;
            }
            self.seid_due = None;
            self.seid_since = Some(now);
            self.seid.start(FIRST_HEIGHT);
            self.containers[index].started = true;
        }
        let Some(since) = self.seid_since else { return };
        let container = &mut self.containers[index];
        if !container.has_readiness_probe || due.is_past(later(since, setting.timing.seid_ready), now) {
            container.ready = true;
        }
        if let Some(job) = &self.job {
            let usual = JobEnding { after: Some(setting.timing.job), exit: 0 };
            let JobEnding { after, exit } = setting.shared.ending(job).unwrap_or(usual);
            if after.is_some_and(|after| due.is_past(later(since, after), now)) {
                self.finish(exit, now);
            }
        }
    }

    fn look_at_probes(&mut self, now: Timestamp) {
        let main = self.main();
        let is_let = self.sidecar.as_ref().map(|sidecar| sidecar.is_ready(now));
        let has_seid = self.seid_since.is_some();
        for (index, container) in self.containers.iter_mut().enumerate() {
            if !container.is_running() || Some(index) == main {
                continue;
            }
            container.ready = match (container.has_readiness_probe, container.is_sidecar) {
                (false, _) => container.is_sidecar || !container.is_init,
                (true, true) => is_let.unwrap_or(true),
                (true, false) => has_seid,
            };
        }
    }

    /// The container named after the node program, else the first main one.
    fn main(&self) -> Option<usize> {
        let first = self.containers.iter().position(|container| !container.is_init);
        self.index("seid").or(first)
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.containers.iter().position(|container| container.name == name)
    }
}

/// The earliest of several times.
#[derive(Default)]
struct Due(Option<Timestamp>);

impl Due {
    fn add(&mut self, at: Option<Timestamp>) {
        self.0 = match (self.0, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Whether that time has come; if not it is noted.
    fn is_past(&mut self, at: Timestamp, now: Timestamp) -> bool {
        if at > now {
            self.add(Some(at));
        }
        at <= now
    }
}

pub(super) fn later(now: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Exit code after SIGTERM.
const TERMINATED: i32 = 143;
/// Exit code after SIGKILL.
const KILLED: i32 = 137;
const SIDECAR: &str = "sei-sidecar";
/// Where a node program starts; tests move it on.
const FIRST_HEIGHT: u64 = 1;
