//! Which plan, if any, a node without an active one needs (`seinode.md` 5.1).

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::{NodePhase, SeiNodeStatus};
use crate::plan::Recipe;
use crate::plan::recipe::{self, Inputs};

/// The recipe that today's spec and the drafted status call for.
pub(crate) fn choose(inputs: Inputs<'_>, drafted: &SeiNodeStatus) -> Option<Recipe> {
    if drafted.phase == Some(NodePhase::Running) {
        let lost = drafted
            .conditions
            .iter()
            .any(|c| c.condition_type == ConditionType::SidecarReady && c.status == ConditionStatus::False);
        return lost.then(|| recipe::mark_ready::recipe(inputs));
    }
    Some(first(inputs))
}

/// The init recipe of a node: the ceremony wins over the bootstrap.
pub(crate) fn first(inputs: Inputs<'_>) -> Recipe {
    if mode::has_genesis_ceremony(&inputs.node.spec) {
        recipe::genesis::recipe(inputs)
    } else if mode::needs_bootstrap(&inputs.node.spec) {
        recipe::bootstrap::recipe(inputs)
    } else {
        recipe::init::recipe(inputs)
    }
}
