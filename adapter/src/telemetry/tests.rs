#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use seinode_core::api::SeiNode;
use serde_json::{Value, json};

use super::*;

fn node(status: &Value) -> SeiNode {
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": "one", "uid": "u"},
        "spec": {"chainId": "pacific-1", "image": "seid:1", "fullNode": {}},
        "status": status,
    }))
    .unwrap()
}

fn plan(phase: &str, task: &str) -> Value {
    json!({"id": "p", "phase": phase, "tasks": [
        {"id": "t", "type": task, "status": "Pending", "submittedAt": "2026-01-01T00:01:00Z"}
    ]})
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[track_caller]
fn assert_shown(metrics: &Metrics, lines: &[&str]) {
    let text = metrics.exposition().unwrap();
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "no line {line} in\n{text}");
    }
}

#[test]
fn v04_the_time_in_a_phase_is_that_of_the_phase_that_was_left() {
    let metrics = Metrics::new();
    let before = node(&json!({"phase": "Initializing", "phaseTransitionTime": "2026-01-01T00:00:00Z"}));
    let after = node(&json!({"phase": "Running", "phaseTransitionTime": "2026-01-01T00:01:30Z"}));
    metrics.stored(&before.status, &after, at("2026-01-01T00:01:30Z"));
    metrics.stored(&after.status, &after, at("2026-01-01T00:02:00Z"));
    assert_shown(
        &metrics,
        &[
            r#"sei_controller_seinode_phase_duration_seconds_sum{namespace="ns",chain_id="pacific-1",phase="Initializing"} 90.0"#,
            r#"sei_controller_seinode_phase_duration_seconds_count{namespace="ns",chain_id="pacific-1",phase="Initializing"} 1"#,
            r#"sei_controller_seinode_phase_transitions_total{controller="seinode",namespace="ns",from_phase="Initializing",to_phase="Running"} 1"#,
            "sei_controller_status_writes_total 2",
        ],
    );
}

#[test]
fn v05_a_plan_is_active_once_however_often_it_is_looked_at() {
    let metrics = Metrics::new();
    let active = node(&json!({"phase": "Running", "plan": plan("Active", "observe-image")}));
    for _ in 0..3 {
        metrics.node(&active);
    }
    let line = |value| {
        format!(r#"sei_controller_plan_active{{controller="seinode",namespace="ns",name="one"}} {value}"#)
    };
    assert_shown(&metrics, &[&line(1)]);
    metrics.node(&node(&json!({"phase": "Running"})));
    assert_shown(&metrics, &[&line(0)]);
}

#[test]
fn v06_nothing_is_shown_of_a_node_that_is_gone_or_stopped() {
    let metrics = Metrics::new();
    let ready = json!([{"type": "SidecarReady", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let mut running = node(&json!({"phase": "Running", "conditions": ready}));
    metrics.node(&running);
    let line =
        |value| format!(r#"sei_controller_seinode_sidecar_ready{{namespace="ns",name="one"}} {value}"#);
    assert_shown(&metrics, &[&line(1)]);
    running.spec.paused = Some(true);
    metrics.node(&running);
    assert_shown(&metrics, &[&line(0)]);
    metrics.waits(&NodeKey::of(&running), Some("Paused"));
    assert_shown(&metrics, &[r#"sei_controller_waiting_nodes{reason="Paused"} 1"#]);
    metrics.forget(&NodeKey::of(&running));
    let text = metrics.exposition().unwrap();
    assert!(!text.contains("name=\"one\"") && !text.contains("reason="), "{text}");
    metrics.node(&running);
    metrics.retain(|_| false);
    assert!(!metrics.exposition().unwrap().contains("name=\"one\""), "a node that a new list does not show");
}

#[test]
fn v08_the_time_of_a_plan_is_counted_once_in_the_write_that_ends_it() {
    let metrics = Metrics::new();
    let status = |plan: Value| node(&json!({"phase": "Running", "plan": plan}));
    let (now, init) = (at("2026-01-01T00:01:07Z"), "ensure-data-pvc");
    let (active, failed) = (status(plan("Active", init)), status(plan("Failed", init)));
    metrics.stored(&active.status, &active, now);
    metrics.stored(&active.status, &failed, now);
    metrics.stored(&failed.status, &failed, now);
    // An update is removed by the write that completes it; a plan that is replaced has no outcome.
    let update = status(plan("Active", "observe-image"));
    metrics.stored(&update.status, &status(Value::Null), now);
    let mut other = plan("Active", "observe-image");
    other["id"] = json!("another");
    metrics.stored(&update.status, &status(other), now);
    let text = metrics.exposition().unwrap();
    let counts: Vec<&str> =
        text.lines().filter(|l| l.starts_with("sei_controller_plan_duration_seconds_count")).collect();
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert_shown(
        &metrics,
        &[
            r#"sei_controller_plan_duration_seconds_sum{controller="seinode",namespace="ns",plan_type="init",outcome="failed"} 7.0"#,
            r#"sei_controller_plan_duration_seconds_count{controller="seinode",namespace="ns",plan_type="init",outcome="failed"} 1"#,
            r#"sei_controller_plan_duration_seconds_count{controller="seinode",namespace="ns",plan_type="node-update",outcome="complete"} 1"#,
        ],
    );
}

#[test]
fn v07_failures_and_retries_are_counted() {
    let metrics = Metrics::new();
    let mut failed = plan("Failed", "config-apply");
    failed["failedTaskDetail"] = json!({"type": "config-apply", "id": "t", "error": "no"});
    let mut retried = plan("Active", "config-apply");
    retried["tasks"][0]["retryCount"] = json!(1);
    let status = |plan: Value| node(&json!({"phase": "Initializing", "plan": plan}));
    let now = at("2026-01-01T00:02:00Z");
    let (active, retried, failed) = (status(plan("Active", "config-apply")), status(retried), status(failed));
    metrics.stored(&active.status, &retried, now);
    metrics.stored(&retried.status, &failed, now);
    metrics.stored(&failed.status, &failed, now);
    metrics.reconciled(Duration::from_millis(3), true);
    assert_shown(
        &metrics,
        &[
            r#"sei_controller_task_retries_total{controller="seinode",namespace="ns",task_type="config-apply"} 1"#,
            r#"sei_controller_task_failures_total{controller="seinode",namespace="ns",task_type="config-apply"} 1"#,
            "sei_controller_reconcile_errors_total 1",
        ],
    );
}

/// Each name is on the page, and the page names nothing else.
#[test]
fn every_metric_is_documented() {
    let metrics = Metrics::new();
    let text = metrics.exposition().unwrap();
    let of_types =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name);
    // Families that are still empty are not in the text.
    let registry = format!("{:?}", metrics.registry);
    let registered =
        registry.split("name: \"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(name, _)| name);
    let shown: BTreeSet<&str> =
        of_types.chain(registered).filter(|name| name.starts_with("sei_controller_")).collect();
    let page = include_str!("../../../docs/metrics.md");
    let told: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name.trim_end_matches("_total").trim_end_matches("_info"))
        .filter(|name| {
            name.starts_with("sei_controller_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
        .collect();
    assert!(shown.len() > 20, "{shown:?}");
    assert_eq!(shown, told);
}
