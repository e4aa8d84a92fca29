//! NodeUpdate plan (`seinode.md` 5.5): new images on a Running node. It never contains `config-apply`, and it has no
//! failed phase: the node stays Running and the work is tried again.
//!
//! Two orders. With a sidecar that answers, the config is patched before the pod goes. Without one, the pod is replaced
//! first, so that a node whose sidecar or pod is down can be updated at all (S9); that is safe, because seid waits for
//! mark-ready.

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

/// With `answering`, the order of the contract; else the pod first.
pub(crate) fn recipe(inputs: Inputs<'_>, answering: bool) -> Recipe {
    let mut tasks = inputs.key_checks();
    tasks.extend([TaskType::ApplyStatefulSet, TaskType::ApplyService]);
    let config = [TaskType::ConfigPatch, TaskType::ConfigValidate];
    let rollout = [TaskType::ReplacePod, TaskType::ObserveImage];
    if answering {
        tasks.extend(config.into_iter().chain(rollout));
    } else {
        tasks.extend(rollout.into_iter().chain(config));
    }
    tasks.push(TaskType::MarkReady);
    Recipe {
        kind: PlanKind::NodeUpdate,
        tasks: inputs.tasks(tasks),
        target: NodePhase::Running,
        failed: None,
    }
}
