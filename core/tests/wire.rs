//! What the schema allows is read and written back without loss, and so is what only a newer version knows.

use seinode_core::api::crd::custom_resource_definition;
use seinode_core::api::{SeiNode, Stamp};
use serde_json::{Map, Value, json};

fn schema() -> Value {
    let crd = custom_resource_definition();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("a definition has a schema").clone()
}

/// A value with everything the schema allows; `turn` picks among the values of an enum.
fn sample(schema: &Value, turn: usize) -> Value {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values[turn % values.len()].clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => object(schema, turn),
        Some("array") => json!([sample(&schema["items"], turn), sample(&schema["items"], turn + 1)]),
        Some("boolean") => json!(turn.is_multiple_of(2)),
        Some("integer") => json!(i32::MAX),
        Some("string") if schema.get("format").is_some() => json!("2026-01-02T03:04:05.678+02:00"),
        Some("string") => json!(format!("text {turn}")),
        _ if schema.get("x-kubernetes-int-or-string").is_some() => {
            [json!(2), json!("500m")][turn % 2].clone()
        }
        _ => json!({"deep": [null, 1, "two", {"half": 0.5}], "nothing": null}),
    }
}

fn object(schema: &Value, turn: usize) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut fields: Map<_, _> =
        properties.into_iter().flatten().map(|(name, field)| (name.clone(), sample(field, turn))).collect();
    if let Some(values) = schema.get("additionalProperties") {
        fields.insert("some.key".to_owned(), sample(values, turn));
        fields.insert("other".to_owned(), sample(values, turn + 1));
    }
    Value::Object(fields)
}

fn full_node(turn: usize) -> Value {
    let mut node = sample(&schema(), turn);
    node["apiVersion"] = json!("sei.io/v1alpha1");
    node["kind"] = json!("SeiNode");
    node["metadata"] =
        json!({"name": "a", "namespace": "b", "uid": "u", "generation": 3, "finalizers": ["f"]});
    node
}

fn assert_kept(node: &Value) {
    let read: SeiNode = serde_json::from_value(node.clone()).expect("every node reads");
    let written = serde_json::to_value(&read).expect("every node writes");
    assert_eq!(&written, node);
}

#[test]
fn a_node_with_everything_is_kept() {
    // No enum has more than five values, so five turns show each of them in each place.
    for turn in 0..5 {
        assert_kept(&full_node(turn));
    }
}

#[test]
fn the_sample_has_everything() {
    let node = full_node(0);
    for path in [
        "/spec/sidecar/resources/claims/1/request",
        "/spec/validator/operatorKeyring/secret/passphraseSecretRef/key",
        "/status/plan/tasks/1/params/deep/3/half",
        "/status/plan/failedTaskDetail/retryCount",
        "/status/resolvedRPCWitnesses/0",
        "/status/adoptedWorkflow/adoptedAt",
    ] {
        assert!(node.pointer(path).is_some(), "{path}");
    }
}

/// Adds a field to every object below `status`, except inside parameters, which are free anyway.
fn grow(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.iter_mut().filter(|(name, _)| *name != "params").for_each(|(_, field)| grow(field));
            fields.insert("ofANewerVersion".to_owned(), json!({"a": [1, null]}));
        }
        Value::Array(items) => items.iter_mut().for_each(grow),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn newer_fields_anywhere_in_status_survive() {
    let mut node = full_node(1);
    grow(&mut node["status"]);
    for place in
        ["", "/plan", "/plan/tasks/0", "/plan/failedTaskDetail", "/conditions/0", "/endpoint", "/statefulSet"]
    {
        assert!(node.pointer(&format!("/status{place}/ofANewerVersion")).is_some(), "{place}");
    }
    assert_kept(&node);
}

/// Replaces every text below `status` that an enum, a task type or a time stands in.
fn spoil(schema: &Value, value: &mut Value, name: &str) {
    let is_special = schema.get("enum").is_some() || schema.get("format").is_some() || name == "type";
    match value {
        Value::String(text) if is_special => *text = format!("unheard of {name}"),
        Value::Object(fields) => {
            for (name, field) in fields {
                spoil(&schema["properties"][name.as_str()], field, name);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(&schema["items"], item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn unknown_values_types_and_times_survive() {
    let mut node = full_node(2);
    spoil(&schema()["properties"]["status"], &mut node["status"], "status");
    assert_eq!(node["status"]["plan"]["tasks"][0]["type"], "unheard of type");
    assert_eq!(node["status"]["plan"]["targetPhase"], "unheard of targetPhase");
    assert_eq!(node["status"]["conditions"][0]["lastTransitionTime"], "unheard of lastTransitionTime");
    assert_kept(&node);

    let read: SeiNode = serde_json::from_value(node).expect("every node reads");
    let submitted = read.status.plan.and_then(|plan| plan.tasks[0].submitted_at.clone());
    assert_eq!(submitted.as_ref().map(Stamp::as_str), Some("unheard of submittedAt"));
    assert_eq!(submitted.and_then(|stamp| stamp.at()), None);
}

#[test]
fn a_list_in_place_of_a_time_survives() {
    let mut node = full_node(3);
    node["status"]["phaseTransitionTime"] = json!([]);
    node["status"]["plan"]["tasks"][0]["submittedAt"] = json!(["2026-01-02T03:04:05Z"]);
    node["status"]["conditions"][0]["lastTransitionTime"] = json!([1]);
    assert_kept(&node);
}

#[test]
fn the_least_is_kept_too() {
    assert_kept(&json!({
        "apiVersion": "sei.io/v1alpha1",
        "kind": "SeiNode",
        "metadata": {"name": "a"},
        "spec": {"chainId": "c", "image": "i", "fullNode": {}},
    }));
    let mut node = full_node(0);
    node["status"] = json!({"plan": {"phase": "Active", "tasks": []}});
    node["status"]["plan"]["id"] = json!("");
    assert_kept(&node);
    for missing in ["status", "spec", "metadata"] {
        let mut node = full_node(0);
        node[missing] = Value::Null;
        let node = node.as_object_mut().expect("a node is an object");
        node.remove(missing);
        assert!(serde_json::from_value::<SeiNode>(Value::Object(node.clone())).is_ok(), "{missing}");
    }
}
