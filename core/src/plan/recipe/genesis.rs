//! Genesis plan of a founding validator (`seinode.md` 5.4): no key checks, no snapshot. `configure-genesis` waits by
//! retrying until the network's genesis file is published.

use crate::api::{NodePhase, TaskType};
use crate::plan::recipe::Inputs;
use crate::plan::{PlanKind, Recipe};

pub(crate) fn recipe(inputs: Inputs<'_>) -> Recipe {
    let tasks = vec![
        TaskType::EnsureDataPvc,
        TaskType::ApplyRbacProxyConfig,
        TaskType::ApplyStatefulSet,
        TaskType::ApplyService,
        TaskType::GenerateIdentity,
        TaskType::GenerateGentx,
        TaskType::UploadGenesisArtifacts,
        TaskType::ConfigureGenesis,
        TaskType::ConfigApply,
        TaskType::SetGenesisPeers,
        TaskType::ConfigValidate,
        TaskType::MarkReady,
    ];
    Recipe {
        kind: PlanKind::Genesis,
        tasks: inputs.tasks(tasks),
        target: NodePhase::Running,
        failed: Some(NodePhase::Failed),
    }
}
