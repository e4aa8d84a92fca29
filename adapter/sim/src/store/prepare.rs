//! What the rules of a kind do to an object before it is stored.
//!
//! Answers: which parts of a write count, what the server fills in, when a generation moves. Refuses to
//! know: validation, which is the caller's to plug in. Upholds: a write of the spec never changes the
//! status and the other way round; only defaults that controllers depend on are modelled.

use serde_json::{Value, json};

use super::meta::{self, set, set_top, take};
use super::{Kind, Part};
use crate::patch;

/// Metadata that only the server writes.
const SERVER_SIDE: [&str; 5] =
    ["creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "selfLink", "uid"];

/// Takes out of a creation what only the server writes. The real server does not do this to an apply that creates.
pub(super) fn wipe(object: &mut Value) {
    for field in SERVER_SIDE {
        set(object, field, Value::Null);
    }
}

/// Fills in a new object.
pub(super) fn new_object(kind: Kind, object: &mut Value) {
    set(object, "resourceVersion", Value::Null);
    if kind.has_generation() {
        set(object, "generation", json!(1));
    }
    match first_status(kind) {
        First::Keep => {}
        First::None => set_top(object, "status", None),
        First::Is(status) => set_top(object, "status", Some(&status)),
    }
    if let Some(finalizer) = protection(kind)
        && !meta::has_finalizer(object, finalizer)
    {
        let mut all: Vec<Value> = meta::finalizers(object).into_iter().map(|f| json!(f)).collect();
        all.push(json!(finalizer));
        set(object, "finalizers", Value::Array(all));
    }
    default(kind, object);
}

/// Whether the real server stores this new object without something that it fills in when it reads it back: the phase of a
/// claim, and the labels of a Job, which are those of its pods unless it has some.
pub(super) fn lacks_default(kind: Kind, object: &Value) -> bool {
    match kind {
        Kind::PersistentVolumeClaim => true,
        Kind::Job => meta::metadata(object)["labels"].is_null(),
        _ => false,
    }
}

/// What the server derives from the uid of a new object: the labels by which a Job knows its pods.
pub(super) fn derive_from_uid(kind: Kind, object: &mut Value) {
    if kind != Kind::Job
        || object["spec"]["manualSelector"] == true
        || !object["spec"]["template"].is_object()
    {
        return;
    }
    let (uid, name) = (meta::text(object, "uid").to_owned(), meta::text(object, "name").to_owned());
    let labels = json!({
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    });
    let patch = json!({ "spec": {
        "selector": { "matchLabels": { "batch.kubernetes.io/controller-uid": uid } },
        "template": { "metadata": { "labels": labels } },
    } });
    patch::merge(object, &patch);
    default(kind, object);
}

/// Takes from `new` what a write to `part` may change, and everything else from `old`.
pub(super) fn isolate(kind: Kind, part: Part, new: &mut Value, old: &Value) {
    match part {
        Part::Main if kind.has_status() => set_top(new, "status", old.get("status")),
        Part::Main => {}
        Part::Status if kind.is_custom() => {
            let status = new.get("status").cloned();
            let version = meta::metadata(new)["resourceVersion"].clone();
            *new = old.clone();
            set_top(new, "status", status.as_ref());
            set(new, "resourceVersion", version);
        }
        Part::Status => {
            let status = new.get("status").cloned();
            let metadata = new.get("metadata").cloned();
            *new = old.clone();
            set_top(new, "status", status.as_ref());
            set_top(new, "metadata", metadata.as_ref());
            if kind == Kind::Pod {
                take(new, "ownerReferences", old);
                set(new, "deletionTimestamp", Value::Null);
            }
        }
    }
    default(kind, new);
}

/// Restores the metadata that an update can't change, and counts a change of the spec.
pub(super) fn fix_metadata(kind: Kind, part: Part, new: &mut Value, old: &Value) {
    take(new, "generation", old);
    take(new, "creationTimestamp", old);
    if meta::text(new, "uid").is_empty() {
        take(new, "uid", old);
    }
    for field in ["deletionGracePeriodSeconds", "deletionTimestamp"] {
        if !meta::metadata(old)[field].is_null() {
            take(new, field, old);
        }
    }
    if part == Part::Main && kind.has_generation() && is_spec_change(kind, new, old) {
        meta::bump_generation(new);
    }
}

/// Top-level fields outside metadata count; for built-in kinds that is the spec.
fn is_spec_change(kind: Kind, new: &Value, old: &Value) -> bool {
    if !kind.is_custom() {
        return new.get("spec") != old.get("spec");
    }
    let rest = |object: &Value| {
        let mut rest = object.clone();
        set_top(&mut rest, "metadata", None);
        set_top(&mut rest, "status", None);
        rest
    };
    rest(new) != rest(old)
}

enum First {
    Keep,
    None,
    Is(Value),
}

/// The status of a new object. The real server also writes counters that are zero; readers default them.
fn first_status(kind: Kind) -> First {
    match kind {
        Kind::Namespace => First::Is(json!({ "phase": "Active" })),
        Kind::PersistentVolume | Kind::PersistentVolumeClaim | Kind::Pod => {
            First::Is(json!({ "phase": "Pending" }))
        }
        Kind::Service => First::Is(json!({ "loadBalancer": {} })),
        Kind::StatefulSet => First::Is(json!({ "availableReplicas": 0, "replicas": 0 })),
        Kind::Job => First::Is(json!({})),
        Kind::SeiNetwork | Kind::SeiNode | Kind::SeiNodeTask | Kind::SeiNodeTaskWorkflow => First::None,
        Kind::ConfigMap
        | Kind::ControllerRevision
        | Kind::CoreEvent
        | Kind::Event
        | Kind::Lease
        | Kind::Node
        | Kind::Secret
        | Kind::ServiceAccount => First::Keep,
    }
}

/// The finalizer that admission adds to volumes and claims, so that nothing in use disappears.
fn protection(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::PersistentVolume => Some("kubernetes.io/pv-protection"),
        Kind::PersistentVolumeClaim => Some("kubernetes.io/pvc-protection"),
        _ => None,
    }
}

/// The defaults that controllers can't do without. The real server fills it in as it reads a body, so whoever leaves it
/// out of a whole object owns it.
pub(super) fn default(kind: Kind, object: &mut Value) {
    if kind == Kind::StatefulSet
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.entry("replicas").or_insert(json!(1));
    }
    if kind == Kind::PersistentVolumeClaim
        && let Some(map) = object.as_object_mut()
        && let Some(status) = map.entry("status").or_insert_with(|| json!({})).as_object_mut()
    {
        status.entry("phase").or_insert(json!("Pending"));
    }
    if kind == Kind::Job && meta::metadata(object)["labels"].is_null() {
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        set(object, "labels", labels);
    }
}
