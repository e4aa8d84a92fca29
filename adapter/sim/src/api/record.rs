//! The record of all requests, as data.
//!
//! Answers: who asked for what, when, and what came of it. Refuses to know: whether that was right; tests
//! say so. Upholds: one entry per request, in the order of their effects; a request whose answer was lost
//! is there too.

use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use k8s_openapi::jiff::Timestamp;

use super::{Request, Trouble};

/// One request and what came of it.
#[derive(Debug, Clone)]
pub struct Record {
    /// When the effect happened.
    pub at: Timestamp,
    /// The request; `None` if its path or its body could not be read.
    pub request: Option<Request>,
    /// The name of the client.
    pub client: String,
    /// Method and path, without the query.
    pub line: String,
    /// The code of the server; 0 if the request never had an effect nor an answer.
    pub code: u16,
    /// What happened to the answer on its way; for code 0, to the request.
    pub trouble: Trouble,
}

/// All requests so far. Clones share the record.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    records: Arc<Mutex<Vec<Record>>>,
    is_silent: bool,
}

impl Recorder {
    /// A recorder that keeps nothing.
    pub fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// The record so far.
    pub fn records(&self) -> Vec<Record> {
        self.with(|records| records.clone())
    }

    /// The requests so far that had an effect or tried to.
    pub fn writes(&self) -> Vec<Record> {
        let is_write =
            |record: &&Record| record.request.as_ref().is_some_and(|request| request.verb.is_write());
        self.with(|records| records.iter().filter(is_write).cloned().collect())
    }

    /// The record so far, which starts anew.
    pub fn take(&self) -> Vec<Record> {
        self.with(std::mem::take)
    }

    pub(super) fn push(&self, record: Record) {
        if !self.is_silent {
            self.with(|records| records.push(record));
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Record>) -> T) -> T {
        work(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Record {
    pub(super) fn answered(request: &Request, at: Timestamp, code: u16, trouble: &Trouble) -> Self {
        Self {
            at,
            client: request.client.clone(),
            line: request.line.clone(),
            request: Some(request.clone()),
            code,
            trouble: trouble.clone(),
        }
    }

    pub(super) fn unheard(request: &Request, at: Timestamp, trouble: &Trouble) -> Self {
        Self::answered(request, at, 0, trouble)
    }

    pub(super) fn unread(parts: &Parts, client: &str, at: Timestamp, code: u16) -> Self {
        let line = format!("{} {}", parts.method, parts.uri.path());
        Self { at, request: None, client: client.to_owned(), line, code, trouble: Trouble::None }
    }
}
