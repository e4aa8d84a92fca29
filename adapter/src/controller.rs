//! Watches, caches, queue: what wakes a node, and how many are worked on at once.

use std::collections::{HashMap, HashSet};
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
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use seinode_core::api::SeiNode;
use seinode_core::decision::{Rest, StatusWrite, Wake};
use seinode_core::effect::{Effect, Outcome};
use seinode_core::explain::WaitingOn;
use seinode_core::ident::NodeKey;
use seinode_core::world::{Settings, Topic};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Sender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use crate::cache::Cache;
use crate::error::{PortError, ReconcileError};
use crate::live::{Caches, Definition, Live};
use crate::ports::{Ports, Snapshot, Stored};
use crate::reconcile::reconcile;
use crate::telemetry::Metrics;
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
        // On the heap: these futures are large, and a worker's stack is not.
        Box::pin(observe::observe(self, key, known, looks)).await
    }

    async fn perform(&self, node: &SeiNode, effects: Vec<Effect>) -> Vec<Outcome> {
        Box::pin(perform::perform(self, node, effects)).await
    }

    async fn store(&self, write: &StatusWrite) -> Result<Stored, PortError> {
        Box::pin(ledger::store(self, write)).await
    }

    fn progress(&self, node: &SeiNode, rest: &Rest) {
        if let Some(audience) = &self.audience {
            audience(node, rest);
        }
    }
}

impl Caches {
    /// Whether every watch has listed its kind once.
    pub fn are_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    /// Whether the API server was found not to know SeiNodes.
    pub(crate) fn definition_is_missing(&self) -> bool {
        *self.definition.borrow() == Definition::Missing
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

    /// Counts how long watches take to show what was written.
    pub(crate) fn count_behind(&self, metrics: &Metrics) {
        self.nodes.count_behind(metrics.behind());
        self.statefulsets.count_behind(metrics.behind());
        self.services.count_behind(metrics.behind());
        self.config_maps.count_behind(metrics.behind());
        self.claims.count_behind(metrics.behind());
        self.jobs.count_behind(metrics.behind());
    }
}

/// The watches and what they wake.
pub struct Watches {
    /// The caches that the watches fill.
    pub caches: Arc<Caches>,
    triggers: UnboundedReceiver<ObjectRef<SeiNode>>,
    departures: UnboundedReceiver<Departure>,
    stop: CancellationToken,
}

/// How nodes leave.
enum Departure {
    /// A node was seen to go.
    Of(NodeKey),
    /// A new list was made: whatever is not in it is gone.
    Listed,
}

/// Starts one shared watch per kind.
pub fn watches(client: &Client, stop: &CancellationToken) -> Watches {
    let (wake, triggers) = unbounded();
    let (leave, departures) = unbounded();
    let definition = Sender::new(Definition::Unknown);
    let labelled = || watch::Config::default().labels(NODE_LABEL);
    let (pods, pod_writer) = reflector::store::<Pod>();
    let nodes = NodeFeed { wake: wake.clone(), leave, definition: definition.clone() };
    let caches = Arc::new(Caches {
        nodes: feed_nodes(client, nodes, stop),
        statefulsets: feed(client, labelled(), &wake, stop),
        services: feed(client, labelled(), &wake, stop),
        config_maps: feed(client, labelled(), &wake, stop),
        claims: feed(client, labelled(), &wake, stop),
        jobs: feed(client, labelled(), &wake, stop),
        pods: feed_pods(client, labelled(), &wake, pods, pod_writer, stop),
        synced: AtomicBool::new(false),
        definition,
    });
    Watches { caches, triggers, departures, stop: stop.clone() }
}

struct NodeFeed {
    wake: UnboundedSender<ObjectRef<SeiNode>>,
    leave: UnboundedSender<Departure>,
    definition: Sender<Definition>,
}

fn feed_nodes(client: &Client, feed: NodeFeed, stop: &CancellationToken) -> Arc<Cache<SeiNode>> {
    let NodeFeed { wake, leave, definition } = feed;
    let known = definition.clone();
    let failed = move |error: &watcher::Error| {
        if is_unknown_kind(error) {
            definition.send_replace(Definition::Missing);
        }
    };
    spawn(client, watch::Config::default(), stop, failed, move |event: &Event<SeiNode>| match event {
        Event::Apply(node) | Event::InitApply(node) => {
            let _ = wake.unbounded_send(ObjectRef::from_obj(node));
        }
        Event::Delete(node) => {
            let _ = leave.unbounded_send(Departure::Of(NodeKey::of(node)));
        }
        Event::Init => {}
        Event::InitDone => {
            let _ = leave.unbounded_send(Departure::Listed);
            known
                .send_if_modified(|known| std::mem::replace(known, Definition::Served) != Definition::Served);
        }
    })
}

/// A list or watch of a kind that the API server does not know.
fn is_unknown_kind(error: &watcher::Error) -> bool {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(status) => return status.code == 404,
        watcher::Error::NoResourceVersion => return false,
    };
    matches!(source, kube::Error::Api(status) if status.code == 404)
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
    spawn(
        client,
        config,
        stop,
        |_| {},
        move |event: &Event<K>| {
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
        },
    )
}

fn spawn<K>(
    client: &Client,
    config: watcher::Config,
    stop: &CancellationToken,
    on_error: impl Fn(&watcher::Error) + Send + 'static,
    on_event: impl Fn(&Event<K>) + Send + 'static,
) -> Arc<Cache<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let cache = Arc::new(Cache::over(store));
    let over = Arc::clone(&cache);
    pump(client, config, writer, stop, on_error, move |event| {
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
    pump(
        client,
        config,
        writer,
        stop,
        |_| {},
        move |event: &Event<Pod>| {
            if let Event::Apply(pod) | Event::InitApply(pod) | Event::Delete(pod) = event
                && let (Some(name), Some(namespace)) = (pod.labels().get(NODE_LABEL), pod.namespace())
            {
                let _ = wake.unbounded_send(ObjectRef::new(name).within(&namespace));
            }
        },
    );
    store
}

/// Runs one watch for ever: prunes, fills the store, then tells.
fn pump<K>(
    client: &Client,
    config: watcher::Config,
    writer: Writer<K>,
    stop: &CancellationToken,
    on_error: impl Fn(&watcher::Error) + Send + 'static,
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
            .backoff(Pauses::default())
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
                    Some(Err(error)) => {
                        on_error(&error);
                        warn!(kind, %error, "a watch failed; it is started again");
                    }
                    None => return,
                },
            }
        }
    });
}

/// Pauses of a watch that fails: short, because there are seven of them, and all work waits for them.
#[derive(Default)]
struct Pauses(u32);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(250) * 2_u32.pow(self.0.min(4));
        self.0 += 1;
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

/// How long passes that are under way may go on when the operator is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Works on nodes until stopped; then ends what is under way and returns.
pub async fn run(watches: Watches, live: Arc<Live>) {
    let Watches { caches, mut triggers, departures, stop } = watches;
    tokio::select! {
        result = caches.wait_until_synced() => if result.is_err() { return },
        () = stop.cancelled() => return,
    }
    info!(nodes = caches.nodes.store().len(), "the caches are filled");
    let leaving = tokio::spawn(see_off(departures, Arc::clone(&live)));
    loop {
        let term = tokio::select! {
            () = stop.cancelled() => break,
            term = live.mandate.term() => term,
            // Whoever begins to work looks at all nodes, so a standby need not keep what it was woken for.
            trigger = triggers.next() => match trigger {
                Some(_) => continue,
                None => break,
            },
        };
        term_of_work(&live, &mut triggers, &term, &stop).await;
        live.metrics().backlog().clear();
        live.metrics().retain(|_| false);
        if !stop.is_cancelled() && !term.is_cancelled() {
            break;
        }
    }
    leaving.abort();
    info!("stopped");
}

/// Works on nodes until stopped, or until the term ends: then everything that is under way is dropped where it stands.
/// What was sent may still arrive; it is guarded, and nothing that a decision needs is in memory only.
async fn term_of_work(
    live: &Arc<Live>,
    triggers: &mut UnboundedReceiver<ObjectRef<SeiNode>>,
    term: &CancellationToken,
    stop: &CancellationToken,
) {
    let failures = Arc::new(Failures::default());
    let store = live.caches.nodes.store();
    let all = futures::stream::iter(store.state()).map(|node| ObjectRef::from_obj(node.as_ref()));
    let queue = futures::stream::select(all, triggers)
        .filter(|node| std::future::ready(is_wanted(live, node)))
        .take_until(stop.clone().cancelled_owned())
        .map(|node| Ok::<_, watcher::Error>(ReconcileRequest::from(node)));
    let reconciler = |node: Arc<SeiNode>, live: Arc<Live>| {
        let failures = Arc::clone(&failures);
        async move { pass(&node, &live, &failures).await }.boxed()
    };
    let policy = |_: Arc<SeiNode>, _: &std::convert::Infallible, _: Arc<Live>| Action::await_change();
    let config = ApplierConfig::default().concurrency(CONCURRENCY);
    let work = applier(reconciler, policy, Arc::clone(live), store.clone(), queue, config);
    let work = work.for_each(|result| async move {
        match result {
            Ok(_) | Err(kube::runtime::controller::Error::ObjectNotFound(_)) => {}
            Err(error) => warn!(%error, "the queue reports"),
        }
    });
    let grace = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        () = term.cancelled() => {}
        () = work => {}
        () = grace => warn!("passes that were under way are dropped; the next operator goes on with them"),
    }
}

/// Whether a trigger is for a node of ours that is there; if so, it counts as waiting from now on.
fn is_wanted(live: &Live, node: &ObjectRef<SeiNode>) -> bool {
    let key = NodeKey { namespace: node.namespace.clone().unwrap_or_default(), name: node.name.clone() };
    let wanted = live.owns(&key) && live.caches.nodes.store().get(node).is_some();
    if wanted {
        live.metrics().backlog().wanted(key, Instant::now());
    }
    wanted
}

/// Drops what is remembered and shown of nodes that are gone.
async fn see_off(mut departures: UnboundedReceiver<Departure>, live: Arc<Live>) {
    while let Some(departure) = departures.next().await {
        let store = live.caches.nodes.store();
        let is_there =
            |node: &NodeKey| store.get(&ObjectRef::new(&node.name).within(&node.namespace)).is_some();
        match departure {
            Departure::Of(node) if is_there(&node) => {}
            Departure::Of(node) => live.metrics().forget(&node),
            Departure::Listed => live.metrics().retain(is_there),
        }
        let uids: HashSet<String> = store.state().iter().map(|node| node.uid().to_owned()).collect();
        live.forget_unless(|uid| uids.contains(uid));
    }
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
    let (metrics, backlog) = (live.metrics(), live.metrics().backlog());
    metrics.waited(backlog.began(&key));
    let started = Instant::now();
    metrics.node(node);
    let guarded = AssertUnwindSafe(reconcile(live.as_ref(), &key).boxed().instrument(span.clone()))
        .catch_unwind()
        .await;
    let result = guarded.unwrap_or_else(|panic| {
        metrics.panicked();
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(ReconcileError::Panicked(text.unwrap_or_else(|| "no text".to_owned())))
    });
    metrics.reconciled(started.elapsed(), result.is_err());
    backlog.ended(&key);
    let delay = match result {
        Ok(rest) => {
            failures.healed(&key);
            metrics.waits(&key, rest.why.first().map(WaitingOn::reason));
            match rest.wake {
                Wake::OnChange => None,
                Wake::After(delay) => Some(delay.max(Duration::from_millis(1))),
            }
        }
        Err(error) => {
            let delay = failures.failed(&key);
            let chain = anyhow::Chain::new(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
            span.in_scope(|| warn!(error = chain, retry_in = ?delay, "the pass came to no rest"));
            Some(delay)
        }
    };
    if live.caches.nodes.store().get(&ObjectRef::from_obj(node)).is_none() {
        // It went while it was worked on: what was shown of it since must not stay.
        metrics.forget(&key);
    } else if let Some(delay) = delay {
        backlog.wanted(key, Instant::now() + delay);
    }
    Ok(delay.map_or_else(Action::await_change, Action::requeue))
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
