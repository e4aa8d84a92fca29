//! Reading the metadata of objects that are JSON values.
//!
//! Answers: names, owners, finalizers.
//! Refuses to know: kinds.
//! Upholds: what is absent reads as empty.

use serde_json::Value;

pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

pub(super) fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"].as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

pub(super) fn has_finalizer(object: &Value, name: &str) -> bool {
    finalizers(object).contains(&name)
}

/// A count as the real server stores it: zero is left out.
pub(super) fn count(number: usize) -> Value {
    if number == 0 { Value::Null } else { Value::from(number) }
}

pub(super) fn is_deleting(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}
