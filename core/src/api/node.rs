//! `SeiNode` and its spec, field by field as in the CustomResourceDefinition (see [`super::crd`]).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::status::SeiNodeStatus;

/// One Sei node as the API server stores it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "Raw")]
pub struct SeiNode {
    /// Name, namespace, uid, versions, finalizers.
    pub metadata: ObjectMeta,
    /// What the user wants.
    pub spec: SeiNodeSpec,
    /// What the operator has recorded; empty on a fresh object.
    pub status: SeiNodeStatus,
    /// Why spec or status can't be read, if they can't: then they are empty here, and nothing may be decided on them.
    /// One such object must not blind the operator to all others.
    pub unreadable: Option<String>,
}

/// What is read first; spec and status each on their own.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: serde_json::Value,
    #[serde(default)]
    status: serde_json::Value,
}

impl From<Raw> for SeiNode {
    fn from(raw: Raw) -> Self {
        let mut unreadable = None;
        let spec = part(raw.spec, "spec", &mut unreadable);
        let status = part(raw.status, "status", &mut unreadable);
        Self { metadata: raw.metadata, spec, status, unreadable }
    }
}

fn part<T: Default + serde::de::DeserializeOwned>(
    value: serde_json::Value,
    name: &str,
    unreadable: &mut Option<String>,
) -> T {
    if value.is_null() {
        return T::default();
    }
    serde_json::from_value(value).unwrap_or_else(|error| {
        unreadable.get_or_insert(format!("{name} can't be read: {error}"));
        T::default()
    })
}

impl Serialize for SeiNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("SeiNode", 5)?;
        out.serialize_field("apiVersion", super::API_VERSION)?;
        out.serialize_field("kind", super::KIND)?;
        out.serialize_field("metadata", &self.metadata)?;
        out.serialize_field("spec", &self.spec)?;
        if self.status == SeiNodeStatus::default() {
            out.skip_field("status")?;
        } else {
            out.serialize_field("status", &self.status)?;
        }
        out.end()
    }
}

impl k8s_openapi::Resource for SeiNode {
    const API_VERSION: &'static str = super::API_VERSION;
    const GROUP: &'static str = super::GROUP;
    const KIND: &'static str = super::KIND;
    const VERSION: &'static str = super::VERSION;
    const URL_PATH_SEGMENT: &'static str = super::PLURAL;
    type Scope = k8s_openapi::NamespaceResourceScope;
}

impl k8s_openapi::Metadata for SeiNode {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl SeiNode {
    /// The name; empty on an object that never met an API server.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The namespace; empty on an object that never met an API server.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// The uid; empty on an object that never met an API server.
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The generation, 0 if none.
    pub fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }

    /// The version this copy was read at; empty if none.
    pub fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// Whether the finalizer of this operator is on the object.
    pub fn has_finalizer(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|f| f == super::FINALIZER)
    }

    /// Whether deletion was asked for.
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

/// What the user wants of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeiNodeSpec {
    /// Chain id, for example `pacific-1`.
    pub chain_id: String,
    /// Image of the node software.
    pub image: String,
    /// Stop the node: replicas 0, no plan runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Address that other nodes reach this one at, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_address: Option<String>,
    /// User settings that win over every value the operator computes; dotted keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overrides: Option<BTreeMap<String, String>>,
    /// Labels for the pod and every owned object; system labels win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_labels: Option<BTreeMap<String, String>>,
    /// Where peers come from, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<PeerSource>>,
    /// Sidecar settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<SidecarSpec>,
    /// Data volume settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_volume: Option<DataVolume>,
    /// Mode: a full node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_node: Option<FullNode>,
    /// Mode: an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// Mode: a replayer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayer: Option<Replayer>,
    /// Mode: a validator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validator: Option<Validator>,
    /// Mode: a seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
}

/// One source of peers; exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerSource {
    /// EC2 instances by tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ec2_tags: Option<Ec2Tags>,
    /// Other SeiNodes by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelPeers>,
    /// Fixed addresses.
    #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
    pub fixed: Option<StaticPeers>,
}

/// Peers found by EC2 tags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ec2Tags {
    /// AWS region.
    pub region: String,
    /// Tags an instance must carry.
    pub tags: BTreeMap<String, String>,
}

/// Peers found among SeiNodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelPeers {
    /// Labels a SeiNode must carry.
    pub selector: BTreeMap<String, String>,
    /// Namespace to look in; the node's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Peers given outright.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StaticPeers {
    /// `<nodeId>@<host>:<port>` entries, taken verbatim.
    pub addresses: Vec<String>,
}

/// Sidecar settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SidecarSpec {
    /// Image; the platform's if absent or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Port on loopback; 0 and absent mean 7777.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// Container resources, kept as the JSON the server accepted (quantities may be numbers or text).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<serde_json::Value>,
}

/// Data volume settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataVolume {
    /// Use an existing claim instead of creating one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportVolume>,
}

/// An existing claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImportVolume {
    /// Name of the claim in the node's namespace.
    pub pvc_name: String,
}

/// Mode: full node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FullNode {
    /// Where the first state comes from; genesis if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Make snapshots of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_generation: Option<SnapshotGeneration>,
}

/// Mode: archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Archive {
    /// Make snapshots of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_generation: Option<SnapshotGeneration>,
}

/// Mode: replayer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replayer {
    /// Where the first state comes from.
    pub snapshot: Snapshot,
    /// Export of block results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_export: Option<ResultExport>,
}

/// Mode: validator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Validator {
    /// Where the first state comes from; genesis if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// Consensus key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<KeySource>,
    /// P2P identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_key: Option<KeySource>,
    /// Keyring of the operator account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_keyring: Option<OperatorKeyring>,
    /// Part of a genesis ceremony.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genesis_ceremony: Option<GenesisCeremony>,
}

/// Mode: seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seed {
    /// P2P identity; the published node id comes from it.
    pub node_key: KeySource,
}

/// Where the first state of a node comes from; exactly one of `s3` and `state_sync` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Snapshot {
    /// A snapshot archive in the platform's bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Snapshot>,
    /// State sync over P2P.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_sync: Option<StateSync>,
    /// Image for a one-shot bootstrap up to the target height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap_image: Option<String>,
    /// Light-client trust period, a Go duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_period: Option<String>,
    /// Blocks to fetch backwards after state sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill_blocks: Option<i64>,
    /// Light-client witnesses, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc_servers: Option<Vec<String>>,
}

/// A snapshot archive in the platform's bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct S3Snapshot {
    /// Take the highest archive not above this height.
    pub target_height: i64,
}

/// State sync over P2P; no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateSync {}

/// Snapshots made by the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotGeneration {
    /// Tendermint snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tendermint: Option<TendermintSnapshots>,
}

/// Tendermint snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TendermintSnapshots {
    /// How many snapshots to keep.
    pub keep_recent: i64,
    /// Mark the node for the uploader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Publish>,
}

/// Upload of finished snapshots; no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Publish {}

/// Export of block results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResultExport {
    /// Compare with a canonical node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow_result: Option<ShadowResult>,
}

/// Comparison with a canonical node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShadowResult {
    /// RPC of the canonical node.
    pub canonical_rpc: String,
}

/// Where a key comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeySource {
    /// A Secret, the only variant there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretName>,
}

/// A Secret by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretName {
    /// Name of the Secret in the node's namespace.
    pub secret_name: String,
}

/// Keyring of the operator account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperatorKeyring {
    /// A Secret, the only variant there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyringSecret>,
}

/// A keyring in a Secret and its passphrase in another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyringSecret {
    /// Name of the Secret that holds the keyring files.
    pub secret_name: String,
    /// Key in the keyring; `node_admin` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Where the passphrase is.
    pub passphrase_secret_ref: PassphraseRef,
    /// Let seid see the keyring too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seid_mount: Option<bool>,
}

/// One key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PassphraseRef {
    /// Name of the Secret.
    pub secret_name: String,
    /// Key in it.
    pub key: String,
}

/// A validator's part in a genesis ceremony.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GenesisCeremony {
    /// Chain id of the new chain.
    pub chain_id: String,
    /// Self-bond, a coin string.
    pub staking_amount: String,
    /// Genesis balance, coin strings.
    pub account_balance: String,
    /// Place among the founding validators, from 0.
    pub index: i64,
}
