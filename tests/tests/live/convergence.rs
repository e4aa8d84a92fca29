//! Children of a Running node: repaired when they differ or are gone (S22), not fought over, held where an edit can't be
//! carried out (S4, S5).

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use seinode_core::api::SeiNode;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample;

fn condition_is(kind: ConditionType, status: ConditionStatus) -> impl Fn(&SeiNode) -> bool {
    move |n| condition::find(&n.status.conditions, &kind).is_some_and(|c| c.status == status)
}

async fn running(stage: &Stage, space: &str) -> Result<(), LiveError> {
    stage.namespace(space).await?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage
        .until(
            space,
            "one",
            "the node to be Ready",
            condition_is(ConditionType::Ready, ConditionStatus::True),
        )
        .await?;
    Ok(())
}

pub(crate) async fn s22_children_that_are_gone_or_changed_come_back(stage: &Stage) -> Result<(), LiveError> {
    let space = "s22";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    let client = stage.plane.client();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), space);
    let services = Api::<Service>::namespaced(client.clone(), space);
    let pod = Api::<Pod>::namespaced(client.clone(), space).get("one-0").await.unwrap();
    maps.delete("one-rbac-proxy-config", &DeleteParams::default()).await.unwrap();
    wait_until("the ConfigMap to be back", SOON, async || maps.get("one-rbac-proxy-config").await).await?;
    stage.until(space, "one", "the convergence plan to be gone", |n| n.status.plan.is_none()).await?;

    // A change is repaired once; the same change again is left alone, and shown.
    let role = json!({"metadata": {"labels": {"sei.io/role": "impostor"}}});
    let meddler = PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() };
    services.patch("one", &meddler, &Patch::Merge(&role)).await.unwrap();
    wait_until("the Service to be repaired", SOON, async || {
        let service = services.get("one").await.map_err(|e| e.to_string())?;
        match service.metadata.labels.unwrap_or_default().get("sei.io/role") {
            Some(role) if role == "node" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage.until(space, "one", "the convergence plan to be gone", |n| n.status.plan.is_none()).await?;
    services.patch("one", &meddler, &Patch::Merge(&role)).await.unwrap();
    let contested = condition_is(ConditionType::ChildContested, ConditionStatus::True);
    let node = stage.until(space, "one", "the contest to be shown", contested).await?;
    let message = &condition::find(&node.status.conditions, &ConditionType::ChildContested).unwrap().message;
    assert!(message.contains("meddler") && message.contains("sei.io/role"), "{message}");
    let same = Api::<Pod>::namespaced(client, space).get("one-0").await.unwrap();
    assert_eq!(same.metadata.uid, pod.metadata.uid, "a convergence replaces no pod");
    Ok(())
}

pub(crate) async fn a_template_edit_reaches_the_statefulset_and_shows_on_the_pod(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "template";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    let patch = json!({"spec": {"podLabels": {"team": "blue"}}});
    stage.nodes(space).patch("one", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    stage
        .until(
            space,
            "one",
            "the pod to be shown as outdated",
            condition_is(ConditionType::PodOutdated, ConditionStatus::True),
        )
        .await?;
    let set = Api::<StatefulSet>::namespaced(stage.plane.client(), space).get("one").await.unwrap();
    let labels = set.spec.unwrap().template.metadata.unwrap().labels.unwrap();
    assert_eq!(labels.get("team").map(String::as_str), Some("blue"));
    Ok(())
}

pub(crate) async fn s05_an_edit_of_the_chain_is_held(stage: &Stage) -> Result<(), LiveError> {
    let space = "s05";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    let before = sets.get("one").await.unwrap();
    let edit = |chain: &str, image: &str| json!({"spec": {"chainId": chain, "image": image}});
    let nodes = stage.nodes(space);
    let other = edit("pacific-1", "registry.example.net/seid:2");
    nodes.patch("one", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    let node = stage
        .until(
            space,
            "one",
            "the node to be held",
            condition_is(ConditionType::SpecHeld, ConditionStatus::True),
        )
        .await?;
    let message = &condition::find(&node.status.conditions, &ConditionType::SpecHeld).unwrap().message;
    assert!(message.contains("spec.chainId") && message.contains("take the edit back"), "{message}");
    let after = sets.get("one").await.unwrap();
    assert_eq!(after.metadata.generation, before.metadata.generation, "nothing is applied to a held node");
    let back = edit("atlantic-2", "registry.example.net/seid:1");
    nodes.patch("one", &PatchParams::default(), &Patch::Merge(back)).await.unwrap();
    stage
        .until(
            space,
            "one",
            "the node to be free",
            condition_is(ConditionType::SpecHeld, ConditionStatus::False),
        )
        .await?;
    Ok(())
}

pub(crate) async fn a_failed_node_starts_over_when_asked(stage: &Stage) -> Result<(), LiveError> {
    let space = "again";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let bad = sample::node("one", &json!({"fullNode": {}, "overrides": {"no.such.key": "1"}}));
    stage.create(space, &bad).await.unwrap();
    let failed = |n: &SeiNode| n.status.phase == Some(seinode_core::api::NodePhase::Failed);
    let node = stage.until(space, "one", "the node to fail", failed).await?;
    assert_eq!(seinode_core::plan::lint::status(&node.status), []);
    let claim =
        Api::<k8s_openapi::api::core::v1::PersistentVolumeClaim>::namespaced(stage.plane.client(), space);
    let volume = claim.get("data-one").await.unwrap().metadata.uid;
    // A newer generation asks for it; the shortest back-off is a minute.
    let good = json!({"spec": {"overrides": null}});
    stage.nodes(space).patch("one", &PatchParams::default(), &Patch::Merge(good)).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    assert_eq!(claim.get("data-one").await.unwrap().metadata.uid, volume, "the volume is kept");
    let kind = ConditionType::PlanFailed;
    let known = condition::find(&node.status.conditions, &kind).unwrap();
    assert_eq!((&known.status, known.reason.as_str()), (&ConditionStatus::False, "PlanComplete"));
    Ok(())
}
