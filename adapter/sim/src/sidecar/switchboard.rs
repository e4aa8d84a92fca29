//! Which sidecar a node's name reaches.
//!
//! Answers: the process behind namespace and node name, if one listens.
//! Refuses to know: why it does or does not.
//! Upholds: at most one process per name; whoever connects later replaces the earlier one.

use super::process::Sidecar;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A routing table; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Switchboard {
    table: Arc<Mutex<Table>>,
    called: Arc<Notify>,
}

/// Namespace and node name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// The namespace.
    pub namespace: String,
    /// The node's name, which is its Service's too.
    pub node: String,
}

#[derive(Debug, Default)]
struct Table {
    lines: BTreeMap<Line, Arc<Sidecar>>,
    called: BTreeSet<Line>,
}

impl Line {
    /// The line of a node.
    pub fn new(namespace: &str, node: &str) -> Self {
        Self { namespace: namespace.to_owned(), node: node.to_owned() }
    }
}

impl Switchboard {
    /// Makes a process reachable under a node's name.
    pub fn connect(&self, line: Line, sidecar: Arc<Sidecar>) {
        self.with(|table| table.lines.insert(line, sidecar));
    }

    /// Makes a name unreachable.
    pub fn disconnect(&self, line: &Line) {
        self.with(|table| table.lines.remove(line));
    }

    /// The process behind a name.
    pub fn find(&self, line: &Line) -> Option<Arc<Sidecar>> {
        self.with(|table| table.lines.get(line).cloned())
    }

    /// Waits until requests were carried out and answers where: something may be due there sooner than it was.
    pub async fn called(&self) -> BTreeSet<Line> {
        loop {
            let lines = self.with(|table| std::mem::take(&mut table.called));
            if !lines.is_empty() {
                return lines;
            }
            self.called.notified().await;
        }
    }

    pub(super) fn note_call(&self, line: Line) {
        self.with(|table| table.called.insert(line));
        self.called.notify_one();
    }

    fn with<R>(&self, act: impl FnOnce(&mut Table) -> R) -> R {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
