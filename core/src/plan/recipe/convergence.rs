//! Convergence plan: children of a Running node that no longer say what is rendered, or are gone (S22). The pod is not
//! replaced; only what differs is applied.

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

/// A plan of the given apply tasks.
pub(crate) fn recipe(inputs: Inputs<'_>, applies: Vec<TaskType>) -> Recipe {
    Recipe {
        kind: PlanKind::Convergence,
        tasks: inputs.tasks(applies),
        target: NodePhase::Running,
        failed: None,
    }
}
