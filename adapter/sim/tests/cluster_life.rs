//! Controllers, kubelet and sidecars together: whole lives of pods under paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kube::Client;
use seinode_sim::api::ApiServer;
use seinode_sim::cluster::{Cluster, Running};
use seinode_sim::kubelet::{Conduct, JobEnding, Kubelet, Options, Placement};
use seinode_sim::sidecar::{ConnectError, Event};
use seinode_sim::store::{Clock, DeleteOptions, Kind, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

struct World {
    store: Store,
    kubelet: Kubelet,
    controllers: Running,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let store = Store::new(clock);
        let client = Client::new(ApiServer::new(&store).serving("kubelet"), "ns");
        let mut options = Options::new(clock);
        change(&mut options);
        let controllers = Cluster::new(&store).start();
        Self { kubelet: Kubelet::start(client, options), controllers, store }
    }

    fn create(&self, kind: Kind, name: &str, mut object: Value) {
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("ns");
        self.store.create(kind, object).unwrap();
    }

    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.store.get(kind, "ns", name).ok()
    }

    fn delete(&self, kind: Kind, name: &str) {
        self.store.delete(kind, "ns", name, &DeleteOptions::default()).unwrap();
    }

    fn claim(&self, name: &str) {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Ti"}}});
        self.create(Kind::PersistentVolumeClaim, name, json!({ "spec": spec }));
    }

    fn service(&self, selector: &Value) {
        let spec = json!({"clusterIP": "None", "publishNotReadyAddresses": true, "selector": selector});
        self.create(Kind::Service, "n", json!({ "spec": spec }));
    }

    fn config(&self) {
        self.create(Kind::ConfigMap, "n-rbac-proxy-config", json!({"data": {}}));
    }

    fn set(&self, image: &str) {
        let spec = json!({
            "replicas": 1,
            "serviceName": "n",
            "selector": {"matchLabels": {"sei.io/node": "n"}},
            "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": {"sei.io/node": "n"}}, "spec": pod_spec(image, true)},
        });
        self.create(Kind::StatefulSet, "n", json!({ "spec": spec }));
    }

    /// A node with everything it needs.
    fn node(&self) {
        self.claim("data-n");
        self.config();
        self.service(&json!({"sei.io/node": "n"}));
        self.set("v1");
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value), ConnectError> {
        let uri = format!("http://n-0.n.ns.svc.cluster.local:8443/v0/{path}");
        let body = Full::new(Bytes::from(if body.is_null() { String::new() } else { body.to_string() }));
        let request = Request::builder().method(method).uri(uri).body(body).unwrap();
        let answer = self.kubelet.sidecars().oneshot(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    async fn health(&self) -> Result<u16, ConnectError> {
        self.call("GET", "healthz", &Value::Null).await.map(|(status, _)| status)
    }

    async fn submit(&self, number: u64, kind: &str, params: Value) {
        let body = json!({"id": id(number), "type": kind, "params": params});
        assert_eq!(self.call("POST", "tasks", &body).await.unwrap().0, 201);
    }

    fn pod(&self) -> Value {
        Value::clone(&self.get(Kind::Pod, "n-0").unwrap())
    }

    fn is_ready(&self) -> bool {
        let status = self.pod()["status"].clone();
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    }

    fn container(&self, name: &str) -> Value {
        let pod = self.pod();
        let all = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].clone());
        let mut all = all.iter().flat_map(|list| list.as_array().cloned().unwrap_or_default());
        all.find(|one| one["name"] == name).unwrap()
    }

    /// Up to a ready pod.
    async fn ready_node(&self, number: u64) {
        wait(20).await;
        self.submit(number, "mark-ready", Value::Null).await;
        wait(60).await;
        assert!(self.is_ready(), "{}", self.pod()["status"]);
    }
}

fn id(number: u64) -> String {
    format!("11111111-1111-4111-8111-{number:012}")
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn pod_spec(image: &str, is_production: bool) -> Value {
    let names = [
        "SEI_CHAIN_ID",
        "SEI_GENESIS_BUCKET",
        "SEI_GENESIS_REGION",
        "SEI_SNAPSHOT_BUCKET",
        "SEI_SNAPSHOT_REGION",
    ];
    let env: Vec<_> = names.iter().map(|name| json!({"name": name, "value": "pacific-1"})).collect();
    let mut spec = json!({
        "hostname": "n-0",
        "subdomain": "n",
        "terminationGracePeriodSeconds": 120,
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data-n"}},
            {"name": "rbac-proxy-config", "configMap": {"name": "n-rbac-proxy-config"}},
        ],
        "initContainers": [
            {"name": "seid-init", "image": image},
            {"name": "sei-sidecar", "image": "sidecar", "restartPolicy": "Always", "env": env},
            {"name": "kube-rbac-proxy", "image": "proxy", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "seid", "image": image}],
    });
    if is_production {
        let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8443}});
        spec["initContainers"][2]["readinessProbe"] = probe("/v0/healthz");
        spec["containers"][0]["startupProbe"] = probe("/v0/healthz");
        spec["containers"][0]["readinessProbe"] = probe("/lag_status");
    } else {
        spec["restartPolicy"] = json!("Never");
    }
    spec
}

fn job() -> Value {
    let template = json!({
        "metadata": {"labels": {"sei.io/node": "n", "sei.io/component": "bootstrap"}},
        "spec": pod_spec("boot", false),
    });
    json!({"spec": {"backoffLimit": 0, "template": template}})
}

#[tokio::test(start_paused = true)]
async fn a_node_comes_up_and_follows_its_sidecar() {
    let world = World::new();
    world.node();
    assert_eq!(world.health().await, Err(ConnectError::Refused));
    wait(20).await;
    assert_eq!(world.health().await, Ok(503));
    let pod = world.pod();
    assert_eq!(pod["status"]["phase"], "Running");
    assert!(pod["spec"]["nodeName"].is_string() && pod["status"]["podIP"].is_string());
    assert_eq!(world.container("seid-init")["state"]["terminated"]["exitCode"], 0);
    let proxy = world.container("kube-rbac-proxy");
    assert_eq!((&proxy["started"], &proxy["ready"]), (&json!(true), &json!(false)));
    let seid = world.container("seid");
    assert_eq!((&seid["started"], &seid["ready"]), (&json!(false), &json!(false)));
    wait(3600).await;
    assert!(!world.is_ready());

    world.submit(1, "config-apply", json!({"mode": "full"})).await;
    wait(1).await;
    assert_eq!(
        world.call("GET", &format!("tasks/{}", id(1)), &Value::Null).await.unwrap().1["status"],
        "completed"
    );
    world.submit(2, "mark-ready", Value::Null).await;
    wait(1).await;
    assert_eq!(world.container("kube-rbac-proxy")["ready"], true);
    wait(10).await;
    let seid = world.container("seid");
    assert_eq!((&seid["started"], &seid["ready"]), (&json!(true), &json!(false)));
    wait(30).await;
    assert!(world.is_ready());
    let set = world.get(Kind::StatefulSet, "n").unwrap();
    assert_eq!(set["status"]["readyReplicas"], 1);
    assert_eq!(world.kubelet.violations(), []);
    let lives = world.kubelet.pods();
    assert_eq!(lives.len(), 1);
    assert!(lives[0].ready.is_some() && lives[0].stopped.is_none());
    assert_eq!(lives[0].images["seid"], "v1");
}

#[tokio::test(start_paused = true)]
async fn an_idle_hour_writes_nothing() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    let version = world.store.version();
    wait(3600).await;
    assert_eq!(world.store.version(), version);
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_what_it_mounts() {
    let world = World::new();
    world.service(&json!({"sei.io/node": "n"}));
    world.set("v1");
    wait(60).await;
    assert!(world.pod()["spec"]["nodeName"].is_null());
    assert_eq!(world.pod()["status"]["conditions"][0]["reason"], "Unschedulable");
    world.claim("data-n");
    wait(60).await;
    assert_eq!(world.pod()["status"]["phase"], "Pending");
    let message = world.pod()["status"]["conditions"].to_string();
    assert!(message.contains("configmap n-rbac-proxy-config not found"), "{message}");
    world.config();
    wait(20).await;
    assert_eq!(world.pod()["status"]["phase"], "Running");
    assert_eq!(world.health().await, Ok(503));
}

#[tokio::test(start_paused = true)]
async fn claims_stay_pending_without_a_provisioner() {
    let world = World::with(|options| options.conduct.no_volumes = true);
    world.node();
    wait(60).await;
    assert_eq!(world.get(Kind::PersistentVolumeClaim, "data-n").unwrap()["status"]["phase"], "Pending");
    world.kubelet.direct(|conduct| conduct.no_volumes = false);
    wait(30).await;
    assert_eq!(world.pod()["status"]["phase"], "Running");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_blocks_until_it_can() {
    let world = World::with(|options| {
        options.conduct = Conduct { missing_images: ["sidecar".to_owned()].into(), ..Conduct::default() };
    });
    world.node();
    wait(60).await;
    assert_eq!(world.container("sei-sidecar")["state"]["waiting"]["reason"], "ImagePullBackOff");
    assert_eq!(world.container("kube-rbac-proxy")["state"]["waiting"]["reason"], "PodInitializing");
    world.kubelet.direct(|conduct| conduct.missing_images.clear());
    wait(20).await;
    assert_eq!(world.pod()["status"]["phase"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_pod_keeps_the_volume_and_loses_readiness() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    world.kubelet.evict("ns", "n-0").await.unwrap();
    wait(10).await;
    assert_eq!(world.health().await, Ok(200), "the sidecar outlives the node program");
    wait(30).await;
    assert_eq!(world.health().await, Ok(503));
    let (_, tasks) = world.call("GET", "tasks", &Value::Null).await.unwrap();
    assert_eq!((&tasks[0]["type"], &tasks[0]["status"]), (&json!("mark-ready"), &json!("completed")));
    world.ready_node(2).await;
    let lives = world.kubelet.pods();
    assert_eq!(lives.len(), 2);
    assert!(lives[0].stopped.unwrap() <= lives[1].started.unwrap());
    assert!(lives[0].deleted.is_some());
    assert_eq!(lives[0].host, lives[1].host);
    assert_eq!(world.kubelet.violations(), []);
    assert_eq!(world.kubelet.director("ns", "n").runs("mark-ready"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_forced_deletion_shows_as_a_violation() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    world.kubelet.force_delete("ns", "n-0").await.unwrap();
    wait(60).await;
    let violations = world.kubelet.violations();
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].claim, ("ns".to_owned(), "data-n".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn two_hosts_never_share_a_claim() {
    let world = World::with(|options| options.placement = Placement::InTurn);
    world.node();
    world.ready_node(1).await;
    world.create(Kind::Job, "n-bootstrap", job());
    wait(60).await;
    let pods = world.store.list(Kind::Pod, Some("ns"));
    let second = pods.iter().find(|pod| pod["metadata"]["name"] != "n-0").unwrap();
    assert_eq!(second["status"]["phase"], "Pending");
    assert!(second["status"]["conditions"].to_string().contains("already used by pod n-0"));
    assert_eq!(world.kubelet.violations(), []);
    world.delete(Kind::StatefulSet, "n");
    wait(60).await;
    let name = second["metadata"]["name"].as_str().unwrap();
    assert_eq!(world.get(Kind::Pod, name).unwrap()["status"]["phase"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_job_runs_to_its_chosen_end() {
    for (exit, condition) in [(0, "Complete"), (1, "Failed")] {
        let ending = JobEnding { after: Some(Duration::from_secs(100)), exit };
        let world = World::with(|options| {
            options.conduct.jobs.insert("n-bootstrap".to_owned(), ending);
        });
        world.claim("data-n");
        world.config();
        world.service(&json!({"sei.io/component": "bootstrap"}));
        world.create(Kind::Job, "n-bootstrap", job());
        wait(20).await;
        assert_eq!(world.health().await, Ok(503));
        world.submit(1, "snapshot-restore", json!({"targetHeight": 7})).await;
        wait(90).await;
        world.submit(2, "mark-ready", Value::Null).await;
        wait(60).await;
        assert_eq!(world.health().await, Ok(200));
        wait(60).await;
        let job = world.get(Kind::Job, "n-bootstrap").unwrap();
        assert!(job["status"]["conditions"].to_string().contains(&format!("\"type\":\"{condition}\"")));
        assert_eq!(world.health().await, Err(ConnectError::Refused));
        let volume = world.kubelet.volume("ns", "data-n").unwrap();
        assert!(volume.with(|disk| disk.snapshots.contains(&7)));

        // The production pod finds the same volume once the Job's Service gave way to its own.
        world.set("v1");
        wait(20).await;
        assert_eq!(world.health().await, Err(ConnectError::Refused), "the Service selects the bootstrap pod");
        world.delete(Kind::Service, "n");
        world.service(&json!({"sei.io/node": "n"}));
        wait(1).await;
        assert_eq!(world.health().await, Ok(503));
        world.submit(3, "snapshot-restore", json!({"targetHeight": 9})).await;
        wait(90).await;
        assert!(volume.with(|disk| !disk.snapshots.contains(&9)), "the marker makes it a no-op");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_sidecar_is_unready_but_the_node_program_goes_on() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    world.kubelet.restart_sidecar("ns", "n-0");
    wait(10).await;
    assert_eq!(world.health().await, Ok(503));
    assert_eq!(world.container("sei-sidecar")["restartCount"], 1);
    assert_eq!(world.container("seid")["ready"], true);
    assert!(!world.is_ready());
    world.submit(2, "mark-ready", Value::Null).await;
    wait(1).await;
    assert!(world.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_node_program_waits_for_its_sidecar_again() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    world.submit(2, "mark-not-ready", Value::Null).await;
    wait(1).await;
    world.submit(3, "stop-seid", Value::Null).await;
    wait(60).await;
    let seid = world.container("seid");
    assert_eq!((&seid["restartCount"], &seid["started"]), (&json!(1), &json!(false)));
    world.submit(4, "reset-data", Value::Null).await;
    wait(5).await;
    world.submit(5, "mark-ready", Value::Null).await;
    wait(60).await;
    assert!(world.is_ready());
    let journal = world.kubelet.director("ns", "n").journal();
    let done = journal.iter().filter(|entry| entry.event == Event::Completed);
    let done: Vec<_> = done.map(|entry| entry.kind.as_str()).collect();
    assert_eq!(done, ["mark-ready", "mark-not-ready", "stop-seid", "reset-data", "mark-ready"]);
    world.kubelet.crash_seid("ns", "n-0");
    wait(1).await;
    assert_eq!(world.container("seid")["restartCount"], 2);
    wait(60).await;
    assert!(world.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_failed_pod_is_replaced() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    world.kubelet.fail_pod("ns", "n-0");
    wait(30).await;
    assert_eq!(world.kubelet.pods().len(), 2);
    assert_eq!(world.pod()["status"]["phase"], "Running");
    assert_eq!(world.kubelet.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn a_new_claim_is_an_empty_volume() {
    let world = World::new();
    world.node();
    world.ready_node(1).await;
    world.delete(Kind::StatefulSet, "n");
    world.delete(Kind::PersistentVolumeClaim, "data-n");
    wait(10).await;
    assert!(world.get(Kind::PersistentVolumeClaim, "data-n").is_some(), "still mounted");
    wait(60).await;
    assert!(world.get(Kind::PersistentVolumeClaim, "data-n").is_none());
    assert!(world.store.list(Kind::PersistentVolume, None).is_empty(), "reclaimed");
    world.claim("data-n");
    world.set("v1");
    wait(20).await;
    assert_eq!(world.call("GET", "tasks", &Value::Null).await.unwrap().1, json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_kubelet_answers_no_more() {
    let world = World::new();
    world.node();
    wait(20).await;
    let service = world.kubelet.sidecars();
    let request = || Request::get("http://x/ns/n/v0/livez").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), 200);
    world.kubelet.stop().await;
    world.controllers.stop();
    assert_eq!(service.oneshot(request()).await.unwrap_err(), ConnectError::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_fast_kubelet_needs_a_hundredth_of_the_time() {
    let world = World::with(|options| options.timing.scale = 0.01);
    world.node();
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.submit(1, "mark-ready", Value::Null).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(world.is_ready());
}

#[tokio::test(start_paused = true)]
async fn equal_runs_have_equal_chronicles() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let world = World::new();
        world.node();
        world.ready_node(1).await;
        world.kubelet.evict("ns", "n-0").await.unwrap();
        wait(60).await;
        seen.push((world.kubelet.pods(), world.store.list(Kind::Pod, None), world.store.version()));
    }
    assert_eq!(seen[0], seen[1]);
}
