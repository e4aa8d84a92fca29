//! The live ports: Kubernetes through a `kube::Client`, sidecars through a tower service.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::runtime::reflector::Store;
use seinode_core::api::SeiNode;
use seinode_core::decision::Rest;
use seinode_core::ident::NodeKey;
use seinode_core::world::{Health, Seen, Settings};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::events::Announcer;
use crate::leader::Mandate;
use crate::shard::Shard;
use crate::sidecar::Sidecars;
use crate::telemetry::Metrics;

/// Time limit of every request to the API server, watches aside.
pub(crate) const API_LIMIT: Duration = Duration::from_secs(15);

/// The caches of everything that is watched.
pub struct Caches {
    /// SeiNodes, all of them.
    pub nodes: Arc<Cache<SeiNode>>,
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
    pub pods: Store<Pod>,
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
    pub(crate) node_ids: Mutex<HashMap<String, RememberedId>>,
    /// Who is told how far nodes are.
    pub(crate) audience: Option<Audience>,
    /// Whether this operator may act.
    pub(crate) mandate: Arc<Mandate>,
    /// Which nodes it looks after; all, if none is given.
    pub(crate) shard: Option<Shard>,
}

/// Who is told how far nodes are.
pub type Audience = Box<dyn Fn(&SeiNode, &Rest) + Send + Sync>;

/// Where the witness registry comes from.
#[derive(Clone, Debug)]
pub enum RegistrySource {
    /// A file that is read again each time.
    File(PathBuf),
    /// A fixed text.
    Text(String),
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
            node_ids: Mutex::new(HashMap::new()),
            audience: None,
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

    /// Tells `audience` how far nodes are.
    #[must_use]
    pub fn told_to(mut self, audience: Audience) -> Self {
        self.audience = Some(audience);
        self
    }

    /// What is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The time.
    pub(crate) fn time(&self) -> Timestamp {
        self.clock.now()
    }

    /// Drops what is remembered of nodes that are gone, by their uids.
    pub(crate) fn forget_unless(&self, is_there: impl Fn(&str) -> bool) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
        self.node_ids.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| is_there(uid));
    }
}
