//! The operator is killed at telling moments and started again: same end, no task run twice.

use std::time::Duration;

use seinode_sim::sidecar::{Event, Script};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};

use crate::sample;

pub(crate) async fn killed_after_the_plan_was_stored(stage: &Stage) -> Result<(), LiveError> {
    let space = "crash-plan";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    stage.until(space, "one", "the plan to be stored", |n| n.status.plan.is_some()).await?;
    operator.kill().unwrap();
    again(stage, space).await
}

pub(crate) async fn killed_in_the_middle_of_the_plan(stage: &Stage) -> Result<(), LiveError> {
    let space = "crash-middle";
    killed_while_running(stage, space, "config-apply").await
}

pub(crate) async fn killed_just_before_the_end_of_the_plan(stage: &Stage) -> Result<(), LiveError> {
    let space = "crash-end";
    killed_while_running(stage, space, "mark-ready").await
}

async fn killed_while_running(stage: &Stage, space: &str, task: &str) -> Result<(), LiveError> {
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| *script = Script::default().lasting(task, Duration::from_millis(700)));
    let operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    wait_until("the task to run", SOON, async || {
        let started = director.journal().iter().any(|e| e.kind == task && e.event == Event::Started);
        if started { Ok(()) } else { Err("not yet") }
    })
    .await?;
    operator.kill().unwrap();
    again(stage, space).await
}

async fn again(stage: &Stage, space: &str) -> Result<(), LiveError> {
    let _operator = stage.operator(&format!("{space}-again"))?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    Ok(())
}
