//! The little that is asked of the parts every Kubernetes object has.

use serde_json::Value;

use super::FieldError;
use super::value::matches;
use crate::api::{API_VERSION, KIND};

/// Whether the object is of our kind, with metadata fields that exist.
pub(super) fn identity(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        if object.get(field).and_then(Value::as_str) != Some(wanted) {
            errors.push(error(field, "names another kind", &format!("set it to {wanted}")));
        }
    }
    let metadata = object.get("metadata").and_then(Value::as_object);
    if object.get("metadata").is_some_and(|metadata| !metadata.is_object() && !metadata.is_null()) {
        errors.push(error("metadata", "must be an object", "set metadata.name"));
    }
    for field in ["name", "generateName"] {
        let value = metadata.and_then(|fields| fields.get(field));
        if value.is_some_and(|value| !value.is_string() && !value.is_null()) {
            errors.push(error(&format!("metadata.{field}"), "must be text", "put the value in quotes"));
        }
    }
    let unknown =
        metadata.into_iter().flat_map(|fields| fields.keys()).filter(|name| !FIELDS.contains(&name.as_str()));
    errors.extend(
        unknown.map(|name| error(&format!("metadata.{name}"), "is not a field of metadata", "remove it")),
    );
    errors
}

/// Whether the name is one that a URL takes; the API server makes one from `generateName`.
pub(super) fn name(object: &Value) -> Option<FieldError> {
    let field =
        |name: &str| object.get("metadata").and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
    match (field("name"), field("generateName")) {
        (None | Some(""), None | Some("")) => {
            Some(error("metadata.name", "is missing", "set the name of the node"))
        }
        (Some(name), _) if !name.is_empty() && !is_subdomain(name) => Some(error(
            "metadata.name",
            "must be lower-case letters, digits, dashes and dots, at most 253 characters",
            "choose another name",
        )),
        _ => None,
    }
}

fn is_subdomain(name: &str) -> bool {
    let pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    name.len() <= 253 && matches(pattern, name)
}

fn error(path: &str, problem: &str, remedy: &str) -> FieldError {
    FieldError { path: path.to_owned(), problem: problem.to_owned(), remedy: remedy.to_owned() }
}

/// The fields of metadata that an API server knows.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
