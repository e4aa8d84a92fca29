//! The lives that faults are put into: what a user does, and what has to come of it.

use std::time::Duration;

use seinode_core::api::condition;
use seinode_core::api::{ConditionStatus, ConditionType, NodePhase, PlanPhase, SeiNode};
use seinode_sim::sidecar::Ending;
use serde_json::{Value, json};

/// A life.
pub(super) struct Life {
    pub(super) name: &'static str,
    /// The manifests of its nodes; one, except where nodes are rivals.
    pub(super) nodes: fn() -> Vec<Value>,
    pub(super) acts: fn() -> Vec<Turn>,
    /// Whether what is done is the same whenever the acts meet it: where the user goes on before the first wish is carried out,
    /// a fault decides how much of it is.
    pub(super) is_exact: bool,
}

/// An act, and what has to come of it.
pub(super) struct Turn {
    /// The node, by its place in the manifests.
    pub(super) node: usize,
    pub(super) act: Act,
    pub(super) goal: Goal,
}

impl Life {
    /// Whether a task is made to fail.
    pub(super) fn has_failures(&self) -> bool {
        (self.acts)().iter().any(|turn| matches!(turn.act, Act::TaskFails(_)))
    }
}

/// A life of one node.
const fn life(name: &'static str, nodes: fn() -> Vec<Value>, acts: fn() -> Vec<Turn>) -> Life {
    Life { name, nodes, acts, is_exact: true }
}

/// A life that goes on before the first wish is carried out.
const fn hasty(name: &'static str, nodes: fn() -> Vec<Value>, acts: fn() -> Vec<Turn>) -> Life {
    Life { name, nodes, acts, is_exact: false }
}

fn of(node: usize, act: Act, goal: Goal) -> Turn {
    Turn { node, act, goal }
}

fn then(act: Act, goal: Goal) -> Turn {
    of(0, act, goal)
}

/// What a user does, or what happens to the node.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Create,
    Nothing,
    /// A merge patch.
    Edit(Value),
    Delete,
    RestartSidecar,
    Evict,
    /// The pod of the bootstrap, if there is one.
    EvictBootstrap,
    /// The Job of the bootstrap, if there is one.
    RemoveJob,
    /// A state-sync workflow is given the node.
    Lend,
    /// What the witness registry holds from now on; nothing: it can't be read.
    Registry(Option<&'static str>),
    RemoveStatefulSet,
    RemoveService,
    /// Every run of a task fails.
    TaskFails(&'static str),
    /// And no longer.
    TaskHeals(&'static str),
}

/// What the node has to come to before the next act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// This much time passes.
    Soon(Duration),
    Serves,
    Failed,
    /// A condition has this status.
    Is(ConditionType, ConditionStatus),
    Gone,
}

impl Goal {
    pub(super) fn is_reached(&self, node: Option<&SeiNode>) -> bool {
        let Some(node) = node else { return *self == Self::Gone };
        let status = &node.status;
        let is = |kind: ConditionType, wanted: ConditionStatus| {
            condition::find(&status.conditions, &kind).is_some_and(|c| c.status == wanted)
        };
        let active = status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active);
        let sidecar = node.spec.sidecar.as_ref().and_then(|s| s.image.as_deref());
        match self {
            Self::Soon(_) => true,
            Self::Serves => {
                status.phase == Some(NodePhase::Running)
                    && !active
                    && status.current_image.as_deref() == Some(node.spec.image.as_str())
                    && sidecar.is_none_or(|image| status.current_sidecar_image.as_deref() == Some(image))
                    && status.adopted_workflow.is_none()
                    && is(ConditionType::Ready, ConditionStatus::True)
                    && is(ConditionType::SidecarReady, ConditionStatus::True)
                    && is(ConditionType::Paused, ConditionStatus::False)
            }
            Self::Failed => status.phase == Some(NodePhase::Failed),
            Self::Is(kind, wanted) => is(kind.clone(), wanted.clone()),
            Self::Gone => false,
        }
    }
}

/// Between two acts, so that what has happened is seen.
pub(super) const PAUSE: Duration = Duration::from_secs(90);

const SOON: Goal = Goal::Soon(Duration::from_secs(3));
const PAUSED: Goal = Goal::Is(ConditionType::Paused, ConditionStatus::True);

/// Every life.
pub(super) const ALL: &[Life] = &[
    life("init", full, || vec![then(Act::Create, Goal::Serves)]),
    life("update", plain, || vec![then(Act::Create, Goal::Serves), then(image("v6.5.0"), Goal::Serves)]),
    hasty("change-of-mind", plain, || {
        vec![
            then(Act::Create, Goal::Serves),
            then(image("v6.5.0"), SOON),
            then(image("v6.6.0"), Goal::Serves),
            then(image("v6.4.1"), Goal::Serves),
        ]
    }),
    life("sidecar-image", plain, || {
        let edit = json!({"spec": {"sidecar": {"image": "registry.example.net/sei/seictl:v9"}}});
        vec![then(Act::Create, Goal::Serves), then(Act::Edit(edit), Goal::Serves)]
    }),
    life("restart", plain, || {
        vec![
            then(Act::Create, Goal::Serves),
            then(Act::RestartSidecar, Goal::Serves),
            then(Act::Evict, Goal::Serves),
        ]
    }),
    life("bootstrap", replayer, || vec![then(Act::Create, Goal::Serves)]),
    hasty("bootstrap-paused", replayer, || {
        vec![
            then(Act::Create, Goal::Soon(Duration::from_secs(30))),
            then(pause(true), PAUSED),
            then(pause(false), Goal::Serves),
        ]
    }),
    hasty("bootstrap-evicted", replayer, || {
        vec![then(Act::Create, Goal::Soon(Duration::from_secs(30))), then(Act::EvictBootstrap, Goal::Serves)]
    }),
    hasty("bootstrap-removed", replayer, || {
        vec![then(Act::Create, Goal::Soon(Duration::from_secs(30))), then(Act::RemoveJob, Goal::Serves)]
    }),
    life("genesis", founder, || vec![then(Act::Create, Goal::Serves)]),
    life("signer", signer, || vec![then(Act::Create, Goal::Serves)]),
    life("rivals", rivals, || {
        let conflict = Goal::Is(ConditionType::KeyConflict, ConditionStatus::True);
        vec![
            of(0, Act::Create, Goal::Serves),
            of(1, Act::Create, conflict),
            of(0, Act::Delete, Goal::Gone),
            of(1, Act::Nothing, Goal::Serves),
        ]
    }),
    life("gate", publisher, || {
        let closed = Goal::Is(ConditionType::StateSyncReady, ConditionStatus::Unknown);
        let open = "stateSync: {syncers: {pacific-1: [w-0.example.net:26657, w-1.example.net:26657]}}";
        vec![
            then(Act::Registry(None), SOON),
            then(Act::Create, closed),
            then(Act::Registry(Some(open)), Goal::Serves),
        ]
    }),
    life("import", importer, || vec![then(Act::Create, Goal::Serves), then(Act::Delete, Goal::Gone)]),
    life("pause", plain, || {
        vec![then(Act::Create, Goal::Serves), then(pause(true), PAUSED), then(pause(false), Goal::Serves)]
    }),
    life("held", plain, || {
        let held = Goal::Is(ConditionType::SpecHeld, ConditionStatus::True);
        vec![
            then(Act::Create, Goal::Serves),
            then(Act::Edit(json!({"spec": {"chainId": "pacific-1"}})), held),
            then(Act::Edit(json!({"spec": {"chainId": "atlantic-2"}})), Goal::Serves),
        ]
    }),
    life("workflow", full, || vec![then(Act::Create, Goal::Serves), then(Act::Lend, Goal::Serves)]),
    life("repair", plain, || {
        vec![
            then(Act::Create, Goal::Serves),
            then(Act::RemoveService, Goal::Serves),
            then(Act::RemoveStatefulSet, Goal::Serves),
        ]
    }),
    life("failure", plain, || {
        vec![
            then(Act::TaskFails("config-validate"), SOON),
            then(Act::Create, Goal::Failed),
            then(Act::TaskHeals("config-validate"), SOON),
            then(Act::Edit(json!({"metadata": {"annotations": {"sei.io/retry": "1"}}})), Goal::Serves),
        ]
    }),
    life("delete", plain, || vec![then(Act::Create, Goal::Serves), then(Act::Delete, Goal::Gone)]),
    hasty("delete-early", replayer, || vec![then(Act::Create, SOON), then(Act::Delete, Goal::Gone)]),
];

/// How a task is made to fail.
pub(super) fn failure() -> Ending {
    Ending::Fail { error: "it was made to fail".to_owned(), result: None }
}

fn image(tag: &str) -> Act {
    Act::Edit(json!({"spec": {"image": format!("registry.example.net/sei/seid:{tag}")}}))
}

fn pause(paused: bool) -> Act {
    Act::Edit(json!({"spec": {"paused": paused}}))
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

fn full() -> Vec<Value> {
    let witnesses = ["witness-0.example.net:26657", "witness-1.example.net:26657"];
    vec![node("full", json!({"fullNode": {"snapshot": {"stateSync": {}, "rpcServers": witnesses}}}))]
}

fn plain() -> Vec<Value> {
    vec![node("plain", json!({"fullNode": {}}))]
}

fn replayer() -> Vec<Value> {
    let snapshot = json!({
        "s3": {"targetHeight": 204_000_000},
        "bootstrapImage": "registry.example.net/sei/seid:v6.3.2", "trustPeriod": "9999h0m0s",
    });
    let canonical = json!({"shadowResult": {"canonicalRpc": "http://canonical.example.net:26657"}});
    vec![node("replayer", json!({"replayer": {"snapshot": snapshot, "resultExport": canonical}}))]
}

fn founder() -> Vec<Value> {
    let ceremony = json!({
        "chainId": "devnet", "stakingAmount": "25000000usei", "accountBalance": "3000000000000usei", "index": 0,
    });
    vec![node("founder", json!({"chainId": "devnet", "validator": {"genesisCeremony": ceremony}}))]
}

fn signer() -> Vec<Value> {
    vec![validator("signer")]
}

/// Two validators that name one signing key.
fn rivals() -> Vec<Value> {
    vec![validator("left"), validator("right")]
}

fn validator(name: &str) -> Value {
    let keys = json!({
        "signingKey": {"secret": {"secretName": "signer-key"}},
        "nodeKey": {"secret": {"secretName": format!("{name}-p2p")}},
    });
    node(name, json!({ "validator": keys }))
}

/// A full node whose witnesses come from the registry.
fn publisher() -> Vec<Value> {
    vec![node("publisher", json!({"chainId": "pacific-1", "fullNode": {"snapshot": {"stateSync": {}}}}))]
}

fn importer() -> Vec<Value> {
    vec![node("importer", json!({"archive": {}, "dataVolume": {"import": {"pvcName": "old-data"}}}))]
}
