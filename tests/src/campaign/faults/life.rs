//! The lives that faults are put into: what a user does, and what has to come of it.

use std::time::Duration;

use seinode_core::api::{ConditionStatus, ConditionType, NodePhase, PlanPhase, SeiNode};
use seinode_sim::sidecar::Ending;
use serde_json::{Value, json};

/// A life.
pub(super) struct Life {
    pub(super) name: &'static str,
    /// The node's manifest.
    pub(super) manifest: fn() -> Value,
    pub(super) acts: fn() -> Vec<(Act, Goal)>,
}

/// What a user does, or what happens to the node.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Create,
    /// A merge patch.
    Edit(Value),
    /// An image for the update, and one more while it is under way.
    Delete,
    RestartSidecar,
    Evict,
    RemoveStatefulSet,
    RemoveService,
    /// Every run of a task fails.
    TaskFails(&'static str),
    /// And no longer.
    TaskHeals(&'static str),
}

/// What the node has to come to before the next act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// No wait.
    Soon,
    Serves,
    Failed,
    Paused,
    Gone,
}

impl Goal {
    pub(super) fn is_reached(self, node: Option<&SeiNode>) -> bool {
        let Some(node) = node else { return self == Self::Gone };
        let status = &node.status;
        let is = |kind: ConditionType, wanted: ConditionStatus| {
            status.conditions.iter().any(|c| c.condition_type == kind && c.status == wanted)
        };
        let active = status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active);
        match self {
            Self::Soon => true,
            Self::Serves => {
                status.phase == Some(NodePhase::Running)
                    && !active
                    && status.current_image.as_deref() == Some(node.spec.image.as_str())
                    && is(ConditionType::Ready, ConditionStatus::True)
                    && is(ConditionType::SidecarReady, ConditionStatus::True)
                    && is(ConditionType::Paused, ConditionStatus::False)
            }
            Self::Failed => status.phase == Some(NodePhase::Failed),
            Self::Paused => is(ConditionType::Paused, ConditionStatus::True),
            Self::Gone => false,
        }
    }
}

/// Between two acts, so that what has happened is seen.
pub(super) const PAUSE: Duration = Duration::from_secs(90);

/// Every life.
pub(super) const ALL: &[Life] = &[
    Life { name: "init", manifest: full, acts: || vec![(Act::Create, Goal::Serves)] },
    Life {
        name: "update",
        manifest: plain,
        acts: || vec![(Act::Create, Goal::Serves), (image("v6.5.0"), Goal::Serves)],
    },
    Life {
        name: "change-of-mind",
        manifest: plain,
        acts: || {
            vec![
                (Act::Create, Goal::Serves),
                (image("v6.5.0"), Goal::Soon),
                (image("v6.6.0"), Goal::Serves),
                (image("v6.4.1"), Goal::Serves),
            ]
        },
    },
    Life {
        name: "restart",
        manifest: plain,
        acts: || {
            vec![(Act::Create, Goal::Serves), (Act::RestartSidecar, Goal::Serves), (Act::Evict, Goal::Serves)]
        },
    },
    Life { name: "bootstrap", manifest: replayer, acts: || vec![(Act::Create, Goal::Serves)] },
    Life { name: "genesis", manifest: founder, acts: || vec![(Act::Create, Goal::Serves)] },
    Life { name: "signer", manifest: signer, acts: || vec![(Act::Create, Goal::Serves)] },
    Life {
        name: "import",
        manifest: importer,
        acts: || vec![(Act::Create, Goal::Serves), (Act::Delete, Goal::Gone)],
    },
    Life {
        name: "pause",
        manifest: plain,
        acts: || {
            vec![
                (Act::Create, Goal::Serves),
                (Act::Edit(json!({"spec": {"paused": true}})), Goal::Paused),
                (Act::Edit(json!({"spec": {"paused": false}})), Goal::Serves),
            ]
        },
    },
    Life {
        name: "repair",
        manifest: plain,
        acts: || {
            vec![
                (Act::Create, Goal::Serves),
                (Act::RemoveService, Goal::Serves),
                (Act::RemoveStatefulSet, Goal::Serves),
            ]
        },
    },
    Life {
        name: "failure",
        manifest: plain,
        acts: || {
            vec![
                (Act::TaskFails("config-validate"), Goal::Soon),
                (Act::Create, Goal::Failed),
                (Act::TaskHeals("config-validate"), Goal::Soon),
                (Act::Edit(json!({"metadata": {"annotations": {"sei.io/retry": "1"}}})), Goal::Serves),
            ]
        },
    },
    Life {
        name: "delete",
        manifest: plain,
        acts: || vec![(Act::Create, Goal::Serves), (Act::Delete, Goal::Gone)],
    },
    Life {
        name: "delete-early",
        manifest: replayer,
        acts: || vec![(Act::Create, Goal::Soon), (Act::Delete, Goal::Gone)],
    },
];

/// How a task is made to fail.
pub(super) fn failure() -> Ending {
    Ending::Fail { error: "it was made to fail".to_owned(), result: None }
}

fn image(tag: &str) -> Act {
    Act::Edit(json!({"spec": {"image": format!("registry.example.net/sei/seid:{tag}")}}))
}

fn node(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "chainId": "atlantic-2",
            "image": "registry.example.net/sei/seid:v6.4.1",
            "peers": [{"static": {"addresses": ["9c1de50b8a2f4437b6a5e0c1d2f38897a4b6cd10@peer.example.net:26656"]}}],
        },
    });
    if let (Some(all), Value::Object(more)) = (object["spec"].as_object_mut(), spec) {
        all.extend(more);
    }
    object
}

fn full() -> Value {
    let witnesses = ["witness-0.example.net:26657", "witness-1.example.net:26657"];
    node("full", json!({"fullNode": {"snapshot": {"stateSync": {}, "rpcServers": witnesses}}}))
}

fn plain() -> Value {
    node("plain", json!({"fullNode": {}}))
}

fn replayer() -> Value {
    let snapshot = json!({
        "s3": {"targetHeight": 204_000_000},
        "bootstrapImage": "registry.example.net/sei/seid:v6.3.2", "trustPeriod": "9999h0m0s",
    });
    let canonical = json!({"shadowResult": {"canonicalRpc": "http://canonical.example.net:26657"}});
    node("replayer", json!({"replayer": {"snapshot": snapshot, "resultExport": canonical}}))
}

fn founder() -> Value {
    let ceremony = json!({
        "chainId": "devnet", "stakingAmount": "25000000usei", "accountBalance": "3000000000000usei", "index": 0,
    });
    node("founder", json!({"chainId": "devnet", "validator": {"genesisCeremony": ceremony}}))
}

fn signer() -> Value {
    let keys = json!({
        "signingKey": {"secret": {"secretName": "signer-key"}},
        "nodeKey": {"secret": {"secretName": "signer-p2p"}},
    });
    node("signer", json!({ "validator": keys }))
}

fn importer() -> Value {
    node("importer", json!({"archive": {}, "dataVolume": {"import": {"pvcName": "old-data"}}}))
}
