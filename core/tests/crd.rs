//! The definition says precisely what the contract says, in our own words.

use seinode_core::api::crd::custom_resource_definition;
use serde_json::{Value, json};

const CONTRACT: &str = include_str!("../fixtures/crd/seinodes.schema.json");

/// Drops what is ours to choose: descriptions, texts of rules (their number stays), columns beyond the
/// contract's.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, value)| !(*key == "description" && value.is_string()))
            .map(|(key, value)| match value {
                Value::Array(rules) if key == "x-kubernetes-validations" => (key.clone(), json!(rules.len())),
                other => (key.clone(), canonical(other)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

fn take_columns(crd: &mut Value) -> Vec<Value> {
    let columns =
        crd.pointer_mut("/spec/versions/0/additionalPrinterColumns").expect("a definition has columns");
    columns.take().as_array().expect("columns are a list").clone()
}

#[test]
fn same_as_the_contract_apart_from_words() {
    let mut ours = custom_resource_definition();
    let mut theirs: Value = serde_json::from_str(CONTRACT).expect("the fixture is JSON");
    let (own_columns, contract_columns) = (take_columns(&mut ours), take_columns(&mut theirs));
    let (kept, extra): (Vec<_>, Vec<_>) = own_columns.into_iter().partition(|c| contract_columns.contains(c));
    assert_eq!(kept, contract_columns, "columns of the contract, in its order");
    assert!(extra.iter().all(|column| column["priority"] == 1), "{extra:?}");

    let root = ours
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .and_then(Value::as_object_mut)
        .expect("a definition has a schema");
    let name_rule = root.remove("x-kubernetes-validations").expect("the rule about names");
    assert_eq!(name_rule.as_array().map(Vec::len), Some(1));

    assert_eq!(canonical(&ours), canonical(&theirs));
}

/// Every schema of a tree with its path.
fn each_schema(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        each_schema(property, &format!("{path}.{name}"), visit);
    }
    if let Some(items) = schema.get("items") {
        each_schema(items, &format!("{path}[]"), visit);
    }
    if let Some(values) = schema.get("additionalProperties") {
        each_schema(values, &format!("{path}{{}}"), visit);
    }
}

#[test]
fn every_field_is_explained_and_every_rule_has_a_remedy() {
    let crd = custom_resource_definition();
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("a definition has a schema");
    each_schema(schema, "", &mut |path, schema| {
        if path != ".metadata" && !path.ends_with("[]") && !path.ends_with("{}") {
            let description = schema["description"].as_str().unwrap_or_default();
            assert!(description.starts_with("The "), "{path}: {description}");
            assert!(description.ends_with('.'), "{path}: {description}");
        }
        for rule in schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            assert_eq!(message.split("; ").count(), 2, "{path}: {message}");
            assert!(!message.contains('\n'), "{path}: {message}");
        }
    });
}
