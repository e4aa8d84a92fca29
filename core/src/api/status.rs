//! `SeiNodeStatus`: phase, plan and tasks exactly as stored (`seinode.md` 2 and 3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::condition::Condition;
use super::wire::{Stamp, is_zero, open_enum};

open_enum! {
    /// Phase of a node.
    NodePhase {
        /// Legal, never written by this operator, treated like none.
        Pending = "Pending",
        /// The first plan is under way.
        Initializing = "Initializing",
        /// An init plan has completed.
        Running = "Running",
        /// An init plan has failed.
        Failed = "Failed",
        /// The node is being deleted.
        Terminating = "Terminating",
    }
}

open_enum! {
    /// Phase of a plan.
    PlanPhase {
        /// Tasks are being carried out.
        Active = "Active",
        /// Every task is complete.
        Complete = "Complete",
        /// A task has failed for good.
        Failed = "Failed",
    }
}

open_enum! {
    /// Status of a task.
    TaskStatus {
        /// Not finished (a submitted task stays Pending, `seinode.md` 3).
        Pending = "Pending",
        /// Legal, never written for SeiNode plans; read like Pending.
        Running = "Running",
        /// Done.
        Complete = "Complete",
        /// Failed for good.
        Failed = "Failed",
    }
}

open_enum! {
    /// Type of a task, as stored and as the sidecar knows it.
    TaskType {
        /// Make sure that the data volume claim exists and is ours, or that the imported one is fit.
        EnsureDataPvc = "ensure-data-pvc",
        /// Apply the ConfigMap of the proxy in front of the sidecar.
        ApplyRbacProxyConfig = "apply-rbac-proxy-config",
        /// Apply the StatefulSet.
        ApplyStatefulSet = "apply-statefulset",
        /// Apply the headless Service.
        ApplyService = "apply-service",
        /// Check the Secret of the signing key.
        ValidateSigningKey = "validate-signing-key",
        /// Check the Secret of the node key.
        ValidateNodeKey = "validate-node-key",
        /// Check the Secrets of the operator keyring.
        ValidateOperatorKeyring = "validate-operator-keyring",
        /// Create the Service of the bootstrap pod.
        DeployBootstrapService = "deploy-bootstrap-service",
        /// Create the bootstrap Job.
        DeployBootstrapJob = "deploy-bootstrap-job",
        /// Wait until the bootstrap Job has completed.
        AwaitBootstrapComplete = "await-bootstrap-complete",
        /// Remove the bootstrap Job, its pod and its Service.
        TeardownBootstrap = "teardown-bootstrap",
        /// Delete the pod of an old revision.
        ReplacePod = "replace-pod",
        /// Record the images that the pod runs.
        ObserveImage = "observe-image",
        /// Sidecar: unpack a snapshot archive.
        SnapshotRestore = "snapshot-restore",
        /// Sidecar: write genesis.json.
        ConfigureGenesis = "configure-genesis",
        /// Sidecar: write the config files.
        ConfigApply = "config-apply",
        /// Sidecar: patch the config files.
        ConfigPatch = "config-patch",
        /// Sidecar: write the state-sync section.
        ConfigureStateSync = "configure-state-sync",
        /// Sidecar: validate the config files.
        ConfigValidate = "config-validate",
        /// Sidecar: let seid start.
        MarkReady = "mark-ready",
        /// Sidecar: make the node's identity.
        GenerateIdentity = "generate-identity",
        /// Sidecar: make the genesis transaction.
        GenerateGentx = "generate-gentx",
        /// Sidecar: upload the genesis artifacts.
        UploadGenesisArtifacts = "upload-genesis-artifacts",
        /// Sidecar: write the peers of a new chain.
        SetGenesisPeers = "set-genesis-peers",
        /// Sidecar, workflows only: seid is not to start again by itself.
        MarkNotReady = "mark-not-ready",
        /// Sidecar, workflows only: stop seid.
        StopSeid = "stop-seid",
        /// Sidecar, workflows only: empty the data folder.
        ResetData = "reset-data",
    }
}

/// What the operator has recorded of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeiNodeStatus {
    /// Phase; absent on a fresh node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<NodePhase>,
    /// When the phase was last set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_transition_time: Option<Stamp>,
    /// The plan; absent means steady state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<StoredPlan>,
    /// Conditions, keyed by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Image of the node software that the pod runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_image: Option<String>,
    /// Image of the sidecar that the pod runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_sidecar_image: Option<String>,
    /// Peers, sorted and unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved_peers: Vec<String>,
    /// State-sync witnesses, sorted and unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved_state_syncers: Vec<String>,
    /// The StatefulSet that was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<ObjectId>,
    /// Where clients reach a Running full or archive node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// The workflow that occupies the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopted_workflow: Option<Value>,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Name and uid of an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectId {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Where clients reach a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// EVM JSON-RPC over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evm_json_rpc: Option<String>,
    /// EVM JSON-RPC over WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evm_ws: Option<String>,
    /// Tendermint RPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tendermint_rpc: Option<String>,
    /// Cosmos REST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tendermint_rest: Option<String>,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A plan as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredPlan {
    /// Id; any text may stand here.
    #[serde(default)]
    pub id: String,
    /// Where the plan stands.
    #[serde(default = "PlanPhase::unset")]
    pub phase: PlanPhase,
    /// Phase of the node after success; absent or empty means no change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_phase: Option<NodePhase>,
    /// Phase of the node after failure; absent or empty means no change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_phase: Option<NodePhase>,
    /// The tasks, in order.
    #[serde(default)]
    pub tasks: Vec<StoredTask>,
    /// Index of the task that failed; only on a Failed plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_task_index: Option<i64>,
    /// What failed and why; only on a Failed plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_task_detail: Option<FailedTaskDetail>,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl PlanPhase {
    fn unset() -> Self {
        Self::Other(String::new())
    }
}

impl StoredPlan {
    /// A new plan that leaves the node's phase alone.
    pub(crate) fn active(id: String, tasks: Vec<StoredTask>) -> Self {
        Self {
            id,
            phase: PlanPhase::Active,
            target_phase: None,
            failed_phase: None,
            tasks,
            failed_task_index: None,
            failed_task_detail: None,
            extra: Map::new(),
        }
    }
}

impl TaskStatus {
    fn unset() -> Self {
        Self::Other(String::new())
    }
}

/// A task as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredTask {
    /// Type.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// Id: UUIDv5 of plan id, type and index, or whatever an older operator chose.
    pub id: String,
    /// Where the task stands.
    #[serde(default = "TaskStatus::unset")]
    pub status: TaskStatus,
    /// Parameters, any JSON, frozen when the plan was built.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// When the task's turn came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Stamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it may be retried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_retries: i64,
    /// How often it was retried.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_count: i64,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What failed and why; all five keys are always present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedTaskDetail {
    /// Type of the task.
    #[serde(rename = "type")]
    pub task_type: String,
    /// Id of the task.
    pub id: String,
    /// Why it failed.
    pub error: String,
    /// How often it was retried.
    pub retry_count: i64,
    /// How often it could be retried.
    pub max_retries: i64,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
