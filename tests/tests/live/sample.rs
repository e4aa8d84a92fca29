//! Nodes for the live cases, and what is asked of their end.

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, PlanPhase, SeiNode, TaskStatus};
use seinode_sim::sidecar::Event;
use seinode_tests::live::{AuditEvent, LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::{Value, json};

/// A full node with state sync and witnesses of its own: four sidecar tasks and mark-ready.
pub(crate) fn full_node(name: &str) -> Value {
    node(
        name,
        &json!({"fullNode": {"snapshot": {"stateSync": {}, "rpcServers": ["a.example.net:26657", "b.example.net:26657"]}}}),
    )
}

/// A node with the given mode and whatever else its spec has.
pub(crate) fn node(name: &str, fields: &Value) -> Value {
    let mut spec = json!({"chainId": "atlantic-2", "image": "registry.example.net/seid:1"});
    seinode_core::patch::apply(&mut spec, fields);
    json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": name}, "spec": spec})
}

pub(crate) fn is_running(node: &SeiNode) -> bool {
    node.status.phase == Some(NodePhase::Running)
}

/// The plan has ended well, and no task was run more than once.
pub(crate) fn ended_well_without_repeats(stage: &Stage, node: &SeiNode) {
    let plan = node.status.plan.as_ref().unwrap();
    assert_eq!(plan.phase, PlanPhase::Complete);
    assert!(plan.tasks.iter().all(|t| t.status == TaskStatus::Complete));
    let mut runs: BTreeMap<(String, String), usize> = BTreeMap::new();
    for entry in stage.kubelet.director(node.namespace(), node.name()).journal() {
        if matches!(entry.event, Event::Started | Event::Repeated) {
            *runs.entry((entry.kind, entry.id)).or_default() += 1;
        }
    }
    assert!(runs.values().all(|n| *n == 1), "submitted more than once: {runs:?}");
    let ours =
        plan.tasks.iter().filter(|t| runs.contains_key(&(t.task_type.to_string(), t.id.clone()))).count();
    assert_eq!(ours, runs.len(), "the sidecar saw tasks that are not in the plan: {runs:?}");
    assert_eq!(seinode_core::plan::lint::status(&node.status), []);
    assert_eq!(seinode_core::plan::lint::derived_ids(&node.status), []);
}

/// What operators asked of the API server, events and leases aside.
pub(crate) fn of_operators(log: Vec<AuditEvent>) -> Vec<AuditEvent> {
    log.into_iter()
        .filter(|e| e.user_agent.starts_with("seinode-operator/"))
        .filter(|e| e.resource != "events" && e.resource != "leases")
        .collect()
}

/// One line for a request.
pub(crate) fn line(event: &AuditEvent) -> String {
    let AuditEvent { verb, resource, subresource, name, code, .. } = event;
    let slash = if subresource.is_empty() { "" } else { "/" };
    format!("{verb} {resource}{slash}{subresource} {name} {code}")
}

/// Whether a condition has a status.
pub(crate) fn shows(kind: ConditionType, status: ConditionStatus) -> impl Fn(&SeiNode) -> bool {
    move |node| condition::find(&node.status.conditions, &kind).is_some_and(|c| c.status == status)
}

/// Whether a condition has a reason.
pub(crate) fn says(kind: ConditionType, reason: &'static str) -> impl Fn(&SeiNode) -> bool {
    move |node| condition::find(&node.status.conditions, &kind).is_some_and(|c| c.reason == reason)
}

/// The message of a condition, empty where there is none.
pub(crate) fn message(node: &SeiNode, kind: &ConditionType) -> String {
    condition::find(&node.status.conditions, kind).map(|c| c.message.clone()).unwrap_or_default()
}

pub(crate) fn is_ready(node: &SeiNode) -> bool {
    shows(ConditionType::Ready, ConditionStatus::True)(node)
}

/// Creates a node and waits until it serves.
pub(crate) async fn ready(
    stage: &Stage,
    space: &str,
    name: &str,
    manifest: &Value,
) -> Result<SeiNode, LiveError> {
    stage.create(space, manifest).await.unwrap();
    stage.until(space, name, "the node to be Ready", |n| is_running(n) && is_ready(n)).await
}

/// Changes the spec of a node.
pub(crate) async fn edit(stage: &Stage, space: &str, name: &str, spec: Value) -> SeiNode {
    let patch = Patch::Merge(json!({"spec": spec}));
    stage.nodes(space).patch(name, &PatchParams::default(), &patch).await.unwrap()
}

/// The id of the stored plan.
pub(crate) fn plan(node: &SeiNode) -> String {
    node.status.plan.as_ref().unwrap().id.clone()
}

/// Waits until the sidecar of a node has started this task as often.
pub(crate) async fn started(
    stage: &Stage,
    space: &str,
    name: &str,
    task: &str,
    times: usize,
) -> Result<(), LiveError> {
    let director = stage.kubelet.director(space, name);
    wait_until(&format!("{task} to run"), SOON, async || match director.runs(task) {
        runs if runs >= times => Ok(()),
        runs => Err(format!("{runs} runs")),
    })
    .await
}

/// A made-up key.
pub(crate) fn key() -> Value {
    json!({"type": "tendermint/PrivKeyEd25519", "value": "made-up"})
}

/// Makes a Secret with a signing key and one with a node key for `validator`.
pub(crate) async fn secrets(stage: &Stage, space: &str, names: &[(&str, &str)]) {
    let signing = json!({"priv_validator_key.json": json!({"address": "A", "pub_key": key(), "priv_key": key()}).to_string()});
    let p2p = json!({"node_key.json": json!({"priv_key": key()}).to_string()});
    for (name, kind) in names {
        let data = if *kind == "signing" { &signing } else { &p2p };
        make::<Secret>(stage, space, json!({"metadata": {"name": name}, "stringData": data})).await;
    }
}

/// A validator with these Secrets.
pub(crate) fn validator(name: &str, signing: &str, p2p: &str) -> Value {
    let named = |name: &str| json!({"secret": {"secretName": name}});
    node(name, &json!({"validator": {"signingKey": named(signing), "nodeKey": named(p2p)}}))
}

/// A full node that bootstraps.
pub(crate) fn bootstrapping(name: &str) -> Value {
    let snapshot = json!({
        "s3": {"targetHeight": 5}, "bootstrapImage": "registry.example.net/seid:0",
        "rpcServers": ["a.example.net:26657", "b.example.net:26657"],
    });
    node(name, &json!({"fullNode": {"snapshot": snapshot}}))
}

/// A full node that waits for witnesses which nobody has named.
pub(crate) fn without_witnesses(name: &str) -> Value {
    node(name, &json!({"chainId": "unlisted-1", "fullNode": {"snapshot": {"stateSync": {}}}}))
}

/// A full node whose config the sidecar refuses.
pub(crate) fn refused(name: &str) -> Value {
    node(name, &json!({"fullNode": {}, "overrides": {"no.such.key": "1"}}))
}

/// An image by its tag.
pub(crate) fn image(tag: &str) -> String {
    format!("registry.example.net/seid:{tag}")
}

/// Waits until a node is gone.
pub(crate) async fn gone(stage: &Stage, space: &str, name: &str) -> Result<(), LiveError> {
    let nodes = stage.nodes(space);
    wait_until("the node to be gone", SOON, async || match nodes.get_opt(name).await {
        Ok(None) => Ok(()),
        other => Err(format!("{:?}", other.map(|n| n.map(|n| n.status)))),
    })
    .await
}

/// Sets the finalizers of an object: one that nobody handles keeps it Terminating until it is taken away.
pub(crate) async fn finalizers<K>(api: &Api<K>, name: &str, finalizers: &[&str]) -> K
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    api.patch(name, &PatchParams::default(), &patch).await.unwrap()
}

/// A finalizer that nobody handles.
pub(crate) const KEEP: &str = "example.net/keep";

/// Creates an object of somebody else.
pub(crate) async fn make<K>(stage: &Stage, space: &str, object: Value) -> K
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let object: K = serde_json::from_value(object).unwrap();
    let api = Api::<K>::namespaced(stage.plane.client(), space);
    api.create(&PostParams::default(), &object).await.unwrap()
}
