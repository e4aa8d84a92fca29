//! A claim that exists already: what is wrong with it is named, it is never changed, and it outlives its node.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::DeleteParams;
use seinode_core::api::condition::ConditionType;
use seinode_core::api::{NodePhase, SeiNode};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::{Value, json};

use crate::sample::{self, KEEP};

fn importing(name: &str, claim: &str) -> Value {
    let mut manifest = sample::full_node(name);
    manifest["spec"]["dataVolume"] = json!({"import": {"pvcName": claim}});
    manifest
}

async fn claim(stage: &Stage, space: &str, name: &str, size: &str, mode: &str) -> PersistentVolumeClaim {
    let spec = json!({"accessModes": [mode], "storageClassName": "lab-fast",
        "resources": {"requests": {"storage": size}}});
    sample::make(stage, space, json!({"metadata": {"name": name}, "spec": spec})).await
}

async fn bound(
    claims: &Api<PersistentVolumeClaim>,
    name: &str,
    phase: &str,
) -> Result<PersistentVolumeClaim, LiveError> {
    wait_until("the claim to get its phase", SOON, async || match claims.get(name).await {
        Ok(c) if c.status.as_ref().and_then(|s| s.phase.as_deref()) == Some(phase) => Ok(c),
        other => Err(format!("{:?}", other.map(|c| c.status))),
    })
    .await
}

/// Waits until the check of the claim has this reason, and a message with these words.
async fn verdict(
    stage: &Stage,
    space: &str,
    name: &str,
    reason: &'static str,
    words: &[&str],
) -> Result<SeiNode, LiveError> {
    let says = sample::says(ConditionType::ImportPvcReady, reason);
    let as_said = |n: &SeiNode| {
        let message = sample::message(n, &ConditionType::ImportPvcReady);
        says(n) && words.iter().all(|word| message.contains(word))
    };
    stage.until(space, name, &format!("{reason} {words:?}"), as_said).await
}

pub(crate) async fn a_claim_is_imported_once_it_is_fit_and_outlives_its_node(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "import";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let claims = Api::<PersistentVolumeClaim>::namespaced(stage.plane.client(), space);
    // One is missing, the other there and being deleted: both are waited out.
    claim(stage, space, "going", "100Gi", "ReadWriteOnce").await;
    sample::finalizers(&claims, "going", &[KEEP]).await;
    claims.delete("going", &DeleteParams::default()).await.unwrap();
    stage.create(space, &importing("one", "mine")).await.unwrap();
    stage.create(space, &importing("two", "going")).await.unwrap();
    for (name, words) in [("one", ["mine", "does not exist"]), ("two", ["going", "being deleted"])] {
        let node = verdict(stage, space, name, "PVCNotReady", &words).await?;
        assert!(sample::says(ConditionType::Ready, "ClaimNotReady")(&node));
        assert_eq!(node.status.phase, Some(NodePhase::Initializing), "it waits, it does not fail");
    }
    sample::finalizers(&claims, "going", &[]).await;
    wait_until("the claim to be gone", SOON, async || match claims.get_opt("going").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;

    let made = claim(stage, space, "mine", "100Gi", "ReadWriteOnce").await;
    claim(stage, space, "going", "100Gi", "ReadWriteOnce").await;
    for name in ["one", "two"] {
        let node = stage.until(space, name, "the node to be Running", sample::is_running).await?;
        assert!(sample::says(ConditionType::ImportPvcReady, "PVCValidated")(&node));
        let own = claims.get_opt(&format!("data-{name}")).await.unwrap();
        assert!(own.is_none(), "no claim of its own is made");
    }
    let pod = Api::<Pod>::namespaced(stage.plane.client(), space).get("one-0").await.unwrap();
    let mounted: Vec<_> = pod
        .spec
        .unwrap()
        .volumes
        .unwrap()
        .into_iter()
        .filter_map(|v| Some(v.persistent_volume_claim?.claim_name))
        .collect();
    assert_eq!(mounted, ["mine"]);

    stage.nodes(space).delete("one", &DeleteParams::background()).await.unwrap();
    sample::gone(stage, space, "one").await?;
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    wait_until("the pod to be gone", SOON, async || match pods.get_opt("one-0").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    let left = claims.get("mine").await.unwrap();
    assert_eq!((left.metadata.uid, left.metadata.deletion_timestamp), (made.metadata.uid, None));
    assert!(
        left.metadata.owner_references.is_none() && left.metadata.labels.is_none(),
        "it was never changed"
    );
    Ok(())
}

pub(crate) async fn s29_a_claim_that_can_not_become_fit_fails_the_node_and_says_why(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "import-bad";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let client = stage.plane.client();
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), space);
    claim(stage, space, "small", "1Gi", "ReadWriteOnce").await;
    claim(stage, space, "shared", "100Gi", "ReadOnlyMany").await;
    claim(stage, space, "lost", "100Gi", "ReadWriteOnce").await;
    for name in ["small", "shared", "lost"] {
        bound(&claims, name, "Bound").await?;
    }
    let volume = claims.get("lost").await.unwrap().spec.unwrap().volume_name.unwrap();
    let volumes = Api::<PersistentVolume>::all(client);
    volumes.delete(&volume, &DeleteParams::default()).await.unwrap();
    sample::finalizers(&volumes, &volume, &[]).await;
    bound(&claims, "lost", "Lost").await?;

    let rows: [(&str, &[&str]); 3] =
        [("small", &["1Gi", "100Gi"]), ("shared", &["ReadOnlyMany"]), ("lost", &["Lost"])];
    for (name, words) in rows {
        stage.create(space, &importing(name, name)).await.unwrap();
        let node = verdict(stage, space, name, "PVCInvalid", words).await?;
        assert_eq!(node.status.phase, Some(NodePhase::Failed));
        let detail = node.status.plan.as_ref().unwrap().failed_task_detail.as_ref().unwrap();
        assert_eq!(detail.task_type, "ensure-data-pvc");
        assert!(words.iter().all(|word| detail.error.contains(word)), "{}", detail.error);
    }
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    assert!(pods.list(&kube::api::ListParams::default()).await.unwrap().items.is_empty());
    Ok(())
}
