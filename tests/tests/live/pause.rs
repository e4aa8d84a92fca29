//! `spec.paused` in each phase: no pod, and `Paused` True only when the API server shows so (W9); resumed, the node goes on
//! where it stood.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::ListParams;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use seinode_sim::sidecar::Script;
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample::{self, image};

/// Pauses a node, waits until it says so, and checks it on the API server at once. The law over all cases checks each
/// version in between.
async fn pause(stage: &Stage, space: &str) -> Result<SeiNode, LiveError> {
    let generation = sample::edit(stage, space, "one", json!({"paused": true})).await.generation();
    let stopped = move |n: &SeiNode| {
        condition::find(&n.status.conditions, &ConditionType::Paused)
            .is_some_and(|c| c.status == ConditionStatus::True && c.observed_generation == Some(generation))
    };
    let node = stage.until(space, "one", "Paused to be True", stopped).await?;
    let client = stage.plane.client();
    let pods = Api::<Pod>::namespaced(client.clone(), space).list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = pods.items.iter().filter_map(|p| p.metadata.name.as_deref()).collect();
    assert!(names.is_empty(), "Paused is True beside {names:?}");
    let set = Api::<StatefulSet>::namespaced(client.clone(), space).get_opt("one").await.unwrap();
    if let Some(set) = set {
        let (spec, status) = (set.spec.unwrap(), set.status.unwrap());
        assert_eq!((spec.replicas, status.replicas), (Some(0), 0));
        assert_eq!(status.observed_generation, set.metadata.generation);
    }
    if let Some(job) = Api::<Job>::namespaced(client, space).get_opt("one-bootstrap").await.unwrap() {
        let active = job.status.and_then(|s| s.active).unwrap_or(0);
        assert_eq!((job.spec.unwrap().suspend, active), (Some(true), 0));
    }
    Ok(node)
}

async fn resume(stage: &Stage, space: &str) -> Result<SeiNode, LiveError> {
    let generation = sample::edit(stage, space, "one", json!({"paused": false})).await.generation();
    let resumed = move |n: &SeiNode| {
        condition::find(&n.status.conditions, &ConditionType::Paused)
            .is_some_and(|c| c.reason == "NotPaused" && c.observed_generation == Some(generation))
    };
    stage.until(space, "one", "the node not to be paused", resumed).await
}

async fn children(stage: &Stage, space: &str) -> usize {
    let client = stage.plane.client();
    let sets = Api::<StatefulSet>::namespaced(client.clone(), space).list(&ListParams::default()).await;
    let jobs = Api::<Job>::namespaced(client, space).list(&ListParams::default()).await;
    sets.unwrap().items.len() + jobs.unwrap().items.len()
}

pub(crate) async fn a_paused_node_has_no_pod_and_comes_back(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    sample::ready(stage, space, "one", &sample::full_node("one")).await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let first = pods.get("one-0").await.unwrap();
    pause(stage, space).await?;
    resume(stage, space).await?;
    wait_until("another pod", SOON, async || match pods.get_opt("one-0").await {
        Ok(Some(pod)) if pod.metadata.uid != first.metadata.uid => Ok(()),
        other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata.uid)))),
    })
    .await?;
    stage.until(space, "one", "the node to be Ready again", sample::is_ready).await?;
    Ok(())
}

pub(crate) async fn w09_paused_while_the_gate_is_closed(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause-gate";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::without_witnesses("one")).await.unwrap();
    let waits = sample::says(ConditionType::Ready, "WaitingForWitnesses");
    stage.until(space, "one", "the gate to be closed", &waits).await?;
    let paused = pause(stage, space).await?;
    assert!(sample::says(ConditionType::Ready, "Paused")(&paused));
    // A pause creates nothing, and witnesses that appear meanwhile start nothing.
    let servers = json!(["a.example.net:26657", "b.example.net:26657"]);
    let named = json!({"fullNode": {"snapshot": {"rpcServers": servers}}});
    sample::edit(stage, space, "one", named).await;
    let witnesses = sample::shows(ConditionType::StateSyncReady, ConditionStatus::True);
    let paused = stage.until(space, "one", "the witnesses to be seen", witnesses).await?;
    assert!(paused.status.plan.is_none() && children(stage, space).await == 0);
    resume(stage, space).await?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    Ok(())
}

pub(crate) async fn w09_paused_before_the_statefulset_is_applied(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause-early";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    // The key checks come before the StatefulSet, and the Secrets are not there yet.
    stage.create(space, &sample::validator("one", "signing", "p2p")).await.unwrap();
    let claims = Api::<PersistentVolumeClaim>::namespaced(stage.plane.client(), space);
    wait_until("the plan to have begun", SOON, async || claims.get("data-one").await).await?;
    let before = stage.nodes(space).get("one").await.unwrap();
    assert_eq!(before.status.phase, Some(NodePhase::Initializing));
    let paused = pause(stage, space).await?;
    sample::secrets(stage, space, &[("signing", "signing"), ("p2p", "p2p")]).await;
    assert_eq!((sample::plan(&paused), children(stage, space).await), (sample::plan(&before), 0));
    resume(stage, space).await?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    assert_eq!(sample::plan(&node), sample::plan(&before), "the plan goes on where it stood");
    sample::ended_well_without_repeats(stage, &node);
    Ok(())
}

pub(crate) async fn w09_paused_after_the_statefulset_is_applied(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause-late";
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| *script = Script::default().lasting("config-apply", Duration::from_secs(1)));
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    sample::started(stage, space, "one", "config-apply", 1).await?;
    let before = stage.nodes(space).get("one").await.unwrap();
    let paused = pause(stage, space).await?;
    assert_eq!(paused.status.phase, Some(NodePhase::Initializing));
    assert_eq!(sample::plan(&paused), sample::plan(&before));
    resume(stage, space).await?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    assert_eq!(sample::plan(&node), sample::plan(&before), "the plan goes on where it stood");
    sample::ended_well_without_repeats(stage, &node);
    assert_eq!(director.submissions("configure-genesis"), 1, "what was done is not done again");
    Ok(())
}

pub(crate) async fn w09_paused_during_a_bootstrap(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause-boot";
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| *script = Script::default().lasting("snapshot-restore", Duration::from_secs(1)));
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::bootstrapping("one")).await.unwrap();
    sample::started(stage, space, "one", "snapshot-restore", 1).await?;
    let before = stage.nodes(space).get("one").await.unwrap();
    let jobs = Api::<Job>::namespaced(stage.plane.client(), space);
    let job = jobs.get("one-bootstrap").await.unwrap();
    let paused = pause(stage, space).await?;
    assert_eq!(sample::plan(&paused), sample::plan(&before));
    resume(stage, space).await?;
    // The same Job goes on; it was not taken for lost.
    sample::started(stage, space, "one", "snapshot-restore", 2).await?;
    assert_eq!(jobs.get("one-bootstrap").await.unwrap().metadata.uid, job.metadata.uid);
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    assert_eq!(sample::plan(&node), sample::plan(&before), "the plan goes on where it stood");
    Ok(())
}

pub(crate) async fn w09_paused_in_the_middle_of_an_update(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause-update";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    sample::ready(stage, space, "one", &sample::full_node("one")).await?;
    let missing = |is_missing: bool| {
        stage.kubelet.direct(|conduct| {
            if is_missing {
                conduct.missing_images.insert(image("paused"));
            } else {
                conduct.missing_images.remove(&image("paused"));
            }
        });
    };
    missing(true);
    sample::edit(stage, space, "one", json!({"image": image("paused")})).await;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("the pod that can't pull", SOON, async || {
        let pod = pods.get("one-0").await.map_err(|e| e.to_string())?;
        let images: Vec<_> = pod.spec.unwrap().containers.into_iter().filter_map(|c| c.image).collect();
        if images.contains(&image("paused")) { Ok(()) } else { Err(format!("{images:?}")) }
    })
    .await?;
    let before = stage.nodes(space).get("one").await.unwrap();
    let paused = pause(stage, space).await?;
    assert!(sample::is_running(&paused), "an update leaves the phase, a pause too");
    assert_eq!(sample::plan(&paused), sample::plan(&before));
    assert_eq!(paused.status.current_image, Some(image("1")));
    missing(false);
    resume(stage, space).await?;
    crate::update::settled_at(stage, space, "paused").await
}

pub(crate) async fn w09_paused_after_it_has_failed(stage: &Stage) -> Result<(), LiveError> {
    let space = "pause-failed";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::refused("one")).await.unwrap();
    let failed = |n: &SeiNode| n.status.phase == Some(NodePhase::Failed);
    let before = stage.until(space, "one", "the node to fail", failed).await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("its pod", SOON, async || pods.get("one-0").await).await?;
    let paused = pause(stage, space).await?;
    assert!(failed(&paused));
    assert_eq!(sample::plan(&paused), sample::plan(&before));
    // It is where it was: Failed, with its pod; the newer generation asks for a new start, but not before the back-off.
    let resumed = resume(stage, space).await?;
    assert!(failed(&resumed));
    assert_eq!(sample::plan(&resumed), sample::plan(&before));
    wait_until("its pod to be back", SOON, async || pods.get("one-0").await).await?;
    Ok(())
}
