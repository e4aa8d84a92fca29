//! The changes that watches read.
//!
//! Answers: what happened after a version. Refuses to know: who reads, and what readers select.
//! Upholds: a reader sees every change after its version, in order, or is told that some are gone.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::Key;

/// One change of one object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The version that the change made.
    pub(crate) version: u64,
    /// The object that changed.
    pub(crate) key: Key,
    /// The object before, unless it is new.
    pub(crate) before: Option<Arc<Value>>,
    /// The object after; for a deletion the last state, carrying the version of the deletion.
    pub(crate) after: Arc<Value>,
    /// Whether the object is gone.
    pub(crate) is_deletion: bool,
}

/// What a reader gets who asks for the changes after a version.
#[derive(Debug)]
pub(crate) enum Slice {
    /// The changes, possibly none.
    Changes(Vec<Change>),
    /// Changes after that version are no longer kept; the oldest version one may still ask for.
    Gone(u64),
}

/// How many changes are kept unless the test says otherwise: far more than a reader that is alive falls
/// behind.
const KEPT: usize = 10_000;

/// The newest changes, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    limit: usize,
    /// Everything up to this version may be forgotten.
    floor: u64,
    newest: u64,
}

impl History {
    pub(super) fn starting_at(version: u64) -> Self {
        Self { changes: VecDeque::new(), limit: KEPT, floor: version, newest: version }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.newest = change.version;
        self.changes.push_back(change);
        self.trim();
    }

    pub(super) fn keep(&mut self, limit: usize) {
        self.limit = limit;
        self.trim();
    }

    pub(super) fn keep_nothing_so_far(&mut self) {
        self.floor = self.newest;
        self.changes.clear();
    }

    /// The changes after `version`.
    pub(crate) fn after(&self, version: u64) -> Slice {
        if version < self.floor {
            return Slice::Gone(self.floor);
        }
        let start = self.changes.partition_point(|change| change.version <= version);
        Slice::Changes(self.changes.range(start..).cloned().collect())
    }

    fn trim(&mut self) {
        while self.changes.len() > self.limit {
            if let Some(dropped) = self.changes.pop_front() {
                self.floor = dropped.version;
            }
        }
    }
}
