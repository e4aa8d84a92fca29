//! Deleting an object.
//!
//! Answers: whether an object goes at once or is marked and kept. Refuses to know: what happens to its
//! dependents, which is garbage collection. Upholds: preconditions are checked first; a finalizer or a
//! running grace period keeps the object; a second deletion never makes the wait longer.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::update::Write;
use super::{Key, Kind, State, meta, stamp};
use crate::error::StoreError;

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    Background,
    /// It stays until those that block it are gone.
    Foreground,
    /// They are kept and lose their reference to it.
    Orphan,
}

/// The options of a deletion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// How long a pod may take to stop; `None` takes the pod's own period.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of dependents; `None` takes the default of the kind.
    pub propagation: Option<Propagation>,
    /// Delete only this very object.
    pub uid: Option<String>,
    /// Delete only this very version.
    pub resource_version: Option<String>,
}

/// What a deletion did.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Value>),
    /// The object is marked for deletion, and kept for now.
    Marked(Arc<Value>),
}

pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// The grace period of a pod that names none; the real server writes it into the pod.
const DEFAULT_GRACE: i64 = 30;

/// How a deletion may proceed.
enum Grace {
    /// The kind knows no grace, or the object already ran out of it.
    None,
    /// A grace period is running, and the request does not shorten it.
    Pending,
    /// The object as it is to be marked, and the period in seconds.
    Mark(Value, i64),
}

impl State {
    pub(crate) fn delete(
        &mut self,
        key: &Key,
        options: &DeleteOptions,
        who: &Write<'_>,
    ) -> Result<Deleted, StoreError> {
        let stored = self.stored(key)?.clone();
        check_preconditions(key, &stored, options)?;
        match grace(key.kind, &stored, options, who.now) {
            Grace::Pending => Ok(Deleted::Marked(stored)),
            Grace::None => self.delete_without_grace(key, &stored, options, who),
            Grace::Mark(mut marked, period) => {
                settle_finalizers(key.kind, &mut marked, options);
                let is_kept = period > 0 || !meta::finalizers(&marked).is_empty();
                let object = self.put_if_changed(key, &stored, marked);
                Ok(if is_kept { Deleted::Marked(object) } else { self.gone(key, object) })
            }
        }
    }

    fn delete_without_grace(
        &mut self,
        key: &Key,
        stored: &Arc<Value>,
        options: &DeleteOptions,
        who: &Write<'_>,
    ) -> Result<Deleted, StoreError> {
        let mut marked = Value::clone(stored);
        settle_finalizers(key.kind, &mut marked, options);
        if meta::finalizers(&marked).is_empty() {
            // The real server loses the version of the precondition when it takes the last finalizer away itself.
            if options.resource_version.is_some() && !meta::finalizers(stored).is_empty() {
                return Err(StoreError::stale(key.kind, &key.name));
            }
            return Ok(self.gone(key, stored.clone()));
        }
        if !meta::is_deleting(&marked) {
            meta::bump_generation(&mut marked);
            meta::set(&mut marked, "deletionTimestamp", json!(stamp(who.now)));
        }
        meta::set(&mut marked, "deletionGracePeriodSeconds", json!(0));
        Ok(Deleted::Marked(self.put_if_changed(key, stored, marked)))
    }

    fn put_if_changed(&mut self, key: &Key, stored: &Arc<Value>, marked: Value) -> Arc<Value> {
        if marked == **stored { stored.clone() } else { self.put(key, marked) }
    }

    fn gone(&mut self, key: &Key, otherwise: Arc<Value>) -> Deleted {
        Deleted::Gone(self.remove(key).unwrap_or(otherwise))
    }
}

fn check_preconditions(key: &Key, stored: &Value, options: &DeleteOptions) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::precondition(key.kind, &key.name, &why));
    let uid = meta::text(stored, "uid");
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        return refuse(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        ));
    }
    let version = meta::text(stored, "resourceVersion");
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != version) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        ));
    }
    Ok(())
}

/// Only pods stop gracefully.
fn grace(kind: Kind, stored: &Value, options: &DeleteOptions, now: Timestamp) -> Grace {
    if kind != Kind::Pod {
        return Grace::None;
    }
    // Less than nothing counts as the shortest period, as on the real server.
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if meta::is_deleting(stored) {
        return shorten(stored, asked, now);
    }
    let own = stored["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(DEFAULT_GRACE);
    let is_scheduled = stored["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let is_over = matches!(stored["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    let period = if !is_scheduled || is_over { 0 } else { asked.unwrap_or(own).max(0) };
    let mut marked = stored.clone();
    meta::bump_generation(&mut marked);
    Grace::Mark(with_deadline(marked, later(now, period), period), period)
}

/// A second deletion of a pod may shorten the wait, never lengthen it.
fn shorten(stored: &Value, asked: Option<i64>, now: Timestamp) -> Grace {
    let running = meta::metadata(stored)["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if running == 0 {
        return Grace::None;
    }
    let Some(mut period) = asked.filter(|period| *period < running) else {
        return Grace::Pending;
    };
    let deadline = meta::text(stored, "deletionTimestamp").parse().unwrap_or(now);
    let mut moved = later(deadline, period - running);
    if moved < now {
        moved = now;
        period = period.min(1);
    }
    Grace::Mark(with_deadline(stored.clone(), moved, period), period)
}

fn with_deadline(mut object: Value, deadline: Timestamp, period: i64) -> Value {
    meta::set(&mut object, "deletionTimestamp", json!(stamp(deadline)));
    meta::set(&mut object, "deletionGracePeriodSeconds", json!(period));
    object
}

fn later(from: Timestamp, seconds: i64) -> Timestamp {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { from.checked_sub(span) } else { from.checked_add(span) };
    moved.unwrap_or(from)
}

/// Writes the wish about dependents into the finalizers, where garbage collection reads it.
fn settle_finalizers(kind: Kind, object: &mut Value, options: &DeleteOptions) {
    if matches!(kind, Kind::CoreEvent | Kind::Event) {
        return;
    }
    let wish = options.propagation.unwrap_or_else(|| {
        let present = meta::finalizers(object).into_iter().find_map(|finalizer| match finalizer {
            ORPHAN => Some(Propagation::Orphan),
            FOREGROUND => Some(Propagation::Foreground),
            _ => None,
        });
        let default = if kind.orphans_by_default() { Propagation::Orphan } else { Propagation::Background };
        present.unwrap_or(default)
    });
    let before = meta::finalizers(object);
    let mut after: Vec<&str> = before.iter().copied().filter(|f| *f != ORPHAN && *f != FOREGROUND).collect();
    match wish {
        Propagation::Background => {}
        Propagation::Foreground => after.push(FOREGROUND),
        Propagation::Orphan => after.push(ORPHAN),
    }
    if before.len() == after.len() && after.iter().all(|finalizer| before.contains(finalizer)) {
        return;
    }
    let after = if after.is_empty() { Value::Null } else { json!(after) };
    meta::set(object, "finalizers", after);
}
