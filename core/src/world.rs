//! Everything a decision may look at.
//!
//! Answers: what is known, what is known to be absent, and what is not known. Refuses to know: how it was learned.
//! Upholds law 7: absence is knowledge, blindness is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::workflow::Workflow;
use crate::api::{SeiNode, Stamp};
use crate::effect::{Fault, Outcome};
use crate::ident::{EffectId, TaskId};
use crate::peers::Instance;
use crate::platform::Platform;
use crate::rivals::Neighbourhood;

/// One node and what surrounds it, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The node as read.
    pub node: &'a SeiNode,
    /// What surrounds it.
    pub observed: &'a Observed,
    /// What the operator was started with.
    pub settings: &'a Settings,
    /// The time.
    pub now: Timestamp,
}

/// What the operator was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The platform file, checked.
    pub platform: Platform,
    /// Whether this build of the operator asks EC2 for peers.
    pub asks_ec2: bool,
}

/// What surrounds a node.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The StatefulSet named like the node.
    pub statefulset: Seen<StatefulSet>,
    /// The Service named like the node.
    pub service: Seen<Service>,
    /// The ConfigMap of the proxy in front of the sidecar.
    pub config_map: Seen<ConfigMap>,
    /// The claim that the node's pod mounts: created or imported.
    pub data_pvc: Seen<PersistentVolumeClaim>,
    /// The volume behind an imported claim.
    pub volume: Seen<PersistentVolume>,
    /// The bootstrap Job.
    pub job: Seen<Job>,
    /// Pods that concern the node: after a live look, each pod of the namespace that is of its StatefulSet or Job, or that
    /// names its claim.
    pub pods: Seen<Vec<Pod>>,
    /// Secrets by name, only those that were asked for.
    pub secrets: BTreeMap<String, Seen<SecretData>>,
    /// What the sidecar answers about its readiness.
    pub health: Seen<Health>,
    /// The sidecar's records.
    pub sidecar_tasks: Seen<BTreeMap<TaskId, SidecarTask>>,
    /// How long the sidecar has given no answer, from the first to the last time it was asked in vain; zero where it has
    /// answered since, or was not asked lately.
    pub silence: Duration,
    /// SeiNodes that a label peer source of this node selects.
    pub peers: Seen<Vec<PeerNode>>,
    /// What EC2 answered to each source of the spec that names tags, in their order; none where it was not asked.
    pub ec2: Vec<Seen<Vec<Instance>>>,
    /// What of the namespace concerns the node's keys and its claim.
    pub neighbourhood: Seen<Neighbourhood>,
    /// Workflows of the namespace that are for this node; absent where their kind is not installed.
    pub workflows: Seen<Vec<Workflow>>,
    /// Whose turn it is to be updated.
    pub turn: Seen<Turn>,
    /// The witness registry.
    pub registry: Registry,
    /// How the effects of the last act of this pass went. Hints: a crash loses them.
    pub outcomes: Vec<Outcome>,
    /// What was read past the cache since the last act of this pass.
    pub looked: BTreeSet<Topic>,
}

impl Observed {
    /// How an effect of this pass went wrong, if it did.
    pub fn fault(&self, effect: &EffectId) -> Option<&Fault> {
        self.outcomes.iter().find(|o| o.effect == *effect).and_then(|o| o.result.as_ref().err())
    }

    /// Whether a topic was read past the cache since the last act of this pass.
    pub fn has_looked(&self, topic: &Topic) -> bool {
        self.looked.contains(topic)
    }
}

/// Something that can be read past the cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Topic {
    /// The node itself.
    Node,
    /// The StatefulSet.
    StatefulSet,
    /// The Service.
    Service,
    /// The ConfigMap of the proxy.
    ConfigMap,
    /// The data volume claim.
    DataPvc,
    /// The volume behind the claim.
    Volume,
    /// The bootstrap Job.
    Job,
    /// Every pod of the namespace that concerns the node.
    Pods,
    /// One Secret.
    Secret(String),
    /// The sidecar's readiness (remembered for up to a minute).
    Health,
    /// The sidecar's records.
    SidecarTasks,
    /// Label peers and their node ids, and EC2 instances.
    Peers,
    /// Nodes, StatefulSets, Jobs and pods of the namespace, for keys and claims.
    Neighbourhood,
    /// Workflows that are for the node.
    Workflows,
    /// Whether it is this node's turn to be updated; to ask is to take it where it is free.
    Turn,
}

/// Whose turn it is to be updated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This node's.
    Own,
    /// That of others; their names, for people.
    Others(Vec<String>),
}

/// Absence is knowledge. `Unknown` is not.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// It was looked for and is not there.
    Absent,
    /// It is there.
    Present(T),
    /// It can't be told.
    Unknown(Blind),
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self::Unknown(Blind::NotAsked)
    }
}

impl<T> Seen<T> {
    /// What is there, if something is.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }

    /// Why it can't be told, if it can't.
    pub fn blind(&self) -> Option<&Blind> {
        match self {
            Self::Unknown(blind) => Some(blind),
            Self::Absent | Self::Present(_) => None,
        }
    }

    /// The same by reference.
    pub fn as_ref(&self) -> Seen<&T> {
        match self {
            Self::Absent => Seen::Absent,
            Self::Present(value) => Seen::Present(value),
            Self::Unknown(blind) => Seen::Unknown(blind.clone()),
        }
    }

    /// Whether it is known to be absent.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// Why something can't be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blind {
    /// Nobody has asked yet.
    NotAsked,
    /// The cache has not been filled yet.
    NotSynced,
    /// The server refused the question.
    Forbidden,
    /// No answer, or none that can be read; the text is for people.
    Unreachable(String),
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked yet"),
            Self::NotSynced => f.write_str("the cache is not filled yet"),
            Self::Forbidden => f.write_str("the server refused the request"),
            Self::Unreachable(text) => f.write_str(text),
        }
    }
}

/// The bytes of a Secret; never shown.
#[derive(Clone, Default, PartialEq)]
pub struct SecretData {
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Values by key.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretData({} keys, deleting: {})", self.data.len(), self.deleting)
    }
}

/// What the sidecar answers about its readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// 200: a mark-ready has run in this process.
    Ready,
    /// 503: none has.
    NotReady,
}

/// A record of the sidecar (`sidecar.md` 3.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarTask {
    /// Id.
    pub id: String,
    /// Type.
    #[serde(rename = "type", default)]
    pub task_type: String,
    /// Status.
    pub status: SidecarTaskStatus,
    /// How often it was started, from 1.
    #[serde(default = "first_run")]
    pub run: i64,
    /// Parameters, if any were sent.
    #[serde(default)]
    pub params: Option<Value>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Start of the current run.
    #[serde(default)]
    pub submitted_at: Option<Stamp>,
    /// End of the current run.
    #[serde(default)]
    pub completed_at: Option<Stamp>,
}

fn first_run() -> i64 {
    1
}

/// Status of a record of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SidecarTaskStatus {
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// Failed.
    Failed,
    /// A value this version does not know; read as under way.
    #[serde(other)]
    Unknown,
}

/// A SeiNode that a label peer source selects.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerNode {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Chain.
    pub chain_id: String,
    /// Labels, to tell which source selects it.
    pub labels: BTreeMap<String, String>,
    /// Published address, if any.
    pub external_address: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its P2P node id.
    pub node_id: Seen<String>,
}

/// The witness registry as read from the platform file.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Registry {
    /// Nobody needed it.
    #[default]
    NotAsked,
    /// The file can't be read; the text is for people.
    Unreadable(String),
    /// The entries for the node's chain, sorted and unique.
    Entries(Vec<String>),
}
