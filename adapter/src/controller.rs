//! Watches, caches, queue: what wakes a node, and how many are worked on at once.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::controller::{Action, Config as ApplierConfig, ReconcileRequest, applier};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use seinode_core::api::SeiNode;
use seinode_core::decision::{Rest, StatusWrite, Wake};
use seinode_core::effect::{Effect, Outcome};
use seinode_core::ident::NodeKey;
use seinode_core::world::{Settings, Topic};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::cache::Cache;
use crate::error::{PortError, ReconcileError};
use crate::live::{Caches, Live};
use crate::ports::{Ports, Snapshot, Stored};
use crate::reconcile::reconcile;
use crate::{ledger, observe, perform};

/// Label that every owned object carries (`seinode.md` 1).
const NODE_LABEL: &str = "sei.io/node";
/// Nodes worked on at once; a slow sidecar or a large download holds one place only for the length of a call.
const CONCURRENCY: u16 = 32;

impl Ports for Live {
    fn now(&self) -> Timestamp {
        self.time()
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    async fn observe(
        &self,
        key: &NodeKey,
        known: Option<Snapshot>,
        looks: &std::collections::BTreeSet<Topic>,
    ) -> Result<Option<Snapshot>, PortError> {
        let snapshot = observe::observe(self, key, known, looks).await?;
        if let (Some(audience), Some(snapshot)) = (&self.audience, &snapshot) {
            audience.read(&snapshot.node);
        }
        Ok(snapshot)
    }

    async fn perform(&self, node: &SeiNode, effects: Vec<Effect>) -> Vec<Outcome> {
        perform::perform(self, node, effects).await
    }

    async fn store(&self, write: &StatusWrite) -> Result<Stored, PortError> {
        let answer = ledger::store(self, write).await;
        if let Some(audience) = &self.audience {
            audience.stored(write, &answer);
        }
        answer
    }

    fn rested(&self, node: &SeiNode, rest: &Rest) {
        if let Some(audience) = &self.audience {
            audience.rested(node, rest);
        }
    }

    fn progress(&self, node: &SeiNode, rest: &Rest) {
        if let Some(audience) = &self.audience {
            audience.progress(node, rest);
        }
    }
}

impl Caches {
    /// Whether every watch has listed its kind once.
    pub fn are_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    async fn wait_until_synced(&self) -> Result<(), reflector::store::WriterDropped> {
        self.nodes.store().wait_until_ready().await?;
        self.statefulsets.store().wait_until_ready().await?;
        self.services.store().wait_until_ready().await?;
        self.config_maps.store().wait_until_ready().await?;
        self.claims.store().wait_until_ready().await?;
        self.jobs.store().wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        self.synced.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The watches and what they wake.
pub struct Watches {
    /// The caches that the watches fill.
    pub caches: Arc<Caches>,
    triggers: UnboundedReceiver<ObjectRef<SeiNode>>,
    gone: UnboundedReceiver<SeiNode>,
    stop: CancellationToken,
}

/// Starts one shared watch per kind.
pub fn watches(client: &Client, stop: &CancellationToken) -> Watches {
    let (wake, triggers) = unbounded();
    let (leave, gone) = unbounded();
    let labelled = || watch::Config::default().labels(NODE_LABEL);
    let (pods, pod_writer) = reflector::store::<Pod>();
    let nodes = NodeFeed { wake: wake.clone(), leave };
    let caches = Arc::new(Caches {
        nodes: feed_nodes(client, nodes, stop),
        statefulsets: feed(client, labelled(), &wake, stop),
        services: feed(client, labelled(), &wake, stop),
        config_maps: feed(client, labelled(), &wake, stop),
        claims: feed(client, labelled(), &wake, stop),
        jobs: feed(client, labelled(), &wake, stop),
        pods: feed_pods(client, labelled(), &wake, pods, pod_writer, stop),
        synced: AtomicBool::new(false),
    });
    Watches { caches, triggers, gone, stop: stop.clone() }
}

struct NodeFeed {
    wake: UnboundedSender<ObjectRef<SeiNode>>,
    leave: UnboundedSender<SeiNode>,
}

fn feed_nodes(client: &Client, feed: NodeFeed, stop: &CancellationToken) -> Arc<Cache<SeiNode>> {
    spawn(client, watch::Config::default(), stop, move |event: &Event<SeiNode>| match event {
        Event::Apply(node) | Event::InitApply(node) => {
            let _ = feed.wake.unbounded_send(ObjectRef::from_obj(node));
        }
        Event::Delete(node) => {
            let _ = feed.leave.unbounded_send(node.clone());
        }
        Event::Init | Event::InitDone => {}
    })
}

/// A watch of children: an event wakes the node that controls the object.
fn feed<K>(
    client: &Client,
    config: watcher::Config,
    wake: &UnboundedSender<ObjectRef<SeiNode>>,
    stop: &CancellationToken,
) -> Arc<Cache<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let wake = wake.clone();
    spawn(client, config, stop, move |event: &Event<K>| {
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = event {
            let meta = object.meta();
            let owner = meta
                .owner_references
                .iter()
                .flatten()
                .find(|o| o.controller == Some(true) && o.kind == "SeiNode");
            if let (Some(owner), Some(namespace)) = (owner, &meta.namespace) {
                let _ = wake.unbounded_send(ObjectRef::new(&owner.name).within(namespace));
            }
        }
    })
}

fn spawn<K>(
    client: &Client,
    config: watcher::Config,
    stop: &CancellationToken,
    on_event: impl Fn(&Event<K>) + Send + 'static,
) -> Arc<Cache<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let cache = Arc::new(Cache::over(store));
    let over = Arc::clone(&cache);
    pump(client, config, writer, stop, move |event| {
        over.watched(event);
        on_event(event);
    });
    cache
}

/// Pods are told apart by their label: a pod of a StatefulSet is not controlled by the node itself.
fn feed_pods(
    client: &Client,
    config: watcher::Config,
    wake: &UnboundedSender<ObjectRef<SeiNode>>,
    store: Store<Pod>,
    writer: Writer<Pod>,
    stop: &CancellationToken,
) -> Store<Pod> {
    let wake = wake.clone();
    pump(client, config, writer, stop, move |event: &Event<Pod>| {
        if let Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod) = event
            && let (Some(name), Some(namespace)) = (pod.labels().get(NODE_LABEL), pod.namespace())
        {
            let _ = wake.unbounded_send(ObjectRef::new(name).within(&namespace));
        }
    });
    store
}

/// Runs one watch for ever: prunes, fills the store, then tells.
fn pump<K>(
    client: &Client,
    config: watcher::Config,
    writer: Writer<K>,
    stop: &CancellationToken,
    on_event: impl Fn(&Event<K>) + Send + 'static,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Eq + Hash,
{
    let api: Api<K> = Api::all(client.clone());
    let stop = stop.clone();
    let kind = K::kind(&()).into_owned();
    tokio::spawn(async move {
        let stream = watcher::watcher(api, config)
            .default_backoff()
            // Who wrote last and when is looked at; the fields themselves are the larger half of most objects.
            .modify(|object| {
                for entry in object.managed_fields_mut() {
                    entry.fields_v1 = None;
                }
            })
            .reflect(writer);
        let mut stream = std::pin::pin!(stream);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = stream.next() => match event {
                    Some(Ok(event)) => on_event(&event),
                    Some(Err(error)) => warn!(kind, %error, "a watch failed; it is started again"),
                    None => return,
                },
            }
        }
    });
}

/// Works on nodes until stopped; then ends what is under way and returns.
pub async fn run(watches: Watches, live: Arc<Live>) {
    let Watches { caches, triggers, mut gone, stop } = watches;
    let synced = caches.wait_until_synced();
    tokio::pin!(synced);
    let mut reminder = tokio::time::interval(Duration::from_secs(30));
    reminder.tick().await;
    loop {
        tokio::select! {
            result = &mut synced => {
                if result.is_err() {
                    return;
                }
                break;
            }
            _ = reminder.tick() => {
                warn!("still waiting for the first lists; is the CustomResourceDefinition seinodes.sei.io installed?");
            }
            () = stop.cancelled() => return,
        }
    }
    info!(nodes = caches.nodes.store().len(), "the caches are filled");
    let departures = {
        let live = Arc::clone(&live);
        let stop = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    node = gone.next() => match node {
                        Some(node) => {
                            live.forget_node(node.uid());
                            live.metrics().forget(&node);
                        }
                        None => return,
                    },
                }
            }
        })
    };
    let failures = Arc::new(Failures::default());
    let queue = triggers
        .take_until(stop.clone().cancelled_owned())
        .map(|node| Ok::<_, watcher::Error>(ReconcileRequest::from(node)));
    let reconciler = |node: Arc<SeiNode>, live: Arc<Live>| {
        let failures = Arc::clone(&failures);
        async move { pass(&node, &live, &failures).await }.boxed()
    };
    let policy = |_: Arc<SeiNode>, _: &std::convert::Infallible, _: Arc<Live>| Action::await_change();
    let config = ApplierConfig::default().concurrency(CONCURRENCY);
    applier(reconciler, policy, live, caches.nodes.store().clone(), queue, config)
        .for_each(|result| async move {
            match result {
                Ok(_) | Err(kube::runtime::controller::Error::ObjectNotFound(_)) => {}
                Err(error) => warn!(%error, "the queue reports"),
            }
        })
        .await;
    departures.abort();
    info!("stopped");
}

/// Since when a node fails.
#[derive(Default)]
struct Failures(Mutex<HashMap<NodeKey, Instant>>);

impl Failures {
    /// Back-off by the time since the first failure, never by the number of triggers.
    fn failed(&self, key: &NodeKey) -> Duration {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = *since.entry(key.clone()).or_insert_with(Instant::now);
        (first.elapsed() / 4).clamp(Duration::from_millis(500), Duration::from_mins(1))
    }

    fn healed(&self, key: &NodeKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// One pass over one node. A panic is a bug of ours: it is counted, and this node alone is tried again later.
async fn pass(
    node: &SeiNode,
    live: &Arc<Live>,
    failures: &Failures,
) -> Result<Action, std::convert::Infallible> {
    let key = NodeKey::of(node);
    let plan = node.status.plan.as_ref().map(|p| p.id.clone()).unwrap_or_default();
    let span = info_span!("reconcile", node = %key, uid = node.uid(), generation = node.generation(), plan);
    let started = Instant::now();
    live.metrics().node(node);
    let guarded =
        AssertUnwindSafe(reconcile(live.as_ref(), &key).instrument(span.clone())).catch_unwind().await;
    let result = guarded.unwrap_or_else(|panic| {
        live.metrics().panicked();
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(ReconcileError::Panicked(text.unwrap_or_else(|| "no text".to_owned())))
    });
    live.metrics().reconciled(started.elapsed(), result.is_err());
    Ok(match result {
        Ok(rest) => {
            failures.healed(&key);
            match rest.wake {
                Wake::OnChange => Action::await_change(),
                Wake::After(delay) => Action::requeue(delay.max(Duration::from_millis(1))),
            }
        }
        Err(error) => {
            let delay = failures.failed(&key);
            let chain = anyhow::Chain::new(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
            span.in_scope(|| warn!(error = chain, retry_in = ?delay, "the pass came to no rest"));
            Action::requeue(delay)
        }
    })
}

/// Kinds of the Go operator that have no controller here.
const UNMANAGED: [(&str, &str); 3] = [
    ("SeiNetwork", "seinetworks"),
    ("SeiNodeTask", "seinodetasks"),
    ("SeiNodeTaskWorkflow", "seinodetaskworkflows"),
];

/// Says so where objects exist that nobody handles any more.
pub async fn report_unmanaged(client: &Client, live: &Live) {
    for (kind, plural) in UNMANAGED {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("sei.io", "v1alpha1", kind), plural);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let list = perform::limited(async { api.list(&ListParams::default().limit(1)).await }).await;
        match list {
            Ok(list) if !list.items.is_empty() => {
                live.metrics().unmanaged(kind);
                error!(
                    kind,
                    "objects of this kind exist, and no controller handles them: this operator handles SeiNode only"
                );
            }
            Ok(_) => {}
            // The kind is not installed, or not ours to list: then there is nothing to say.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => warn!(kind, %error, "could not look for objects that nobody handles"),
        }
    }
}
