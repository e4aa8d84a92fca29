//! The API server stalls, and is restarted.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use seinode_sim::sidecar::{Event, Script};
use seinode_tests::live::{Component, LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};

use crate::{elected, leads, metrics_until, page, sample};

pub(crate) async fn a_stalled_and_a_restarted_api_server_end_no_operator(
    stage: &mut Stage,
) -> Result<(), LiveError> {
    let space = "outage";
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| *script = Script::default().lasting("config-apply", Duration::from_secs(1)));
    let mut operator = elected(stage, space, &stage.plane.kubeconfig());
    metrics_until(&operator, "it to lead", leads).await?;

    // It answers nothing, and refuses nothing either.
    let server = stage.plane.pids()[&Component::ApiServer].to_string();
    let signal = |name: &str| Command::new("kill").args(["-s", name, &server]).status().unwrap();
    assert!(signal("STOP").success());
    let noticed = metrics_until(&operator, "the loss of the lease", |page| !leads(page)).await;
    assert!(signal("CONT").success());
    noticed?;
    metrics_until(&operator, "it to lead again", leads).await?;

    stage.create(space, &sample::full_node("one")).await.unwrap();
    wait_until("the task to run", SOON, async || {
        let started =
            director.journal().iter().any(|e| e.kind == "config-apply" && e.event == Event::Started);
        if started { Ok(()) } else { Err("not yet") }
    })
    .await?;
    let plane = Arc::get_mut(&mut stage.plane).unwrap();
    plane.kill(Component::ApiServer).await?;
    wait_until("the operator to notice", SOON, async || {
        let log = operator.log();
        if log.contains("a watch failed") || log.contains("could not be renewed") { Ok(()) } else { Err(log) }
    })
    .await?;
    assert_eq!(page(&operator, "probes", "/healthz").await?.status, 200, "a restart would not help");
    plane.resume(Component::ApiServer).await?;
    // It would take up its watches a minute later only.
    plane.stop(Component::ControllerManager).await?;
    plane.resume(Component::ControllerManager).await?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    metrics_until(&operator, "it to lead again", leads).await?;
    assert!(!operator.has_ended().unwrap());
    assert!(operator.stop().unwrap().success());
    Ok(())
}
