//! Condition types as an enum, and the one setter that keeps transition times right (law 11).

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::wire::{Stamp, open_enum};

open_enum! {
    /// Type of a condition on a SeiNode (`seinode.md` 16, and those of this operator alone).
    ConditionType {
        /// Standard meaning: the node serves; False names what is waited for.
        Ready = "Ready",
        /// The node is stopped, not only asked to stop.
        Paused = "Paused",
        /// State-sync witnesses are known.
        StateSyncReady = "StateSyncReady",
        /// The sidecar answers and was told to let seid start.
        SidecarReady = "SidecarReady",
        /// The last plan failed.
        PlanFailed = "PlanFailed",
        /// Whether the last failure was followed by a new attempt.
        RetryHandled = "RetryHandled",
        /// An update of images is under way.
        NodeUpdateInProgress = "NodeUpdateInProgress",
        /// The imported claim is fit.
        ImportPvcReady = "ImportPVCReady",
        /// The Secret of the signing key is fit.
        SigningKeyReady = "SigningKeyReady",
        /// The Secret of the node key is fit.
        NodeKeyReady = "NodeKeyReady",
        /// The Secrets of the operator keyring are fit.
        OperatorKeyringReady = "OperatorKeyringReady",
        /// A workflow occupies the node.
        WorkflowInProgress = "WorkflowInProgress",
        /// A spec edit that can't be carried out on a live node holds it.
        SpecHeld = "SpecHeld",
        /// Configuration in spec that the running node does not have yet.
        ConfigOutdated = "ConfigOutdated",
        /// The pod runs an older template.
        PodOutdated = "PodOutdated",
        /// Somebody else sets back a field that this operator applies.
        ChildContested = "ChildContested",
        /// Another node has the same key or the same claim.
        KeyConflict = "KeyConflict",
        /// EC2 was asked for the peers that the spec names by tags; of such nodes only.
        Ec2PeersResolved = "Ec2PeersResolved",
    }
}

open_enum! {
    /// Status of a condition.
    ConditionStatus {
        /// It holds.
        True = "True",
        /// It does not hold.
        False = "False",
        /// It can't be told.
        Unknown = "Unknown",
    }
}

/// A condition as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, the key of the list.
    #[serde(rename = "type")]
    pub condition_type: ConditionType,
    /// Status.
    pub status: ConditionStatus,
    /// Generation it was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status last changed its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Stamp>,
    /// One CamelCase word of a fixed set.
    #[serde(default)]
    pub reason: String,
    /// Text for people.
    #[serde(default)]
    pub message: String,
    /// Fields of a newer version, kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Condition {
    /// Since when it has its status; `None` if that is not stored, or is no time.
    pub fn since(&self) -> Option<Timestamp> {
        self.last_transition_time.as_ref().and_then(Stamp::at)
    }
}

/// Sets one condition in a list: appends it, or updates it in place. The transition time moves exactly when the
/// status value does, or where it could not be read; fields of a newer version stay.
pub fn set(
    conditions: &mut Vec<Condition>,
    condition_type: ConditionType,
    status: ConditionStatus,
    reason: &str,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    match conditions.iter_mut().find(|c| c.condition_type == condition_type) {
        Some(known) => {
            if known.status != status || known.since().is_none() {
                known.last_transition_time = Some(Stamp::of(now));
            }
            known.status = status;
            reason.clone_into(&mut known.reason);
            message.clone_into(&mut known.message);
            known.observed_generation = Some(generation);
        }
        None => conditions.push(Condition {
            condition_type,
            status,
            observed_generation: Some(generation),
            last_transition_time: Some(Stamp::of(now)),
            reason: reason.to_owned(),
            message: message.to_owned(),
            extra: Map::new(),
        }),
    }
}

/// The condition of a type, if it was ever set.
pub fn find<'a>(conditions: &'a [Condition], condition_type: &ConditionType) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.condition_type == *condition_type)
}
