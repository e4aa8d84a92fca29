//! `SeiNodeTaskWorkflow`: what this operator reads of a workflow that has a node to itself (`seinode.md` 15).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::condition::Condition;
use super::status::StoredPlan;

/// Kind of the object.
pub const KIND: &str = "SeiNodeTaskWorkflow";
/// Plural, as URLs have it.
pub const PLURAL: &str = "seinodetaskworkflows";
/// The finalizer of a workflow that has a node (`seinode.md` 1).
pub const FINALIZER: &str = "sei.io/seinodetaskworkflow-finalizer";
/// The annotation that releases a node although its data may not be whole; any value but an empty one.
pub const FORCE: &str = "sei.io/force-delete-workflow";

/// A workflow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workflow {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What is to be done.
    pub spec: WorkflowSpec,
    /// How far it is.
    pub status: WorkflowStatus,
}

/// What a workflow is to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowSpec {
    /// Kind of the work; `StateSync` is the only one there is.
    pub kind: String,
    /// The node.
    pub target: WorkflowTarget,
    /// Throw the data away and fetch the state of the chain anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_sync: Option<StateSync>,
}

/// The node that a workflow works on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowTarget {
    /// Its name; it is in the namespace of the workflow.
    pub node_ref: NodeRef,
}

/// A node by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeRef {
    /// Name.
    pub name: String,
}

/// How the state is fetched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StateSync {
    /// Witnesses; none means those of the node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rpc_servers: Vec<String>,
    /// A change of the storage engine on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
}

/// A change of the storage engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Migration {
    /// `GigaStore` is the only one there is.
    pub kind: String,
    /// Its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub giga_store: Option<GigaStore>,
}

/// Settings of the GigaStore migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GigaStore {
    /// Storage backend; none means `pebbledb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// How far a workflow is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkflowStatus {
    /// `Pending`, `Running`, `Complete` or `Failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Its plan, of the same form as a node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<StoredPlan>,
    /// Conditions, keyed by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Everything else, kept as it came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Workflow {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it carries the finalizer of a workflow that has a node.
    pub fn is_marked(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
    }

    /// Whether somebody has asked for the node to be released whatever became of its data.
    pub fn is_forced(&self) -> bool {
        self.metadata.annotations.iter().flatten().any(|(key, value)| key == FORCE && !value.is_empty())
    }
}
