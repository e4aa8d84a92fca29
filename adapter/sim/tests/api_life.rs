//! How objects end: finalizers, grace periods, preconditions, and garbage collection.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, Error, ResourceExt};
use seinode_sim::api::ApiServer;
use seinode_sim::store::{Clock, DeleteOptions, Kind, Propagation, Store};
use serde_json::{Value, json};

fn store() -> Store {
    Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
}

fn client(store: &Store) -> Client {
    Client::new(ApiServer::new(store), "default")
}

fn make(store: &Store, kind: Kind, name: &str, owner: Option<&Value>) -> Arc<Value> {
    let owners: Vec<Value> = owner.into_iter().map(reference).collect();
    store.create(kind, json!({ "metadata": { "name": name, "ownerReferences": owners } })).unwrap()
}

fn reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

fn delete(store: &Store, kind: Kind, name: &str, propagation: Propagation) {
    let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    store.delete(kind, "default", name, &options).unwrap();
}

fn sweep(store: &Store) {
    while store.collect_garbage() > 0 {}
}

fn names(store: &Store, kind: Kind) -> Vec<String> {
    store
        .list(kind, None)
        .iter()
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_finalizer_takes_the_object_with_it() {
    let store = store();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&store));
    let body = json!({ "metadata": { "name": "a", "finalizers": ["x.io/1", "x.io/2"], "generation": 5 } });
    store.create(Kind::ConfigMap, body).unwrap();
    let marked = maps.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(
        serde_json::to_value(&marked.metadata.deletion_timestamp).unwrap(),
        json!("2026-01-01T00:00:00Z")
    );
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(0));
    let finalizers = |list: &[&str]| Patch::Merge(json!({ "metadata": { "finalizers": list } }));
    let pp = PatchParams::default();
    let more = maps.patch("a", &pp, &finalizers(&["x.io/1", "x.io/2", "x.io/3"])).await.unwrap_err();
    assert!(matches!(more, Error::Api(status) if status.code == 422), "nothing is added to what is going");
    maps.patch("a", &pp, &finalizers(&["x.io/2"])).await.unwrap();
    assert!(maps.get("a").await.is_ok());
    maps.patch("a", &pp, &finalizers(&[])).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn deletion_counts_as_a_generation() {
    let store = store();
    store.create(Kind::SeiNode, json!({ "metadata": { "name": "a", "finalizers": ["x.io/1"] } })).unwrap();
    store.delete(Kind::SeiNode, "default", "a", &DeleteOptions::default()).unwrap();
    let once = store.get(Kind::SeiNode, "default", "a").unwrap();
    store.delete(Kind::SeiNode, "default", "a", &DeleteOptions::default()).unwrap();
    assert_eq!(once["metadata"]["generation"], 2);
    assert_eq!(store.get(Kind::SeiNode, "default", "a").unwrap(), once, "deleting twice is deleting once");
}

#[tokio::test(start_paused = true)]
async fn preconditions_are_checked() {
    let store = store();
    let made = make(&store, Kind::ConfigMap, "a", None);
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&store));
    let only_if = |uid: Option<&str>, version: Option<&str>| {
        let conditions =
            Preconditions { uid: uid.map(str::to_owned), resource_version: version.map(str::to_owned) };
        DeleteParams::default().preconditions(conditions)
    };
    for wrong in [only_if(Some("another"), None), only_if(None, Some("1"))] {
        let refused = maps.delete("a", &wrong).await.unwrap_err();
        assert!(matches!(refused, Error::Api(status) if status.code == 409));
    }
    let right = only_if(made["metadata"]["uid"].as_str(), made["metadata"]["resourceVersion"].as_str());
    let status = maps.delete("a", &right).await.unwrap().right().unwrap();
    assert_eq!(status.details.unwrap().uid, made["metadata"]["uid"]);
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_pod_stops_gracefully() {
    let store = store();
    let pods: Api<Pod> = Api::default_namespaced(client(&store));
    store.create(Kind::Pod, json!({ "metadata": { "name": "a" }, "spec": { "nodeName": "n" } })).unwrap();
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    let going = pods.get("a").await.unwrap();
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(30));
    assert_eq!(
        serde_json::to_value(going.metadata.deletion_timestamp).unwrap(),
        json!("2026-01-01T00:00:30Z")
    );
    let longer = DeleteParams { grace_period_seconds: Some(60), ..DeleteParams::default() };
    pods.delete("a", &longer).await.unwrap();
    assert_eq!(pods.get("a").await.unwrap().metadata.deletion_grace_period_seconds, Some(30));
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete("a", &now).await.unwrap();
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_unscheduled_pod_goes_at_once() {
    let store = store();
    let pods: Api<Pod> = Api::default_namespaced(client(&store));
    make(&store, Kind::Pod, "a", None);
    assert_eq!(pods.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap().name_any(), "a");
    assert!(pods.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn dependents_follow_their_owner() {
    let store = store();
    let owner = make(&store, Kind::SeiNode, "a", None);
    let set = make(&store, Kind::StatefulSet, "a", Some(&owner));
    make(&store, Kind::Pod, "a-0", Some(&set));
    make(&store, Kind::ConfigMap, "free", None);
    sweep(&store);
    assert_eq!(names(&store, Kind::Pod), ["a-0"]);
    delete(&store, Kind::SeiNode, "a", Propagation::Background);
    sweep(&store);
    assert!(names(&store, Kind::StatefulSet).is_empty() && names(&store, Kind::Pod).is_empty());
    assert_eq!(names(&store, Kind::ConfigMap), ["free"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_of_the_same_name_is_not_the_owner() {
    let store = store();
    let owner = make(&store, Kind::SeiNode, "a", None);
    make(&store, Kind::StatefulSet, "a", Some(&owner));
    delete(&store, Kind::SeiNode, "a", Propagation::Background);
    make(&store, Kind::SeiNode, "a", None);
    sweep(&store);
    assert!(names(&store, Kind::StatefulSet).is_empty());
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_the_owner_goes_last() {
    let store = store();
    let owner = make(&store, Kind::SeiNode, "a", None);
    make(&store, Kind::StatefulSet, "a", Some(&owner));
    let hold = json!({ "metadata": { "finalizers": ["x.io/hold"] } });
    store.merge_patch(Kind::StatefulSet, "default", "a", &hold).unwrap();
    delete(&store, Kind::SeiNode, "a", Propagation::Foreground);
    sweep(&store);
    assert_eq!(names(&store, Kind::SeiNode), ["a"], "it waits for what blocks it");
    let release = json!({ "metadata": { "finalizers": null } });
    store.merge_patch(Kind::StatefulSet, "default", "a", &release).unwrap();
    sweep(&store);
    assert!(names(&store, Kind::StatefulSet).is_empty() && names(&store, Kind::SeiNode).is_empty());
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_forget_their_owner() {
    let store = store();
    let owner = make(&store, Kind::StatefulSet, "a", None);
    make(&store, Kind::Pod, "a-0", Some(&owner));
    delete(&store, Kind::StatefulSet, "a", Propagation::Orphan);
    sweep(&store);
    assert!(names(&store, Kind::StatefulSet).is_empty());
    let pod = store.get(Kind::Pod, "default", "a-0").unwrap();
    assert_eq!(pod["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_job_deleted_without_a_policy_orphans_its_pods() {
    let store = store();
    let job = make(&store, Kind::Job, "j", None);
    make(&store, Kind::Pod, "j-x", Some(&job));
    store.delete(Kind::Job, "default", "j", &DeleteOptions::default()).unwrap();
    sweep(&store);
    assert_eq!((names(&store, Kind::Job).len(), names(&store, Kind::Pod).len()), (0, 1));
}
