//! Children of a Running node: repaired when they differ or are gone (S22), and not fought over.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use seinode_sim::sidecar::{Ending, Script};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample;

async fn running(stage: &Stage, space: &str) -> Result<(), LiveError> {
    stage.namespace(space).await?;
    sample::ready(stage, space, "one", &sample::full_node("one")).await.map(|_| ())
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
    let contested = sample::shows(ConditionType::ChildContested, ConditionStatus::True);
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
            sample::shows(ConditionType::PodOutdated, ConditionStatus::True),
        )
        .await?;
    let set = Api::<StatefulSet>::namespaced(stage.plane.client(), space).get("one").await.unwrap();
    let labels = set.spec.unwrap().template.metadata.unwrap().labels.unwrap();
    assert_eq!(labels.get("team").map(String::as_str), Some("blue"));
    Ok(())
}

pub(crate) async fn a_failed_node_starts_over_when_asked(stage: &Stage) -> Result<(), LiveError> {
    let space = "again";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let fails = Ending::Fail { error: "not today".into(), result: None };
    let director = stage.kubelet.director(space, "two");
    director.direct(|script| *script = Script::default().runs("config-validate", [fails]));
    stage.create(space, &sample::refused("one")).await.unwrap();
    stage.create(space, &sample::full_node("two")).await.unwrap();
    let failed = |n: &SeiNode| n.status.phase == Some(NodePhase::Failed);
    let claims = Api::<PersistentVolumeClaim>::namespaced(stage.plane.client(), space);
    let mut volumes = Vec::new();
    for name in ["one", "two"] {
        let node = stage.until(space, name, "the node to fail", failed).await?;
        assert_eq!(seinode_core::plan::lint::status(&node.status), []);
        volumes.push(claims.get(&format!("data-{name}")).await.unwrap().metadata.uid);
    }
    // One is asked by a newer generation, the other by the annotation; the shortest back-off is a minute.
    sample::edit(stage, space, "one", json!({"overrides": null})).await;
    let asked = json!({"metadata": {"annotations": {seinode_core::RETRY_ANNOTATION: "please"}}});
    let nodes = stage.nodes(space);
    nodes.patch("two", &PatchParams::default(), &Patch::Merge(asked)).await.unwrap();
    for (name, volume) in ["one", "two"].into_iter().zip(volumes) {
        let node = stage.until(space, name, "the node to be Running", sample::is_running).await?;
        let claim = claims.get(&format!("data-{name}")).await.unwrap();
        assert_eq!(claim.metadata.uid, volume, "the volume is kept");
        assert!(sample::shows(ConditionType::PlanFailed, ConditionStatus::False)(&node));
        assert!(sample::says(ConditionType::PlanFailed, "PlanComplete")(&node));
        let used = if name == "two" { "please" } else { "" };
        assert_eq!(sample::message(&node, &ConditionType::RetryHandled), used, "the value is used up");
    }
    assert_eq!(director.runs("config-validate"), 2);
    Ok(())
}
