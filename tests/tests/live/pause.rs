//! `spec.paused`: replicas 0, and True only when nothing of the node runs any more (W9).

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seinode_core::api::SeiNode;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample;

pub(crate) async fn a_paused_node_has_no_pod_and_comes_back(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    let nodes = stage.nodes(space);
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let first = pods.get("one-0").await.unwrap();
    let paused = |status: ConditionStatus| {
        move |n: &SeiNode| {
            condition::find(&n.status.conditions, &ConditionType::Paused)
                .is_some_and(|c| c.status == status && c.observed_generation == Some(n.generation()))
        }
    };

    nodes
        .patch("one", &PatchParams::default(), &Patch::Merge(json!({"spec": {"paused": true}})))
        .await
        .unwrap();
    stage.until(space, "one", "Paused to be True", paused(ConditionStatus::True)).await?;
    assert!(pods.get_opt("one-0").await.unwrap().is_none(), "Paused is True while a pod exists");

    nodes
        .patch("one", &PatchParams::default(), &Patch::Merge(json!({"spec": {"paused": false}})))
        .await
        .unwrap();
    stage.until(space, "one", "Paused to be False", paused(ConditionStatus::False)).await?;
    wait_until("another pod", SOON, async || match pods.get_opt("one-0").await {
        Ok(Some(pod)) if pod.metadata.uid != first.metadata.uid => Ok(()),
        other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata.uid)))),
    })
    .await?;
    let ready = |n: &SeiNode| {
        condition::find(&n.status.conditions, &ConditionType::Ready)
            .is_some_and(|c| c.status == ConditionStatus::True)
    };
    stage.until(space, "one", "the node to be Ready again", ready).await?;
    Ok(())
}
