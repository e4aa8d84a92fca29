//! The record of requests, and troubles before and after their effect.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use seinode_sim::api::{ApiServer, Faults, PatchType, Recorder, Request, Trouble, Verb};
use seinode_sim::error::StoreError;
use seinode_sim::store::{Clock, Kind, Store};
use serde_json::json;
use tokio::time::{Instant, timeout};

/// Troubles for the next write, used up one after the other.
#[derive(Default)]
struct Planned {
    before: Mutex<Vec<Trouble>>,
    after: Mutex<Vec<Trouble>>,
}

impl Faults for Planned {
    fn before(&self, request: &Request) -> Trouble {
        if request.verb.is_write() {
            self.before.lock().unwrap().pop().unwrap_or_default()
        } else {
            Trouble::None
        }
    }

    fn after(&self, request: &Request, _: u16) -> Trouble {
        if request.verb.is_write() {
            self.after.lock().unwrap().pop().unwrap_or_default()
        } else {
            Trouble::None
        }
    }
}

struct Cluster {
    store: Store,
    recorder: Recorder,
    maps: Api<ConfigMap>,
}

fn cluster(before: Vec<Trouble>, after: Vec<Trouble>) -> Cluster {
    let store = Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let plan = Planned { before: Mutex::new(before), after: Mutex::new(after) };
    let server = ApiServer::new(&store).with_faults(Arc::new(plan));
    let recorder = server.recorder().clone();
    let maps = Api::default_namespaced(Client::new(server.serving("tester"), "default"));
    Cluster { store, recorder, maps }
}

impl Cluster {
    async fn create(&self) -> Result<ConfigMap, Error> {
        let map = serde_json::from_value(json!({ "metadata": { "name": "a" } })).unwrap();
        self.maps
            .create(&PostParams { field_manager: Some("op".to_owned()), ..PostParams::default() }, &map)
            .await
    }

    fn is_stored(&self) -> bool {
        self.store.get(Kind::ConfigMap, "default", "a").is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_is_recorded() {
    let cluster = cluster(vec![], vec![]);
    cluster.create().await.unwrap();
    cluster.maps.list(&ListParams::default()).await.unwrap();
    let patch = Patch::Merge(json!({ "data": { "k": "v" } }));
    cluster.maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    cluster.create().await.unwrap_err();
    let shown: Vec<_> = cluster
        .recorder
        .records()
        .into_iter()
        .map(|record| {
            let request = record.request.unwrap();
            (request.verb, request.kind, request.name, request.manager, record.client, record.code)
        })
        .collect();
    let row = |verb, name: &str, manager: &str, code| {
        (verb, Kind::ConfigMap, name.to_owned(), manager.to_owned(), "tester".to_owned(), code)
    };
    assert_eq!(
        shown,
        [
            row(Verb::Create, "a", "op", 201),
            row(Verb::List, "", "", 200),
            row(Verb::Patch(PatchType::Merge), "a", "", 200),
            row(Verb::Create, "a", "op", 409),
        ]
    );
    let writes = cluster.recorder.writes();
    assert_eq!(writes.len(), 3);
    assert_eq!(writes[1].request.as_ref().unwrap().body, json!({ "data": { "k": "v" } }));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_the_effect_leaves_nothing() {
    let busy = StoreError::plain(503, "ServiceUnavailable", "try later");
    let cluster = cluster(vec![Trouble::Refuse(busy)], vec![]);
    let Error::Api(refusal) = cluster.create().await.unwrap_err() else { panic!("no answer of the server") };
    assert_eq!((refusal.code, cluster.is_stored()), (503, false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_lost_before_and_after_the_effect() {
    let early = cluster(vec![Trouble::Lose], vec![]);
    assert!(!matches!(early.create().await.unwrap_err(), Error::Api(_)));
    assert!(!early.is_stored());
    assert_eq!(early.recorder.records()[0].code, 0);
    let late = cluster(vec![], vec![Trouble::Lose]);
    assert!(!matches!(late.create().await.unwrap_err(), Error::Api(_)));
    assert!(late.is_stored());
    assert_eq!(late.recorder.records()[0].code, 201);
}

#[tokio::test(start_paused = true)]
async fn a_request_can_take_long_and_can_take_forever() {
    let slow = cluster(vec![Trouble::Delay(Duration::from_secs(7))], vec![]);
    let start = Instant::now();
    slow.create().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    let stuck = cluster(vec![], vec![Trouble::Hang]);
    assert!(timeout(Duration::from_hours(1), stuck.create()).await.is_err());
    assert!(stuck.is_stored());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_resource_is_a_404() {
    use k8s_openapi::api::apps::v1::Deployment;
    let store = Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()));
    let server = ApiServer::new(&store);
    let api: Api<Deployment> = Api::default_namespaced(Client::new(server.clone(), "default"));
    assert!(matches!(api.get("a").await.unwrap_err(), Error::Api(status) if status.code == 404));
    assert_eq!(server.recorder().records()[0].line, "GET /apis/apps/v1/namespaces/default/deployments/a");
}
