//! Server-side apply through a real client. What is expected here was seen on a real kube-apiserver 1.36.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error, ResourceExt};
use seinode_sim::api::ApiServer;
use seinode_sim::store::{Clock, Kind, Store};
use serde_json::{Value, json};

struct Cluster {
    store: Store,
    client: Client,
}

impl Cluster {
    fn new() -> Self {
        let store = Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
        let list = |by: &str| json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [by] });
        store.declare(
            Kind::SeiNode,
            &json!({ "properties": {
                "spec": { "properties": {
                    "peers": { "type": "array", "x-kubernetes-list-type": "set" },
                    "things": list("name"),
                } },
                "status": { "properties": { "conditions": list("type") } },
            } }),
        );
        let client = Client::new(ApiServer::new(&store), "default");
        Self { store, client }
    }

    fn nodes(&self) -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("sei.io", "v1alpha1", "SeiNode"));
        Api::default_namespaced_with(self.client.clone(), &kind)
    }

    async fn apply(&self, manager: &str, metadata: Value, spec: Value) -> Result<DynamicObject, Error> {
        self.apply_with(&PatchParams::apply(manager), metadata, spec).await
    }

    async fn apply_with(
        &self,
        params: &PatchParams,
        metadata: Value,
        spec: Value,
    ) -> Result<DynamicObject, Error> {
        let mut body =
            json!({ "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": { "name": "a" } });
        body["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        body["spec"] = spec;
        self.nodes().patch("a", params, &Patch::Apply(body)).await
    }
}

fn code(result: Result<DynamicObject, Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Error::Api(status)) => status.code,
        Err(other) => panic!("no answer of the server: {other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn version_one_creates_what_is_absent_and_nothing_else() {
    let cluster = Cluster::new();
    let absent = || json!({ "resourceVersion": "1" });
    assert_eq!(code(cluster.apply("op", absent(), json!({ "image": "x" })).await), 200);
    assert_eq!(code(cluster.apply("op", absent(), json!({ "image": "x" })).await), 409);
    let forced = PatchParams::apply("op").force();
    assert_eq!(
        code(cluster.apply_with(&forced, absent(), json!({ "image": "x" })).await),
        409,
        "force is no key"
    );
}

#[tokio::test(start_paused = true)]
async fn a_uid_never_creates_and_a_version_has_to_be_the_stored_one() {
    let cluster = Cluster::new();
    let image = |name: &str| json!({ "image": name });
    assert_eq!(
        code(cluster.apply("op", json!({ "uid": "u", "resourceVersion": "7" }), image("x")).await),
        409
    );
    let first = cluster.apply("op", json!({}), image("x")).await.unwrap();
    let at =
        |object: &DynamicObject| json!({ "uid": object.uid(), "resourceVersion": object.resource_version() });
    let second = cluster.apply("op", at(&first), image("y")).await.unwrap();
    assert_eq!(code(cluster.apply("op", at(&first), image("z")).await), 409);
    let version = second.resource_version();
    let foreign = json!({ "uid": "another", "resourceVersion": version });
    assert_eq!(code(cluster.apply("op", foreign, image("z")).await), 422, "a wrong uid alone is invalid");
    let foreign_and_stale = json!({ "uid": "another", "resourceVersion": first.resource_version() });
    assert_eq!(code(cluster.apply("op", foreign_and_stale, image("z")).await), 409);
}

#[tokio::test(start_paused = true)]
async fn applying_the_same_again_changes_nothing() {
    let cluster = Cluster::new();
    let spec = json!({ "image": "x", "peers": ["p"], "things": [{ "name": "t", "v": 1 }], "plain": [1, 2] });
    let first = cluster.apply("op", json!({ "labels": { "l": "1" } }), spec.clone()).await.unwrap();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let again = cluster.apply("op", json!({ "labels": { "l": "1" } }), spec).await.unwrap();
    assert_eq!(again, first);
    let fields = &serde_json::to_value(first.managed_fields()).unwrap()[0];
    let expected = json!({
        "f:metadata": { "f:labels": { "f:l": {} } },
        "f:spec": {
            "f:image": {},
            "f:peers": { "v:\"p\"": {} },
            "f:plain": {},
            "f:things": { "k:{\"name\":\"t\"}": { ".": {}, "f:name": {}, "f:v": {} } },
        },
    });
    assert_eq!((&fields["operation"], &fields["fieldsV1"]), (&json!("Apply"), &expected));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_goes_unless_somebody_owns_it() {
    let cluster = Cluster::new();
    cluster.apply("one", json!({}), json!({ "image": "x", "size": 1, "peers": ["a", "b"] })).await.unwrap();
    cluster.apply("two", json!({}), json!({ "image": "x", "peers": ["b", "c"] })).await.unwrap();
    let left = cluster.apply("one", json!({}), json!({ "kept": true })).await.unwrap();
    assert_eq!(left.data["spec"], json!({ "image": "x", "kept": true, "peers": ["b", "c"] }));
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_a_field_without_force() {
    let cluster = Cluster::new();
    cluster.apply("one", json!({}), json!({ "image": "x" })).await.unwrap();
    let Error::Api(refusal) = cluster.apply("two", json!({}), json!({ "image": "y" })).await.unwrap_err()
    else {
        panic!("no answer of the server")
    };
    assert_eq!(refusal.message, "Apply failed with 1 conflict: conflict with \"one\": .spec.image");
    assert_eq!((refusal.code, &*refusal.details.unwrap().causes[0].reason), (409, "FieldManagerConflict"));
    let taken = cluster
        .apply_with(&PatchParams::apply("two").force(), json!({}), json!({ "image": "y" }))
        .await
        .unwrap();
    let owners: Vec<_> = taken.managed_fields().iter().map(|entry| entry.manager.clone().unwrap()).collect();
    assert_eq!(owners, ["two"], "the other owned nothing else");
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_over_the_fields_it_changes() {
    let cluster = Cluster::new();
    cluster.apply("op", json!({}), json!({ "image": "x", "size": 1 })).await.unwrap();
    let patch = Patch::Merge(json!({ "spec": { "size": 2 } }));
    let params = PatchParams { field_manager: Some("hand".to_owned()), ..PatchParams::default() };
    cluster.nodes().patch("a", &params, &patch).await.unwrap();
    assert_eq!(code(cluster.apply("op", json!({}), json!({ "image": "x", "size": 1 })).await), 409);
    let let_go = cluster.apply("op", json!({}), json!({ "image": "x" })).await.unwrap();
    assert_eq!(let_go.data["spec"], json!({ "image": "x", "size": 2 }), "it is the hand's now");
}

#[tokio::test(start_paused = true)]
async fn keyed_lists_keep_the_order_of_the_applier() {
    let cluster = Cluster::new();
    let named =
        |names: &[&str]| json!({ "things": names.iter().map(|n| json!({ "name": n })).collect::<Vec<_>>() });
    cluster.apply("one", json!({}), named(&["a", "b", "c"])).await.unwrap();
    let merged = cluster.apply("two", json!({}), named(&["c", "x", "a"])).await.unwrap();
    assert_eq!(merged.data["spec"], named(&["b", "c", "x", "a"]));
}

#[tokio::test(start_paused = true)]
async fn a_status_is_applied_on_its_own() {
    let cluster = Cluster::new();
    cluster.apply("op", json!({}), json!({ "image": "x" })).await.unwrap();
    let body = json!({
        "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": { "name": "a" },
        "spec": { "image": "y" }, "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    let applied =
        cluster.nodes().patch_status("a", &PatchParams::apply("op"), &Patch::Apply(body)).await.unwrap();
    assert_eq!(applied.data["spec"], json!({ "image": "x" }));
    assert_eq!(applied.data["status"]["conditions"][0]["type"], "Ready");
    let entries: Vec<_> = applied.managed_fields().iter().map(|entry| entry.subresource.clone()).collect();
    assert_eq!(entries, [None, Some("status".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_keeps_replicas_that_the_applier_does_not_name() {
    let cluster = Cluster::new();
    let sets: Api<StatefulSet> = Api::default_namespaced(cluster.client.clone());
    let body = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "s" },
        "spec": { "serviceName": "s", "template": { "spec": { "containers": [
            { "name": "main", "image": "i", "env": [{ "name": "A", "value": "1" }], "ports": [{ "containerPort": 80 }] },
        ] } } },
    });
    let params = PatchParams::apply("op").force();
    sets.patch("s", &params, &Patch::Apply(&body)).await.unwrap();
    let scale = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    sets.patch("s", &PatchParams::default(), &scale).await.unwrap();
    let before = cluster.store.version();
    let again = sets.patch("s", &params, &Patch::Apply(&body)).await.unwrap();
    assert_eq!(again.spec.unwrap().replicas, Some(0));
    assert_eq!(cluster.store.version(), before);
}
