//! A watch: the changes of one kind as a stream of events.
//!
//! Answers: which events a watcher sees, from which version on. Refuses to know: how events are sent.
//! Upholds: events come in the order of versions and none is left out; a watcher that asks for more than is
//! kept is told 410; a bookmark never names a version that still has events to come.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::error::StoreError;
use crate::store::{Change, Kind, Selection, Slice, Store, set_metadata};

/// What a watcher asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) kind: Kind,
    /// One namespace, or all.
    pub(crate) namespace: Option<String>,
    pub(crate) selection: Selection,
    pub(crate) start: Start,
    pub(crate) wants_bookmarks: bool,
    /// When the server ends the watch.
    pub(crate) deadline: Option<Instant>,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the changes after a version.
    After(u64),
    /// With all objects as if they were just added.
    Everything,
    /// As `Everything`, followed by a bookmark that says so.
    Announced,
    /// With the next change.
    Now,
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// The object is new to the watcher.
    Added,
    /// The version moved on without an event for this watcher.
    Bookmark,
    /// The object is gone, or gone from the selection.
    Deleted,
    /// The watch can't go on; the object is a `Status`.
    Error,
    /// The object changed.
    Modified,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchEvent {
    /// What happened.
    pub happened: Happened,
    /// The object, or what stands for it in bookmarks and errors.
    pub object: Arc<Value>,
}

impl WatchEvent {
    /// The event as the line that goes over the wire.
    pub(crate) fn line(&self) -> String {
        let word = match self.happened {
            Happened::Added => "ADDED",
            Happened::Bookmark => "BOOKMARK",
            Happened::Deleted => "DELETED",
            Happened::Error => "ERROR",
            Happened::Modified => "MODIFIED",
        };
        format!("{{\"type\":\"{word}\",\"object\":{}}}\n", self.object)
    }
}

/// A running watch.
#[derive(Debug)]
pub(crate) struct Watch {
    store: Store,
    wish: Wish,
    changes: Receiver<u64>,
    queue: VecDeque<WatchEvent>,
    /// Everything up to this version has been queued.
    cursor: u64,
    bookmarks_seen: u64,
    is_over: bool,
}

impl Watch {
    pub(crate) fn start(store: &Store, wish: Wish) -> Self {
        let mut watch = Self {
            changes: store.subscribe(),
            store: store.clone(),
            queue: VecDeque::new(),
            cursor: 0,
            bookmarks_seen: 0,
            is_over: false,
            wish,
        };
        watch.begin();
        watch
    }

    /// The next event; `None` once the watch is over.
    pub(crate) async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.is_over {
                return None;
            }
            self.changes.borrow_and_update();
            self.read();
            if self.queue.is_empty() {
                self.wait().await;
            }
        }
    }

    fn begin(&mut self) {
        let state = self.store.lock();
        let version = state.version();
        self.bookmarks_seen = state.bookmarks();
        self.cursor = match self.wish.start {
            Start::After(version) => version,
            Start::Announced | Start::Everything | Start::Now => version,
        };
        if matches!(self.wish.start, Start::Announced | Start::Everything) {
            let all = state.of_kind(self.wish.kind, self.wish.namespace.as_deref());
            let selected = all.filter(|object| self.wish.selection.includes(object));
            self.queue.extend(selected.map(|object| event(Happened::Added, object.clone())));
        }
        if self.wish.start == Start::Announced {
            let notes = json!({ "k8s.io/initial-events-end": "true" });
            self.queue.push_back(bookmark(self.wish.kind, version, notes));
        }
    }

    /// Queues what happened since the last time.
    fn read(&mut self) {
        let state = self.store.lock();
        let changes = match state.history.after(self.cursor) {
            Slice::Changes(changes) => changes,
            Slice::Gone(oldest) => {
                let status = StoreError::gone(self.cursor, oldest).to_status();
                self.queue.push_back(event(Happened::Error, Arc::new(status)));
                self.is_over = true;
                return;
            }
        };
        self.cursor = self.cursor.max(state.version());
        self.queue.extend(changes.iter().filter_map(|change| self.wish.event_of(change)));
        if state.bookmarks() > self.bookmarks_seen {
            self.bookmarks_seen = state.bookmarks();
            if self.wish.wants_bookmarks {
                self.queue.push_back(bookmark(self.wish.kind, self.cursor, Value::Null));
            }
        }
    }

    /// Waits for a change or for the end. As the real server does, the end comes with a last bookmark.
    async fn wait(&mut self) {
        let Some(deadline) = self.wish.deadline else {
            self.is_over |= self.changes.changed().await.is_err();
            return;
        };
        tokio::select! {
            biased;
            changed = self.changes.changed() => self.is_over |= changed.is_err(),
            () = sleep_until(deadline) => {
                self.is_over = true;
                if self.wish.wants_bookmarks {
                    self.queue.push_back(bookmark(self.wish.kind, self.cursor, Value::Null));
                }
            }
        }
    }
}

impl Wish {
    fn event_of(&self, change: &Change) -> Option<WatchEvent> {
        if !change.key.is_of(self.kind, self.namespace.as_deref()) {
            return None;
        }
        let before = change.before.as_ref().filter(|object| self.selection.includes(object));
        let after =
            Some(&change.after).filter(|object| !change.is_deletion && self.selection.includes(object));
        match (before, after) {
            (None, None) => None,
            (None, Some(object)) => Some(event(Happened::Added, object.clone())),
            (Some(_), Some(object)) => Some(event(Happened::Modified, object.clone())),
            // The watcher gets the object as it last knew it, under the version that took it away.
            (Some(object), None) => {
                let mut last = Value::clone(object);
                set_metadata(&mut last, "resourceVersion", json!(change.version.to_string()));
                Some(event(Happened::Deleted, Arc::new(last)))
            }
        }
    }
}

fn event(happened: Happened, object: Arc<Value>) -> WatchEvent {
    WatchEvent { happened, object }
}

fn bookmark(kind: Kind, version: u64, annotations: Value) -> WatchEvent {
    let mut object = json!({
        "kind": kind.name(),
        "apiVersion": kind.api_version(),
        "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
    });
    set_metadata(&mut object, "annotations", annotations);
    event(Happened::Bookmark, Arc::new(object))
}
