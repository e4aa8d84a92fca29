//! The workflow slot (`seinode.md` 15). This operator adopts no workflow; a node that one occupies is left to it.

use crate::api::SeiNode;

/// Why a node is left alone, if a workflow occupies it.
pub(crate) fn occupied(node: &SeiNode) -> Option<String> {
    let workflow = node.status.adopted_workflow.as_ref()?;
    let name = workflow.get("name").and_then(serde_json::Value::as_str).unwrap_or("?");
    Some(format!(
        "workflow {name} occupies the node, and this operator runs no workflows: let the operator that adopted it finish \
         it, or delete the workflow and clear status.adoptedWorkflow once its work on the data is known to be whole"
    ))
}
