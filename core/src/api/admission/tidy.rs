//! What happens to an object before it is judged: unknown fields, nulls, defaults.

use serde_json::{Map, Value};

use super::FieldError;
use super::complaint;
use super::site::{NOTHING, Site};

/// Complains about each field that the schema does not know, at any depth.
pub(super) fn unknown_fields(site: &Site<'_>, errors: &mut Vec<FieldError>) {
    if is_open(site.schema) {
        return;
    }
    if let Value::Object(fields) = site.new {
        for name in fields.keys().filter(|name| !is_known(site.schema, name)) {
            errors.push(complaint::unknown(site, name));
        }
    }
    for child in site.children() {
        unknown_fields(&child, errors);
    }
}

/// Drops each field that the schema does not know, at any depth.
pub(super) fn prune(schema: &Value, object: &mut Value) {
    if is_open(schema) {
        return;
    }
    if let Value::Object(fields) = object {
        fields.retain(|name, _| is_known(schema, name));
    }
    each_child(schema, object, prune);
}

/// Drops nulls and fills in defaults, at any depth.
pub(super) fn fill(schema: &Value, object: &mut Value) {
    if let Value::Object(fields) = object {
        fields.retain(|name, value| !(value.is_null() && is_known(schema, name)));
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            add_default(fields, name, property);
        }
    }
    each_child(schema, object, fill);
}

fn add_default(fields: &mut Map<String, Value>, name: &str, property: &Value) {
    if let Some(default) = property.get("default")
        && !fields.contains_key(name)
    {
        fields.insert(name.to_owned(), default.clone());
    }
}

/// Whether fields that are not listed may stand in an object: it takes any, or it is `metadata`.
fn is_open(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) || is_metadata(schema)
}

/// `metadata` is the one object whose schema says nothing at all, not even what it is for.
fn is_metadata(schema: &Value) -> bool {
    schema.as_object().is_some_and(|keywords| keywords.len() == 1)
        && schema.get("type").and_then(Value::as_str) == Some("object")
}

fn is_known(schema: &Value, name: &str) -> bool {
    schema.get("additionalProperties").is_some() || property(schema, name).is_some()
}

fn each_child(schema: &Value, object: &mut Value, apply: fn(&Value, &mut Value)) {
    match object {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                let child = property(schema, name).or_else(|| schema.get("additionalProperties"));
                if let Some(child) = child {
                    apply(child, value);
                }
            }
        }
        Value::Array(items) => {
            let child = schema.get("items").unwrap_or(&NOTHING);
            for item in items {
                apply(child, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get("properties").and_then(|properties| properties.get(name))
}
