//! One shared watch a kind: it fills a pruned cache, and wakes the node that an object belongs to.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource};
use seinode_core::api::SeiNode;
use seinode_core::ident::NodeKey;
use serde::de::DeserializeOwned;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::cache::{Cache, Child, Kept, Packed};
use crate::live::{Caches, Definition};
use crate::prune::Prune;
use crate::telemetry::Metrics;

/// Label that every owned object carries (`seinode.md` 1).
const NODE_LABEL: &str = "sei.io/node";

/// The watches and what they wake.
pub struct Watches {
    /// The caches that the watches fill.
    pub caches: Arc<Caches>,
    pub(crate) triggers: UnboundedReceiver<ObjectRef<SeiNode>>,
    pub(crate) departures: UnboundedReceiver<Departure>,
    pub(crate) stop: CancellationToken,
}

/// How nodes leave.
pub(crate) enum Departure {
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
    // A pod of a StatefulSet is not controlled by the node itself, but has its label.
    let by_label = |pod: &ObjectMeta| pod.labels.as_ref()?.get(NODE_LABEL).cloned();
    let nodes = NodeFeed { wake: wake.clone(), leave, definition: definition.clone() };
    let caches = Arc::new(Caches {
        nodes: feed_nodes(client, nodes, stop),
        statefulsets: feed(client, &wake, stop),
        services: feed(client, &wake, stop),
        config_maps: feed(client, &wake, stop),
        claims: feed(client, &wake, stop),
        jobs: feed(client, &wake, stop),
        pods: feed_by(client, &wake, stop, by_label),
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

fn feed_nodes(client: &Client, feed: NodeFeed, stop: &CancellationToken) -> Arc<Cache<SeiNode, SeiNode>> {
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
    wake: &UnboundedSender<ObjectRef<SeiNode>>,
    stop: &CancellationToken,
) -> Arc<Cache<K>>
where
    K: Prune + Child + Send + Sync,
{
    feed_by(client, wake, stop, |object| {
        let owners = object.owner_references.iter().flatten();
        let owner = { owners }.find(|o| o.controller == Some(true) && o.kind == "SeiNode")?;
        Some(owner.name.clone())
    })
}

/// A watch of what carries the node label; its events wake a node of their namespace, by its name.
fn feed_by<K>(
    client: &Client,
    wake: &UnboundedSender<ObjectRef<SeiNode>>,
    stop: &CancellationToken,
    node_of: fn(&ObjectMeta) -> Option<String>,
) -> Arc<Cache<K>>
where
    K: Prune + Child + Send + Sync,
{
    let wake = wake.clone();
    let woken = move |event: &Event<Packed<K>>| {
        if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = event
            && let (Some(name), Some(namespace)) = (node_of(object.meta()), &object.meta().namespace)
        {
            let _ = wake.unbounded_send(ObjectRef::new(&name).within(namespace));
        }
    };
    spawn(client, watch::Config::default().labels(NODE_LABEL), stop, |_| {}, woken)
}

/// A cache that one watch fills for ever: each event is stored, then told.
fn spawn<K, S>(
    client: &Client,
    config: watcher::Config,
    stop: &CancellationToken,
    on_error: impl Fn(&watcher::Error) + Send + 'static,
    on_event: impl Fn(&Event<S>) + Send + 'static,
) -> Arc<Cache<K, S>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    S: Kept<K> + DeserializeOwned + Send + Sync,
{
    let (store, writer) = reflector::store::<S>();
    let cache = Arc::new(Cache::over(store));
    let over = Arc::clone(&cache);
    let api: Api<S> = Api::all(client.clone());
    let stop = stop.clone();
    let kind = S::kind(&()).into_owned();
    tokio::spawn(async move {
        let stream =
            watcher::watcher(api, config).backoff(Pauses::default()).modify(Kept::tidy).reflect(writer);
        let mut stream = std::pin::pin!(stream);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = stream.next() => match event {
                    Some(Ok(event)) => {
                        over.watched(&event);
                        on_event(&event);
                    }
                    Some(Err(error)) => {
                        on_error(&error);
                        warn!(kind, %error, "a watch failed; it is started again");
                    }
                    None => return,
                },
            }
        }
    });
    cache
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

impl Caches {
    /// Whether every watch has listed its kind once.
    pub fn are_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    /// Whether the API server was found not to know SeiNodes.
    pub(crate) fn definition_is_missing(&self) -> bool {
        *self.definition.borrow() == Definition::Missing
    }

    pub(crate) async fn wait_until_synced(&self) -> Result<(), reflector::store::WriterDropped> {
        self.nodes.store().wait_until_ready().await?;
        self.statefulsets.store().wait_until_ready().await?;
        self.services.store().wait_until_ready().await?;
        self.config_maps.store().wait_until_ready().await?;
        self.claims.store().wait_until_ready().await?;
        self.jobs.store().wait_until_ready().await?;
        self.pods.store().wait_until_ready().await?;
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
        self.pods.count_behind(metrics.behind());
    }
}
