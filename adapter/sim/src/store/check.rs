//! What has to be right about an update, whatever the kind.
//!
//! Answers: whether a write is based on the stored object, and whether it leaves alone what no update may
//! change. Refuses to know: how the write is worded, and what is in the spec. Upholds: the order and the
//! wording of the real server's refusals.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Key, meta};
use crate::error::{FieldError, StoreError};

/// A version in the write has to be the stored one; none means the stored one where the kind allows that.
pub(super) fn version(key: &Key, new: &mut Value, old: &Value) -> Result<(), StoreError> {
    let number = number(meta::text(new, "resourceVersion"))?;
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

/// A version as a number; none is zero.
pub(super) fn number(text: &str) -> Result<u64, StoreError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        StoreError::plain(500, "", format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
    })
}

/// The name and namespace of the object have to be those of the request.
pub(super) fn same_place(key: &Key, object: &Value) -> Result<(), StoreError> {
    let (name, namespace) = (meta::text(object, "name"), meta::namespace(object));
    if !namespace.is_empty() && namespace != &*key.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(StoreError::bad_request(message));
    }
    if name.is_empty() {
        let message = format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            key.name
        );
        return Err(StoreError::bad_request(message));
    }
    if name != &*key.name {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({})", key.name);
        return Err(StoreError::bad_request(message));
    }
    Ok(())
}

/// What has to be right about the metadata of any object.
pub(super) fn owner_errors(object: &Value) -> Vec<FieldError> {
    let owners = meta::owners(object);
    if owners.iter().filter(|owner| owner["controller"] == true).count() < 2 {
        return Vec::new();
    }
    let why = "Only one reference can have Controller set to true";
    vec![FieldError::invalid("metadata.ownerReferences", &Value::from(owners), why)]
}

/// What no update may change.
pub(super) fn metadata_errors(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = owner_errors(new);
    if meta::is_deleting(old) {
        let kept = meta::finalizers(old);
        let added: BTreeSet<&str> = meta::finalizers(new).into_iter().filter(|f| !kept.contains(f)).collect();
        if !added.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers \
                               []string{{{}}}",
                quoted(&added)
            );
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

fn quoted(texts: &BTreeSet<&str>) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}

/// Whether this update takes the last finalizer off an object that only waits for that.
pub(super) fn is_last_word(new: &Value, old: &Value) -> bool {
    let grace = meta::metadata(old)["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    meta::finalizers(new).is_empty() && meta::is_deleting(old) && grace == 0
}

pub(super) fn wrong_uid(key: &Key, claimed: &str, actual: &str) -> String {
    let group = if key.kind.is_custom() { format!("{}/", key.kind.group()) } else { String::new() };
    let path = format!("/registry/{group}{}/{}/{}", key.kind.plural(), key.namespace, key.name);
    format!(
        "StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0, AdditionalErrorMsg: Precondition \
         failed: UID in precondition: {claimed}, UID in object meta: {actual}"
    )
}
