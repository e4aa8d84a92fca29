//! New images on Running nodes, with changes of mind at the worst moments (W2, W3, W4, S9).

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use seinode_core::api::condition::ConditionType;
use seinode_core::api::{PlanPhase, SeiNode};
use seinode_sim::sidecar::{Event, Fault, Script};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample::{self, image};

/// Most API writes of an update: plan, StatefulSet, intent and deletion of the pod, end, Ready.
const MOST_WRITES: usize = 6;

async fn set_image(stage: &Stage, space: &str, n: &str) {
    sample::edit(stage, space, "one", json!({"image": image(n)})).await;
}

/// The node is settled at an image: recorded, no plan, Ready, and its pod runs it.
pub(crate) async fn settled_at(stage: &Stage, space: &str, n: &str) -> Result<(), LiveError> {
    let wanted = image(n);
    let at = |node: &SeiNode| {
        node.status.current_image.as_ref() == Some(&wanted)
            && node.status.plan.is_none()
            && sample::is_ready(node)
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
    sample::ready(stage, space, "one", &sample::full_node("one")).await.map(|_| ())
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

/// Where an update is held up while the spec is edited once more.
const STOPS: [&str; 6] =
    ["apply-statefulset", "config-patch", "config-validate", "replace-pod", "observe-image", "mark-ready"];

pub(crate) async fn w04_an_edit_at_each_task_of_an_update_ends_at_the_last_image(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "edits";
    let rights = stage.rights(space).await?;
    let _operator = stage.operator_as(space, rights.kubeconfig())?;
    running(stage, space).await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let director = stage.kubelet.director(space, "one");
    let second = Duration::from_secs(1);
    for stop in STOPS {
        let (first, last) = (format!("{stop}-a"), format!("{stop}-b"));
        let runs = director.runs(stop);
        match stop {
            "apply-statefulset" => rights.deny("apps", "statefulsets", "patch").await?,
            "replace-pod" => {
                sample::finalizers(&pods, "one-0", &[sample::KEEP]).await;
            }
            "observe-image" => stage.kubelet.direct(|conduct| {
                conduct.missing_images.insert(image(&first));
            }),
            task => director.direct(|script| *script = Script::default().lasting(task, second)),
        }
        set_image(stage, space, &first).await;
        match stop {
            "apply-statefulset" => {
                let at = |n: &SeiNode| n.status.plan.is_some();
                stage.until(space, "one", "the plan to be stored", at).await?;
            }
            "replace-pod" => {
                wait_until("the old pod to be held", SOON, async || match pods.get("one-0").await {
                    Ok(pod) if pod.metadata.deletion_timestamp.is_some() => Ok(()),
                    other => Err(format!("{:?}", other.map(|p| p.metadata))),
                })
                .await?;
            }
            "observe-image" => {
                wait_until("the pod that can't pull", SOON, async || {
                    let pod = pods.get("one-0").await.map_err(|e| e.to_string())?;
                    let mut all = pod.spec.unwrap().containers.into_iter().filter_map(|c| c.image);
                    if all.any(|i| i == image(&first)) { Ok(()) } else { Err("not yet".to_owned()) }
                })
                .await?;
            }
            task => sample::started(stage, space, "one", task, runs + 1).await?,
        }
        let node = stage.nodes(space).get("one").await.unwrap();
        assert_eq!(node.status.plan.unwrap().phase, PlanPhase::Active, "{stop}: edited during the update");
        set_image(stage, space, &last).await;
        director.direct(|script| *script = Script::default());
        match stop {
            "apply-statefulset" => rights.allow("apps", "statefulsets", "patch").await?,
            "replace-pod" => {
                sample::finalizers(&pods, "one-0", &[]).await;
            }
            _ => {}
        }
        settled_at(stage, space, &last).await?;
    }
    // And back to where it began.
    set_image(stage, space, "1").await;
    settled_at(stage, space, "1").await
}

pub(crate) async fn s15_a_pod_without_revision_or_stuck_terminating_is_replaced_all_the_same(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "s15";
    let _operator = stage.operator(space)?;
    running(stage, space).await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let bare = json!({"metadata": {"labels": {"controller-revision-hash": null}}});
    let first = pods.patch("one-0", &PatchParams::default(), &Patch::Merge(bare)).await.unwrap();
    set_image(stage, space, "2").await;
    settled_at(stage, space, "2").await?;
    let second = pods.get("one-0").await.unwrap();
    assert_ne!(second.metadata.uid, first.metadata.uid, "it counts as old");

    // A machine that is lost: the pod is asked to go, and does not.
    sample::finalizers(&pods, "one-0", &[sample::KEEP]).await;
    set_image(stage, space, "3").await;
    let named = |n: &SeiNode| {
        let message = sample::message(n, &ConditionType::Ready);
        message.contains("pod one-0 of the old revision is being deleted")
    };
    let node = stage.until(space, "one", "the stuck pod to be named", named).await?;
    assert_eq!(node.status.current_image, Some(image("2")), "the new image does not run yet");
    sample::finalizers(&pods, "one-0", &[]).await;
    settled_at(stage, space, "3").await
}

pub(crate) async fn w10_s25_hung_and_unfit_peers_delay_nobody(stage: &Stage) -> Result<(), LiveError> {
    let space = "w10-peers";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let names = ["hung-a", "hung-b", "lively", "leaving", "stranger"];
    for name in names {
        let mut manifest = match name {
            "stranger" => sample::node(name, &json!({"chainId": "other-1", "fullNode": {}})),
            _ => sample::full_node(name),
        };
        manifest["metadata"]["labels"] = json!({"ring": "all"});
        stage.create(space, &manifest).await.unwrap();
    }
    for name in names {
        stage.until(space, name, "the peer to be Running", sample::is_running).await?;
    }
    for name in ["hung-a", "hung-b"] {
        stage.kubelet.director(space, name).direct(|script| *script = Script::default().always(Fault::Hang));
    }
    // Its object is kept by somebody, and its pod goes on for as long.
    let nodes = stage.nodes(space);
    sample::finalizers(&nodes, "leaving", &[seinode_core::api::FINALIZER, sample::KEEP]).await;
    nodes.delete("leaving", &DeleteParams::background()).await.unwrap();

    let mut manifest = sample::full_node("one");
    manifest["spec"]["peers"] = json!([{"label": {"selector": {"ring": "all"}}}]);
    stage.create(space, &manifest).await.unwrap();
    // Another node, that has no peers, at the same time.
    stage.create(space, &sample::full_node("two")).await.unwrap();
    stage.until(space, "two", "the node without peers to be Running", sample::is_running).await?;
    let node =
        stage.until(space, "one", "the node with hung peers to be Running", sample::is_running).await?;
    // S25: of those that answer, only the one of this chain that stays.
    let peers = &node.status.resolved_peers;
    assert!(peers.len() == 1 && peers[0].contains("lively-0.lively"), "{peers:?}");
    for name in ["hung-a", "hung-b"] {
        assert!(sample::is_running(&nodes.get(name).await.unwrap()), "{name} was left alone");
    }
    assert!(nodes.get("leaving").await.unwrap().is_deleting());
    sample::finalizers(&nodes, "leaving", &[]).await;
    Ok(())
}
