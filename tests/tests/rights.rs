//! Least rights: whole lives of nodes under exactly the role of the chart, with an API server that enforces it. What was
//! asked for and what the role grants are the same list, in both directions.
//!
//! So taking any one right away makes a request of these lives fail; what a node then says is shown for two of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, PersistentVolume, PersistentVolumeClaim, Secret, Service,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use seinode_sim::sidecar::{Event as SidecarEvent, Script};
use seinode_tests::live::{AuditEvent, LiveError, wait_until};
use seinode_tests::stage::{Operator, SOON, Stage};
use serde::Deserialize as _;
use serde_json::{Value, json};

const SYSTEM: &str = "seinode-system";
const ACCOUNT: &str = "system:serviceaccount:seinode-system:seinode-operator";
const RENDERED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/base/operator.yaml");

/// How slow the pretend nodes are compared with real ones.
const SCALE: f64 = 0.02;

/// A verb on a resource: `patch seinodes/status.sei.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right(String);

impl Right {
    fn new(verb: &str, group: &str, resource: &str) -> Self {
        let dot = if group.is_empty() { "" } else { "." };
        Self(format!("{verb} {resource}{dot}{group}"))
    }

    fn of(event: &AuditEvent, verb: &str) -> Self {
        let slash = if event.subresource.is_empty() { "" } else { "/" };
        Self::new(verb, &event.group, &format!("{}{slash}{}", event.resource, event.subresource))
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Rights that no request of these lives can show, each with who shows it.
fn shown_elsewhere() -> BTreeSet<Right> {
    let leases =
        ["get", "create", "update", "patch"].map(|verb| Right::new(verb, "coordination.k8s.io", "leases"));
    // The admission plugin asks for it, in the server: `without_the_right_to_block_deletion_no_child_is_made`.
    let finalizers = Right::new("update", "sei.io", "seinodes/finalizers");
    // The proxy of a sidecar asks for them: `by_way_of_the_proxies`.
    let tasks = ["get", "create", "delete"].map(|verb| Right::new(verb, "sei.io", "seinodetasks"));
    leases.into_iter().chain(tasks).chain([finalizers]).collect()
}

fn rendered(kind: &str) -> Value {
    let text = std::fs::read_to_string(RENDERED).unwrap();
    let mut all = serde_yaml_ng::Deserializer::from_str(&text).map(|d| Value::deserialize(d).unwrap());
    all.find(|object| object["kind"] == kind).unwrap()
}

fn rules() -> Vec<PolicyRule> {
    let cluster: ClusterRole = serde_json::from_value(rendered("ClusterRole")).unwrap();
    let role: Role = serde_json::from_value(rendered("Role")).unwrap();
    cluster.rules.unwrap().into_iter().chain(role.rules.unwrap()).collect()
}

fn granted() -> Vec<Right> {
    let mut out = Vec::new();
    for rule in rules() {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                out.extend(rule.verbs.iter().map(|verb| Right::new(verb, group, resource)));
            }
        }
    }
    out
}

#[test]
fn the_role_has_no_wildcard_and_grants_nothing_twice() {
    for rule in rules() {
        let words = [rule.api_groups, rule.resources, Some(rule.verbs)];
        assert!(words.iter().flatten().flatten().all(|word| word != "*"));
        assert!(rule.non_resource_urls.is_none());
    }
    let granted = granted();
    assert_eq!(
        granted.iter().collect::<BTreeSet<_>>().len(),
        granted.len(),
        "taking a rule away takes nothing away"
    );
    for verb in ["list", "watch", "create", "update", "patch", "delete"] {
        assert!(!granted.contains(&Right::new(verb, "", "secrets")), "{verb} secrets");
    }
}

/// What the account asked the server for, and what was refused.
fn used(log: &[AuditEvent]) -> (BTreeSet<Right>, Vec<String>) {
    let mine = log.iter().filter(|e| e.user == ACCOUNT && !e.resource.is_empty());
    let (mut rights, mut refused) = (BTreeSet::new(), Vec::new());
    for event in mine {
        if event.code == 403 {
            refused.push(format!("{} {}", Right::of(event, &event.verb), event.name));
        }
        rights.insert(Right::of(event, &event.verb));
        // An apply that made the object needed the right to create too.
        if event.verb == "patch" && event.code == 201 {
            rights.insert(Right::of(event, "create"));
        }
    }
    (rights, refused)
}

/// The cases look at one role, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lives_under_the_role() -> Result<(), LiveError> {
    let stage = Stage::set(Path::new(env!("CARGO_BIN_EXE_operator")), SCALE).await?;
    stage.plane.prepare_namespace(SYSTEM, &[]).await?;
    let applied = stage.plane.kubectl(&["apply", "--server-side", "--filename", RENDERED]).await?;
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    the_role_is_what_is_used(&stage).await?;
    without_the_right_to_block_deletion_no_child_is_made(&stage).await?;
    without_the_right_to_read_a_secret_no_validator_starts(&stage).await
}

/// With the account, and in the namespace that it is in: there is its lease.
fn start(stage: &Stage, name: &str) -> Result<Operator, LiveError> {
    let kubeconfig = stage.plane.kubeconfig_as(ACCOUNT)?;
    let mut config: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&kubeconfig).unwrap()).unwrap();
    config["contexts"][0]["context"]["namespace"] = SYSTEM.into();
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    stage.operator_as(name, &kubeconfig)
}

fn node(name: &str, fields: &Value) -> Value {
    let mut spec = json!({"chainId": "atlantic-2", "image": "registry.example.net/seid:1"});
    seinode_core::patch::apply(&mut spec, fields);
    json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": name}, "spec": spec})
}

fn is_ready(node: &SeiNode) -> bool {
    condition::find(&node.status.conditions, &ConditionType::Ready)
        .is_some_and(|c| c.status == ConditionStatus::True)
}

async fn edit(stage: &Stage, space: &str, name: &str, patch: Value) {
    stage.nodes(space).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn secrets(stage: &Stage, space: &str) {
    let key = json!({"type": "tendermint/PrivKeyEd25519", "value": "made-up"});
    let signing = json!({"address": "A", "pub_key": key, "priv_key": key}).to_string();
    let all = [
        ("signing", json!({"priv_validator_key.json": signing})),
        ("p2p", json!({"node_key.json": json!({"priv_key": key}).to_string()})),
    ];
    let api = Api::<Secret>::namespaced(stage.plane.client(), space);
    for (name, data) in all {
        let secret = json!({"metadata": {"name": name}, "stringData": data});
        api.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    }
}

fn validator(name: &str) -> Value {
    let named = |name: &str| json!({"secret": {"secretName": name}});
    node(name, &json!({"validator": {"signingKey": named("signing"), "nodeKey": named("p2p")}}))
}

/// A volume and a claim that somebody else has made, bound to each other.
async fn volume(stage: &Stage, space: &str) -> Result<(), LiveError> {
    let common = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand",
    });
    let mut volume = json!({
        "metadata": {"name": "by-hand"},
        "spec": {"capacity": {"storage": "200Gi"}, "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": space, "name": "theirs"}},
    });
    let mut claim = json!({
        "metadata": {"name": "theirs"},
        "spec": {"resources": {"requests": {"storage": "200Gi"}}, "volumeName": "by-hand"},
    });
    for object in [&mut volume, &mut claim] {
        seinode_core::patch::apply(&mut object["spec"], &common);
    }
    let client = stage.plane.client();
    let how = PostParams::default();
    Api::<PersistentVolume>::all(client.clone())
        .create(&how, &serde_json::from_value(volume).unwrap())
        .await
        .unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client, space);
    claims.create(&how, &serde_json::from_value(claim).unwrap()).await.unwrap();
    wait_until("the claim to be bound", SOON, async || {
        let phase = claims.get("theirs").await.map_err(|e| e.to_string())?.status.and_then(|s| s.phase);
        if phase.as_deref() == Some("Bound") { Ok(()) } else { Err(format!("{phase:?}")) }
    })
    .await
}

async fn the_role_is_what_is_used(stage: &Stage) -> Result<(), LiveError> {
    let space = "rights";
    stage.namespace(space).await?;
    secrets(stage, space).await;
    volume(stage, space).await?;
    let mark = stage.plane.audit_mark()?;
    let operator = start(stage, "rights")?;

    let witnesses = json!(["a.example.net:26657", "b.example.net:26657"]);
    let height = |n: u64| json!({"s3": {"targetHeight": n}, "rpcServers": witnesses});
    let mut boot = height(5);
    boot["bootstrapImage"] = "registry.example.net/seid:0".into();
    let lives = [
        node("sync", &json!({"fullNode": {"snapshot": {"stateSync": {}, "rpcServers": witnesses}}})),
        node("boot", &json!({"fullNode": {"snapshot": boot}})),
        node("imp", &json!({"fullNode": {}, "dataVolume": {"import": {"pvcName": "theirs"}}})),
        node("slow", &json!({"fullNode": {"snapshot": height(5)}})),
        validator("val"),
    ];
    let slow = stage.kubelet.director(space, "slow");
    slow.direct(|script| *script = Script::default().lasting("snapshot-restore", Duration::from_mins(10)));
    for node in &lives {
        stage.create(space, node).await.unwrap();
    }

    // A change of mind while a task runs: the task is withdrawn.
    wait_until("the slow restore", SOON, async || match slow.runs("snapshot-restore") {
        0 => Err("not yet"),
        _ => Ok(()),
    })
    .await?;
    slow.direct(|script| *script = Script::default().lasting("snapshot-restore", Duration::from_millis(100)));
    edit(stage, space, "slow", json!({"spec": {"fullNode": {"snapshot": {"s3": {"targetHeight": 6}}}}}))
        .await;
    for node in &lives {
        let name = node["metadata"]["name"].as_str().unwrap();
        stage
            .until(space, name, &format!("{name} to be Ready"), is_ready)
            .await
            .inspect_err(|_| println!("{}", operator.log()))?;
    }
    assert!(slow.journal().iter().any(|e| e.event == SidecarEvent::Deleted), "nothing was withdrawn");

    // An update, an event that comes twice, a pause, a repair.
    edit(stage, space, "sync", json!({"spec": {"image": "registry.example.net/seid:2"}})).await;
    let at_two = |n: &SeiNode| n.status.current_image.as_deref() == Some("registry.example.net/seid:2");
    stage.until(space, "sync", "the update", |n| at_two(n) && n.status.plan.is_none() && is_ready(n)).await?;
    a_sidecar_fails_until_it_is_told_twice(stage, space).await?;
    stage.until(space, "sync", "the plan to end", |n| n.status.plan.is_none() && is_ready(n)).await?;
    edit(stage, space, "sync", json!({"spec": {"paused": true}})).await;
    let paused = |n: &SeiNode| {
        condition::find(&n.status.conditions, &ConditionType::Paused)
            .is_some_and(|c| c.status == ConditionStatus::True)
    };
    stage.until(space, "sync", "the pause", paused).await?;
    edit(stage, space, "sync", json!({"spec": {"paused": false}})).await;
    stage.until(space, "sync", "the end of the pause", is_ready).await?;
    let client = stage.plane.client();
    let services = Api::<Service>::namespaced(client.clone(), space);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), space);
    services.delete("val", &DeleteParams::default()).await.unwrap();
    maps.delete("val-rbac-proxy-config", &DeleteParams::default()).await.unwrap();
    wait_until("the Service and the ConfigMap to be back", SOON, async || {
        services.get("val").await?;
        maps.get("val-rbac-proxy-config").await.map(drop)
    })
    .await?;
    by_way_of_the_proxies(stage, space).await?;

    // A workflow that another operator has adopted.
    let sync = stage.nodes(space).get("sync").await.unwrap();
    stage.occupy(&sync, "resync").await?;
    let free = |n: &SeiNode| n.status.adopted_workflow.is_none() && is_ready(n);
    stage.until(space, "sync", "the workflow to end", free).await?;

    for node in &lives {
        let name = node["metadata"]["name"].as_str().unwrap();
        stage.nodes(space).delete(name, &DeleteParams::default()).await.unwrap();
    }
    wait_until("all nodes to be gone", SOON, async || {
        let left = stage.nodes(space).list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.len())) }
    })
    .await?;
    operator.stop().map_err(|source| LiveError::Io { what: "stop the operator".into(), source })?;

    // A watch is in the log when it has ended.
    let watch = Right::new("watch", "sei.io", "seinodes");
    let (used, refused) = wait_until("the watches in the audit log", SOON, async || {
        let found = used(&stage.plane.audit_since(mark).map_err(|e| e.to_string())?);
        if found.0.contains(&watch) { Ok(found) } else { Err("not yet".to_owned()) }
    })
    .await?;
    let refused: BTreeSet<_> = refused.into_iter().collect();
    assert!(refused.is_empty(), "the role lacks {refused:?}");
    let granted: BTreeSet<Right> = granted().into_iter().collect();
    let unused: Vec<_> = granted.difference(&used).filter(|r| !shown_elsewhere().contains(r)).collect();
    let lacking: Vec<_> = used.difference(&granted).collect();
    assert!(
        lacking.is_empty() && unused.is_empty(),
        "not granted: {lacking:?}; granted and never used: {unused:?}"
    );
    println!("  {} rights, {} shown here", granted.len(), used.len());
    Ok(())
}

/// A sidecar that crashes every few seconds. The second event of a kind is an update of the first.
async fn a_sidecar_fails_until_it_is_told_twice(stage: &Stage, space: &str) -> Result<(), LiveError> {
    let events = Api::<Event>::namespaced(stage.plane.client(), space);
    let mut crash = tokio::time::interval(Duration::from_secs(4));
    wait_until("an event that came twice", SOON, async || {
        let all = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let lost = all.items.iter().filter(|e| e.reason.as_deref() == Some("SidecarReadinessLost"));
        let counts: Vec<_> = lost.map(|e| e.count).collect();
        if counts.iter().any(|c| *c > Some(1)) {
            return Ok(());
        }
        crash.tick().await;
        stage.kubelet.restart_sidecar(space, "sync-0");
        Err(format!("{counts:?}"))
    })
    .await
}

/// The operator reads, submits and withdraws tasks (the journals above show all three). The proxy makes verbs of the
/// methods and asks the server about the resource that its configuration names.
async fn by_way_of_the_proxies(stage: &Stage, space: &str) -> Result<(), LiveError> {
    let maps = Api::<ConfigMap>::namespaced(stage.plane.client(), space);
    let config = maps.get("sync-rbac-proxy-config").await.unwrap().data.unwrap();
    let config: Value = serde_yaml_ng::from_str(&config["config.yaml"]).unwrap();
    let attributes = &config["authorization"]["resourceAttributes"];
    assert_eq!(
        (&attributes["apiGroup"], &attributes["resource"]),
        (&json!("sei.io"), &json!("seinodetasks"))
    );
    let reviews = Api::<SubjectAccessReview>::all(stage.plane.client());
    // GET, POST and DELETE, and one that the operator never sends.
    for (verb, expected) in [("get", true), ("create", true), ("delete", true), ("update", false)] {
        let attributes = json!({
            "verb": verb, "group": "sei.io", "resource": "seinodetasks",
            "namespace": attributes["namespace"], "name": attributes["name"],
        });
        let review = json!({"metadata": {}, "spec": {"user": ACCOUNT, "resourceAttributes": attributes}});
        let answer =
            reviews.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
        assert_eq!(answer.status.unwrap().allowed, expected, "{verb}");
    }
    Ok(())
}

/// The ClusterRole without one rule, until it is put back.
async fn without(stage: &Stage, resource: &str) -> ClusterRole {
    let roles = Api::<ClusterRole>::all(stage.plane.client());
    let whole = roles.get("seinode-operator").await.unwrap();
    let mut less = whole.clone();
    let names = |rule: &PolicyRule| rule.resources.as_ref().is_some_and(|r| r.iter().any(|r| r == resource));
    less.rules.as_mut().unwrap().retain(|rule| !names(rule));
    assert!(less.rules.as_ref().unwrap().len() < whole.rules.as_ref().unwrap().len());
    roles.replace("seinode-operator", &PostParams::default(), &less).await.unwrap();
    whole
}

async fn give_back(stage: &Stage, whole: &ClusterRole) {
    let roles = Api::<ClusterRole>::all(stage.plane.client());
    let rules = json!({"rules": whole.rules});
    roles.patch("seinode-operator", &PatchParams::default(), &Patch::Merge(rules)).await.unwrap();
}

/// A node is held without the rule, says so, and goes on by itself once the rule is back.
async fn is_held(
    stage: &Stage,
    space: &str,
    manifest: &Value,
    resource: &str,
    says: &str,
) -> Result<(), LiveError> {
    let whole = without(stage, resource).await;
    let operator = start(stage, space)?;
    let name = manifest["metadata"]["name"].as_str().unwrap();
    stage.create(space, manifest).await.unwrap();
    let told = |n: &SeiNode| {
        let ready = condition::find(&n.status.conditions, &ConditionType::Ready);
        ready.is_some_and(|c| c.message.contains(says)) && n.status.phase != Some(NodePhase::Running)
    };
    stage.until(space, name, &format!("Ready to name {says:?}"), told).await?;
    give_back(stage, &whole).await;
    stage
        .until(space, name, "the node to be Ready", is_ready)
        .await
        .inspect_err(|_| println!("{}", operator.log()))?;
    Ok(())
}

async fn without_the_right_to_block_deletion_no_child_is_made(stage: &Stage) -> Result<(), LiveError> {
    stage.namespace("blocked").await?;
    let manifest = node("one", &json!({"archive": {}}));
    is_held(stage, "blocked", &manifest, "seinodes/finalizers", "cannot set blockOwnerDeletion").await
}

async fn without_the_right_to_read_a_secret_no_validator_starts(stage: &Stage) -> Result<(), LiveError> {
    stage.namespace("keyless").await?;
    secrets(stage, "keyless").await;
    is_held(stage, "keyless", &validator("one"), "secrets", "ecret").await
}
