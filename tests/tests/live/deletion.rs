//! Deletion: what is ours goes, what is not stays (W7), in each phase; and the same name again at once (W12).

use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt};
use seinode_core::api::condition::{ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use seinode_sim::sidecar::Script;
use seinode_tests::live::{AuditEvent, LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample::{self, KEEP, image};

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
    sample::gone(stage, space, "one").await?;
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
    sample::gone(stage, space, "two").await?;
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
    sample::gone(stage, space, "one").await?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(stage.plane.client(), space);
    wait_until("the claim to be nobody's", SOON, async || match claims.get("data-one").await {
        Ok(c) if c.metadata.deletion_timestamp.is_none() && c.metadata.owner_references.is_none() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
}
/// What a node is brought to before it is deleted.
const STATES: [&str; 7] = ["waiting", "starting", "boot", "running", "updating", "failed", "paused"];

/// Brings each node to its state.
async fn bring_up(stage: &Stage, space: &str) -> Result<(), LiveError> {
    let hour = Duration::from_hours(1);
    let slow = |name: &str, task: &str| {
        stage.kubelet.director(space, name).direct(|s| *s = Script::default().lasting(task, hour));
    };
    slow("starting", "config-apply");
    slow("boot", "snapshot-restore");
    stage.kubelet.direct(|conduct| {
        conduct.missing_images.insert(image("deleted"));
    });
    for name in STATES {
        let manifest = match name {
            "waiting" => sample::without_witnesses(name),
            "boot" => sample::bootstrapping(name),
            "failed" => sample::refused(name),
            _ => sample::full_node(name),
        };
        stage.create(space, &manifest).await.unwrap();
    }
    stage
        .until(space, "waiting", "the gate", sample::says(ConditionType::Ready, "WaitingForWitnesses"))
        .await?;
    sample::started(stage, space, "starting", "config-apply", 1).await?;
    sample::started(stage, space, "boot", "snapshot-restore", 1).await?;
    for name in ["running", "updating", "paused"] {
        stage.until(space, name, "the node to be Ready", sample::is_ready).await?;
    }
    sample::edit(stage, space, "updating", json!({"image": image("deleted")})).await;
    sample::edit(stage, space, "paused", json!({"paused": true})).await;
    let failed = |n: &SeiNode| n.status.phase == Some(NodePhase::Failed);
    stage.until(space, "failed", "the node to fail", failed).await?;
    let paused = sample::shows(ConditionType::Paused, ConditionStatus::True);
    stage.until(space, "paused", "the node to be paused", paused).await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("the pod that can't pull", SOON, async || {
        let pod = pods.get("updating-0").await.map_err(|e| e.to_string())?;
        let seid = pod.spec.unwrap().containers.into_iter().find(|c| c.name == "seid").unwrap();
        if seid.image == Some(image("deleted")) { Ok(()) } else { Err(format!("{:?}", seid.image)) }
    })
    .await
}

/// Everything of a kind in a namespace but for what the namespace itself needs.
async fn left<K>(stage: &Stage, space: &str) -> Vec<String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let list = Api::<K>::namespaced(stage.plane.client(), space).list(&ListParams::default()).await.unwrap();
    let names = list.items.into_iter().map(|o| format!("{} {}", K::kind(&()), o.name_any()));
    names.filter(|name| name != "ConfigMap kube-root-ca.crt").collect()
}

pub(crate) async fn in_each_phase_what_is_ours_goes_with_few_writes(stage: &Stage) -> Result<(), LiveError> {
    let space = "deletion-phases";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    // Somebody else's objects that look like a part of the node.
    let labels = json!({"sei.io/node": "running"});
    let meta = |name: &str| json!({"name": name, "labels": labels});
    let claim = json!({"metadata": meta("data-elsewhere"), "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let map = json!({"metadata": meta("running-notes"), "data": {"a": "b"}});
    let service = json!({"metadata": meta("running-metrics"), "spec": {"ports": [{"port": 80}]}});
    sample::make::<PersistentVolumeClaim>(stage, space, claim).await;
    sample::make::<ConfigMap>(stage, space, map).await;
    sample::make::<Service>(stage, space, service).await;

    bring_up(stage, space).await?;
    for name in STATES {
        let mark = stage.plane.audit_mark()?;
        stage.nodes(space).delete(name, &DeleteParams::background()).await.unwrap();
        sample::gone(stage, space, name).await?;
        // The object is gone a moment before the answer to the last write is complete.
        let of_node = |e: &&AuditEvent| e.name == name || e.name == format!("data-{name}");
        let writes = wait_until("the last write to be in the log", SOON, async || {
            let log = sample::of_operators(stage.plane.audit_since(mark).map_err(|e| e.to_string())?);
            let writes: Vec<_> =
                log.iter().filter(|e| e.is_write()).filter(of_node).map(sample::line).collect();
            let last = format!("patch seinodes {name} 200");
            if writes.contains(&last) { Ok(writes) } else { Err(format!("{writes:?}")) }
        })
        .await?;
        println!("  {name}: {} API writes: {writes:?}", writes.len());
        assert!(writes.len() <= MOST_WRITES, "{name}: {writes:?}");
    }
    wait_until("only what is not ours to be left", SOON, async || {
        let mut all = left::<Pod>(stage, space).await;
        all.extend(left::<StatefulSet>(stage, space).await);
        all.extend(left::<Job>(stage, space).await);
        all.extend(left::<Service>(stage, space).await);
        all.extend(left::<ConfigMap>(stage, space).await);
        all.extend(left::<PersistentVolumeClaim>(stage, space).await);
        let foreign =
            ["Service running-metrics", "ConfigMap running-notes", "PersistentVolumeClaim data-elsewhere"];
        if all == foreign { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await
}

pub(crate) async fn w12_deleted_and_created_again_at_once(stage: &Stage) -> Result<(), LiveError> {
    let space = "w12";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let first = sample::ready(stage, space, "one", &sample::full_node("one")).await?;
    let client = stage.plane.client();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), space);
    let pods = Api::<Pod>::namespaced(client, space);
    let old = claims.get("data-one").await.unwrap().metadata.uid;
    // The old pod takes its time, and so does the old claim after it.
    sample::finalizers(&pods, "one-0", &[KEEP]).await;
    sample::finalizers(&claims, "data-one", &[KEEP]).await;
    stage.nodes(space).delete("one", &DeleteParams::background()).await.unwrap();
    wait_until("the same name to be free", SOON, async || {
        stage.create(space, &sample::full_node("one")).await.map(|_| ())
    })
    .await?;
    let names =
        |what: &'static str| move |n: &SeiNode| sample::message(n, &ConditionType::Ready).contains(what);
    let second = stage.until(space, "one", "the old pod to be named", names("Pod one-0")).await?;
    assert_ne!(second.uid(), first.uid());
    assert!(second.status.plan.is_none(), "nothing is begun beside it");
    sample::finalizers(&pods, "one-0", &[]).await;
    let of_earlier = "PersistentVolumeClaim data-one belongs to an earlier node of this name";
    let second = stage.until(space, "one", "the old claim to be named", names(of_earlier)).await?;
    assert!(sample::says(ConditionType::Ready, "PreviousOwner")(&second));
    assert_eq!(second.status.phase, Some(NodePhase::Initializing), "it waits, it does not fail");
    sample::finalizers(&claims, "data-one", &[]).await;
    let node = stage.until(space, "one", "the new node to be Running", sample::is_running).await?;
    assert!(sample::says(ConditionType::PlanFailed, "NoFailure")(&node), "it has never failed");
    let new = claims.get("data-one").await.unwrap();
    assert_ne!(new.metadata.uid, old);
    assert_eq!(new.metadata.owner_references.unwrap()[0].uid, node.uid());
    Ok(())
}
