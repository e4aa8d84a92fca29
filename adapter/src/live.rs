//! The live ports: Kubernetes through a `kube::Client`, sidecars through a tower service.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use seinode_core::api::SeiNode;
use seinode_core::decision::{Rest, StatusWrite};
use seinode_core::effect::{Effect, Outcome};
use seinode_core::ident::NodeKey;
use seinode_core::world::{Health, Seen, Settings};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::error::PortError;
use crate::events::Announcer;
use crate::leader::Mandate;
use crate::observe::ec2::Ec2;
use crate::observe::together::Lists;
pub use crate::observe::turn::Pace;
use crate::observe::turn::Turns;
use crate::ports::Stored;
use crate::shard::Shard;
use crate::sidecar::Sidecars;
use crate::telemetry::Metrics;

/// Time limit of every request to the API server, watches aside.
pub(crate) const API_LIMIT: Duration = Duration::from_secs(15);

/// The caches of everything that is watched.
pub struct Caches {
    /// SeiNodes, all of them.
    pub nodes: Arc<Cache<SeiNode, SeiNode>>,
    /// StatefulSets that carry the node label.
    pub statefulsets: Arc<Cache<StatefulSet>>,
    /// Services that carry the node label.
    pub services: Arc<Cache<Service>>,
    /// ConfigMaps that carry the node label.
    pub config_maps: Arc<Cache<ConfigMap>>,
    /// Claims that carry the node label.
    pub claims: Arc<Cache<PersistentVolumeClaim>>,
    /// Jobs that carry the node label.
    pub jobs: Arc<Cache<Job>>,
    /// Pods that carry the node label.
    pub pods: Arc<Cache<Pod>>,
    pub(crate) synced: AtomicBool,
    /// Whether the API server knows SeiNodes.
    pub(crate) definition: watch::Sender<Definition>,
}

/// Whether the API server knows SeiNodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Definition {
    /// It was not asked yet.
    Unknown,
    /// It does not.
    Missing,
    /// It does.
    Served,
}

/// Time in which a sidecar gave no answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silence {
    /// The first time that it was asked in vain.
    pub(crate) from: Instant,
    /// The last.
    pub(crate) to: Instant,
}

/// An answer of a sidecar about its readiness, and when it was given.
pub(crate) struct RememberedHealth {
    pub(crate) at: Instant,
    pub(crate) health: Seen<Health>,
    /// Restarts of the sidecar and readiness of the proxy at that time: a change makes the answer old.
    pub(crate) fingerprint: String,
}

/// A peer's node id, and when it was learned.
pub(crate) struct RememberedId {
    pub(crate) at: Instant,
    pub(crate) id: Seen<String>,
}

/// The live world.
pub struct Live {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) sidecars: Arc<Sidecars>,
    pub(crate) settings: Settings,
    /// The platform file, read again for the witness registry; none in simulations.
    pub(crate) registry: RegistrySource,
    pub(crate) clock: Clock,
    pub(crate) announcer: Announcer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Mutex<HashMap<String, RememberedHealth>>,
    pub(crate) silences: Mutex<HashMap<String, Silence>>,
    /// How many nodes are updated at once.
    pub(crate) pace: Pace,
    pub(crate) turns: Mutex<Turns>,
    /// EC2, for peers that specs name by tags.
    pub(crate) ec2: Ec2,
    /// Lists past the cache that nodes share.
    pub(crate) lists: Lists,
    pub(crate) node_ids: Mutex<HashMap<String, RememberedId>>,
    /// Who is told what happens to nodes.
    pub(crate) audience: Option<Arc<dyn Audience>>,
    /// By how many milliseconds the clock is wrong; simulations move it.
    skew: Arc<AtomicI64>,
    /// Whether this operator may act.
    pub(crate) mandate: Arc<Mandate>,
    /// Which nodes it looks after; all, if none is given.
    pub(crate) shard: Option<Shard>,
}

/// Who is told what the loop reads, stores and does; for displays and for tests that judge it. It can change nothing.
pub trait Audience: Send + Sync {
    /// A node was observed; a decision follows.
    fn read(&self, _node: &SeiNode) {}

    /// A status write was answered, or was not.
    fn stored(&self, _write: &StatusWrite, _answer: &Result<Stored, PortError>) {}

    /// An effect was carried out, or went wrong.
    fn performed(&self, _node: &SeiNode, _effect: &Effect, _outcome: &Outcome) {}

    /// A pass has come to rest.
    fn rested(&self, _node: &SeiNode, _rest: &Rest) {}

    /// How far the node is after a decision.
    fn progress(&self, _node: &SeiNode, _rest: &Rest) {}
}

/// Where the witness registry comes from.
#[derive(Clone, Debug)]
pub enum RegistrySource {
    /// A file that is read again each time.
    File(PathBuf),
    /// A fixed text.
    Text(String),
    /// A text that a simulation changes, or the reason why it can't be read.
    Shared(Arc<Mutex<Result<String, String>>>),
}

impl Live {
    /// A live world.
    pub fn new(
        client: Client,
        caches: Arc<Caches>,
        sidecars: Sidecars,
        settings: Settings,
        registry: RegistrySource,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let announcer = Announcer::new(client.clone(), clock);
        caches.count_behind(&metrics);
        Self {
            client,
            caches,
            sidecars: Arc::new(sidecars.counted(Arc::clone(&metrics))),
            settings,
            registry,
            clock,
            announcer,
            metrics,
            health: Mutex::new(HashMap::new()),
            silences: Mutex::new(HashMap::new()),
            pace: Pace::in_namespace("default"),
            turns: Mutex::default(),
            ec2: Ec2::default(),
            lists: Lists::default(),
            node_ids: Mutex::new(HashMap::new()),
            audience: None,
            skew: Arc::default(),
            mandate: Arc::new(Mandate::unlimited()),
            shard: None,
        }
    }

    /// Acts only while the mandate lasts.
    #[must_use]
    pub fn elected(mut self, mandate: Arc<Mandate>) -> Self {
        self.mandate = mandate;
        self
    }

    /// Updates no more nodes at once than this.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Looks after a part of all nodes.
    #[must_use]
    pub fn sharing(mut self, shard: Option<Shard>) -> Self {
        self.shard = shard;
        self
    }

    /// Whether this operator looks after a node.
    pub(crate) fn owns(&self, node: &NodeKey) -> bool {
        self.shard.is_none_or(|shard| shard.owns(node))
    }

    /// Tells `audience` what happens to nodes.
    #[must_use]
    pub fn told_to(mut self, audience: Arc<dyn Audience>) -> Self {
        self.audience = Some(audience);
        self
    }

    /// Lets a simulation move the clock: it shows this many milliseconds more than it should.
    #[must_use]
    pub fn skewed_by(mut self, skew: Arc<AtomicI64>) -> Self {
        self.skew = skew;
        self
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The time.
    pub(crate) fn time(&self) -> Timestamp {
        let skew = SignedDuration::from_millis(self.skew.load(Ordering::Relaxed));
        let now = self.clock.now();
        now.checked_add(skew).unwrap_or(now)
    }

    /// Drops what is remembered of nodes that are gone, by their uids.
    pub(crate) fn forget_unless(&self, is_there: impl Fn(&str) -> bool) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
        self.silences.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
        self.node_ids.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }
}
