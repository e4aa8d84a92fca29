//! A toy world: one node, an API server that checks versions, a StatefulSet that makes its pod, a sidecar that works.
//!
//! Answers: where a whole life of decisions ends, how many writes it takes, and whether a crash changes the end. Refuses to
//! know: caches, watches, other nodes, HTTP; those are the business of the pretend cluster and the real one.

mod api;
mod cluster;
mod drive;
mod sidecar;

pub use drive::{Crash, Ending};
pub use sidecar::Sidecar;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Service};
use k8s_openapi::jiff::Timestamp;

use super::object::{self, PodStage};
use super::scene::noon;
use crate::api::{SeiNode, mode};
use crate::effect::Effect;
use crate::platform::Platform;
use crate::world::Settings;

/// The world.
#[derive(Clone, Debug)]
pub struct Toy {
    /// The node as stored.
    pub node: SeiNode,
    /// Settings of the operator.
    pub settings: Settings,
    /// The time.
    pub now: Timestamp,
    /// The StatefulSet.
    pub statefulset: Option<StatefulSet>,
    /// The Service.
    pub service: Option<Service>,
    /// The ConfigMap.
    pub config_map: Option<ConfigMap>,
    /// The data claim.
    pub claim: Option<PersistentVolumeClaim>,
    /// The volume behind it.
    pub volume: Option<PersistentVolume>,
    /// How far the pod has come, if there is one.
    pub pod: Option<PodStage>,
    /// The bootstrap Job.
    pub job: Option<Job>,
    /// How far its pod has come, if there is one.
    pub job_pod: Option<PodStage>,
    /// What an admission webhook makes of every image of the pod.
    pub rewritten_image: Option<String>,
    /// What somebody else makes of a label that we apply.
    pub contested: Option<String>,
    /// The sidecar, whose records live on the data volume.
    pub sidecar: Sidecar,
    /// Status writes so far.
    pub writes: usize,
    /// Effects carried out so far, announcements aside.
    pub performed: Vec<Effect>,
    /// Laws broken on the way.
    pub broken: Vec<String>,
    /// What the pod was made from.
    birth: Option<cluster::Birth>,
    /// Port calls so far.
    calls: usize,
    /// Where the operator dies, if it does.
    crash: Option<Crash>,
    /// The newest version given out.
    version: u64,
}

impl Toy {
    /// A world with this node and, if it imports one, its claim.
    pub fn of(node: SeiNode) -> Self {
        let settings = Settings { platform: Platform::builtin(), asks_ec2: false };
        let imports = mode::imported_claim_name(&node.spec).is_some();
        let claim = imports.then(|| object::claim(&node, &settings.platform));
        let volume = imports.then(|| object::volume(&node, &settings.platform));
        Self {
            node,
            settings,
            now: noon(),
            statefulset: None,
            service: None,
            config_map: None,
            claim,
            volume,
            pod: None,
            job: None,
            job_pod: None,
            rewritten_image: None,
            contested: None,
            birth: None,
            sidecar: Sidecar::default(),
            writes: 0,
            performed: Vec::new(),
            broken: Vec::new(),
            calls: 0,
            crash: None,
            version: 1000,
        }
    }

    /// The same world where the operator dies at one moment.
    #[must_use]
    pub fn crashing(mut self, crash: Crash) -> Self {
        self.crash = Some(crash);
        self
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}
