//! Changing a stored object.
//!
//! Answers: what becomes of an object that a replacement, a patch or an apply arrived at. Refuses to know: how a patch
//! is worded. Upholds: a write based on another version or another object is refused; a write that changes nothing
//! makes no version; the last finalizer of a deleted object takes the object with it.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::create::Draft;
use super::{Key, State, meta, prepare};
use crate::apply::{self, Apply};
use crate::error::{FieldError, StoreError};
use crate::patch::{self, Patch};

/// Which endpoint of an object a write went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Main,
    Status,
}

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) manager: &'a str,
    pub(crate) now: Timestamp,
}

/// The answer to an apply.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) object: Arc<Value>,
    pub(crate) is_new: bool,
}

/// A write that is about to be stored.
struct Pending<'a> {
    key: &'a Key,
    part: Part,
    old: Arc<Value>,
    new: Value,
}

impl State {
    pub(crate) fn replace(
        &mut self,
        key: &Key,
        part: Part,
        body: Value,
        who: &Write<'_>,
    ) -> Result<Arc<Value>, StoreError> {
        let old = self.stored(key)?.clone();
        let claimed = meta::text(&body, "uid");
        let actual = meta::text(&old, "uid");
        if !claimed.is_empty() && claimed != actual {
            return Err(StoreError::conflict(key.kind, &key.name, &wrong_uid(key, claimed, actual)));
        }
        self.track(Pending { key, part, old, new: body }, who)
    }

    pub(crate) fn merge(
        &mut self,
        key: &Key,
        part: Part,
        patch: &Value,
        who: &Write<'_>,
    ) -> Result<Arc<Value>, StoreError> {
        self.patch(key, part, &Patch::Merge(patch.clone()), who)
    }

    pub(crate) fn patch(
        &mut self,
        key: &Key,
        part: Part,
        patch: &Patch,
        who: &Write<'_>,
    ) -> Result<Arc<Value>, StoreError> {
        let old = self.stored(key)?.clone();
        let new = patch::patched(&old, patch)?;
        self.track(Pending { key, part, old, new }, who)
    }

    pub(crate) fn apply(
        &mut self,
        key: &Key,
        part: Part,
        body: &Value,
        force: bool,
        who: &Write<'_>,
    ) -> Result<Applied, StoreError> {
        let old = self.find(key).cloned();
        let shapes = self.shapes(key.kind);
        let apply = Apply { shapes: &shapes, kind: key.kind, part, live: old.as_deref(), body, force };
        let new = apply.run(who)?;
        same_place(key, &new)?;
        let Some(old) = old else {
            return self.apply_new(key, part, new, who);
        };
        let object = self.commit(Pending { key, part, old, new })?;
        Ok(Applied { object, is_new: false })
    }

    fn apply_new(&mut self, key: &Key, part: Part, new: Value, who: &Write<'_>) -> Result<Applied, StoreError> {
        if part == Part::Status {
            return Err(StoreError::not_found(key.kind, &key.name));
        }
        let uid = meta::text(&new, "uid");
        if !uid.is_empty() {
            let why = format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(StoreError::conflict(key.kind, &key.name, &why));
        }
        let mut object = new;
        meta::tidy(key.kind, &mut object);
        let object = self.admit(Draft { kind: key.kind, namespace: &key.namespace, object }, who)?;
        Ok(Applied { object, is_new: true })
    }

    /// Records the managed fields of an update, then stores it.
    fn track(&mut self, pending: Pending<'_>, who: &Write<'_>) -> Result<Arc<Value>, StoreError> {
        let Pending { key, part, old, mut new } = pending;
        meta::sound(key.kind, &new)?;
        same_place(key, &new)?;
        meta::take(&mut new, "namespace", &old);
        meta::tidy(key.kind, &mut new);
        apply::record_update(&self.shapes(key.kind), key.kind, part, Some(&old), &mut new, who);
        self.commit(Pending { key, part, old, new })
    }

    fn commit(&mut self, pending: Pending<'_>) -> Result<Arc<Value>, StoreError> {
        let Pending { key, part, old, mut new } = pending;
        let kind = key.kind;
        check_version(key, &mut new, &old)?;
        let managed = meta::metadata(&new)["managedFields"].clone();
        prepare::isolate(kind, part, &mut new, &old);
        meta::set(&mut new, "managedFields", managed);
        prepare::fix_metadata(kind, part, &mut new, &old);
        meta::tidy(kind, &mut new);
        let errors = update_errors(&new, &old);
        if !errors.is_empty() {
            return Err(StoreError::invalid_metadata(kind, &key.name, &errors));
        }
        let mut new = self.judged(kind, new, Some(&old))?;
        apply::keep_times(&mut new, &old);
        if new == *old {
            return Ok(old);
        }
        if is_last_word(&new, &old) {
            self.remove(key);
            return Ok(Arc::new(new));
        }
        Ok(self.put(key, new))
    }
}

/// A version in the write has to be the stored one; none means the stored one where the kind allows that.
fn check_version(key: &Key, new: &mut Value, old: &Value) -> Result<(), StoreError> {
    let claimed = meta::text(new, "resourceVersion");
    let number: u64 = match claimed {
        "" => 0,
        text => text.parse().map_err(|_| bad_version(text))?,
    };
    if number == 0 && key.kind.allows_unconditional_update() {
        meta::take(new, "resourceVersion", old);
        return Ok(());
    }
    if number == 0 {
        let why = "must be specified for an update";
        let error = FieldError {
            field: "metadata.resourceVersion".to_owned(),
            cause: "FieldValueInvalid",
            message: format!("Invalid value: 0: {why}"),
        };
        return Err(StoreError::unversioned(key.kind, &key.name, &error));
    }
    if number != meta::version_of(old) {
        return Err(StoreError::stale(key.kind, &key.name));
    }
    Ok(())
}

fn bad_version(text: &str) -> StoreError {
    StoreError::plain(500, "", format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

/// The name and namespace of the object have to be those of the request.
fn same_place(key: &Key, object: &Value) -> Result<(), StoreError> {
    let (name, namespace) = (meta::text(object, "name"), meta::namespace(object));
    if !namespace.is_empty() && namespace != &*key.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(StoreError::bad_request(message));
    }
    if name != &*key.name {
        let message = format!("the name of the object ({name}) does not match the name on the URL ({})", key.name);
        return Err(StoreError::bad_request(message));
    }
    Ok(())
}

/// What no update may change.
fn update_errors(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if meta::is_deleting(old) {
        let kept = meta::finalizers(old);
        let added: Vec<&str> = meta::finalizers(new).into_iter().filter(|f| !kept.contains(f)).collect();
        if !added.is_empty() {
            let why = format!("no new finalizers can be added if the object is being deleted, found new finalizers \
                               []string{{{}}}", quoted(&added));
            errors.push(FieldError::forbidden("metadata.finalizers", &why));
        }
    }
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let (now, before) = (&meta::metadata(new)[field], &meta::metadata(old)[field]);
        if now != before {
            errors.push(FieldError::invalid(&format!("metadata.{field}"), now, "field is immutable"));
        }
    }
    errors
}

fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}

/// Whether this update takes the last finalizer off an object that only waits for that.
fn is_last_word(new: &Value, old: &Value) -> bool {
    let grace = meta::metadata(old)["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    meta::finalizers(new).is_empty() && meta::is_deleting(old) && grace == 0
}

fn wrong_uid(key: &Key, claimed: &str, actual: &str) -> String {
    let group = if key.kind.is_custom() { format!("{}/", key.kind.group()) } else { String::new() };
    let path = format!("/registry/{group}{}/{}/{}", key.kind.plural(), key.namespace, key.name);
    format!(
        "StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {claimed}, UID in object meta: {actual}"
    )
}
