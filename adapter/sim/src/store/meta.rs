//! Reading and writing the metadata of an object that is a JSON value.
//!
//! Answers: what a metadata field says. Refuses to know: what the rest of an object means. Upholds: nothing
//! here panics on an odd object, and what is written has the form the real server gives it (empty means
//! absent).

use serde_json::{Map, Value, json};

use super::Kind;
use crate::apply;
use crate::error::StoreError;

/// Metadata lists and maps that the real server drops when they are empty.
const DROPPED_WHEN_EMPTY: [&str; 5] =
    ["annotations", "finalizers", "labels", "managedFields", "ownerReferences"];

/// The metadata of an object; `Null` if it has none.
pub(crate) fn metadata(object: &Value) -> &Value {
    &object["metadata"]
}

/// A metadata field that is text; empty if absent.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object)[field].as_str().unwrap_or_default()
}

/// The namespace of an object; empty if it has none.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// The version of an object; 0 if it has none or it is no number.
pub(crate) fn version_of(object: &Value) -> u64 {
    text(object, "resourceVersion").parse().unwrap_or(0)
}

/// The finalizers of an object.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    list(object, "finalizers").iter().filter_map(Value::as_str).collect()
}

/// The owner references of an object.
pub(crate) fn owners(object: &Value) -> &[Value] {
    list(object, "ownerReferences")
}

/// Whether somebody asked for the deletion of an object.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// Whether an object carries a finalizer.
pub(crate) fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).contains(&name)
}

/// Writes a metadata field; `Null` removes it.
pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    let Some(metadata) = map_of(object, "metadata") else {
        return;
    };
    if value.is_null() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), value);
    }
}

/// Writes a top-level field, or removes it.
pub(crate) fn set_top(object: &mut Value, field: &str, value: Option<&Value>) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// Copies a metadata field from another object, absence included.
pub(crate) fn take(object: &mut Value, field: &str, from: &Value) {
    set(object, field, metadata(from)[field].clone());
}

/// Counts one change of the spec, for objects that count them at all.
pub(crate) fn bump_generation(object: &mut Value) {
    let now = metadata(object)["generation"].as_i64().unwrap_or(0);
    if now > 0 {
        set(object, "generation", json!(now + 1));
    }
}

/// Drops what the real server would not store, and fills in the type.
pub(crate) fn tidy(kind: Kind, object: &mut Value) {
    if let Some(metadata) = map_of(object, "metadata") {
        metadata.retain(|field, value| {
            let is_empty =
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
            !(value.is_null() || is_empty && DROPPED_WHEN_EMPTY.contains(&field.as_str()))
        });
    }
    if !kind.is_custom() {
        drop_nulls(object);
        drop_empty(object);
        for (field, inner) in apply::blank(kind).as_object().into_iter().flatten() {
            if inner.is_object() && object[field].is_null() {
                set_top(object, field, Some(&json!({})));
            }
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(kind.api_version()));
        map.insert("kind".to_owned(), json!(kind.name()));
    }
}

/// Refuses what is no object, or is an object of another kind.
pub(crate) fn sound(kind: Kind, object: &Value) -> Result<(), StoreError> {
    let typed = |field: &str, wanted: &str| match &object[field] {
        Value::Null => true,
        found => found.as_str() == Some(wanted),
    };
    if !object.is_object() || !matches!(object["metadata"], Value::Null | Value::Object(_)) {
        return Err(StoreError::bad_request("the body of the request is not an object"));
    }
    if !typed("apiVersion", &kind.api_version()) || !typed("kind", kind.name()) {
        let message = format!(
            "the object provided is unrecognized (must be of type {}): {} {}",
            kind.name(),
            object["apiVersion"],
            object["kind"],
        );
        return Err(StoreError::bad_request(message));
    }
    Ok(())
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    metadata(object)[field].as_array().map_or(&[], Vec::as_slice)
}

fn map_of<'a>(object: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    object.as_object_mut()?.entry(field).or_insert_with(|| json!({})).as_object_mut()
}

/// Built-in kinds are read into types, which keep no empty list, and of these maps no empty one.
fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(drop_empty);
            map.retain(|field, inner| match inner {
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !MAPS.contains(&field.as_str()),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fields of built-in kinds that are maps, rather than structures.
const MAPS: [&str; 10] = [
    "annotations",
    "binaryData",
    "capacity",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
    "stringData",
];

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
