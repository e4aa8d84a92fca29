//! Takeover: what the Go operator left is resumed, and no pod is replaced by it.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use seinode_core::api::{PlanPhase, SeiNode, TaskStatus};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::{Value, json};

use crate::sample;

/// A plan as the Go operator stores it: a random id, capitalised keys, every task Pending.
fn left_plan() -> Value {
    let plan = "3f0c2d2e-6a55-4d0e-9a3b-0d9c5f1e7a21";
    let infrastructure = json!({"nodeName": "one", "namespace": "takeover-plan"});
    let tasks = [
        ("ensure-data-pvc", infrastructure.clone()),
        ("apply-rbac-proxy-config", infrastructure.clone()),
        ("apply-statefulset", infrastructure.clone()),
        ("apply-service", infrastructure),
        ("configure-genesis", json!({"ExpectedGenesisHash": ""})),
        (
            "config-apply",
            json!({"Mode": "full", "Overrides": {"logging.level": "error", "network.p2p.persistent_peers": ""}}),
        ),
        (
            "configure-state-sync",
            json!({
                "UseLocalSnapshot": false, "TrustPeriod": "", "BackfillBlocks": 0,
                "RpcServers": ["a.example.net:26657", "b.example.net:26657"],
            }),
        ),
        ("config-validate", json!({})),
        ("mark-ready", json!({})),
    ];
    let tasks: Vec<Value> = tasks
        .into_iter()
        .enumerate()
        .map(|(index, (kind, params))| {
            let id = seinode_core::ident::task_id(plan, &kind.to_owned().into(), index);
            json!({"type": kind, "id": id, "status": "Pending", "params": params})
        })
        .collect();
    json!({"id": plan, "phase": "Active", "targetPhase": "Running", "failedPhase": "Failed", "tasks": tasks})
}

pub(crate) async fn an_active_plan_of_the_go_operator_is_run_to_its_end(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "takeover-plan";
    stage.namespace(space).await?;
    let mut manifest = sample::full_node("one");
    manifest["metadata"]["finalizers"] = json!([seinode_core::api::FINALIZER]);
    stage.create(space, &manifest).await.unwrap();
    let status = json!({"status": {"phase": "Initializing", "plan": left_plan()}});
    stage.nodes(space).patch_status("one", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let _operator = stage.operator(space)?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    let plan = node.status.plan.unwrap();
    assert_eq!(plan.id, left_plan()["id"]);
    assert_eq!(plan.phase, PlanPhase::Complete);
    assert!(plan.tasks.iter().all(|t| t.status == TaskStatus::Complete));
    Ok(())
}

pub(crate) async fn a_running_node_of_the_go_operator_keeps_statefulset_and_pod(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "takeover-running";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the node to be Ready", sample::is_ready).await?;
    drop(operator);
    // What the Go operator would have left: other script texts in the template, none of our conditions, no plan.
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    let mut left = sets.get("one").await.unwrap();
    let template = &mut left.spec.as_mut().unwrap().template;
    template.spec.as_mut().unwrap().containers[0].args = Some(vec!["exec seid start".to_owned()]);
    let left = sets.replace("one", &PostParams::default(), &left).await.unwrap();
    let bare = json!({"status": {"plan": null, "conditions": null, "statefulSet": null}});
    stage.nodes(space).patch_status("one", &PatchParams::default(), &Patch::Merge(bare)).await.unwrap();
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let pod = pods.get("one-0").await.unwrap();

    let mark = stage.plane.audit_mark()?;
    let _operator = stage.operator("takeover-running-again")?;
    let node = stage.until(space, "one", "the node to be Ready again", sample::is_ready).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(node.status.plan.is_none());
    assert_eq!(sets.get("one").await.unwrap().metadata.generation, left.metadata.generation);
    assert_eq!(pods.get("one-0").await.unwrap().metadata.uid, pod.metadata.uid);
    let log = sample::of_operators(stage.plane.audit_since(mark)?);
    let writes: Vec<_> =
        log.iter().filter(|e| e.is_write() && e.namespace == space).map(sample::line).collect();
    assert_eq!(
        writes,
        ["patch seinodes/status one 200"],
        "the takeover seeds the conditions and writes nothing else"
    );
    Ok(())
}

/// A fleet.
const FLEET: usize = 100;

pub(crate) async fn a_restart_of_the_operator_with_a_hundred_nodes_writes_nothing(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "restart-silent";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    let start = Instant::now();
    let manifests: Vec<_> = (0..FLEET).map(|n| sample::full_node(&format!("n{n}"))).collect();
    let created = manifests.iter().map(|manifest| stage.create(space, manifest));
    futures::future::try_join_all(created).await.unwrap();
    let nodes = stage.nodes(space);
    let all_serve = async || {
        let list = nodes.list(&ListParams::default()).await.map_err(|e| e.to_string())?.items;
        let serve = list.iter().filter(|n| sample::is_running(n) && sample::is_ready(n)).count();
        if serve == FLEET { Ok(list) } else { Err(format!("{serve} of {FLEET} serve")) }
    };
    let before = wait_until("the fleet to serve", SOON * 5, all_serve).await?;
    println!("  {FLEET} nodes serve after {:.1} s", start.elapsed().as_secs_f64());
    drop(operator);
    let mark = stage.plane.audit_mark()?;
    let operator = stage.operator("restart-silent-again")?;
    // Every node has been looked at once the series of all are there; then it is given a while to change its mind.
    wait_until("every node to be looked at", SOON, async || {
        let text = operator.metrics().await?;
        let series = text.lines().filter(|line| line.starts_with("sei_controller_plan_active{"));
        let seen = series.filter(|line| line.contains(&format!("namespace=\"{space}\""))).count();
        if seen == FLEET { Ok(()) } else { Err(format!("{seen} were looked at")) }
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = sample::of_operators(stage.plane.audit_since(mark)?);
    let writes: Vec<_> =
        log.iter().filter(|e| e.is_write() && e.namespace == space).map(sample::line).collect();
    println!("  {} reads, {} writes after the restart", log.len() - writes.len(), writes.len());
    assert_eq!(writes, Vec::<String>::new());
    let version = |list: &[SeiNode]| {
        list.iter().map(|n| (n.name().to_owned(), n.resource_version().to_owned())).collect::<Vec<_>>()
    };
    let after = nodes.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(version(&after), version(&before), "no node has a newer version");
    Ok(())
}
