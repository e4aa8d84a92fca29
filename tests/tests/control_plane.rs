//! Is the real control plane what the other tests take it for? It starts, its parts work together, it answers
//! guarded applies as the operator relies on, it tells who asked for what, and it leaves no process behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use seinode_tests::live::{AuditEvent, Component, ControlPlane, LiveError, wait_until};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Patient, for machines that do other things at the same time.
const SOON: Duration = Duration::from_mins(1);

/// A uid that no object has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn a_stateful_set_gets_its_pod() -> Result<(), LiveError> {
    let plane = ControlPlane::shared().await?;
    plane.prepare_namespace("stateful", &["sei-node"]).await?;
    let sets = Api::<StatefulSet>::namespaced(plane.client(), "stateful");
    let pods = Api::<Pod>::namespaced(plane.client(), "stateful");

    sets.create(&PostParams::default(), &object(stateful_set("node"))).await.unwrap();

    let pod = wait_until("the pod", SOON, async || pods.get("node-0").await).await?;
    assert_eq!(pod.spec.unwrap().service_account_name.as_deref(), Some("sei-node"));

    sets.delete("node", &DeleteParams::foreground()).await.unwrap();
    wait_until("the pod to be collected", SOON, async || match pods.get_opt("node-0").await {
        Ok(None) => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .await
}

#[tokio::test]
async fn an_apply_for_an_absent_object_only_creates() -> Result<(), LiveError> {
    let case = Case::prepare("absent").await?;

    let created = case.apply(json!({ "resourceVersion": "1" }), "a").await.unwrap();
    let again = case.apply(json!({ "resourceVersion": "1" }), "b").await.unwrap_err();

    assert_eq!(code(&again), 409);
    assert_eq!(case.stored().await, created, "the refused apply changed nothing");
    assert_eq!(case.applies()?, [("a".into(), 201), ("b".into(), 409)]);
    Ok(())
}

#[tokio::test]
async fn an_apply_for_a_known_object_wants_that_object_and_version() -> Result<(), LiveError> {
    let case = Case::prepare("known").await?;
    let first = case.apply(json!({ "resourceVersion": "1" }), "a").await.unwrap();
    let known = json!({ "uid": first.uid(), "resourceVersion": first.resource_version() });

    let second = case.apply(known.clone(), "b").await.unwrap();
    let stale = case.apply(known, "c").await.unwrap_err();
    let forged = json!({ "uid": NOBODY, "resourceVersion": second.resource_version() });
    let forged = case.apply(forged, "d").await.unwrap_err();

    assert_eq!(code(&stale), 409);
    assert_eq!(
        code(&forged),
        422,
        "a version of one object with the uid of another is invalid, not a conflict"
    );
    assert_eq!(case.stored().await, second, "the refused applies changed nothing");
    assert_eq!(second.data, Some(BTreeMap::from([("key".into(), "b".into())])));
    let expected = [("a", 201), ("b", 200), ("c", 409), ("d", 422)];
    assert_eq!(case.applies()?, expected.map(|(value, code)| (value.to_owned(), code)));
    Ok(())
}

#[tokio::test]
async fn an_apply_for_an_object_that_is_gone_does_nothing() -> Result<(), LiveError> {
    let case = Case::prepare("gone").await?;
    let first = case.apply(json!({ "resourceVersion": "1" }), "a").await.unwrap();
    let known = json!({ "uid": first.uid(), "resourceVersion": first.resource_version() });

    case.config_maps.delete("settings", &DeleteParams::default()).await.unwrap();
    let late = case.apply(known.clone(), "b").await.unwrap_err();
    assert_eq!(code(&late), 409);
    assert_eq!(case.config_maps.get_opt("settings").await.unwrap(), None);

    let second = case.apply(json!({ "resourceVersion": "1" }), "c").await.unwrap();
    let later = case.apply(known, "d").await.unwrap_err();
    assert_eq!(code(&later), 409);
    assert_eq!(case.stored().await, second, "the successor is another object");
    Ok(())
}

#[tokio::test]
async fn other_users_have_the_rights_they_are_given() -> Result<(), LiveError> {
    let plane = ControlPlane::shared().await?;
    plane.prepare_namespace("rights", &["operator"]).await?;
    let user = "system:serviceaccount:rights:operator";
    let start = plane.audit_mark()?;
    let pods = Api::<Pod>::namespaced(client_from(&plane.kubeconfig_as(user)?).await, "rights");

    assert_eq!(code(&pods.list(&ListParams::default()).await.unwrap_err()), 403);

    let bindings = Api::<RoleBinding>::namespaced(plane.client(), "rights");
    let binding = object(json!({
        "metadata": { "name": "view" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
        "subjects": [{ "kind": "ServiceAccount", "name": "operator", "namespace": "rights" }],
    }));
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    wait_until("the rights", SOON, async || pods.list(&ListParams::default()).await).await?;

    let asked: Vec<_> = plane.audit_since(start)?.into_iter().filter(|event| event.user == user).collect();
    assert!(asked.iter().all(|event| event.verb == "list" && event.resource == "pods" && !event.is_write()));
    assert!(asked.iter().all(|event| event.at <= event.done));
    let codes: Vec<_> = asked.iter().map(|event| event.code).collect();
    assert_eq!((codes.first(), codes.last()), (Some(&403), Some(&200)));
    Ok(())
}

#[tokio::test]
async fn a_definition_is_served_when_it_is_installed() -> Result<(), LiveError> {
    let plane = ControlPlane::shared().await?;
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = |name: &str, storage: bool| {
        let schema = json!({ "openAPIV3Schema": schema });
        json!({ "name": name, "served": true, "storage": storage, "schema": schema })
    };
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "samples.seinode.test" },
        "spec": {
            "group": "seinode.test",
            "scope": "Namespaced",
            "names": { "kind": "Sample", "plural": "samples" },
            "versions": [version("v1", true), version("v1alpha1", false)],
        },
    });

    plane.install_crd(&crd).await?;
    plane.install_crd(&crd).await?;

    let listed = plane.kubectl(&["get", "samples.v1alpha1.seinode.test", "-o", "name"]).await?;
    assert!(listed.status.success(), "{listed:?}");
    Ok(())
}

#[tokio::test]
async fn components_stop_and_come_back_and_leave_nothing_behind() -> Result<(), LiveError> {
    let mut plane = ControlPlane::start().await?;
    plane.prepare_namespace("outage", &["sei-node"]).await?;
    let client = plane.client();
    let sets = Api::<StatefulSet>::namespaced(client.clone(), "outage");
    let pods = Api::<Pod>::namespaced(client, "outage");
    sets.create(&PostParams::default(), &object(stateful_set("before"))).await.unwrap();
    let mut started: Vec<u32> = plane.pids().into_values().collect();

    plane.stop(Component::ApiServer).await?;
    sets.list(&ListParams::default()).await.unwrap_err();
    plane.kill(Component::Etcd).await?;
    plane.resume(Component::Etcd).await?;
    plane.resume(Component::ApiServer).await?;
    sets.get("before").await.unwrap();

    plane.stop(Component::ControllerManager).await?;
    sets.create(&PostParams::default(), &object(stateful_set("during"))).await.unwrap();
    assert_eq!(pods.get_opt("during-0").await.unwrap(), None);
    plane.resume(Component::ControllerManager).await?;
    wait_until("the pod that was missed", SOON, async || pods.get("during-0").await).await?;

    started.extend(plane.pids().into_values());
    assert_eq!(started.len(), 6);
    drop(plane);
    started.retain(|pid| is_alive(*pid));
    assert!(started.is_empty(), "processes that were left behind: {started:?}");
    Ok(())
}

/// A ConfigMap that is applied in a namespace, by a client that the audit log can tell from others.
struct Case {
    name: &'static str,
    plane: Arc<ControlPlane>,
    config_maps: Api<ConfigMap>,
}

impl Case {
    async fn prepare(name: &'static str) -> Result<Self, LiveError> {
        let plane = ControlPlane::shared().await?;
        plane.prepare_namespace(name, &[]).await?;
        let config_maps = Api::namespaced(plane.client_named(name), name);
        Ok(Self { name, plane, config_maps })
    }

    /// Applies the value by force, with the name and these guards as metadata.
    async fn apply(&self, mut metadata: Value, value: &str) -> kube::Result<ConfigMap> {
        metadata["name"] = "settings".into();
        let data = json!({ "key": value });
        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
        self.config_maps.patch("settings", &PatchParams::apply("test").force(), &Patch::Apply(body)).await
    }

    async fn stored(&self) -> ConfigMap {
        self.config_maps.get("settings").await.unwrap()
    }

    /// What the audit log has of the applies: the value that was sent, and the code that was answered.
    fn applies(&self) -> Result<Vec<(String, u16)>, LiveError> {
        let mine = |event: &AuditEvent| event.user_agent == self.name && event.verb == "patch";
        let applies = self.plane.audit()?.into_iter().filter(mine);
        let told = applies.map(|event| {
            assert!(event.is_write() && event.is_granted() == (event.code < 300));
            assert_eq!((event.namespace.as_str(), event.name.as_str()), (self.name, "settings"));
            assert_eq!((event.resource.as_str(), event.subresource.as_str()), ("configmaps", ""));
            let sent = event.request.unwrap();
            (sent["data"]["key"].as_str().unwrap().to_owned(), event.code)
        });
        Ok(told.collect())
    }
}

fn stateful_set(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "serviceAccountName": "sei-node",
                    "containers": [{ "name": "node", "image": "node" }],
                },
            },
        },
    })
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

async fn client_from(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn code(error: &kube::Error) -> u16 {
    let kube::Error::Api(status) = error else { panic!("not an answer of the server: {error}") };
    status.code
}

fn is_alive(pid: u32) -> bool {
    let probe =
        std::process::Command::new("sh").args(["-c", "kill -0 \"$1\"", "sh", &pid.to_string()]).output();
    probe.unwrap().status.success()
}
