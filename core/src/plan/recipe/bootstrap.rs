//! Bootstrap init plan (`seinode.md` 5.3): a Job runs the chain up to the target height on the data volume, is torn
//! down, and only then the StatefulSet takes the volume over (P48).

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

pub(crate) fn recipe(inputs: Inputs<'_>) -> Recipe {
    let mut tasks = vec![TaskType::EnsureDataPvc, TaskType::ApplyRbacProxyConfig];
    tasks.extend(inputs.key_checks());
    tasks.extend([TaskType::DeployBootstrapService, TaskType::DeployBootstrapJob]);
    tasks.extend(inputs.progression());
    tasks.extend([TaskType::AwaitBootstrapComplete, TaskType::TeardownBootstrap]);
    tasks.extend(production());
    plan(inputs, tasks)
}

/// What follows a bootstrap that has completed: it is never run again.
pub(crate) fn after(inputs: Inputs<'_>) -> Recipe {
    let mut tasks = vec![TaskType::EnsureDataPvc, TaskType::ApplyRbacProxyConfig];
    tasks.extend(inputs.key_checks());
    tasks.push(TaskType::TeardownBootstrap);
    tasks.extend(production());
    plan(inputs, tasks)
}

fn plan(inputs: Inputs<'_>, tasks: Vec<TaskType>) -> Recipe {
    Recipe {
        kind: PlanKind::Bootstrap,
        tasks: inputs.tasks(tasks),
        target: NodePhase::Running,
        failed: Some(NodePhase::Failed),
    }
}

/// From the end of the bootstrap on: no restore, no state sync (P57).
fn production() -> [TaskType; 6] {
    [
        TaskType::ApplyStatefulSet,
        TaskType::ApplyService,
        TaskType::ConfigureGenesis,
        TaskType::ConfigApply,
        TaskType::ConfigValidate,
        TaskType::MarkReady,
    ]
}
