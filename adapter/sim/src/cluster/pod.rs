//! Pods as the controllers make and read them.
//!
//! Answers: a pod from a template, whom a pod concerns, how far it is.
//! Refuses to know: which controller asks.
//! Upholds: a pod made here names its controller.

use super::object::{is_deleting, owners, text};
use crate::store::{Key, Kind};
use serde_json::{Value, json};

/// A pod from a template, owned by an object of that kind.
pub(super) fn from_template(kind: Kind, owner: &Value, template: &Value, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": text(owner, "namespace"),
        "generateName": format!("{}-", text(owner, "name")),
        "labels": {},
        "ownerReferences": [{
            "apiVersion": kind.api_version(),
            "kind": kind.name(),
            "name": text(owner, "name"),
            "uid": text(owner, "uid"),
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let given = &template["metadata"][field];
        if !given.is_null() {
            metadata[field] = given.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// The uid of the controller of an object.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    owners(object).iter().find(|owner| owner["controller"] == true)
}

/// The objects that have to be looked at when a pod changes: its controller, whoever waits for its name, its claims.
pub(super) fn concerns(key: &Key, pod: &Value) -> Vec<Key> {
    let mut found = Vec::new();
    if let Some(owner) = controller(pod)
        && let (Some(version), Some(kind), Some(name)) =
            (owner["apiVersion"].as_str(), owner["kind"].as_str(), owner["name"].as_str())
        && let Some(kind) = Kind::from_type_meta(version, kind)
    {
        found.push(Key::new(kind, &key.namespace, name));
    }
    if let Some((set, _)) = key.name.rsplit_once('-') {
        found.push(Key::new(Kind::StatefulSet, &key.namespace, set));
    }
    let claims = claims(pod).map(|claim| Key::new(Kind::PersistentVolumeClaim, &key.namespace, claim));
    found.extend(claims);
    found
}

/// Names of the claims that a pod mounts.
pub(super) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["spec"]["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    volumes.iter().filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

pub(super) fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

pub(super) fn is_ready(pod: &Value) -> bool {
    phase(pod) == "Running" && !has_ended(pod) && has_condition(pod, "Ready")
}

pub(super) fn has_condition(object: &Value, name: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().any(|condition| condition["type"] == name && condition["status"] == "True")
}

pub(super) fn is_terminating(pod: &Value) -> bool {
    is_deleting(pod)
}
