//! How fast the pretend nodes are and what they get wrong, as data.
//!
//! Answers: durations, hosts, images that can't be pulled, how Jobs end.
//! Refuses to know: any pod.
//! Upholds: one factor scales every duration, sidecars included.

use crate::sidecar::{Script, scale};
use crate::store::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a kubelet is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time that objects and sidecars live in.
    pub clock: Clock,
    /// Durations.
    pub timing: Timing,
    /// How many Node objects there are.
    pub hosts: usize,
    /// Which host a pod gets.
    pub placement: Placement,
    /// For sidecars of nodes that have no script of their own.
    pub script: Script,
    /// What may change while everything runs.
    pub conduct: Conduct,
    /// The bearer token that proxies demand; `None` lets everybody in.
    pub token: Option<String>,
    /// A strict bucket holds only what was put there; the default one is generous.
    pub bucket: crate::sidecar::Bucket,
    /// Refresh the heartbeat of the Node objects this often; a real control plane needs it, a simulated one not.
    pub heartbeat: Option<Duration>,
}

impl Options {
    /// Three hosts, usual durations, nothing going wrong.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            timing: Timing::default(),
            hosts: 3,
            placement: Placement::ByNode,
            script: Script::default(),
            conduct: Conduct::default(),
            token: None,
            bucket: crate::sidecar::Bucket::default(),
            heartbeat: None,
        }
    }
}

/// Which host a pod gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// All pods of one SeiNode share a host, as a volume that is tied to a zone makes likely.
    ByNode,
    /// One host after the other.
    InTurn,
}

/// What goes wrong or ends how; may change at any time.
#[derive(Clone, Debug, Default)]
pub struct Conduct {
    /// Images that can't be pulled.
    pub missing_images: BTreeSet<String>,
    /// How the main container of a Job's pod ends, by Job name; other Jobs end well.
    pub jobs: BTreeMap<String, JobEnding>,
    /// Claims stay unbound.
    pub no_volumes: bool,
    /// Pods stay unscheduled.
    pub no_hosts: bool,
}

/// How a Job's pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEnding {
    /// After this time with the node program running; `None` never.
    pub after: Option<Duration>,
    /// The exit code of the pod's main container.
    pub exit: i32,
}

/// Durations, all multiplied by `scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The factor; 0.01 is a hundred times faster.
    pub scale: f64,
    /// From pending to bound.
    pub schedule: Duration,
    /// From claimed to a volume.
    pub provision: Duration,
    /// From bound to volumes mounted.
    pub mount: Duration,
    /// From wanted to started, per container.
    pub pull: Duration,
    /// How long an ordinary init container runs.
    pub init: Duration,
    /// From a ready sidecar to a running node program; its start script polls.
    pub seid_start: Duration,
    /// From a running node program to a ready container.
    pub seid_ready: Duration,
    /// From SIGTERM to the node program's end.
    pub seid_stop: Duration,
    /// How long the main container of a Job runs unless told otherwise.
    pub job: Duration,
    /// Before something that failed is tried again.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            scale: 1.0,
            schedule: seconds(1),
            provision: seconds(2),
            mount: seconds(2),
            pull: seconds(1),
            init: seconds(2),
            seid_start: seconds(5),
            seid_ready: seconds(30),
            seid_stop: seconds(20),
            job: seconds(60),
            retry: seconds(2),
        }
    }
}

impl Timing {
    /// The same with every duration multiplied, and a factor of one.
    pub(super) fn scaled(self) -> Self {
        let by = |duration| scale(duration, self.scale);
        Self {
            scale: 1.0,
            schedule: by(self.schedule),
            provision: by(self.provision),
            mount: by(self.mount),
            pull: by(self.pull),
            init: by(self.init),
            seid_start: by(self.seid_start),
            seid_ready: by(self.seid_ready),
            seid_stop: by(self.seid_stop),
            job: by(self.job),
            retry: by(self.retry),
        }
    }
}
