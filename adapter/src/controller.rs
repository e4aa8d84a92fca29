//! The queue: which node is worked on when, how many at once, and by whom.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::{Action, Config as ApplierConfig, ReconcileRequest, applier};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use seinode_core::api::SeiNode;
use seinode_core::decision::{Rest, StatusWrite, Wake};
use seinode_core::effect::{Effect, Outcome};
use seinode_core::explain::WaitingOn;
use seinode_core::ident::NodeKey;
use seinode_core::world::{Settings, Topic};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::error::{PortError, ReconcileError};
use crate::live::Live;
use crate::ports::{Ports, Snapshot, Stored};
use crate::reconcile::reconcile;
use crate::watches::Departure;
use crate::{ledger, observe, perform};

pub use crate::watches::{Watches, watches};

/// Nodes worked on at once. A pass waits most of its time, for an answer or for a list that it shares; a slow sidecar holds
/// one place for the length of a call.
const CONCURRENCY: u16 = 128;

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
        looks: &BTreeSet<Topic>,
    ) -> Result<Option<Snapshot>, PortError> {
        // On the heap: these futures are large, and a worker's stack is not.
        let snapshot = Box::pin(observe::observe(self, key, known, looks)).await?;
        if let (Some(audience), Some(snapshot)) = (&self.audience, &snapshot) {
            audience.read(&snapshot.node);
        }
        Ok(snapshot)
    }

    async fn perform(&self, node: &SeiNode, effects: Vec<Effect>) -> Vec<Outcome> {
        Box::pin(perform::perform(self, node, effects)).await
    }

    async fn store(&self, write: &StatusWrite) -> Result<Stored, PortError> {
        let answer = Box::pin(ledger::store(self, write)).await;
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
