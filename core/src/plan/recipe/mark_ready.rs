//! Mark-ready plan (`seinode.md` 5.6): readiness is in the sidecar's memory only, so after its restart a new id has to
//! run before seid starts. A fresh plan id each time makes the task id new.

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

pub(crate) fn recipe(inputs: Inputs<'_>) -> Recipe {
    Recipe {
        kind: PlanKind::MarkReady,
        tasks: inputs.tasks(vec![TaskType::MarkReady]),
        target: NodePhase::Running,
        failed: None,
    }
}
