//! Deletion (`seinode.md` 11.4, P59): phase Terminating, our claim, the finalizer. Not held by `paused` or Failed.
//!
//! Upholds W7: only a claim whose controller is this node's uid is deleted, by uid, and only after a look past the
//! cache; an imported claim never. With `--cascade=orphan` (the `orphan` finalizer) the claim is kept too.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::mode;
use crate::api::{self, NodePhase};
use crate::decision::{Act, Commit, Decision, Rest, Wake};
use crate::draft::StatusDraft;
use crate::effect::{Effect, Fault, Kind, ObjectRef, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, ResourceVersion};
use crate::owner::{self, Owner};
use crate::workflow::{self, Slot};
use crate::world::{Seen, Topic, World};

/// Finalizer that the API server sets for `--cascade=orphan`.
const ORPHAN: &str = "orphan";

/// Wait before a deletion that was refused is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What to do about a node that is being deleted.
pub(crate) fn decide(world: World<'_>) -> Decision {
    let node = world.node;
    if !node.has_finalizer() {
        return Decision::Rest(Rest::new(Wake::OnChange, Vec::new()));
    }
    if node.status.phase != Some(NodePhase::Terminating) {
        let mut draft = StatusDraft::open(node, world.now);
        draft.terminate();
        if let Some(write) = draft.write() {
            return Decision::Commit(Commit::new(
                write,
                Act::new(Vec::new(), waiting("the phase was set to Terminating")),
            ));
        }
    }
    match claim(world) {
        Claim::Settled => match workflow::of_deleted(world) {
            Slot::Free | Slot::Released => finish(world),
            Slot::Look(topics) => Decision::Look(topics),
            Slot::Act(effects) => {
                Decision::Act(Act::new(effects, Rest::new(Wake::After(Duration::ZERO), Vec::new())))
            }
            Slot::Wait(why, _) => Decision::Rest(waiting(&why.to_string())),
        },
        Claim::Delete(effect) => attempt(world, effect),
        Claim::Look => Decision::Look(BTreeSet::from([Topic::DataPvc])),
        Claim::Blind(text) => Decision::Rest(waiting(&text)),
    }
}

enum Claim {
    Settled,
    Delete(Effect),
    Look,
    Blind(String),
}

fn claim(world: World<'_>) -> Claim {
    let node = world.node;
    let orphaned = node.metadata.finalizers.iter().flatten().any(|f| f == ORPHAN);
    if orphaned || mode::imported_claim_name(&node.spec).is_some() {
        return Claim::Settled;
    }
    if !world.observed.has_looked(&Topic::DataPvc) {
        return Claim::Look;
    }
    match &world.observed.data_pvc {
        Seen::Absent => Claim::Settled,
        Seen::Unknown(blind) => Claim::Blind(format!("can't tell about the data volume claim: {blind}")),
        Seen::Present(claim) if owner::of(&claim.metadata, node) != Owner::Ours => Claim::Settled,
        Seen::Present(claim) if claim.metadata.deletion_timestamp.is_some() => Claim::Settled,
        Seen::Present(claim) => {
            let uid = owner::uid(&claim.metadata);
            let target = ObjectRef {
                kind: Kind::PersistentVolumeClaim,
                namespace: node.namespace().to_owned(),
                name: claim.metadata.name.clone().unwrap_or_default(),
            };
            // The version too: who takes the claim over by editing its owner references keeps it.
            let op = Op::Delete { target, version: Some(owner::version(&claim.metadata)), uid: uid.clone() };
            Claim::Delete(Effect { id: EffectId::new(format!("delete/{uid}")), task: None, op })
        }
    }
}

/// Removes the finalizer, as the last thing.
fn finish(world: World<'_>) -> Decision {
    let node = world.node;
    let finalizers =
        node.metadata.finalizers.iter().flatten().filter(|f| *f != api::FINALIZER).cloned().collect();
    let version = ResourceVersion::new(node.resource_version());
    let id = EffectId::new(format!("finalizer/{version}/remove"));
    attempt(world, Effect { id, task: None, op: Op::Finalizer { finalizers, version } })
}

/// Carries an effect out, or waits where it has just gone wrong.
pub(crate) fn attempt(world: World<'_>, effect: Effect) -> Decision {
    match world.observed.fault(&effect.id) {
        Some(
            Fault::Ambiguous(text) | Fault::Conflict(text) | Fault::Terminal(text) | Fault::Transient(text),
        ) => Decision::Rest(waiting(text)),
        None => {
            let rest = Rest::new(Wake::After(Duration::ZERO), Vec::new());
            Decision::Act(Act::new(vec![effect], rest))
        }
    }
}

fn waiting(text: &str) -> Rest {
    Rest::new(Wake::After(AGAIN), vec![WaitingOn::Deletion(text.to_owned())])
}
