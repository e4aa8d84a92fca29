//! Two nodes with one key: one runs, the other holds, and takes over when the first is gone (S3).

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use seinode_core::api::SeiNode;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::Value;

use crate::sample;

async fn secrets(stage: &Stage, space: &str) {
    sample::secrets(stage, space, &[("signing", "signing"), ("a-p2p", "p2p"), ("b-p2p", "p2p")]).await;
}

fn validator(name: &str) -> Value {
    sample::validator(name, "signing", &format!("{name}-p2p"))
}

fn is_held(node: &SeiNode) -> bool {
    condition::find(&node.status.conditions, &ConditionType::KeyConflict)
        .is_some_and(|c| c.status == ConditionStatus::True && c.reason == "HeldBy")
}

/// One runs, the other is held and has no pod: returns the names, the running one first.
async fn one_runs_one_holds(stage: &Stage, space: &str) -> Result<(&'static str, &'static str), LiveError> {
    let nodes = stage.nodes(space);
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("one to run and one to hold", SOON, async || {
        let running = pods.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items.len();
        assert!(running <= 1, "two pods with one key");
        let (a, b) = (
            nodes.get("a").await.map_err(|e| e.to_string())?,
            nodes.get("b").await.map_err(|e| e.to_string())?,
        );
        match (sample::is_running(&a), is_held(&a), sample::is_running(&b), is_held(&b)) {
            (true, false, false, true) => Ok(("a", "b")),
            (false, true, true, false) => Ok(("b", "a")),
            _ => Err(format!("a: {:?} b: {:?}", a.status.conditions, b.status.conditions)),
        }
    })
    .await
}

pub(crate) async fn s03_of_two_nodes_with_one_key_only_one_runs(stage: &Stage) -> Result<(), LiveError> {
    let space = "s03";
    stage.namespace(space).await?;
    secrets(stage, space).await;
    let _operator = stage.operator(space)?;
    stage.create(space, &validator("a")).await.unwrap();
    stage.create(space, &validator("b")).await.unwrap();
    let (winner, loser) = one_runs_one_holds(stage, space).await?;
    stage.nodes(space).delete(winner, &DeleteParams::background()).await.unwrap();
    let free = stage.until(space, loser, "the other to take over", sample::is_running).await?;
    assert!(!is_held(&free));
    Ok(())
}

pub(crate) async fn s03_two_operators_and_two_nodes_with_one_key(stage: &Stage) -> Result<(), LiveError> {
    let space = "s03-two";
    stage.namespace(space).await?;
    secrets(stage, space).await;
    let _one = stage.operator("s03-1")?;
    let _other = stage.operator("s03-2")?;
    let (a, b) = (validator("a"), validator("b"));
    let (first, second) = tokio::join!(stage.create(space, &a), stage.create(space, &b));
    first.unwrap();
    second.unwrap();
    one_runs_one_holds(stage, space).await.map(|_| ())
}
