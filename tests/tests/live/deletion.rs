//! Deletion: what is ours goes, what is not stays (W7).

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use seinode_core::api::NodePhase;
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample;

/// Most API writes of a deletion: phase, claim, finalizer.
const MOST_WRITES: usize = 3;

pub(crate) async fn what_is_ours_goes_and_a_foreign_claim_stays(stage: &Stage) -> Result<(), LiveError> {
    let space = "deletion";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let nodes = stage.nodes(space);

    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    let mark = stage.plane.audit_mark()?;
    nodes.delete("one", &DeleteParams::background()).await.unwrap();
    gone(stage, space, "one").await?;
    let log = sample::of_operators(stage.plane.audit_since(mark)?);
    let writes: Vec<_> = log.iter().filter(|e| e.is_write()).map(sample::line).collect();
    println!("  {} API writes: {writes:?}", writes.len());
    assert!(writes.len() <= MOST_WRITES);
    let client = stage.plane.client();
    wait_until("what the node owned to be gone", SOON, async || {
        let claim = Api::<PersistentVolumeClaim>::namespaced(client.clone(), space).get_opt("data-one").await;
        let set = Api::<StatefulSet>::namespaced(client.clone(), space).get_opt("one").await;
        let service = Api::<Service>::namespaced(client.clone(), space).get_opt("one").await;
        let map = Api::<ConfigMap>::namespaced(client.clone(), space).get_opt("one-rbac-proxy-config").await;
        match (claim, set, service, map) {
            (Ok(None), Ok(None), Ok(None), Ok(None)) => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await?;

    // W7: somebody else's claim of the wanted name fails the node and survives its deletion.
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), space);
    let foreign = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-two"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let foreign =
        claims.create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
    stage.create(space, &sample::full_node("two")).await.unwrap();
    let failed =
        stage.until(space, "two", "the node to fail", |n| n.status.phase == Some(NodePhase::Failed)).await?;
    let error = &failed.status.plan.as_ref().unwrap().failed_task_detail.as_ref().unwrap().error;
    assert!(error.contains("data-two") && error.contains("import"), "{error}");
    nodes.delete("two", &DeleteParams::background()).await.unwrap();
    gone(stage, space, "two").await?;
    let left = claims.get("data-two").await.unwrap();
    assert_eq!((left.metadata.uid, left.metadata.deletion_timestamp), (foreign.metadata.uid, None));
    Ok(())
}

pub(crate) async fn an_orphaning_deletion_keeps_the_claim(stage: &Stage) -> Result<(), LiveError> {
    let space = "orphan";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    stage.nodes(space).delete("one", &DeleteParams::orphan()).await.unwrap();
    gone(stage, space, "one").await?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(stage.plane.client(), space);
    wait_until("the claim to be nobody's", SOON, async || match claims.get("data-one").await {
        Ok(c) if c.metadata.deletion_timestamp.is_none() && c.metadata.owner_references.is_none() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
}

async fn gone(stage: &Stage, space: &str, name: &str) -> Result<(), LiveError> {
    let nodes = stage.nodes(space);
    wait_until("the node to be gone", SOON, async || match nodes.get_opt(name).await {
        Ok(None) => Ok(()),
        other => Err(format!("{:?}", other.map(|n| n.map(|n| n.status)))),
    })
    .await
}
