//! The CustomResourceDefinition of `SeiNode`, built by hand so that every word of it is ours to choose.
//!
//! Answers: what an API server must be told to store nodes. Refuses to know: which objects pass; see
//! [`admission`](super::admission), which reads the very schema that stands here.

pub(crate) mod rule;
mod schema;
mod secret;
mod snapshot;
mod spec;
mod status;

use serde_json::{Value, json};

use schema::Schema;

/// The definition as an API server takes it.
pub fn custom_resource_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", super::PLURAL, super::GROUP)},
        "spec": {
            "group": super::GROUP,
            "names": {
                "kind": super::KIND,
                "listKind": format!("{}List", super::KIND),
                "plural": super::PLURAL,
                "shortNames": ["snode"],
                "singular": "seinode",
            },
            "scope": "Namespaced",
            "versions": [{
                "additionalPrinterColumns": columns(),
                "name": super::VERSION,
                "schema": {"openAPIV3Schema": root_schema()},
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
            }],
        },
    })
}

/// Columns of `kubectl get`; priority 1 shows with `-o wide` only.
fn columns() -> Value {
    json!([
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "StatefulSet", "type": "string", "priority": 1, "jsonPath": ".status.statefulSet.name"},
        {"name": "Ready", "type": "string", "priority": 1, "jsonPath": READY},
        {"name": "Image", "type": "string", "priority": 1, "jsonPath": ".status.currentImage"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

const READY: &str = ".status.conditions[?(@.type==\"Ready\")].status";

/// The schema of the whole object, as `openAPIV3Schema` has it.
pub(crate) fn root_schema() -> Value {
    Schema::object(
        "The SeiNode: one node of a Sei chain, with its volume, its pod and its sidecar.",
        [
            ("apiVersion", Schema::text("The group and version of this kind, `sei.io/v1alpha1`.")),
            ("kind", Schema::text("The kind, `SeiNode`.")),
            ("metadata", Schema::bare_object()),
            ("spec", spec::schema()),
            ("status", status::schema()),
        ],
    )
    .checked_on_create(
        rule::SHORT_NAME,
        ".metadata",
        "metadata.name is longer than 52 characters, so names derived from it would not fit into labels; \
         choose \
         a shorter name",
    )
    .into_value()
}
