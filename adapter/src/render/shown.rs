//! How plan and status are shown: without ids, texts, times and run state.

use seinode_core::api::{SeiNode, SeiNodeStatus};
use seinode_core::effect::{Effect, Manifest, Op};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::plan::pass::Outcome;

/// A plan without ids and run state; `null` if there is none.
pub(super) fn plan(stored: Option<&Value>) -> Value {
    let Some(stored) = stored.filter(|s| s.is_object()) else { return Value::Null };
    let text = |key: &str| stored.get(key).and_then(Value::as_str).unwrap_or_default();
    let tasks = stored.get("tasks").and_then(Value::as_array).into_iter().flatten();
    let task = |task: &Value| {
        json!({
            "type": task["type"], "params": task["params"],
            "maxRetries": task.get("maxRetries").cloned().unwrap_or(json!(0)),
        })
    };
    json!({
        "phase": text("phase"), "targetPhase": text("targetPhase"), "failedPhase": text("failedPhase"),
        "tasks": tasks.map(task).collect::<Vec<_>>(),
    })
}

/// The rest of a status, and what is seen of the pass from outside.
pub(super) fn status(node: &SeiNode, outcome: &Outcome) -> Value {
    let stored = to_json(&outcome.status);
    let mut out = Map::new();
    for key in SHOWN {
        if let Some(value) = stored.get(key) {
            out.insert(key.to_owned(), value.clone());
        }
    }
    out.insert("conditions".to_owned(), conditions(&outcome.status));
    out.insert("events".to_owned(), outcome.effects.iter().filter_map(event).collect());
    out.insert("statefulSetApplied".to_owned(), json!(outcome.effects.iter().any(applies_statefulset)));
    let given = node.status.plan.as_ref().map(|plan| &plan.id);
    let is_executed = given.is_some() && outcome.place.as_ref().map(|place| &place.plan) == given;
    out.insert("planExecuted".to_owned(), json!(is_executed));
    Value::Object(out)
}

/// Fields of a status that are shown as they are.
const SHOWN: [&str; 7] = [
    "adoptedWorkflow",
    "currentImage",
    "currentSidecarImage",
    "endpoint",
    "phase",
    "resolvedPeers",
    "resolvedStateSyncers",
];

/// Conditions by type, without texts and times.
fn conditions(status: &SeiNodeStatus) -> Value {
    let mut sorted: Vec<_> = status.conditions.iter().collect();
    sorted.sort_by_key(|c| c.condition_type.as_str());
    let shown = sorted.into_iter().map(|c| {
        without_nulls(json!({
            "type": c.condition_type, "status": c.status, "reason": c.reason, "observedGeneration": c.observed_generation,
        }))
    });
    shown.collect()
}

fn event(effect: &Effect) -> Option<Value> {
    match &effect.op {
        Op::Announce(notice) => {
            let kind = if notice.warning { "Warning" } else { "Normal" };
            Some(json!({"type": kind, "reason": notice.reason}))
        }
        _ => None,
    }
}

fn applies_statefulset(effect: &Effect) -> bool {
    matches!(&effect.op, Op::Apply { manifest, .. } if matches!(manifest.as_ref(), Manifest::StatefulSet(_)))
}

pub(super) fn without_nulls(mut object: Value) -> Value {
    if let Value::Object(fields) = &mut object {
        fields.retain(|_, value| !value.is_null());
    }
    object
}

/// The object as JSON.
pub(super) fn to_json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}
