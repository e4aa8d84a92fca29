//! What a status write breaks: laws 3, 4, 8, 10, 11, 16, and that its patch is the smallest one.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::scene::Scene;
use crate::api::condition::find;
use crate::api::{SeiNodeStatus, Stamp};
use crate::decision::StatusWrite;
use crate::ident::NodeKey;
use crate::patch;
use crate::plan::lint;

/// What is wrong with a write.
pub(super) fn broken(scene: &Scene, write: &StatusWrite) -> Vec<String> {
    let (node, before, after) = (&scene.node, &scene.node.status, &write.status);
    let mut out = Vec::new();
    if write.version.as_str() != node.resource_version() || write.uid.as_str() != node.uid() {
        out.push("law 4: the write is not guarded by what was read".to_owned());
    }
    if write.key != NodeKey::of(node) {
        out.push("law 4: the write is to another node".to_owned());
    }
    let known = lint::status(before);
    let findings = lint::step(before, after).into_iter();
    let findings = findings.chain(lint::status(after).into_iter().filter(|f| !known.contains(f)));
    out.extend(findings.map(|f| format!("law {}: {}", f.law, f.text)));
    out.extend(conditions(scene, after));
    if after.extra != before.extra {
        out.push("law 16: fields of a newer version changed".to_owned());
    }
    out.extend(smallest(before, write));
    out
}

/// Law 11: what a write says of conditions it says of the generation that was decided on; times move with the status.
fn conditions(scene: &Scene, after: &SeiNodeStatus) -> Vec<String> {
    let mut out = Vec::new();
    for condition in &after.conditions {
        let old = find(&scene.node.status.conditions, &condition.condition_type);
        if old == Some(condition) {
            continue;
        }
        if condition.observed_generation != Some(scene.node.generation()) {
            out.push(format!("law 11: {} is not of the generation decided on", condition.condition_type));
        }
        let moved = old.is_none_or(|o| o.status != condition.status);
        let at = condition.last_transition_time.as_ref().and_then(Stamp::at).map(Timestamp::as_second);
        if moved && at != Some(scene.now.as_second()) {
            out.push(format!("law 11: {} changed and its time did not", condition.condition_type));
        }
    }
    out
}

/// The patch turns the stored status into the next one, and says nothing that is stored already.
fn smallest(before: &SeiNodeStatus, write: &StatusWrite) -> Vec<String> {
    let json = |status: &SeiNodeStatus| serde_json::to_value(status).unwrap_or(Value::Null);
    let mut result = json(before);
    patch::apply(&mut result, &write.patch);
    let mut out = Vec::new();
    if without_nulls(&result) != without_nulls(&json(&write.status)) {
        out.push(format!("the patch does not give the next status: {}", write.patch));
    }
    if let Some(path) = idle(&json(before), &write.patch, "") {
        out.push(format!("the patch repeats what is stored at {path}"));
    }
    out
}

/// A merge patch can't store nulls in objects; in lists it can.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value.clone(),
    }
}

fn idle(stored: &Value, said: &Value, path: &str) -> Option<String> {
    match (stored, said) {
        (Value::Object(a), Value::Object(b)) => b.iter().find_map(|(key, value)| {
            idle(a.get(key).unwrap_or(&Value::Null), value, &format!("{path}.{key}"))
        }),
        (a, b) => (a == b).then(|| path.to_owned()),
    }
}
