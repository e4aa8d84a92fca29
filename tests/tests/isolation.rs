//! A panic is a bug of one pass over one node: the others go on, and it is counted. On the pretend cluster, in this
//! process.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and here panics are the case"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use seinode_core::platform::{self, Platform};
use seinode_core::world::Settings;
use seinode_operator::clock::Clock;
use seinode_operator::controller;
use seinode_operator::live::{Live, RegistrySource};
use seinode_operator::sidecar::{NotConnected, Sidecars, TokenSource, Transport};
use seinode_operator::telemetry::Metrics;
use seinode_sim::api::ApiServer;
use seinode_sim::cluster::Cluster;
use seinode_sim::kubelet::{Kubelet, Options};
use seinode_sim::sidecar::SidecarService;
use seinode_sim::store::{Clock as SimClock, Kind, Store};
use seinode_tests::live::wait_until;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

/// Sidecars of which one brings a panic into whoever asks it.
fn transport(service: SidecarService) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
        let mut service = service.clone();
        async move {
            assert!(!request.uri().path().contains("/boom/"), "a bug that only this node meets");
            let answer = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await?.call(request).await;
            let (parts, body) = answer.map_err(|_| -> BoxError { Box::new(NotConnected) })?.into_parts();
            Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
        }
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_over_one_node_is_counted_and_the_others_go_on() {
    let start = Timestamp::now();
    let clock = SimClock::starting_at(start);
    let store = Store::new(clock);
    let server = ApiServer::new(&store);
    let mut options = Options::new(clock);
    options.timing.scale = 0.02;
    let kubelet = Kubelet::start(Client::new(server.serving("kubelet"), "default"), options);
    let cluster = Cluster::new(&store).start();
    let client = Client::new(server.serving("seinode-operator"), "default");
    let stop = CancellationToken::new();
    let watches = controller::watches(&client, &stop);
    let metrics = Arc::new(Metrics::new());
    let url = "http://sidecars.example.net/{namespace}/{name}".to_owned();
    let live = Live::new(
        client,
        Arc::clone(&watches.caches),
        Sidecars::new(transport(kubelet.sidecars()), url, TokenSource::None),
        Settings { platform: Platform::builtin(), asks_ec2: false },
        RegistrySource::Text(platform::BUILTIN.to_owned()),
        Clock::starting_at(start),
        Arc::clone(&metrics),
    );
    let operator = tokio::spawn(controller::run(watches, Arc::new(live)));
    for name in ["boom", "fine"] {
        let node = json!({
            "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": name, "namespace": "ns"},
            "spec": {"chainId": "atlantic-2", "image": "registry.example.net/seid:1", "fullNode": {}},
        });
        store.create(Kind::SeiNode, node).unwrap();
    }
    let panics = || {
        let text = metrics.exposition().unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("sei_controller_reconcile_panics_total "));
        line.unwrap().parse::<u64>().unwrap()
    };
    wait_until("the other node to be Running, and two panics", Duration::from_mins(1), async || {
        let node = store.get(Kind::SeiNode, "ns", "fine").unwrap();
        let phase = node.pointer("/status/phase").and_then(|p| p.as_str()).unwrap_or_default();
        if phase == "Running" && panics() >= 2 {
            Ok(())
        } else {
            Err(format!("{phase}, {} panics", panics()))
        }
    })
    .await
    .unwrap();
    assert!(!operator.is_finished());
    stop.cancel();
    operator.await.unwrap();
    kubelet.stop().await;
    cluster.stop();
}
