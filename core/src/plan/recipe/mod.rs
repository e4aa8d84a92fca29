//! One file per plan kind, each an ordered list of tasks; one function makes all params (P53).

pub(crate) mod bootstrap;
pub(crate) mod convergence;
pub(crate) mod genesis;
pub(crate) mod init;
pub(crate) mod mark_ready;
pub(crate) mod state_sync;
pub(crate) mod update;

use serde_json::{Value, json};

use crate::api::mode;
use crate::api::{SeiNode, TaskType};
use crate::plan::intent;

/// What recipes are made from, besides constants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    /// The node.
    pub(crate) node: &'a SeiNode,
    /// Its peers, resolved in the same pass.
    pub(crate) peers: &'a [String],
    /// Its state-sync witnesses, resolved in the same pass.
    pub(crate) witnesses: &'a [String],
}

impl Inputs<'_> {
    /// A task with its params, exactly as stored (`seinode.md` 6).
    pub(crate) fn task(self, task_type: TaskType) -> (TaskType, Value) {
        let params = self.params(&task_type);
        (task_type, params)
    }

    fn params(self, task_type: &TaskType) -> Value {
        let (node, spec) = (self.node, &self.node.spec);
        let (name, namespace) = (node.name(), node.namespace());
        match task_type {
            TaskType::EnsureDataPvc
            | TaskType::ApplyStatefulSet
            | TaskType::ApplyService
            | TaskType::ApplyRbacProxyConfig
            | TaskType::ReplacePod
            | TaskType::ObserveImage => json!({"nodeName": name, "namespace": namespace}),
            TaskType::ValidateSigningKey => {
                json!({"secretName": mode::signing_key_secret(spec).unwrap_or_default(), "namespace": namespace})
            }
            TaskType::ValidateNodeKey => {
                json!({"secretName": mode::node_key_secret(spec).unwrap_or_default(), "namespace": namespace})
            }
            TaskType::ValidateOperatorKeyring => {
                let keyring = mode::operator_keyring(spec).cloned().unwrap_or_default();
                json!({
                    "secretName": keyring.secret_name,
                    "keyName": keyring.key_name.filter(|k| !k.is_empty()).unwrap_or_else(|| DEFAULT_KEY_NAME.to_owned()),
                    "passphraseSecretName": keyring.passphrase_secret_ref.secret_name,
                    "passphraseSecretKey": keyring.passphrase_secret_ref.key,
                    "namespace": namespace,
                })
            }
            TaskType::DeployBootstrapService => json!({"serviceName": name, "namespace": namespace}),
            TaskType::DeployBootstrapJob | TaskType::AwaitBootstrapComplete => {
                json!({"jobName": format!("{name}-bootstrap"), "namespace": namespace})
            }
            TaskType::TeardownBootstrap => {
                json!({"jobName": format!("{name}-bootstrap"), "serviceName": name, "namespace": namespace})
            }
            TaskType::SnapshotRestore => {
                json!({"TargetHeight": mode::target_height(spec).unwrap_or_default()})
            }
            TaskType::ConfigureGenesis => json!({"ExpectedGenesisHash": ""}),
            TaskType::ConfigApply => intent::config_apply(node, self.peers),
            TaskType::ConfigPatch => intent::config_patch(node, self.peers),
            TaskType::ConfigureStateSync => {
                let source = mode::snapshot_source(spec).cloned().unwrap_or_default();
                // As the Go operator stores an empty list: null.
                let servers = if self.witnesses.is_empty() { Value::Null } else { json!(self.witnesses) };
                json!({
                    "UseLocalSnapshot": source.s3.is_some(),
                    "TrustPeriod": source.trust_period.unwrap_or_default(),
                    "BackfillBlocks": source.backfill_blocks.unwrap_or_default(),
                    "RpcServers": servers,
                })
            }
            TaskType::GenerateIdentity => {
                let ceremony = mode::genesis_ceremony(spec).cloned().unwrap_or_default();
                json!({"ChainID": ceremony.chain_id, "Moniker": name})
            }
            TaskType::GenerateGentx => {
                let ceremony = mode::genesis_ceremony(spec).cloned().unwrap_or_default();
                json!({
                    "ChainID": ceremony.chain_id,
                    "StakingAmount": ceremony.staking_amount,
                    "AccountBalance": ceremony.account_balance,
                })
            }
            TaskType::UploadGenesisArtifacts => json!({"NodeName": name}),
            TaskType::ConfigValidate
            | TaskType::MarkReady
            | TaskType::SetGenesisPeers
            | TaskType::MarkNotReady
            | TaskType::StopSeid
            | TaskType::ResetData
            | TaskType::Other(_) => json!({}),
        }
    }

    /// The key checks that the spec calls for, in their fixed order.
    pub(crate) fn key_checks(self) -> Vec<TaskType> {
        let spec = &self.node.spec;
        [
            (mode::signing_key_secret(spec).is_some(), TaskType::ValidateSigningKey),
            (mode::node_key_secret(spec).is_some(), TaskType::ValidateNodeKey),
            (mode::operator_keyring(spec).is_some(), TaskType::ValidateOperatorKeyring),
        ]
        .into_iter()
        .filter_map(|(wanted, task)| wanted.then_some(task))
        .collect()
    }

    /// The sidecar tasks that bring a data volume to life (P53, P54): of the base and of the bootstrap plan.
    pub(crate) fn progression(self) -> Vec<TaskType> {
        let source = mode::snapshot_source(&self.node.spec);
        let mut tasks = Vec::new();
        if source.is_some_and(|s| s.s3.is_some()) {
            tasks.push(TaskType::SnapshotRestore);
        }
        tasks.push(TaskType::ConfigureGenesis);
        tasks.push(TaskType::ConfigApply);
        // After config-apply, which rewrites the section it fills.
        if source.is_some() {
            tasks.push(TaskType::ConfigureStateSync);
        }
        tasks.push(TaskType::ConfigValidate);
        tasks.push(TaskType::MarkReady);
        tasks
    }

    /// Params for a list of tasks.
    pub(crate) fn tasks(self, types: Vec<TaskType>) -> Vec<(TaskType, Value)> {
        types.into_iter().map(|t| self.task(t)).collect()
    }
}

/// Key in the operator keyring where the spec names none (`seinode.md` 6).
const DEFAULT_KEY_NAME: &str = "node_admin";
