//! New images on Running nodes, with changes of mind at the worst moments (W2, W3, W4, S9).

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seinode_core::api::SeiNode;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_sim::sidecar::{Event, Fault, Script};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample;

/// Most API writes of an update: plan, StatefulSet, intent and deletion of the pod, end, Ready lost and found.
const MOST_WRITES: usize = 8;

fn image(n: &str) -> String {
    format!("registry.example.net/seid:{n}")
}

async fn set_image(stage: &Stage, space: &str, n: &str) {
    let patch = json!({"spec": {"image": image(n)}});
    stage.nodes(space).patch("one", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

fn is_ready(node: &SeiNode) -> bool {
    condition::find(&node.status.conditions, &ConditionType::Ready)
        .is_some_and(|c| c.status == ConditionStatus::True)
}

/// The node is settled at an image: recorded, no plan, Ready, and its pod runs it.
async fn settled_at(stage: &Stage, space: &str, n: &str) -> Result<(), LiveError> {
    let wanted = image(n);
    let at = |node: &SeiNode| {
        node.status.current_image.as_ref() == Some(&wanted) && node.status.plan.is_none() && is_ready(node)
    };
    let node = stage.until(space, "one", &format!("the node to be settled at image {n}"), at).await?;
    assert!(sample::is_running(&node));
    let pod = Api::<Pod>::namespaced(stage.plane.client(), space).get("one-0").await.unwrap();
    let seid = pod.spec.unwrap().containers.into_iter().find(|c| c.name == "seid").unwrap();
    assert_eq!(seid.image.as_ref(), Some(&wanted));
    Ok(())
}

async fn running(stage: &Stage, space: &str) -> Result<(), LiveError> {
    stage.namespace(space).await?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the node to be Ready", is_ready).await?;
    Ok(())
}

pub(crate) async fn w02_roll_forward_and_back_to_the_first_image(stage: &Stage) -> Result<(), LiveError> {
    let space = "w02";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    for n in ["2", "3", "1"] {
        let mark = stage.plane.audit_mark()?;
        set_image(stage, space, n).await;
        settled_at(stage, space, n).await?;
        let log = sample::of_operators(stage.plane.audit_since(mark)?);
        let writes: Vec<_> =
            log.iter().filter(|e| e.is_write() && e.is_granted()).map(sample::line).collect();
        println!("  to {n}: {} API writes: {writes:?}", writes.len());
        assert!(writes.len() <= MOST_WRITES, "{} writes", writes.len());
    }
    Ok(())
}

pub(crate) async fn w03_a_typo_in_the_image_is_repaired(stage: &Stage) -> Result<(), LiveError> {
    let space = "w03";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    stage.kubelet.direct(|conduct| {
        conduct.missing_images.insert(image("typo"));
    });
    set_image(stage, space, "typo").await;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("a pod that can't pull", SOON, async || {
        let pod = pods.get("one-0").await.map_err(|e| e.to_string())?;
        let waiting = serde_json::to_string(&pod.status).unwrap_or_default();
        if waiting.contains("ImagePullBackOff") || waiting.contains("ErrImagePull") {
            Ok(())
        } else {
            Err(waiting)
        }
    })
    .await?;
    // S8: an image that was never pulled is not recorded as the current one.
    let node = stage.nodes(space).get("one").await.unwrap();
    assert_eq!(node.status.current_image, Some(image("1")));
    set_image(stage, space, "2").await;
    settled_at(stage, space, "2").await
}

pub(crate) async fn w04_a_change_of_mind_while_the_pod_is_replaced(stage: &Stage) -> Result<(), LiveError> {
    let space = "w04";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let first = pods.get("one-0").await.unwrap().metadata.uid;
    set_image(stage, space, "2").await;
    wait_until("the pod to be replaced", SOON, async || match pods.get_opt("one-0").await {
        Ok(Some(pod)) if pod.metadata.uid != first => Ok(()),
        other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata.uid)))),
    })
    .await?;
    set_image(stage, space, "3").await;
    settled_at(stage, space, "3").await?;
    // And back at once, before anything was carried out.
    set_image(stage, space, "4").await;
    set_image(stage, space, "3").await;
    settled_at(stage, space, "3").await
}

pub(crate) async fn s09_a_node_without_a_sidecar_is_updated(stage: &Stage) -> Result<(), LiveError> {
    let space = "s09";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    // The pod goes away and its replacement can't start on the old image any more.
    stage.kubelet.direct(|conduct| {
        conduct.missing_images.insert(image("1"));
    });
    stage.kubelet.evict(space, "one-0").await.unwrap();
    set_image(stage, space, "2").await;
    let settled = settled_at(stage, space, "2").await;
    stage.kubelet.direct(|conduct| {
        conduct.missing_images.clear();
    });
    settled
}

pub(crate) async fn w05_failed_runs_are_counted_once(stage: &Stage) -> Result<(), LiveError> {
    let space = "w05";
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    let fails = seinode_sim::sidecar::Ending::Fail { error: "no genesis yet".into(), result: None };
    director.direct(|script| *script = Script::default().runs("configure-genesis", [fails]));
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    let plan = node.status.plan.as_ref().unwrap();
    let genesis = plan.tasks.iter().find(|t| t.task_type.as_str() == "configure-genesis").unwrap();
    assert_eq!((genesis.retry_count, director.runs("configure-genesis")), (1, 2));
    Ok(())
}

pub(crate) async fn w10_a_hung_sidecar_delays_nobody_else(stage: &Stage) -> Result<(), LiveError> {
    let space = "w10";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    stage.kubelet.director(space, "hung").direct(|script| *script = Script::default().always(Fault::Hang));
    stage.create(space, &sample::full_node("hung")).await.unwrap();
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("the pod of the hung node", SOON, async || pods.get("hung-0").await).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = std::time::Instant::now();
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the other node to be Running", sample::is_running).await?;
    println!("  beside a hung sidecar: {:.2} s", start.elapsed().as_secs_f64());
    let journal = stage.kubelet.director(space, "hung").journal();
    assert!(!journal.iter().any(|e| e.event == Event::Completed), "the hung sidecar has answered");
    Ok(())
}
