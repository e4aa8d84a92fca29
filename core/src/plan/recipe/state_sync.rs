//! What a StateSync workflow does to a node (`seinode.md` 15): empty its data, and fetch the state of the chain anew.

use serde_json::{Value, json};

use crate::api::workflow::{StateSync, Workflow};
use crate::api::{SeiNode, TaskType, mode};
use crate::gate::witnesses::FEWEST;

/// Backend where the workflow names none.
const BACKEND: &str = "pebbledb";

/// The tasks in order. An error says what is missing; it is waited for.
pub(crate) fn tasks(
    workflow: &Workflow,
    node: &SeiNode,
    resolved: &[String],
) -> Result<Vec<(TaskType, Value)>, String> {
    let sync = workflow.spec.state_sync.as_ref().filter(|_| workflow.spec.kind == "StateSync");
    let sync = sync.ok_or_else(|| format!("its kind {:?} is not known here", workflow.spec.kind))?;
    let migration = migration(sync)?;
    let witnesses = if sync.rpc_servers.is_empty() { resolved } else { &sync.rpc_servers };
    if witnesses.len() < FEWEST {
        return Err(format!(
            "it needs {FEWEST} witnesses: name them in spec.stateSync.rpcServers of a new workflow, or in the registry"
        ));
    }
    let source = mode::snapshot_source(&node.spec).cloned().unwrap_or_default();
    let configure = json!({
        "UseLocalSnapshot": false,
        "TrustPeriod": source.trust_period.unwrap_or_default(),
        "BackfillBlocks": source.backfill_blocks.unwrap_or_default(),
        "RpcServers": witnesses,
    });
    let mut tasks = vec![
        (TaskType::MarkNotReady, json!({})),
        (TaskType::StopSeid, json!({})),
        (TaskType::ResetData, json!({})),
    ];
    tasks.extend(migration.map(|files| (TaskType::ConfigPatch, files)));
    tasks.extend([(TaskType::ConfigureStateSync, configure), (TaskType::MarkReady, json!({}))]);
    Ok(tasks)
}

/// The keys that the new storage engine needs.
fn migration(sync: &StateSync) -> Result<Option<Value>, String> {
    let Some(migration) = &sync.migration else { return Ok(None) };
    if migration.kind != "GigaStore" {
        return Err(format!("its migration {:?} is not known here", migration.kind));
    }
    let backend = migration.giga_store.as_ref().and_then(|g| g.backend.as_deref()).unwrap_or(BACKEND);
    Ok(Some(json!({"files": {"app.toml": {
        "state-store": {"ss-enable": true, "evm-ss-split": true, "ss-backend": backend},
        "state-commit": {"sc-enable": true},
    }}})))
}
