//! What sidecars tell: of a node's own its readiness and records, of its peers their node ids. What may be remembered is
//! asked for once.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use seinode_core::api::SeiNode;
use seinode_core::ident::NodeKey;
use seinode_core::world::{Health, Observed, PeerNode, Seen};
use tokio::time::Instant;

use crate::live::{Live, RememberedHealth, RememberedId, Silence};

/// How long a peer's node id is believed before it is asked for again.
const NODE_ID_AGE: Duration = Duration::from_mins(10);
/// How long a peer that gave no id is left alone.
const NODE_ID_RETRY: Duration = Duration::from_secs(5);
/// After this time nobody knows whether a sidecar that gave no answer would give one now.
const SILENCE_AGE: Duration = Duration::from_mins(2);
/// How many peers are asked at once.
const PEERS_AT_ONCE: usize = 16;

/// The sidecar's readiness: asked when the pod has changed, and at most once a minute; one that gave no answer is asked again
/// sooner.
pub(super) async fn health(live: &Live, node: &SeiNode, observed: &Observed) -> Seen<Health> {
    let fingerprint = fingerprint(observed);
    {
        let remembered = live.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered.get(node.uid())
            && known.fingerprint == fingerprint
            && known.at.elapsed() < believed(&known.health)
        {
            return known.health.clone();
        }
    }
    let health = live.sidecars.health(&NodeKey::of(node)).await;
    live.metrics.health_probe(node.namespace(), &health);
    let entry = RememberedHealth { at: Instant::now(), health: health.clone(), fingerprint };
    live.health.lock().unwrap_or_else(PoisonError::into_inner).insert(node.uid().to_owned(), entry);
    health
}

/// How long an answer is believed.
fn believed(health: &Seen<Health>) -> Duration {
    match health {
        Seen::Present(Health::Ready) => seinode_core::HEALTH_POLL,
        // The next mark-ready makes it wrong, long before the pod shows it.
        Seen::Present(Health::NotReady) => Duration::ZERO,
        Seen::Absent | Seen::Unknown(_) => seinode_core::HEALTH_RETRY,
    }
}

/// What of the pods makes an older answer of the sidecar worthless.
fn fingerprint(observed: &Observed) -> String {
    let uid =
        observed.statefulset.present().and_then(|s: &StatefulSet| s.metadata.uid.clone()).unwrap_or_default();
    let pods = observed.pods.present().into_iter().flatten();
    let job = observed.job.present().and_then(|j| j.metadata.uid.clone()).unwrap_or_default();
    let of_node = pods.filter(|p| p.owner_references().iter().any(|o| o.uid == uid || o.uid == job));
    let mut parts: Vec<String> = of_node
        .flat_map(|p| {
            let pod = p.metadata.uid.clone().unwrap_or_default();
            let status = p.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
            status
                .map(move |c| format!("{pod}/{}/{}/{}/{:?}", c.name, c.restart_count, c.ready, c.started))
                .collect::<Vec<_>>()
        })
        .collect();
    parts.sort();
    parts.join(",")
}

/// The sidecar's records; what a plan names and the list of the newest hundred does not show is asked for by id.
pub(super) async fn sidecar_tasks(
    live: &Live,
    node: &SeiNode,
) -> Seen<BTreeMap<seinode_core::ident::TaskId, seinode_core::world::SidecarTask>> {
    const SHOWN: usize = 100;
    let key = NodeKey::of(node);
    let mut seen = live.sidecars.tasks(&key).await;
    if let Seen::Present(records) = &mut seen
        && records.len() >= SHOWN
        && let Some(plan) = &node.status.plan
    {
        for task in &plan.tasks {
            let id = seinode_core::ident::TaskId::new(&task.id);
            if records.contains_key(&id) {
                continue;
            }
            match live.sidecars.task(&key, &task.id).await {
                Seen::Present(record) => {
                    records.insert(id, record);
                }
                Seen::Absent => {}
                Seen::Unknown(blind) => return Seen::Unknown(blind),
            }
        }
    }
    seen
}

/// Remembers whether a node's sidecar has told its records: one that answers nothing else is of no use to a plan.
/// Answers how long it has not by now.
pub(super) fn note(live: &Live, node: &SeiNode, has_answered: bool) -> Duration {
    let mut silences = live.silences.lock().unwrap_or_else(PoisonError::into_inner);
    if has_answered {
        silences.remove(node.uid());
        return Duration::ZERO;
    }
    let now = Instant::now();
    let silence = silences.entry(node.uid().to_owned()).or_insert(Silence { from: now, to: now });
    if silence.to.elapsed() > SILENCE_AGE {
        silence.from = now;
    }
    silence.to = now;
    now.duration_since(silence.from)
}

/// How long a node's sidecar has given no answer.
pub(super) fn silence(live: &Live, node: &SeiNode) -> Duration {
    let silences = live.silences.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = silences.get(node.uid()).filter(|s| s.to.elapsed() <= SILENCE_AGE);
    fresh.map_or(Duration::ZERO, |s| s.to.duration_since(s.from))
}

/// Other SeiNodes that label sources select, with their node ids: asked at once, within limits, and remembered.
pub(super) async fn peers(live: &Live, node: &SeiNode) -> Vec<PeerNode> {
    let all = live.caches.nodes.all();
    let selected = all
        .into_iter()
        .filter(|p| p.uid() != node.uid() && seinode_core::selects_peer(node, p.namespace(), p.labels()));
    let mut found: Vec<PeerNode> = futures::stream::iter(selected)
        .map(|peer| async move {
            let node_id = node_id(live, &peer).await;
            PeerNode {
                namespace: peer.namespace().to_owned(),
                name: peer.name().to_owned(),
                chain_id: peer.spec.chain_id.clone(),
                labels: peer.labels().clone(),
                external_address: peer.spec.external_address.clone(),
                deleting: peer.is_deleting(),
                node_id,
            }
        })
        .buffer_unordered(PEERS_AT_ONCE)
        .collect()
        .await;
    found.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    found
}

async fn node_id(live: &Live, peer: &SeiNode) -> Seen<String> {
    {
        let remembered = live.node_ids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered.get(peer.uid()) {
            let age = if known.id.present().is_some() { NODE_ID_AGE } else { NODE_ID_RETRY };
            if known.at.elapsed() < age {
                return known.id.clone();
            }
        }
    }
    let id = live.sidecars.node_id(&NodeKey::of(peer)).await;
    let mut remembered = live.node_ids.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = remembered.get(peer.uid()).and_then(|k| k.id.present().cloned());
    // A peer that does not answer now keeps the id it had.
    let id = match (id, earlier) {
        (Seen::Unknown(_), Some(earlier)) => Seen::Present(earlier),
        (id, _) => id,
    };
    remembered.insert(peer.uid().to_owned(), RememberedId { at: Instant::now(), id: id.clone() });
    id
}
