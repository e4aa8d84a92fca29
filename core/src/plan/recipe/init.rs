//! Base init plan (`seinode.md` 5.2): claim, key checks, child objects, then the sidecar's progression.

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

pub(crate) fn recipe(inputs: Inputs<'_>) -> Recipe {
    let mut tasks = vec![TaskType::EnsureDataPvc];
    // Keys are checked before anything that could start a pod with them (S6).
    tasks.extend(inputs.key_checks());
    tasks.extend([TaskType::ApplyRbacProxyConfig, TaskType::ApplyStatefulSet, TaskType::ApplyService]);
    tasks.extend(inputs.progression());
    Recipe {
        kind: PlanKind::Init,
        tasks: inputs.tasks(tasks),
        target: NodePhase::Running,
        failed: Some(NodePhase::Failed),
    }
}
