//! NodeUpdate plan (`seinode.md` 5.5): new images on a Running node. It never contains `config-apply`, and it has no
//! failed phase: the node stays Running and the work is tried again.

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

pub(crate) fn recipe(inputs: Inputs<'_>) -> Recipe {
    let mut tasks = inputs.key_checks();
    tasks.extend([
        TaskType::ApplyStatefulSet,
        TaskType::ApplyService,
        TaskType::ConfigPatch,
        TaskType::ConfigValidate,
        TaskType::ReplacePod,
        TaskType::ObserveImage,
        TaskType::MarkReady,
    ]);
    Recipe { kind: PlanKind::NodeUpdate, tasks: inputs.tasks(tasks), target: NodePhase::Running, failed: None }
}
