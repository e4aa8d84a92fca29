//! What `plan` prints is what the operator stores, byte for byte: given the node as stored, the world and the time.

use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use seinode_core::api::SeiNode;
use seinode_core::platform::{self, Platform};
use seinode_core::render::{self, names};
use seinode_core::world::Settings;
use seinode_operator::clock::Clock;
use seinode_operator::controller;
use seinode_operator::live::{Live, RegistrySource};
use seinode_operator::sidecar::{NotConnected, Sidecars, TokenSource};
use seinode_operator::telemetry::Metrics;
use seinode_sim::api::ApiServer;
use seinode_sim::store::{Clock as SimClock, Kind, Store};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::BoxError;
use tower::util::BoxCloneSyncService;

use crate::{operator, recorded};

/// When the operator starts.
const START: &str = "2026-01-02T04:00:00Z";

/// One per kind of plan that begins in a world without children.
const FRESH: &[&str] = &[
    "archive-fresh",
    "full-ec2-peers",
    "full-import-volume",
    "full-s3-bootstrap",
    "full-s3-registry-witnesses",
    "full-statesync-spec-witnesses",
    "replayer-bootstrap",
    "seed-fresh",
    "validator-all-keys",
    "validator-genesis-ceremony",
];

#[tokio::test]
async fn the_first_plan_is_the_one_that_the_operator_stores() {
    for case in FRESH {
        let store = store(case);
        compare(case, &store, None).await;
    }
}

/// The same for an update, with a dump of the live children as the world.
#[tokio::test]
async fn the_update_plan_is_the_one_that_the_operator_stores() {
    for case in ["archive-running-image-drift", "full-running-image-drift", "validator-running-image-drift"] {
        let store = store(case);
        let node: SeiNode = serde_json::from_value(node_in(&store)).unwrap();
        create_children(&store, &node, &settings(case).platform);
        let kinds =
            [Kind::ConfigMap, Kind::PersistentVolumeClaim, Kind::Pod, Kind::Service, Kind::StatefulSet];
        let items: Vec<Value> = kinds
            .into_iter()
            .flat_map(|kind| store.list(kind, None))
            .map(|object| object.as_ref().clone())
            .collect();
        assert_eq!(items.len(), kinds.len(), "{case}");
        compare(case, &store, Some(&json!({"apiVersion": "v1", "kind": "List", "items": items}))).await;
    }
}

/// Lets the operator store a plan, and compares it with what `plan` prints for the same node, world and time.
async fn compare(case: &str, store: &Store, world: Option<&Value>) {
    let node = node_in(store);
    let status = stored_by_operator(case, store).await;
    let folder = tempfile::tempdir().unwrap();
    let (node_file, world_file) = (folder.path().join("node.json"), folder.path().join("world.json"));
    fs::write(&node_file, node.to_string()).unwrap();
    let mut words: Vec<OsString> = vec!["plan".into(), "-f".into(), node_file.into()];
    words.extend(["--platform".into(), recorded(case, "platform.yaml").into()]);
    if let Some(world) = world {
        fs::write(&world_file, world.to_string()).unwrap();
        words.extend(["--world".into(), world_file.into()]);
    }
    // A condition that was set by this very write tells the time of the decision.
    let times =
        status["conditions"].as_array().unwrap().iter().filter_map(|c| c["lastTransitionTime"].as_str());
    words.extend(["--now".into(), times.max().unwrap().into()]);
    let ran = operator(words);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{case}");
    assert_eq!(ran.stdout, serde_json::to_string_pretty(&status["plan"]).unwrap() + "\n", "{case}");
}

/// A store with the node of a case.
fn store(case: &str) -> Store {
    let mut node: Value = serde_yaml_ng::from_str(&read(case, "node.yaml")).unwrap();
    node["metadata"]["finalizers"] = json!([seinode_core::api::FINALIZER]);
    let store = Store::new(SimClock::starting_at(START.parse().unwrap()));
    let stored = store.create(Kind::SeiNode, node.clone()).unwrap();
    if let Some(status) = node.get("status") {
        let text = |field: &str| stored["metadata"][field].as_str().unwrap();
        store
            .update_status(Kind::SeiNode, text("namespace"), text("name"), &json!({"status": status}))
            .unwrap();
    }
    store
}

fn node_in(store: &Store) -> Value {
    store.list(Kind::SeiNode, None).first().unwrap().as_ref().clone()
}

fn read(case: &str, file: &str) -> String {
    fs::read_to_string(recorded(case, file)).unwrap()
}

fn settings(case: &str) -> Settings {
    let platform = platform::parse(&read(case, "platform.yaml")).unwrap().check().unwrap();
    Settings { platform, asks_ec2: false }
}

/// Creates the children of a Running node, with a pod that serves.
fn create_children(store: &Store, node: &SeiNode, platform: &Platform) {
    let mut earlier = node.clone();
    earlier.spec.image = node.status.current_image.clone().unwrap();
    let create = |kind: Kind, object: Value| store.create(kind, object).unwrap().as_ref().clone();
    create(Kind::ConfigMap, json!(render::rbac_proxy_config(node)));
    create(Kind::Service, json!(render::service(node)));
    create(Kind::PersistentVolumeClaim, json!(render::data_pvc(node, platform).unwrap()));
    let sts = create(Kind::StatefulSet, json!(render::statefulset(&earlier, platform, 1).unwrap()));
    let revision = format!("{}-1", node.name());
    let status = json!({"observedGeneration": 1, "replicas": 1, "currentRevision": revision, "updateRevision": revision});
    store
        .update_status(Kind::StatefulSet, node.namespace(), node.name(), &json!({"status": status}))
        .unwrap();

    let template = &sts["spec"]["template"];
    let pod_name = names::pod(node.name());
    let mut labels = template["metadata"]["labels"].clone();
    labels["controller-revision-hash"] = json!(revision);
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": node.name(), "uid": sts["metadata"]["uid"], "controller": true,
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": pod_name, "namespace": node.namespace(), "labels": labels, "ownerReferences": [owner]},
    });
    store.create(Kind::Pod, pod).unwrap();
    let running =
        |name: &str| json!({"name": name, "ready": true, "state": {"running": {"startedAt": START}}});
    let status = json!({
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        "initContainerStatuses": [running(names::SIDECAR), running(names::RBAC_PROXY)],
        "containerStatuses": [running(names::SEID)],
    });
    store.update_status(Kind::Pod, node.namespace(), &pod_name, &json!({"status": status})).unwrap();
}

/// Runs the operator until it has stored a plan, and answers the status of that write.
async fn stored_by_operator(case: &str, store: &Store) -> Value {
    let server = ApiServer::new(store);
    let client = Client::new(server.serving("operator"), "default");
    let stop = CancellationToken::new();
    let watches = controller::watches(&client, &stop);
    let silent =
        BoxCloneSyncService::new(tower::service_fn(|_| async { Err::<_, BoxError>(Box::new(NotConnected)) }));
    let live = Live::new(
        client,
        Arc::clone(&watches.caches),
        Sidecars::new(silent, "http://{name}.{namespace}".to_owned(), TokenSource::None),
        settings(case),
        RegistrySource::Text(read(case, "platform.yaml")),
        Clock::starting_at(START.parse().unwrap()),
        Arc::new(Metrics::new()),
    );
    let running = tokio::spawn(controller::run(watches, Arc::new(live)));
    let mut changes = store.subscribe();
    let write = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            if let Some(write) = write_of_plan(&server) {
                return write;
            }
            changes.changed().await.unwrap();
        }
    });
    let write = write.await.unwrap();
    stop.cancel();
    running.await.unwrap();
    write
}

/// The first status write that has a plan.
fn write_of_plan(server: &ApiServer) -> Option<Value> {
    let writes = server.recorder().writes().into_iter().filter_map(|record| record.request);
    let mut statuses = writes
        .filter(|r| r.kind == Kind::SeiNode && r.subresource == "status")
        .map(|r| r.body["status"].clone());
    statuses.find(|status| status["plan"].is_object())
}
