//! A workflow that the Go operator has adopted is run to its end, or held, or released by force.

use std::time::Duration;

use kube::api::{DeleteParams, Patch, PatchParams};
use seinode_core::api::workflow::FORCE;
use seinode_core::api::{ConditionType, SeiNode};
use seinode_sim::sidecar::{Ending, Event, Script};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::json;

use crate::sample;

const TASKS: [&str; 5] = ["mark-not-ready", "stop-seid", "reset-data", "configure-state-sync", "mark-ready"];

fn is_free(node: &SeiNode) -> bool {
    node.status.adopted_workflow.is_none() && sample::is_ready(node)
}

/// A Running node, left by its operator.
async fn left(stage: &Stage, space: &str) -> Result<SeiNode, LiveError> {
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Ready", sample::is_ready).await?;
    operator.stop().map_err(|source| LiveError::Io { what: "stop the operator".into(), source })?;
    Ok(node)
}

pub(crate) async fn s27_an_adopted_workflow_is_run_to_its_end(stage: &Stage) -> Result<(), LiveError> {
    let space = "workflow-end";
    let node = left(stage, space).await?;
    let before = stage.kubelet.director(space, "one").journal().len();
    stage.occupy(&node, "resync").await?;
    let first = stage.operator(space)?;
    let has_plan = |w: &serde_json::Value| w.pointer("/status/plan/tasks/1/submittedAt").is_some();
    stage.until_workflow(space, "resync", "the second task", has_plan).await?;
    // Killed in the middle, and two of them from there on.
    first.kill().map_err(|source| LiveError::Io { what: "kill the operator".into(), source })?;
    let _two = [stage.operator(space)?, stage.operator(&format!("{space}-2"))?];
    let node = stage.until(space, "one", "the node to be free", is_free).await?;
    let ended =
        stage.until_workflow(space, "resync", "its end", |w| w["status"]["phase"] == "Complete").await?;
    assert_eq!(ended["metadata"].get("finalizers"), None);
    assert_eq!(ended["status"]["plan"]["phase"], "Complete");
    let journal = stage.kubelet.director(space, "one").journal();
    // What was begun, not what was sent: who is killed after a POST and before its record sends it again, two may
    // send it at once, and the sidecar knows the id.
    let begun = journal.iter().skip(before).filter(|entry| entry.event == Event::Started);
    let of_workflow =
        |id: &str| ended["status"]["plan"]["tasks"].as_array().into_iter().flatten().any(|t| t["id"] == id);
    let begun: Vec<_> = begun.filter(|e| of_workflow(&e.id)).map(|e| e.kind.as_str()).collect();
    assert_eq!(begun, TASKS, "each once, in order");
    assert!(sample::says(ConditionType::WorkflowInProgress, "NoWorkflow")(&node));
    Ok(())
}

pub(crate) async fn s27_a_failed_workflow_is_held_until_it_is_forced(stage: &Stage) -> Result<(), LiveError> {
    let space = "workflow-force";
    let node = left(stage, space).await?;
    let director = stage.kubelet.director(space, "one");
    let fails = Ending::Fail { error: "no such folder".into(), result: None };
    director.direct(|script| *script = Script::default().runs("reset-data", vec![fails; 30]));
    stage.occupy(&node, "resync").await?;
    let _operator = stage.operator(space)?;
    let held = sample::says(ConditionType::Ready, "WorkflowOccupied");
    stage.until(space, "one", "the node to say who has it", held).await?;
    // Its 20 retries take minutes, so it is deleted before they are used up.
    wait_until(
        "a failed run",
        SOON,
        async || {
            if director.runs("reset-data") > 1 { Ok(()) } else { Err("not yet") }
        },
    )
    .await?;
    let workflows = stage.workflows(space);
    workflows.delete("resync", &DeleteParams::default()).await.unwrap();
    let held = sample::says(ConditionType::WorkflowInProgress, "WorkflowFailedHeld");
    let node = stage.until(space, "one", "the node to be held", held).await?;
    assert!(sample::message(&node, &ConditionType::Ready).contains(FORCE));
    let runs = director.runs("reset-data");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(director.runs("reset-data"), runs, "nothing goes on while its deletion waits");
    let forced = json!({"metadata": {"annotations": {FORCE: "true"}}});
    workflows.patch("resync", &PatchParams::default(), &Patch::Merge(forced)).await.unwrap();
    // Looked at every 30 s.
    stage.until(space, "one", "the node to be free", is_free).await?;
    wait_until("the workflow to be gone", SOON, async || match workflows.get_opt("resync").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
}
