//! The script of one node and the journal of what its sidecars were asked to do.
//!
//! Answers: which task was submitted and run, how often, when.
//! Refuses to know: which process it was; it outlives them.
//! Upholds: the journal only grows.

use super::kind::Kind;
use super::script::{Ending, Fault, Script};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A line of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// The task's id.
    pub id: String,
    /// The task's type as sent.
    pub kind: String,
    /// The params as sent.
    pub params: Option<Map<String, Value>>,
    /// The run that this is about.
    pub run: u64,
    /// What happened.
    pub event: Event,
}

/// What a line of the journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Accepted, and a run started.
    Started,
    /// Accepted, and nothing happened: the id was known as running or completed.
    Repeated,
    /// A new process ran a record again that it found running.
    Resumed,
    /// The run ended well.
    Completed,
    /// The run ended badly.
    Failed,
    /// The record was deleted on request.
    Deleted,
}

/// A handle on one node's script and journal; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Director(Arc<Mutex<Stage>>);

#[derive(Debug, Default)]
struct Stage {
    script: Script,
    journal: Vec<Entry>,
}

impl Director {
    /// A director with an empty journal.
    pub fn new(script: Script) -> Self {
        Self(Arc::new(Mutex::new(Stage { script, journal: Vec::new() })))
    }

    /// Changes the script, also while processes run.
    pub fn direct(&self, change: impl FnOnce(&mut Script)) {
        self.with(|stage| change(&mut stage.script));
    }

    /// Everything that happened so far.
    pub fn journal(&self) -> Vec<Entry> {
        self.with(|stage| stage.journal.clone())
    }

    /// How often a handler of this type was started, resumed runs included.
    pub fn runs(&self, kind: &str) -> usize {
        self.count(kind, &[Event::Started, Event::Resumed])
    }

    /// How often this type was posted and accepted, whether it ran or not.
    pub fn submissions(&self, kind: &str) -> usize {
        self.count(kind, &[Event::Started, Event::Repeated])
    }

    fn count(&self, kind: &str, events: &[Event]) -> usize {
        let counts = |entry: &&Entry| entry.kind == kind && events.contains(&entry.event);
        self.with(|stage| stage.journal.iter().filter(counts).count())
    }

    pub(super) fn note(&self, entry: Entry) {
        self.with(|stage| stage.journal.push(entry));
    }

    pub(super) fn next_run(&self, kind: Kind) -> (Duration, Ending) {
        self.with(|stage| (stage.script.duration(kind), stage.script.take_ending(kind)))
    }

    pub(super) fn mishap(&self, method: &str, path: &str) -> Option<Fault> {
        self.with(|stage| stage.script.take_mishap(method, path))
    }

    pub(super) fn scaled(&self, duration: Duration) -> Duration {
        self.with(|stage| super::script::scale(duration, stage.script.scale))
    }

    pub(super) fn is_silent(&self, witness: &str) -> bool {
        self.with(|stage| stage.script.silent_witnesses.contains(witness))
    }

    fn with<R>(&self, act: impl FnOnce(&mut Stage) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
