//! Server-side apply, and the bookkeeping of field owners that it needs from all other writes.
//!
//! Answers: what an applied body makes of an object, who owns what afterwards, and whether that is a
//! conflict. Refuses to know: versions, uids and storage. Upholds: what a manager applied before and leaves
//! out now goes, unless somebody else owns it; without force nobody's fields are taken; applying the same
//! again changes nothing.

mod items;
mod owner;
mod set;
mod shape;
mod table;
mod walk;

use std::mem;

use serde_json::{Value, json};

pub(crate) use shape::Shapes;
pub(crate) use table::blank;

use crate::error::{FieldError, StoreError};
use crate::store::{Kind, Part, Write, metadata, set_metadata, stamp};
use owner::{Operation, Owner};
use set::Set;
use walk::Comparison;

/// One apply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Apply<'a> {
    pub(crate) shapes: &'a Shapes,
    pub(crate) kind: Kind,
    pub(crate) part: Part,
    /// The stored object, if there is one.
    pub(crate) live: Option<&'a Value>,
    pub(crate) body: &'a Value,
    pub(crate) force: bool,
}

impl Apply<'_> {
    /// The object after the apply, managed fields included.
    pub(crate) fn run(self, who: &Write<'_>) -> Result<Value, StoreError> {
        self.check(who)?;
        let live = without_owners(self.live);
        let mut owners = self.live.map(owner::read).unwrap_or_default();
        if owners.is_empty() {
            owners.extend(before_first_apply(&self, &live, who));
        }
        let mut merged = walk::merge(Some(&live), Some(self.body), Some(self.shapes)).unwrap_or_default();
        let mut own = Owner::new(self.kind, self.part, who.manager, Operation::Apply);
        own.fields = walk::paths(self.body, Some(self.shapes)).outside(&reset_fields(self.kind, self.part));
        let last = owners.iter().position(|other| other.is_same(&own)).map(|at| owners.remove(at));
        if let Some(last) = last.as_ref().filter(|last| !last.fields.is_empty()) {
            let everyone = owners.iter().fold(own.fields.clone(), |all, other| all.union(&other.fields));
            merged = self.prune(&merged, &last.fields, &everyone);
        }
        let mut changes = walk::compare(&live, &merged, self.shapes);
        exclude(&mut changes, &reset_fields(self.kind, self.part));
        if !self.force {
            refuse_conflicts(&owners, &changes)?;
        }
        dispossess(&mut owners, &changes);
        own.fields = own.fields.without(&type_and_identity());
        own.time = if merged == live { last.and_then(|last| last.time) } else { Some(stamp(who.now)) };
        owners.push(own);
        set_metadata(&mut merged, "managedFields", owner::write(owners));
        Ok(merged)
    }

    fn check(&self, who: &Write<'_>) -> Result<(), StoreError> {
        if who.manager.is_empty() {
            let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for \
                           apply patch";
            let details = json!({
                "group": "meta.k8s.io",
                "kind": "PatchOptions",
                "causes": [{ "reason": "FieldValueRequired", "field": "fieldManager",
                             "message": "Required value: is required for apply patch" }],
            });
            return Err(StoreError { details, ..StoreError::plain(422, "Invalid", message) });
        }
        let text = |field: &str| self.body[field].as_str().unwrap_or_default();
        let is_sound = matches!(self.body["metadata"], Value::Null | Value::Object(_));
        if text("apiVersion") != self.kind.api_version() || text("kind") != self.kind.name() || !is_sound {
            let message = format!("invalid object type: {}, Kind={}", text("apiVersion"), text("kind"));
            return Err(StoreError::bad_request(message));
        }
        if !metadata(self.body)["managedFields"].is_null() {
            return Err(StoreError::bad_request("metadata.managedFields must be nil"));
        }
        Ok(())
    }

    /// Takes out what this manager applied last time and left out now, unless somebody owns it.
    fn prune(&self, merged: &Value, last: &Set, everyone: &Set) -> Value {
        let shapes = Some(self.shapes);
        let named = |value: &Value| walk::paths(value, shapes).with_named_parents(shapes);
        let take_out = |set: &Set| walk::remove(merged, set, shapes).unwrap_or_else(|| json!({}));
        let all = named(merged);
        let last = last.with_named_parents(shapes);
        let pruned = take_out(&last);
        let owned = take_out(&all.without(&named(&pruned).union(&everyone.with_named_parents(shapes))));
        take_out(&all.without(&named(&owned)).intersection(&last))
    }
}

/// The owner of everything in an object whose owners nobody kept.
fn before_first_apply(apply: &Apply<'_>, live: &Value, who: &Write<'_>) -> Option<Owner> {
    apply.live?;
    let mut owner = Owner::new(apply.kind, apply.part, BEFORE_FIRST_APPLY, Operation::Update);
    let mut changes = walk::compare(&blank(apply.kind), live, apply.shapes);
    exclude(&mut changes, &reset_fields(apply.kind, apply.part));
    owner.fields = changes.modified.union(&changes.added).without(&type_and_identity());
    owner.time = Some(stamp(who.now));
    (!owner.fields.is_empty()).then_some(owner)
}

const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Records an update in the managed fields of `new`: what it changed is its manager's from now on. An object that has no
/// owners gets none by an update, only by an apply, as on the real server.
pub(crate) fn record_update(
    shapes: &Shapes,
    kind: Kind,
    part: Part,
    old: Option<&Value>,
    new: &mut Value,
    who: &Write<'_>,
) {
    let mut owners = old.map(owner::read).unwrap_or_default();
    if old.is_some() && owners.is_empty() {
        set_metadata(new, "managedFields", Value::Null);
        return;
    }
    let before = old.map_or_else(|| blank(kind), |old| without_owners(Some(old)));
    set_metadata(new, "managedFields", Value::Null);
    let mut changes = walk::compare(&before, new, shapes);
    exclude(&mut changes, &reset_fields(kind, part));
    dispossess(&mut owners, &changes);
    let taken = changes.modified.union(&changes.added).without(&type_and_identity());
    if !taken.is_empty() {
        let mut own = Owner::new(kind, part, who.manager, Operation::Update);
        let place = owners.iter().position(|other| other.is_same(&own));
        let earlier = place.map(|at| owners.remove(at).fields).unwrap_or_default();
        own.fields = earlier.union(&taken);
        own.time = Some(stamp(who.now));
        owners.push(own);
    }
    if !owners.is_empty() {
        set_metadata(new, "managedFields", owner::write(owners));
    }
}

/// What taking out fields has left null in an object of a custom kind. Nulls in other bodies are dropped when they are read;
/// what an apply has merged is not read again.
pub(crate) fn null_errors(shapes: &Shapes, kind: Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if kind.is_custom() {
        find_nulls(shapes, object, "", &mut errors);
    }
    errors
}

fn find_nulls(shapes: &Shapes, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (name, inner) in value.as_object().into_iter().flatten() {
        // What the schema does not name may be null.
        let Some(below) = shapes.field(name).filter(|_| !shapes.is_entry(name)) else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        // Metadata is read into a type, which knows no null.
        if path == "metadata" {
            continue;
        }
        if inner.is_null() {
            errors.push(FieldError::of_wrong_type(&path, inner));
        }
        find_nulls(below, inner, &path, errors);
    }
}

/// Keeps the old times of the managed fields where nothing but times differs, so that no version is made
/// for them.
pub(crate) fn keep_times(new: &mut Value, old: &Value) {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let mut entries = object["metadata"]["managedFields"].take();
        for entry in entries.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        (object, entries)
    };
    if metadata(new)["managedFields"] != metadata(old)["managedFields"] && timeless(new) == timeless(old) {
        set_metadata(new, "managedFields", metadata(old)["managedFields"].clone());
    }
}

fn without_owners(object: Option<&Value>) -> Value {
    let mut object = object.cloned().unwrap_or_else(|| json!({}));
    if object.get("metadata").is_some() {
        set_metadata(&mut object, "managedFields", Value::Null);
    }
    object
}

/// Takes from every owner what a write changed or removed.
fn dispossess(owners: &mut Vec<Owner>, changes: &Comparison) {
    let lost = changes.modified.union(&changes.added).union(&changes.removed);
    for owner in owners.iter_mut() {
        let fields = mem::take(&mut owner.fields);
        owner.fields = fields.without(&lost);
    }
    owners.retain(|owner| !owner.fields.is_empty());
}

fn refuse_conflicts(owners: &[Owner], changes: &Comparison) -> Result<(), StoreError> {
    let touched = changes.modified.union(&changes.added);
    let mut found: Vec<(String, String)> = Vec::new();
    for owner in owners {
        let paths = owner.fields.intersection(&touched).shown();
        found.extend(paths.into_iter().map(|path| (owner.shown(), path)));
    }
    // Stable: within one manager the paths keep their order.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let causes: Vec<FieldError> = found
        .iter()
        .map(|(manager, path)| FieldError {
            field: path.clone(),
            cause: "FieldManagerConflict",
            message: format!("conflict with {manager}"),
        })
        .collect();
    match found.as_slice() {
        [] => Ok(()),
        [(manager, path)] => {
            let message = format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
            Err(StoreError::apply_conflict(message, &causes))
        }
        many => {
            let mut lines = Vec::new();
            for (index, (manager, path)) in many.iter().enumerate() {
                if index == 0 || many[index - 1].0 != *manager {
                    lines.push(format!("conflicts with {manager}:"));
                }
                lines.push(format!("- {path}"));
            }
            let message = format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"));
            Err(StoreError::apply_conflict(message, &causes))
        }
    }
}

fn exclude(changes: &mut Comparison, fields: &Set) {
    for set in [&mut changes.added, &mut changes.modified, &mut changes.removed] {
        *set = set.outside(fields);
    }
}

/// What a write to this endpoint can't change, and so does not own.
fn reset_fields(kind: Kind, part: Part) -> Set {
    match part {
        Part::Main if kind.has_status() => Set::of_fields(&[&["status"]]),
        Part::Main => Set::default(),
        Part::Status if kind.is_custom() => Set::of_fields(&[&["metadata"], &["spec"]]),
        Part::Status if kind == Kind::Pod => {
            Set::of_fields(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
        }
        Part::Status => Set::of_fields(&[&["spec"]]),
    }
}

/// What nobody owns.
fn type_and_identity() -> Set {
    let fields = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let paths: Vec<Vec<&str>> = fields.iter().map(|field| vec!["metadata", field]).collect();
    let mut all: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
    all.extend([&["apiVersion"][..], &["kind"], &["metadata"]]);
    Set::of_fields(&all)
}
