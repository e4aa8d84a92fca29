//! From a manifest to Running: the order of writes, their number, and silence afterwards.

use std::time::{Duration, Instant};

use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};

use crate::sample;

/// Most API writes from creation to Running and Ready (finalizer, plan, claim, ConfigMap, StatefulSet, replicas, Service,
/// end, Ready; and one that may be refused as stale).
const MOST_WRITES: usize = 10;

/// An idle minute.
const IDLE: Duration = Duration::from_mins(1);

pub(crate) async fn from_manifest_to_running_with_few_writes_and_then_silence(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "life";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    let mark = stage.plane.audit_mark()?;
    let start = Instant::now();
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    println!("  from creation to Running: {:.2} s", start.elapsed().as_secs_f64());
    sample::ended_well_without_repeats(stage, &node);
    assert_eq!(node.status.current_image.as_deref(), Some("registry.example.net/seid:1"));
    stage
        .until(space, "one", "the node to be Ready", |n| {
            condition::find(&n.status.conditions, &ConditionType::Ready)
                .is_some_and(|c| c.status == ConditionStatus::True)
        })
        .await?;

    let log = sample::of_operators(stage.plane.audit_since(mark)?);
    let writes: Vec<_> = log.iter().filter(|e| e.is_write()).collect();
    for write in &writes {
        println!("  {}", sample::line(write));
    }
    println!("  {} API writes", writes.len());
    assert!(writes.len() <= MOST_WRITES, "{} writes", writes.len());

    // The status that holds the plan was stored before the first child was written ...
    let plan = writes
        .iter()
        .position(|e| e.resource == "seinodes" && e.subresource == "status" && e.is_granted())
        .unwrap();
    let stored = &writes[plan];
    let has_plan = stored.request.as_ref().is_some_and(|r| r.pointer("/status/plan/tasks").is_some());
    assert!(has_plan, "the first status write holds the plan");
    let child = writes.iter().find(|e| e.resource != "seinodes").unwrap();
    assert!(stored.done <= child.at, "{} came before the plan was stored", sample::line(child));
    // ... and before the sidecar saw its first task.
    let journal = stage.kubelet.director(space, "one").journal();
    assert!(stored.done <= journal.first().unwrap().at, "the sidecar was asked before the plan was stored");

    let mark = stage.plane.audit_mark()?;
    tokio::time::sleep(IDLE).await;
    let idle: Vec<_> = sample::of_operators(stage.plane.audit_since(mark)?);
    let asked: Vec<_> = idle.iter().filter(|e| e.verb != "watch").map(sample::line).collect();
    assert!(asked.is_empty(), "an idle node costs requests: {asked:?}");
    let status =
        operator.stop().map_err(|e| LiveError::Io { what: "stop the operator".into(), source: e })?;
    assert!(status.success(), "a stopped operator exits with {status}");
    Ok(())
}

pub(crate) async fn a_restarted_sidecar_is_marked_ready_again(stage: &Stage) -> Result<(), LiveError> {
    let space = "restart";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let ready = |n: &seinode_core::api::SeiNode| {
        condition::find(&n.status.conditions, &ConditionType::Ready)
            .is_some_and(|c| c.status == ConditionStatus::True)
    };
    stage.until(space, "one", "the node to be Ready", ready).await?;
    let director = stage.kubelet.director(space, "one");
    assert_eq!(director.runs("mark-ready"), 1);
    stage.kubelet.restart_sidecar(space, "one-0");
    wait_until("a second mark-ready", SOON, async || match director.runs("mark-ready") {
        2 => Ok(()),
        n => Err(format!("{n} runs")),
    })
    .await?;
    let node =
        stage.until(space, "one", "the mark-ready plan to be gone", |n| n.status.plan.is_none()).await?;
    assert!(sample::is_running(&node));
    Ok(())
}

pub(crate) async fn two_operators_end_as_one(stage: &Stage) -> Result<(), LiveError> {
    let space = "two";
    stage.namespace(space).await?;
    let _one = stage.operator("two-1")?;
    let _other = stage.operator("two-2")?;
    for name in ["a", "b", "c"] {
        stage.create(space, &sample::full_node(name)).await.unwrap();
    }
    for name in ["a", "b", "c"] {
        let node = stage.until(space, name, "the node to be Running", sample::is_running).await?;
        let plan = node.status.plan.as_ref().unwrap();
        for task in &plan.tasks {
            let runs = stage.kubelet.director(space, name).runs(task.task_type.as_str());
            assert!(runs <= 1, "{name}: {} ran {runs} times", task.task_type);
        }
    }
    Ok(())
}
