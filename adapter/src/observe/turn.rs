//! Whose turn it is to be updated (S24), in the cluster and in this process.
//!
//! A turn belongs to a node, not to an operator. Validators take theirs by a Lease per chain, so that two operators agree;
//! for the other roles one process counts. Who asks and finds room has the turn from then on. No turn is given back: a
//! Lease is free again once its node can be seen to be done.

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use seinode_core::api::SeiNode;
use seinode_core::api::mode::Mode;
use seinode_core::turn::{self, group};
use seinode_core::world::{Blind, Seen, Turn};
use tokio::time::Instant;

use super::asked;
use crate::live::Live;
use crate::perform::limited;

/// How many nodes of a chain and a role are updated to a new default at once; 0: as many as there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Validators.
    pub validators: usize,
    /// Nodes of each other role.
    pub others: usize,
    /// Where the Leases of the validators are.
    pub namespace: String,
}

impl Pace {
    /// How many validators, where nobody says otherwise.
    pub const VALIDATORS: usize = 1;
    /// How many nodes of each other role, where nobody says otherwise.
    pub const OTHERS: usize = 5;

    /// As many as is usual.
    pub fn in_namespace(namespace: &str) -> Self {
        Self { validators: Self::VALIDATORS, others: Self::OTHERS, namespace: namespace.to_owned() }
    }
}

/// What one process knows of turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Uid of each node that was given a turn a moment ago.
    given: HashMap<String, Instant>,
    /// The version of each Lease, and since when it is seen.
    seen: HashMap<String, (String, Instant)>,
    /// The version of each Lease that was taken here for a node, and when.
    taken: HashMap<String, (String, Instant)>,
}

/// How long a node that was given a turn has until its update can be seen.
const BEGINS_WITHIN: Duration = Duration::from_secs(15);
/// How long a Lease that was taken is relied on without being taken anew: well before others may have it.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Asks for a node's turn.
pub(super) async fn ask(live: &Live, node: &SeiNode) -> Seen<Turn> {
    let validator = Mode::of(&node.spec) == Some(Mode::Validator);
    let most = if validator { live.pace.validators } else { live.pace.others };
    if most == 0 {
        return Seen::Present(Turn::Own);
    }
    if let Some(others) = taken(live, node, most) {
        return Seen::Present(Turn::Others(others));
    }
    let turn = if validator { lease(live, node, most).await } else { Seen::Present(Turn::Own) };
    if turn != Seen::Present(Turn::Own) {
        live.turns.lock().unwrap_or_else(PoisonError::into_inner).given.remove(node.uid());
    }
    turn
}

/// Who has all the turns, as far as this process sees; `None` where there is room, and then one is taken.
fn taken(live: &Live, node: &SeiNode, most: usize) -> Option<Vec<String>> {
    let now = live.time();
    let mut turns = live.turns.lock().unwrap_or_else(PoisonError::into_inner);
    turns.given.retain(|_, at| at.elapsed() < BEGINS_WITHIN);
    let (mut busy, ours) = (BTreeSet::new(), group(node));
    for other in live.caches.nodes.all() {
        if other.uid() == node.uid() || group(&other) != ours {
            continue;
        }
        if turn::occupies(&other, now) {
            // It has begun, and tells by itself when it is done.
            turns.given.remove(other.uid());
            busy.insert(key(&other));
        } else if turns.given.contains_key(other.uid()) {
            busy.insert(key(&other));
        }
    }
    if busy.len() >= most {
        return Some(busy.into_iter().collect());
    }
    turns.given.insert(node.uid().to_owned(), Instant::now());
    None
}

fn key(node: &SeiNode) -> String {
    format!("{}/{}", node.namespace(), node.name())
}

/// A turn by Lease: one of so many for the chain.
async fn lease(live: &Live, node: &SeiNode, most: usize) -> Seen<Turn> {
    if !live.mandate.is_held() {
        return Seen::Unknown(Blind::Unreachable("this operator does not lead any more".to_owned()));
    }
    let api: Api<Lease> = Api::namespaced(live.client.clone(), &live.pace.namespace);
    let mut found = Vec::new();
    for slot in 0..most {
        let name = format!("seinode-update-validator-{}-{slot}", node.spec.chain_id);
        let read = {
            let name = name.clone();
            let api = api.clone();
            asked(async move { api.get_opt(&name).await }).await
        };
        match read {
            Ok(Some(lease)) if is_own(live, &name, node, &lease) => return Seen::Present(Turn::Own),
            Ok(lease) => found.push((name, lease)),
            Err(blind) => return Seen::Unknown(blind),
        }
    }
    let mut others = Vec::new();
    for (name, lease) in found {
        match is_free(live, node, &name, lease.as_ref()).await {
            Ok(true) => {}
            Ok(false) => {
                others.extend(holder(lease.as_ref()).map(shown));
                continue;
            }
            Err(blind) => return Seen::Unknown(blind),
        }
        match take(live, &api, node, &name, lease).await {
            Ok(()) => return Seen::Present(Turn::Own),
            // Somebody else was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => others.push(name),
            Err(error) => {
                return Seen::Unknown(Blind::Unreachable(format!("Lease {name} can't be had: {error}")));
            }
        }
    }
    Seen::Present(Turn::Others(others))
}

/// Whether a node has a Lease that was taken for it a moment ago. An older one is as free for the others as it is for this
/// node: it is taken anew, so that of two who want it only one gets it.
fn is_own(live: &Live, name: &str, node: &SeiNode, lease: &Lease) -> bool {
    let turns = live.turns.lock().unwrap_or_else(PoisonError::into_inner);
    let lately = turns.taken.get(name).is_some_and(|(version, at)| {
        lease.metadata.resource_version.as_ref() == Some(version) && at.elapsed() < GOOD_FOR
    });
    lately && holder(Some(lease)) == Some(&identity(node)) && !is_spent(node, lease)
}

/// Namespace, name and uid of a node, as a Lease names its holder.
fn identity(node: &SeiNode) -> String {
    format!("{}/{}", key(node), node.uid())
}

fn shown(holder: &str) -> String {
    holder.rsplit_once('/').map_or(holder, |(key, _)| key).to_owned()
}

fn holder(lease: Option<&Lease>) -> Option<&str> {
    lease?.spec.as_ref()?.holder_identity.as_deref().filter(|h| !h.is_empty())
}

/// Whether an update of the holder has ended since it took the Lease.
fn is_spent(holder: &SeiNode, lease: &Lease) -> bool {
    let taken = lease.spec.as_ref().and_then(|s| s.acquire_time.as_ref()).map(|at| at.0);
    taken.is_some_and(|taken| turn::last_update(holder).is_some_and(|ended| ended > taken))
}

/// Whether the node that holds a Lease is the one that asks, is gone, or is done with the update that it took it for.
async fn is_free(live: &Live, asking: &SeiNode, name: &str, lease: Option<&Lease>) -> Result<bool, Blind> {
    let Some((lease, holder)) = lease.and_then(|l| Some((l, holder(Some(l))?))) else { return Ok(true) };
    if holder == identity(asking) {
        return Ok(true);
    }
    let mut parts = holder.splitn(3, '/');
    let (Some(namespace), Some(node), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
        // Written by a person: theirs to take back.
        return Ok(false);
    };
    let api: Api<SeiNode> = Api::namespaced(live.client.clone(), namespace);
    let read = asked(async { api.get_opt(node).await }).await?;
    let Some(node) = read.filter(|n| n.uid() == uid) else { return Ok(true) };
    if turn::occupies(&node, live.time()) {
        return Ok(false);
    }
    if is_spent(&node, lease) {
        return Ok(true);
    }
    // It may be about to begin. Its clock is not compared with ours: what counts is how long we have seen this version.
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let mut turns = live.turns.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = turns.seen.entry(name.to_owned()).or_insert_with(|| (version.clone(), Instant::now()));
    if seen.0 != version {
        *seen = (version, Instant::now());
    }
    Ok(seen.1.elapsed() >= BEGINS_WITHIN)
}

/// Writes a node into a Lease, at the version that was read.
async fn take(
    live: &Live,
    api: &Api<Lease>,
    node: &SeiNode,
    name: &str,
    lease: Option<Lease>,
) -> Result<(), kube::Error> {
    let spec = LeaseSpec {
        holder_identity: Some(identity(node)),
        acquire_time: Some(MicroTime(live.time())),
        ..LeaseSpec::default()
    };
    let how = PostParams::default();
    let taken = match lease {
        Some(mut lease) => {
            lease.spec = Some(spec);
            limited(async { api.replace(name, &how, &lease).await }).await?
        }
        None => {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            limited(async { api.create(&how, &lease).await }).await?
        }
    };
    let version = taken.metadata.resource_version.unwrap_or_default();
    let mut turns = live.turns.lock().unwrap_or_else(PoisonError::into_inner);
    turns.taken.insert(name.to_owned(), (version, Instant::now()));
    Ok(())
}

#[cfg(test)]
mod tests;
