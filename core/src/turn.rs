//! Whose turn it is (S24): a new default must not take a whole fleet down in one minute.
//!
//! Asked before an update that no edit of the node itself has asked for, so a fleet follows a new default image of the
//! sidecar one node after the other. A node whose node software does not run loses nothing by its update and never waits;
//! what users edit in a node is theirs to pace.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::condition::{self, Condition, ConditionStatus, ConditionType};
use crate::api::mode::Mode;
use crate::api::{NodePhase, SeiNode};
use crate::draft::StatusDraft;
use crate::drift;
use crate::explain::WaitingOn;
use crate::pod;
use crate::retry;
use crate::world::{Seen, Topic, Turn, World};

/// How often a node asks whether its turn has come.
pub(crate) const POLL: Duration = Duration::from_secs(5);
/// How long an updated node that is not Ready yet keeps the others waiting. Not for ever: a chain that stands still until
/// enough of its nodes are updated must not stop their updates. A node whose update failed does, until it is Ready, paused
/// or deleted: the next one would most likely go the same way.
const SETTLING: Duration = Duration::from_mins(5);
/// Reason of `NodeUpdateInProgress` while a node waits.
pub(crate) const WAITING: &str = "WaitingForTurn";
/// Reason of `NodeUpdateInProgress` during an update.
pub(crate) const STARTED: &str = "UpdateStarted";
/// Reason of `NodeUpdateInProgress` after an update.
pub(crate) const COMPLETE: &str = "UpdateComplete";
/// Reason of `NodeUpdateInProgress` after an update that failed.
pub(crate) const FAILED: &str = "UpdateFailed";

/// What a node needs before its update may begin.
#[derive(Debug, PartialEq)]
pub(crate) enum Gate {
    /// Nothing.
    Open,
    /// Look first.
    Look(BTreeSet<Topic>),
    /// Others to be done.
    Closed(WaitingOn),
}

/// Whether the update of a node may begin now; shown on the node where it may not.
pub(crate) fn gate(world: World<'_>, draft: &mut StatusDraft<'_>) -> Gate {
    // Who keeps the others waiting has the turn.
    if !drift::is_by_default(world, draft) || !runs(world) || occupies(world.node, world.now) {
        return Gate::Open;
    }
    if !world.observed.has_looked(&Topic::Turn) {
        return Gate::Look(BTreeSet::from([Topic::Turn]));
    }
    let text = match &world.observed.turn {
        Seen::Present(Turn::Own) => return Gate::Open,
        Seen::Present(Turn::Others(names)) => {
            format!("the update to the new default waits for its turn: {} first", names.join(", "))
        }
        Seen::Absent => "the update to the new default waits for its turn".to_owned(),
        Seen::Unknown(blind) => format!("whose turn it is to be updated can't be told: {blind}"),
    };
    draft.condition(ConditionType::NodeUpdateInProgress, ConditionStatus::False, WAITING, &text);
    Gate::Closed(WaitingOn::Turn(text))
}

/// Takes back that a node waits for its turn, once it has nothing to wait for.
pub(crate) fn forget(draft: &mut StatusDraft<'_>) {
    let kind = ConditionType::NodeUpdateInProgress;
    if draft.find(&kind).is_some_and(|c| c.reason == WAITING) {
        draft.condition(kind, ConditionStatus::False, "NoUpdate", "no update is under way");
    }
}

/// Whether the node software runs.
fn runs(world: World<'_>) -> bool {
    let Some(sts) = world.observed.statefulset.present() else { return true };
    match pod::of_statefulset(&world.observed.pods, sts) {
        // What can't be told is taken for running.
        Seen::Unknown(_) => true,
        Seen::Absent => false,
        Seen::Present(pod) => pod::is_running(pod, pod::SEID),
    }
}

/// The nodes that take turns with each other: of one chain, in one role.
pub fn group(node: &SeiNode) -> (&str, Option<Mode>) {
    (&node.spec.chain_id, Mode::of(&node.spec))
}

/// Whether a node keeps the others of its group waiting: its update is under way, or has failed or ended lately and the node
/// does not serve again yet.
pub fn occupies(node: &SeiNode, now: Timestamp) -> bool {
    if node.is_deleting() || node.spec.paused == Some(true) || node.status.phase != Some(NodePhase::Running) {
        return false;
    }
    let Some(update) = updating(node) else { return false };
    if update.status == ConditionStatus::True {
        return true;
    }
    let serves = condition::find(&node.status.conditions, &ConditionType::Ready)
        .is_some_and(|c| c.status == ConditionStatus::True);
    let lately = || ended(update).is_some_and(|at| retry::elapsed(at, now) < SETTLING);
    !serves && (update.reason == FAILED || lately())
}

/// When the last update of a node ended, if it had one.
pub fn last_update(node: &SeiNode) -> Option<Timestamp> {
    ended(updating(node)?)
}

fn updating(node: &SeiNode) -> Option<&Condition> {
    condition::find(&node.status.conditions, &ConditionType::NodeUpdateInProgress)
}

fn ended(update: &Condition) -> Option<Timestamp> {
    let has_ended = update.reason == COMPLETE || update.reason == FAILED;
    if has_ended { update.since() } else { None }
}
