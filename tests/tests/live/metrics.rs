//! What the operator's `/metrics` says in the life of one node: a plan at work, a retry, an update that fails, deletion.

use std::time::Duration;

use kube::api::DeleteParams;
use seinode_core::api::condition::{ConditionStatus, ConditionType};
use seinode_core::api::{PlanPhase, SeiNode};
use seinode_sim::sidecar::{Ending, Script};
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{Operator, SOON, Stage};
use serde_json::json;

use crate::sample::{self, image};

/// The value of the series with this name and all these labels; `None` where there is none.
fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |line: &&str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
    let line = text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).find(has)?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn until(
    operator: &Operator,
    what: &str,
    name: &str,
    labels: &[(&str, &str)],
    wanted: Option<f64>,
) -> Result<(), LiveError> {
    wait_until(what, SOON, async || {
        let text = operator.metrics().await?;
        let found = value(&text, name, labels);
        if found == wanted { Ok(()) } else { Err(format!("{name}{labels:?} is {found:?}")) }
    })
    .await
}

pub(crate) async fn p15_v01_v05_v06_v07_gauges_and_counters_follow_the_node(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "metrics";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    let fails = |error: &str| Ending::Fail { error: error.into(), result: None };
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| {
        *script = Script::default()
            .runs("configure-genesis", [fails("no genesis yet")])
            .lasting("config-apply", Duration::from_secs(1));
    });
    let of_node = [("controller", "seinode"), ("namespace", space), ("name", "one")];
    let phase = |phase| [("namespace", space), ("name", "one"), ("phase", phase)];
    let (active, phases) = ("sei_controller_plan_active", "sei_controller_seinode_phase");

    stage.create(space, &sample::full_node("one")).await.unwrap();
    until(&operator, "an active plan", active, &of_node, Some(1.0)).await?;
    until(&operator, "the phase", phases, &phase("Initializing"), Some(1.0)).await?;
    sample::started(stage, space, "one", "config-apply", 1).await?;
    // However many passes there were: it counts plans, not passes (V5).
    assert_eq!(value(&operator.metrics().await.unwrap(), active, &of_node), Some(1.0));
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    let since = node.status.phase_transition_time.clone();
    until(&operator, "no active plan", active, &of_node, Some(0.0)).await?;
    until(&operator, "the phase", phases, &phase("Running"), Some(1.0)).await?;
    until(&operator, "one phase", phases, &phase("Initializing"), Some(0.0)).await?;
    let retries = "sei_controller_task_retries_total";
    let of_task = |task| [("controller", "seinode"), ("namespace", space), ("task_type", task)];
    until(&operator, "one retry", retries, &of_task("configure-genesis"), Some(1.0)).await?;

    // V1: an update that fails is shown, and the node still runs.
    director.direct(|script| *script = Script::default().runs("config-validate", [fails("bad config")]));
    sample::edit(stage, space, "one", json!({"image": image("2")})).await;
    let failed = |n: &SeiNode| sample::says(ConditionType::NodeUpdateInProgress, "UpdateFailed")(n);
    let node = stage.until(space, "one", "the update to fail", failed).await?;
    assert!(sample::is_running(&node), "a failed update leaves the phase");
    assert!(sample::shows(ConditionType::NodeUpdateInProgress, ConditionStatus::False)(&node));
    let plan = node.status.plan.as_ref().unwrap();
    assert_eq!(plan.phase, PlanPhase::Failed);
    for kind in [ConditionType::NodeUpdateInProgress, ConditionType::PlanFailed] {
        let message = sample::message(&node, &kind);
        let told = [plan.id.as_str(), "config-validate", "bad config"].iter().all(|t| message.contains(t));
        assert!(told, "{message}");
    }
    // P7, P8: in the failing write, with a constant reason.
    assert!(sample::shows(ConditionType::PlanFailed, ConditionStatus::True)(&node));
    assert!(sample::says(ConditionType::PlanFailed, "TaskFailed")(&node));
    let failures = "sei_controller_task_failures_total";
    until(&operator, "one failure", failures, &of_task("config-validate"), Some(1.0)).await?;
    until(&operator, "no active plan", active, &of_node, Some(0.0)).await?;
    // It stays to be seen; the next try waits for the back-off.
    let later = stage.nodes(space).get("one").await.unwrap();
    assert!(failed(&later) && sample::plan(&later) == plan.id);
    assert_eq!(later.status.phase_transition_time, since, "V4: the phase has not changed since");
    assert_eq!(later.status.current_image, Some(image("1")));

    stage.nodes(space).delete("one", &DeleteParams::background()).await.unwrap();
    sample::gone(stage, space, "one").await?;
    until(&operator, "the gauge to be gone", active, &of_node, None).await?;
    let text = operator.metrics().await.unwrap();
    let mut of_gone =
        text.lines().filter(|l| l.contains("name=\"one\"") && l.contains("namespace=\"metrics\""));
    assert_eq!(of_gone.next(), None, "V6: nothing is left of a node that is gone");
    assert_eq!(value(&text, retries, &of_task("configure-genesis")), Some(1.0), "counters stay");
    Ok(())
}
