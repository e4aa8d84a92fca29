//! State-sync gate (`seinode.md` 13): a node that starts from a snapshot needs at least two light-client witnesses.
//!
//! Only asked of nodes that are not Running: a Running node needs no witnesses, and registry trouble does not show on
//! it (V13). An active plan is never touched: its list is frozen in its params.

use std::collections::BTreeSet;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::draft::StatusDraft;
use crate::explain::WaitingOn;
use crate::world::{Registry, World};

/// Fewest witnesses a light client works with.
pub(crate) const FEWEST: usize = 2;

/// Resolves the witnesses, shows the result, and says what holds the node, if it is held.
pub(crate) fn gate(world: World<'_>, draft: &mut StatusDraft<'_>) -> Option<WaitingOn> {
    let (status, reason, message, witnesses) = resolve(world);
    draft.condition(ConditionType::StateSyncReady, status.clone(), reason, &message);
    draft.fields().resolved_state_syncers(witnesses);
    (mode::needs_witnesses(&world.node.spec) && status != ConditionStatus::True)
        .then_some(WaitingOn::Witnesses(message))
}

/// Shows the result on a node that no gate holds. What was resolved stays: a workflow may need it.
pub(crate) fn show(world: World<'_>, draft: &mut StatusDraft<'_>) {
    let (status, reason, message, _) = resolve(world);
    draft.condition(ConditionType::StateSyncReady, status, reason, &message);
}

/// Whether the registry has to be read for a node.
pub fn needs_registry(node: &crate::api::SeiNode) -> bool {
    mode::needs_witnesses(&node.spec) && declared(node).len() < FEWEST
}

/// The witnesses that the spec names, sorted and unique.
pub(crate) fn declared(node: &crate::api::SeiNode) -> Vec<String> {
    let servers = mode::snapshot_source(&node.spec).and_then(|s| s.rpc_servers.clone()).unwrap_or_default();
    servers.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn resolve(world: World<'_>) -> (ConditionStatus, &'static str, String, Vec<String>) {
    use ConditionStatus::{False, True, Unknown};
    let chain = &world.node.spec.chain_id;
    if !mode::needs_witnesses(&world.node.spec) {
        return (False, "NotApplicable", "the node starts without a snapshot".into(), Vec::new());
    }
    let own = declared(world.node);
    if own.len() >= FEWEST {
        return (True, "Ready", format!("{} witnesses for chain {chain} from spec", own.len()), own);
    }
    match &world.observed.registry {
        Registry::NotAsked => {
            let text = format!("the witness registry was not read for chain {chain}");
            (Unknown, "SyncerSourceError", text, Vec::new())
        }
        Registry::Unreadable(error) => {
            let text = format!("the witness registry can't be read for chain {chain}: {error}");
            (Unknown, "SyncerSourceError", text, Vec::new())
        }
        Registry::Entries(list) if list.len() >= FEWEST => (
            True,
            "Ready",
            format!("{} witnesses for chain {chain} from the registry", list.len()),
            list.clone(),
        ),
        Registry::Entries(list) => (
            False,
            "NoSyncersConfigured",
            format!(
                "{} of at least {FEWEST} witnesses for chain {chain}: name them in snapshot.rpcServers, or in \
                 stateSync.syncers of the platform file",
                list.len()
            ),
            Vec::new(),
        ),
    }
}
