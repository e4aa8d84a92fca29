//! Objects through a real client: life, versions, conflicts, and what a write may change.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error, ResourceExt};
use seinode_sim::api::ApiServer;
use seinode_sim::error::FieldError;
use seinode_sim::store::{Clock, Kind, Store, Validator};
use serde_json::{Value, json};

fn cluster() -> (Store, Client) {
    let store = Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let client = Client::new(ApiServer::new(&store), "default");
    (store, client)
}

fn nodes(client: &Client) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("sei.io", "v1alpha1", "SeiNode"));
    Api::default_namespaced_with(client.clone(), &kind)
}

fn node(body: &Value) -> DynamicObject {
    let mut all = json!({ "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode" });
    all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn status(error: Error) -> (u16, String) {
    match error {
        Error::Api(status) => (status.code, status.reason),
        other => panic!("no answer of the server: {other}"),
    }
}

fn merge(body: &Value) -> Patch<Value> {
    Patch::Merge(body.clone())
}

#[tokio::test(start_paused = true)]
async fn a_stateful_set_is_created_read_and_listed() {
    let (_, client) = cluster();
    let sets: Api<StatefulSet> = Api::default_namespaced(client);
    let body = json!({ "metadata": { "name": "a", "labels": { "app": "x" } }, "spec": { "template": {} } });
    let made = sets.create(&PostParams::default(), &serde_json::from_value(body).unwrap()).await.unwrap();
    assert_eq!(made.spec.as_ref().unwrap().replicas, Some(1), "the default that controllers depend on");
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(sets.get("a").await.unwrap(), made);
    let found = sets.list(&ListParams::default().labels("app in (x,y),!tier")).await.unwrap();
    assert_eq!(found.items, std::slice::from_ref(&made));
    assert_eq!(found.metadata.resource_version, made.metadata.resource_version);
    let none = sets.list(&ListParams::default().labels("app=y")).await.unwrap();
    assert_eq!(none.items, []);
}

#[tokio::test(start_paused = true)]
async fn refusals_carry_code_and_reason() {
    let (_, client) = cluster();
    let nodes = nodes(&client);
    let a = node(&json!({ "metadata": { "name": "a" } }));
    nodes.create(&PostParams::default(), &a).await.unwrap();
    let again = nodes.create(&PostParams::default(), &a).await.unwrap_err();
    assert_eq!(status(again), (409, "AlreadyExists".to_owned()));
    assert_eq!(status(nodes.get("b").await.unwrap_err()), (404, "NotFound".to_owned()));
    let unnamed = node(&json!({ "metadata": {} }));
    let refused = nodes.create(&PostParams::default(), &unnamed).await.unwrap_err();
    assert_eq!(status(refused), (422, "Invalid".to_owned()));
    let unversioned = nodes.replace("a", &PostParams::default(), &a).await.unwrap_err();
    assert_eq!(status(unversioned), (422, "Invalid".to_owned()), "a custom object is never replaced blindly");
}

#[tokio::test(start_paused = true)]
async fn a_stale_or_foreign_write_is_refused() {
    let (_, client) = cluster();
    let nodes = nodes(&client);
    let first =
        nodes.create(&PostParams::default(), &node(&json!({ "metadata": { "name": "a" } }))).await.unwrap();
    let pp = PatchParams::default();
    nodes.patch("a", &pp, &merge(&json!({ "spec": { "x": 1 } }))).await.unwrap();
    let stale = json!({ "metadata": { "resourceVersion": first.resource_version() }, "spec": { "x": 2 } });
    assert_eq!(
        status(nodes.patch("a", &pp, &merge(&stale)).await.unwrap_err()),
        (409, "Conflict".to_owned())
    );
    assert_eq!(status(nodes.patch_status("a", &pp, &merge(&stale)).await.unwrap_err()).0, 409);
    // The real server calls a wrong uid in a patch invalid, and does not even look at it in a custom status.
    let foreign = json!({ "metadata": { "uid": "another" }, "spec": { "x": 2 }, "status": { "y": 1 } });
    assert_eq!(
        status(nodes.patch("a", &pp, &merge(&foreign)).await.unwrap_err()),
        (422, "Invalid".to_owned())
    );
    assert_eq!(
        nodes.patch_status("a", &pp, &merge(&foreign)).await.unwrap().data["status"],
        json!({ "y": 1 })
    );
}

#[tokio::test(start_paused = true)]
async fn writing_the_same_again_makes_no_version() {
    let (store, client) = cluster();
    let nodes = nodes(&client);
    nodes.create(&PostParams::default(), &node(&json!({ "metadata": { "name": "a" } }))).await.unwrap();
    let patch = json!({ "status": { "phase": "Running" } });
    let pp = PatchParams::default();
    let first = nodes.patch_status("a", &pp, &merge(&patch)).await.unwrap();
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let again = nodes.patch_status("a", &pp, &merge(&patch)).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(store.version().to_string(), first.resource_version().unwrap());
}

#[tokio::test(start_paused = true)]
async fn spec_and_status_are_written_apart() {
    let (_, client) = cluster();
    let nodes = nodes(&client);
    let body = json!({ "metadata": { "name": "a" }, "spec": { "x": 1 }, "status": { "phase": "Lie" } });
    let made = nodes.create(&PostParams::default(), &node(&body)).await.unwrap();
    assert_eq!((made.data.get("status"), made.metadata.generation), (None, Some(1)));
    let both =
        json!({ "metadata": { "labels": { "l": "1" } }, "spec": { "x": 2 }, "status": { "phase": "Z" } });
    let pp = PatchParams::default();
    let by_status = nodes.patch_status("a", &pp, &merge(&both)).await.unwrap();
    assert_eq!(by_status.data, json!({ "spec": { "x": 1 }, "status": { "phase": "Z" } }));
    assert_eq!((by_status.labels().len(), by_status.metadata.generation), (0, Some(1)));
    let both = json!({ "spec": { "x": 3 }, "status": { "phase": "Q" } });
    let by_spec = nodes.patch("a", &pp, &merge(&both)).await.unwrap();
    assert_eq!(by_spec.data, json!({ "spec": { "x": 3 }, "status": { "phase": "Z" } }));
    assert_eq!(by_spec.metadata.generation, Some(2));
    let labelled =
        nodes.patch("a", &pp, &merge(&json!({ "metadata": { "labels": { "l": "1" } } }))).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(2), "metadata is no spec");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_protected_from_its_birth() {
    let (_, client) = cluster();
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client);
    let claim = serde_json::from_value(json!({ "metadata": { "name": "c" }, "spec": {} })).unwrap();
    let made = claims.create(&PostParams::default(), &claim).await.unwrap();
    assert_eq!(made.finalizers(), ["kubernetes.io/pvc-protection"]);
    assert_eq!(made.status.unwrap().phase.as_deref(), Some("Pending"));
}

#[tokio::test(start_paused = true)]
async fn names_uids_and_times_are_the_same_in_every_run() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (_, client) = cluster();
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let map = serde_json::from_value(json!({ "metadata": { "generateName": "m-" } })).unwrap();
        let made = maps.create(&PostParams::default(), &map).await.unwrap();
        assert!(made.name_any().starts_with("m-") && made.name_any().len() == 7);
        assert_eq!(serde_json::to_value(made.creation_timestamp()).unwrap(), json!("2026-01-01T00:00:00Z"));
        runs.push(made);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test(start_paused = true)]
async fn a_validator_may_refuse_and_may_rewrite() {
    let (store, client) = cluster();
    store.validate_with(
        Kind::SeiNode,
        Validator::new(|new, _| {
            if new["spec"]["bad"] == true {
                return Err(vec![FieldError::invalid("spec.bad", &new["spec"]["bad"], "must not be")]);
            }
            let mut new = new.clone();
            new["spec"]["size"] = json!(1);
            Ok(new)
        }),
    );
    let nodes = nodes(&client);
    let bad = node(&json!({ "metadata": { "name": "a" }, "spec": { "bad": true } }));
    let Error::Api(refusal) = nodes.create(&PostParams::default(), &bad).await.unwrap_err() else { panic!() };
    assert_eq!(
        refusal.message,
        "SeiNode.sei.io \"a\" is invalid: spec.bad: Invalid value: true: must not be"
    );
    assert_eq!(refusal.details.unwrap().causes[0].field, "spec.bad");
    let good = node(&json!({ "metadata": { "name": "a" }, "spec": {} }));
    let made = nodes.create(&PostParams::default(), &good).await.unwrap();
    assert_eq!(made.data["spec"], json!({ "size": 1 }));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_answers_and_stores_nothing() {
    let (store, client) = cluster();
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let made = nodes(&client).create(&params, &node(&json!({ "metadata": { "name": "a" } }))).await.unwrap();
    assert!(made.uid().is_some());
    assert!(store.get(Kind::SeiNode, "default", "a").unwrap_err().is_not_found());
}
