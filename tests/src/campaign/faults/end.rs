//! The final state without what differs from run to run: ids, versions, times, addresses.

use seinode_core::api::{PlanPhase, SeiNode};
use seinode_operator::simulate::pretend::Pretend;
use seinode_sim::store::Kind;
use serde_json::{Map, Value, json};

/// The kinds that make up the end.
const KINDS: [Kind; 6] =
    [Kind::StatefulSet, Kind::Service, Kind::ConfigMap, Kind::PersistentVolumeClaim, Kind::Job, Kind::Pod];

/// What a life has come to.
pub(super) fn of(pretend: &Pretend) -> Value {
    let mut end = Map::new();
    for object in pretend.store.list(Kind::SeiNode, None) {
        if let Ok(node) = serde_json::from_value::<SeiNode>(Value::clone(&object)) {
            end.insert(format!("SeiNode {}", node.name()), of_node(&node));
        }
    }
    for kind in KINDS {
        for object in pretend.store.list(kind, None) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let mut kept = json!({
                "labels": object["metadata"]["labels"], "annotations": object["metadata"]["annotations"],
                "finalizers": object["metadata"]["finalizers"], "spec": object["spec"], "data": object["data"],
            });
            if let Some(labels) = kept["labels"].as_object_mut() {
                labels.retain(|key, _| !key.contains("controller-uid"));
            }
            if let Some(spec) = kept["spec"].as_object_mut().filter(|_| kind == Kind::Pod) {
                spec.remove("nodeName");
            }
            end.insert(format!("{kind} {name}"), without_ids(kept));
        }
    }
    Value::Object(end)
}

/// Of a node: what it has reached, and what its conditions say. Of a plan that has ended only how.
pub(super) fn of_node(node: &SeiNode) -> Value {
    let status = &node.status;
    let conditions: Map<String, Value> = status
        .conditions
        .iter()
        .map(|c| (c.condition_type.to_string(), json!(format!("{}/{}", c.status.as_str(), c.reason))))
        .collect();
    let active = status.plan.as_ref().filter(|plan| plan.phase == PlanPhase::Active);
    json!({
        "spec": node.spec, "phase": status.phase, "conditions": conditions,
        "active": active.map(|plan| plan.tasks.iter().map(|t| t.task_type.to_string()).collect::<Vec<_>>()),
        "images": [status.current_image, status.current_sidecar_image],
        "peers": status.resolved_peers, "witnesses": status.resolved_state_syncers,
        "endpoint": status.endpoint, "finalizers": node.metadata.finalizers,
    })
}

/// UUIDs within texts stand for the objects that they name.
fn without_ids(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(mask(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_ids).collect()),
        Value::Object(map) => {
            let kept =
                map.into_iter().filter(|(key, value)| !IDS.contains(&key.as_str()) && !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_ids(value))).collect())
        }
        other => other,
    }
}

/// Fields that hold nothing but ids.
const IDS: [&str; 2] = ["uid", "volumeName"];

fn mask(text: &str) -> String {
    const SHAPE: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    let is_id = |part: &str| {
        let fits = |(c, s): (char, char)| if s == 'x' { c.is_ascii_hexdigit() } else { c == s };
        part.len() == SHAPE.len() && part.chars().zip(SHAPE.chars()).all(fits)
    };
    let start = (0..text.len()).find(|i| text.get(*i..*i + SHAPE.len()).is_some_and(is_id));
    match start {
        Some(start) => format!("{}<id>{}", &text[..start], mask(&text[start + SHAPE.len()..])),
        None => text.to_owned(),
    }
}

/// What differs between two ends, shortly. `forgotten`: the sidecar has lost its records, by which alone it can be told whether
/// the config is that of the spec: all of them, so that nothing is known, or the older ones, so that some of it seems missing.
pub(super) fn differences(wanted: &Value, found: &Value, forgotten: bool) -> Vec<String> {
    let mut out = Vec::new();
    compare("", wanted, found, &mut out);
    out.retain(|text| !(forgotten && text.contains("/conditions/ConfigOutdated is ")));
    out
}

fn compare(path: &str, wanted: &Value, found: &Value, out: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}/{key}"), a, b, out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let short = |v: &Value| v.to_string().chars().take(120).collect::<String>();
            out.push(format!("{path} is {}, not {}", short(b), short(a)));
        }
    }
}
