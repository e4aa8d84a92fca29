//! Changing a stored object.
//!
//! Answers: what becomes of an object that a replacement, a patch or an apply arrived at. Refuses to know:
//! how a patch is worded. Upholds: a write based on another version or another object is refused; a write
//! that changes nothing makes no version; the last finalizer of a deleted object takes the object with it.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::create::Draft;
use super::{Key, State, check, meta, prepare};
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

/// The answer to an apply or a replacement, which may create.
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
    /// Fields that are null and must not be.
    nulls: Vec<FieldError>,
}

impl State {
    /// Replaces an object; of kinds that allow it, creates what is not there.
    pub(crate) fn replace(
        &mut self,
        key: &Key,
        part: Part,
        body: Value,
        who: &Write<'_>,
    ) -> Result<Applied, StoreError> {
        meta::sound(key.kind, &body)?;
        let old = self.find(key).cloned();
        if old.is_none() && !key.kind.is_created_by_update() {
            return Err(StoreError::not_found(key.kind, &key.name));
        }
        let claimed = meta::text(&body, "uid");
        let actual = old.as_deref().map_or("", |old| meta::text(old, "uid"));
        if !claimed.is_empty() && claimed != actual {
            return Err(StoreError::conflict(key.kind, &key.name, &check::wrong_uid(key, claimed, actual)));
        }
        let Some(old) = old else {
            check::same_place(key, &body)?;
            let mut object = body;
            check::number(meta::text(&object, "resourceVersion"))?;
            if !self.is_rehearsal() {
                meta::set(&mut object, "resourceVersion", Value::Null);
            }
            let draft = Draft { kind: key.kind, namespace: &key.namespace, object };
            return Ok(Applied { object: self.create(draft, who)?, is_new: true });
        };
        let object = self.track(Pending { key, part, old, new: body, nulls: Vec::new() }, who)?;
        Ok(Applied { object, is_new: false })
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
        self.track(Pending { key, part, old, new, nulls: Vec::new() }, who)
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
        check::same_place(key, &new)?;
        let nulls = apply::null_errors(&shapes, key.kind, &new);
        let Some(old) = old else {
            return self.apply_new(key, part, new, who);
        };
        let object = self.commit(Pending { key, part, old, new, nulls })?;
        Ok(Applied { object, is_new: false })
    }

    fn apply_new(
        &mut self,
        key: &Key,
        part: Part,
        new: Value,
        who: &Write<'_>,
    ) -> Result<Applied, StoreError> {
        if part == Part::Status {
            return Err(StoreError::not_found(key.kind, &key.name));
        }
        let uid = meta::text(&new, "uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(StoreError::conflict(key.kind, &key.name, &why));
        }
        check::number(meta::text(&new, "resourceVersion"))?;
        let mut object = new;
        meta::tidy(key.kind, &mut object);
        let object = self.admit(Draft { kind: key.kind, namespace: &key.namespace, object }, who)?;
        Ok(Applied { object, is_new: true })
    }

    /// Records the managed fields of an update, then stores it.
    fn track(&mut self, pending: Pending<'_>, who: &Write<'_>) -> Result<Arc<Value>, StoreError> {
        let Pending { key, part, old, mut new, nulls } = pending;
        meta::sound(key.kind, &new)?;
        check::same_place(key, &new)?;
        meta::take(&mut new, "namespace", &old);
        meta::tidy(key.kind, &mut new);
        prepare::default(key.kind, &mut new);
        apply::record_update(&self.shapes(key.kind), key.kind, part, Some(&old), &mut new, who);
        self.commit(Pending { key, part, old, new, nulls })
    }

    fn commit(&mut self, pending: Pending<'_>) -> Result<Arc<Value>, StoreError> {
        let Pending { key, part, old, mut new, nulls } = pending;
        let kind = key.kind;
        check::version(key, &mut new, &old)?;
        let managed = meta::metadata(&new)["managedFields"].clone();
        prepare::isolate(kind, part, &mut new, &old);
        meta::set(&mut new, "managedFields", managed);
        prepare::fix_metadata(kind, part, &mut new, &old);
        meta::tidy(kind, &mut new);
        let errors = check::metadata_errors(&new, &old);
        if !nulls.is_empty() {
            return Err(StoreError::invalid_update(kind, &key.name, &errors, &nulls));
        }
        let (judged, more) = match self.judged(kind, new, Some(&old)) {
            Ok(judged) => (judged, Vec::new()),
            Err(more) => (Value::Null, more),
        };
        if !errors.is_empty() || !more.is_empty() {
            return Err(StoreError::invalid_update(kind, &key.name, &errors, &more));
        }
        let mut new = judged;
        apply::keep_times(&mut new, &old);
        if check::is_last_word(&new, &old) {
            self.remove(key);
            return Ok(Arc::new(new));
        }
        if new == *old && !self.is_fresh(key) {
            return Ok(old);
        }
        Ok(self.put(key, new))
    }
}
