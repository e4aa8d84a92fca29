#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use seinode_core::platform::Platform;
use seinode_core::world::Settings;
use seinode_sim::api::ApiServer;
use seinode_sim::store::{Clock as SimClock, Store};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Clock;
use crate::live::RegistrySource;
use crate::sidecar::{Sidecars, TokenSource};
use crate::telemetry::Metrics;

const START: &str = "2026-06-01T12:00:00Z";

/// A pretend API server.
struct Cluster {
    server: ApiServer,
}

impl Cluster {
    fn new() -> Self {
        let store = Store::new(SimClock::starting_at(start()));
        Self { server: ApiServer::new(&store) }
    }

    fn client(&self, name: &str) -> Client {
        Client::new(self.server.serving(name), "default")
    }

    /// An operator that updates so many validators at once.
    async fn operator(&self, name: &str, validators: usize) -> Live {
        let client = self.client(name);
        let watches = crate::watches::watches(&client, &CancellationToken::new());
        watches.caches.wait_until_synced().await.unwrap();
        let nobody =
            tower::service_fn(|_| async { Err(std::io::Error::other("nobody is asked here").into()) });
        let transport = crate::sidecar::Transport::new(nobody);
        let settings = Settings { platform: Platform::builtin(), asks_ec2: false };
        Live::new(
            client,
            Arc::clone(&watches.caches),
            Sidecars::new(transport, String::new(), TokenSource::None),
            settings,
            RegistrySource::Text(String::new()),
            Clock::starting_at(start()),
            Arc::new(Metrics::new()),
        )
        .paced(Pace { validators, others: 1, namespace: "default".to_owned() })
    }

    fn nodes(&self) -> Api<SeiNode> {
        Api::namespaced(self.client("user"), "default")
    }

    /// A Running node that serves.
    async fn node(&self, name: &str, role: &str) -> SeiNode {
        let node = json!({
            "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": name},
            "spec": {"chainId": "c-1", "image": "i", role: {}},
        });
        self.nodes().create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        self.set(name, "NoUpdate", true).await
    }

    /// What the node shows of its last update, and whether it serves.
    async fn set(&self, name: &str, reason: &str, ready: bool) -> SeiNode {
        let condition = |kind: &str, status: bool, reason: &str| {
            json!({
                "type": kind, "status": if status { "True" } else { "False" }, "reason": reason, "message": "",
                "lastTransitionTime": "2026-06-01T12:00:10Z",
            })
        };
        let update = condition("NodeUpdateInProgress", reason == "UpdateStarted", reason);
        let conditions = [update, condition("Ready", ready, "PodReady")];
        let status = json!({"status": {"phase": "Running", "conditions": conditions}});
        self.nodes().patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap()
    }

    async fn holder_of(&self, slot: usize) -> Option<String> {
        let api: Api<Lease> = Api::namespaced(self.client("user"), "default");
        api.get(&format!("seinode-update-validator-c-1-{slot}")).await.ok()?.spec?.holder_identity
    }
}

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn first(name: &str) -> Seen<Turn> {
    Seen::Present(Turn::Others(vec![format!("default/{name}")]))
}

const OWN: Seen<Turn> = Seen::Present(Turn::Own);

#[tokio::test(start_paused = true)]
async fn s24_of_two_validators_one_gets_the_turn_in_one_process_and_across_two() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a", "validator").await, cluster.node("b", "validator").await);
    let (one, two) = (cluster.operator("one", 1).await, cluster.operator("two", 1).await);
    assert_eq!(ask(&one, &a).await, OWN);
    assert_eq!(ask(&one, &a).await, OWN, "it keeps it");
    assert_eq!(ask(&one, &b).await, first("a"));
    assert_eq!(ask(&two, &b).await, first("a"), "the Lease tells the other operator");
    assert_eq!(cluster.holder_of(0).await.unwrap(), format!("default/a/{}", a.uid()));
}

#[tokio::test(start_paused = true)]
async fn s24_of_two_that_ask_at_once_one_gets_the_lease() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a", "validator").await, cluster.node("b", "validator").await);
    let (one, two) = (cluster.operator("one", 1).await, cluster.operator("two", 1).await);
    for _ in 0..3 {
        let (x, y) = tokio::join!(ask(&one, &a), ask(&two, &b));
        assert_eq!([&x, &y].into_iter().filter(|turn| **turn == OWN).count(), 1, "{x:?} {y:?}");
        // Neither begins: it is free again, and both want it.
        tokio::time::sleep(BEGINS_WITHIN * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn s24_a_lease_whose_node_does_not_begin_is_free_after_a_while() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a", "validator").await, cluster.node("b", "validator").await);
    let (one, two) = (cluster.operator("one", 1).await, cluster.operator("two", 1).await);
    assert_eq!(ask(&one, &a).await, OWN);
    assert_eq!(ask(&two, &b).await, first("a"));
    tokio::time::sleep(BEGINS_WITHIN).await;
    assert_eq!(ask(&two, &b).await, OWN);
    assert_eq!(ask(&one, &a).await, first("b"), "what was taken once is asked for again");
}

#[tokio::test(start_paused = true)]
async fn s24_the_lease_of_a_node_in_its_update_stays_and_is_free_once_that_is_done_or_gone() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a", "validator").await, cluster.node("b", "validator").await);
    let (one, two) = (cluster.operator("one", 1).await, cluster.operator("two", 1).await);
    assert_eq!(ask(&one, &a).await, OWN);
    for (reason, ready, free) in [
        ("UpdateStarted", false, false),
        ("UpdateComplete", false, false),
        ("UpdateFailed", false, false),
        ("UpdateFailed", true, true),
    ] {
        cluster.set("a", reason, ready).await;
        tokio::time::sleep(BEGINS_WITHIN * 2).await;
        let turn = ask(&two, &b).await;
        assert_eq!(turn, if free { OWN } else { first("a") }, "{reason}, serves: {ready}");
    }
    // The one that has it now is deleted.
    cluster.set("b", "UpdateStarted", false).await;
    let a = cluster.set("a", "NoUpdate", true).await;
    tokio::time::sleep(BEGINS_WITHIN * 2).await;
    assert_eq!(ask(&one, &a).await, first("b"));
    cluster.nodes().delete("b", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(ask(&one, &a).await, OWN);
}

#[tokio::test(start_paused = true)]
async fn s24_a_node_is_not_kept_waiting_by_itself() {
    let cluster = Cluster::new();
    cluster.node("a", "validator").await;
    let one = cluster.operator("one", 1).await;
    let a = cluster.set("a", "UpdateFailed", false).await;
    assert_eq!(ask(&one, &a).await, OWN);
    tokio::time::sleep(BEGINS_WITHIN * 2).await;
    assert_eq!(ask(&one, &a).await, OWN);
}

#[tokio::test(start_paused = true)]
async fn s24_a_lease_that_a_person_wrote_is_theirs_to_take_back() {
    let cluster = Cluster::new();
    let a = cluster.node("a", "validator").await;
    let one = cluster.operator("one", 1).await;
    let api: Api<Lease> = Api::namespaced(cluster.client("user"), "default");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "seinode-update-validator-c-1-0"}, "spec": {"holderIdentity": "maintenance"},
    });
    api.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&one, &a).await, Seen::Present(Turn::Others(vec!["maintenance".to_owned()])));
        tokio::time::sleep(BEGINS_WITHIN * 2).await;
    }
    api.delete("seinode-update-validator-c-1-0", &DeleteParams::default()).await.unwrap();
    assert_eq!(ask(&one, &a).await, OWN);
}

#[tokio::test(start_paused = true)]
async fn s24_as_many_as_are_allowed_have_a_turn_at_once() {
    let cluster = Cluster::new();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(cluster.node(name, "validator").await);
    }
    let (one, two) = (cluster.operator("one", 2).await, cluster.operator("two", 2).await);
    assert_eq!(ask(&one, &nodes[0]).await, OWN);
    assert_eq!(ask(&two, &nodes[1]).await, OWN);
    let both = Seen::Present(Turn::Others(vec!["default/a".to_owned(), "default/b".to_owned()]));
    assert_eq!(ask(&one, &nodes[2]).await, both);
    let all = cluster.operator("all", 0).await;
    assert_eq!(ask(&all, &nodes[2]).await, OWN, "no limit");
}

#[tokio::test(start_paused = true)]
async fn s24_the_other_roles_are_counted_by_each_operator() {
    let cluster = Cluster::new();
    let (a, b) = (cluster.node("a", "fullNode").await, cluster.node("b", "fullNode").await);
    let (one, two) = (cluster.operator("one", 1).await, cluster.operator("two", 1).await);
    assert_eq!(ask(&one, &a).await, OWN);
    assert_eq!(ask(&one, &b).await, first("a"));
    assert_eq!(ask(&two, &b).await, OWN);
    assert_eq!(cluster.holder_of(0).await, None, "no Lease");
}
