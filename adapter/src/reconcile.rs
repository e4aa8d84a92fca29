//! The loop: observe, decide, store, act, until there is nothing to do. No Kubernetes type stands in it.

use std::collections::BTreeSet;
use std::time::Duration;

use seinode_core::api::ConditionType;
use seinode_core::decide;
use seinode_core::decision::{Decision, Rest, StatusWrite, Wake};
use seinode_core::effect::Op;
use seinode_core::ident::NodeKey;
use seinode_core::world::{Topic, World};
use tracing::{debug, info, warn};

use crate::error::ReconcileError;
use crate::ports::{Ports, Snapshot, Stored};

/// Most rounds of one pass. The longest plan has 21 tasks of at most a look, a write and another look each; beyond that
/// something flaps, and waiting is better than going on.
const ROUNDS: usize = 96;

/// Conflicts in one pass before it waits: the first is answered by looking again at once.
const CONFLICTS: u32 = 3;

/// One pass over one node, until it rests.
pub async fn reconcile(ports: &impl Ports, key: &NodeKey) -> Result<Rest, ReconcileError> {
    let mut looks: BTreeSet<Topic> = BTreeSet::new();
    let mut known: Option<Snapshot> = None;
    let mut outcomes = Vec::new();
    let mut conflicts = 0;
    for _ in 0..ROUNDS {
        let Some(mut snapshot) = ports.observe(key, known.take(), &looks).await? else {
            return Ok(Rest { wake: Wake::OnChange, why: Vec::new(), place: None });
        };
        snapshot.observed.outcomes.clone_from(&outcomes);
        let world = World {
            node: &snapshot.node,
            observed: &snapshot.observed,
            settings: ports.settings(),
            now: ports.now(),
        };
        let act = match decide(&world) {
            Decision::Look(topics) => {
                looks.extend(topics);
                known = Some(snapshot);
                continue;
            }
            Decision::Act(act) => act,
            Decision::Commit(commit) => {
                let stored = ports.store(commit.write()).await?;
                match stored {
                    Stored::At(answer) => {
                        log_stored(commit.write());
                        let act = commit.stored(&answer)?;
                        snapshot.node = *answer;
                        act
                    }
                    Stored::Conflict | Stored::Ambiguous(_) => {
                        conflicts += 1;
                        warn!(?stored, "the status was not stored; looking again");
                        if conflicts >= CONFLICTS {
                            return Err(ReconcileError::Contended(conflicts));
                        }
                        looks = BTreeSet::from([Topic::Node]);
                        continue;
                    }
                }
            }
            Decision::Rest(rest) => {
                ports.progress(&snapshot.node, &rest);
                ports.rested(&snapshot.node, &rest);
                return Ok(rest);
            }
        };
        ports.progress(&snapshot.node, act.rest());
        let (effects, rest) = act.into_parts();
        let silent = effects.iter().all(|e| matches!(e.op, Op::Announce(_)));
        for effect in effects.iter().filter(|e| !matches!(e.op, Op::Announce(_))) {
            info!(effect = %effect.id, verb = effect.op.verb(), "performing");
        }
        outcomes = ports.perform(&snapshot.node, effects).await;
        looks.clear();
        if silent && rest.wake != Wake::After(Duration::ZERO) {
            debug!(?rest, "resting after a write");
            return Ok(rest);
        }
    }
    Err(ReconcileError::Restless(ROUNDS))
}

/// One line for a stored change: what it says, not all of it.
fn log_stored(write: &StatusWrite) {
    let status = &write.status;
    let fields =
        write.patch.as_object().map(|p| p.keys().cloned().collect::<Vec<_>>().join(",")).unwrap_or_default();
    let phase = status.phase.as_ref().map_or("none", |p| p.as_str());
    let plan = status.plan.as_ref().map_or("none", |p| p.phase.as_str());
    let ready = status.conditions.iter().find(|c| c.condition_type == ConditionType::Ready);
    let ready = ready.map_or("none", |c| c.reason.as_str());
    info!(fields, phase, plan_phase = plan, ready, "stored");
}
