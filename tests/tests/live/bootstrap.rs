//! Bootstraps: never two pods on one volume (W1), and nothing lost when the operator dies at the worst moment (W6).

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use seinode_core::api::{SeiNode, TaskStatus, TaskType};
use seinode_sim::sidecar::Script;
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};

use crate::sample;

fn is_done(node: &SeiNode, kind: &TaskType) -> bool {
    let tasks = node.status.plan.iter().flat_map(|p| &p.tasks);
    tasks.into_iter().any(|t| t.task_type == *kind && t.status == TaskStatus::Complete)
}

pub(crate) async fn w01_the_bootstrap_and_the_node_never_share_the_volume(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "w01";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let mark = stage.plane.audit_mark()?;
    stage.create(space, &sample::bootstrapping("one")).await.unwrap();
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    let nodes = stage.nodes(space);
    let mut pods_seen = BTreeSet::new();
    let node = wait_until("the node to be Running", SOON, async || {
        let pods = Api::<Pod>::namespaced(stage.plane.client(), space).list(&ListParams::default()).await;
        let names: Vec<String> =
            pods.map_err(|e| e.to_string())?.items.into_iter().filter_map(|p| p.metadata.name).collect();
        assert!(names.len() <= 1, "two pods at once: {names:?}");
        pods_seen.extend(names);
        let set = sets.get_opt("one").await.map_err(|e| e.to_string())?;
        let node = nodes.get("one").await.map_err(|e| e.to_string())?;
        let replicas = set.and_then(|s| s.spec).map_or(0, |s| s.replicas.unwrap_or(1));
        // P48: no replicas before the bootstrap is torn down.
        assert!(replicas == 0 || is_done(&node, &TaskType::TeardownBootstrap) || sample::is_running(&node));
        if sample::is_running(&node) { Ok(node) } else { Err(format!("{:?}", node.status.conditions)) }
    })
    .await?;
    assert_eq!(pods_seen.len(), 2, "{pods_seen:?}");
    sample::ended_well_without_repeats(stage, &node);
    let writes = sample::of_operators(stage.plane.audit_since(mark)?).iter().filter(|e| e.is_write()).count();
    println!("  {writes} API writes");
    let jobs = Api::<Job>::namespaced(stage.plane.client(), space);
    assert!(jobs.get_opt("one-bootstrap").await.unwrap().is_none());
    Ok(())
}

pub(crate) async fn w06_killed_while_the_bootstrap_is_torn_down(stage: &Stage) -> Result<(), LiveError> {
    let space = "w06";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    stage.create(space, &sample::bootstrapping("one")).await.unwrap();
    let jobs = Api::<Job>::namespaced(stage.plane.client(), space);
    wait_until("the Job to exist", SOON, async || jobs.get("one-bootstrap").await).await?;
    wait_until("the Job to be going", SOON, async || match jobs.get_opt("one-bootstrap").await {
        Ok(None) => Ok(()),
        Ok(Some(job)) if job.metadata.deletion_timestamp.is_some() => Ok(()),
        other => Err(format!("{:?}", other.map(|j| j.map(|j| j.status)))),
    })
    .await?;
    operator.kill().unwrap();
    let _operator = stage.operator("w06-again")?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    Ok(())
}

pub(crate) async fn s13_an_evicted_bootstrap_is_started_anew(stage: &Stage) -> Result<(), LiveError> {
    let space = "s13";
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| *script = Script::default().lasting("snapshot-restore", Duration::from_secs(3)));
    let operator = stage.operator(space)?;
    stage.create(space, &sample::bootstrapping("one")).await.unwrap();
    wait_until("the restore to run", SOON, async || {
        if director.runs("snapshot-restore") > 0 { Ok(()) } else { Err("not yet") }
    })
    .await?;
    let first = stage.nodes(space).get("one").await.unwrap().status.plan.unwrap().id;
    let pods =
        Api::<Pod>::namespaced(stage.plane.client(), space).list(&ListParams::default()).await.unwrap();
    stage.kubelet.fail_pod(space, pods.items[0].metadata.name.as_ref().unwrap());
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    let plan = node.status.plan.unwrap();
    assert_ne!(plan.id, first, "{}", operator.log());
    let deploy = plan.tasks.iter().find(|t| t.task_type == TaskType::DeployBootstrapJob).unwrap();
    assert_eq!(deploy.retry_count, 1);
    Ok(())
}
