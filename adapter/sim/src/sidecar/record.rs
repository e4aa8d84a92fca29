//! One stored task and how it reads on the wire.
//!
//! Answers: what `GET /v0/tasks/{id}` shows.
//! Refuses to know: who runs the task.
//! Upholds: `completedAt`, `error` and `result` never outlive the run they belong to.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Where a task stands. There is no queued state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted and not ended.
    Running,
    /// Ended well; posting the id again does nothing.
    Completed,
    /// Ended badly; posting the id again runs it again.
    Failed,
}

impl Status {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A row of the task database.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// As it was sent, in whatever spelling.
    pub id: String,
    /// The type as text: a database may hold types that this version lacks.
    pub kind: String,
    /// Where it stands.
    pub status: Status,
    /// Counts from 1, plus one for each time a failed id was posted again.
    pub run: u64,
    /// As sent; absent when none or an empty object was sent.
    pub params: Option<Map<String, Value>>,
    /// What the handler had to say, if it says anything.
    pub result: Option<Value>,
    /// The failure's text.
    pub error: Option<String>,
    /// Start of the current run.
    pub submitted_at: Timestamp,
    /// End of the current run.
    pub completed_at: Option<Timestamp>,
    /// Orders submissions within one instant.
    pub sequence: u64,
}

impl Record {
    /// The record as the server shows it.
    pub fn to_json(&self) -> Value {
        let mut shown = Map::new();
        shown.insert("id".into(), json!(self.id));
        shown.insert("type".into(), json!(self.kind));
        shown.insert("status".into(), json!(self.status.word()));
        shown.insert("run".into(), json!(self.run));
        if let Some(params) = &self.params {
            shown.insert("params".into(), Value::Object(params.clone()));
        }
        if let Some(result) = &self.result {
            shown.insert("result".into(), result.clone());
        }
        if let Some(error) = &self.error {
            shown.insert("error".into(), json!(error));
        }
        shown.insert("submittedAt".into(), json!(self.submitted_at.to_string()));
        if let Some(at) = self.completed_at {
            shown.insert("completedAt".into(), json!(at.to_string()));
        }
        Value::Object(shown)
    }

    /// Ends the current run.
    pub(super) fn end(&mut self, failure: Option<String>, result: Option<Value>, at: Timestamp) {
        self.status = if failure.is_some() { Status::Failed } else { Status::Completed };
        self.error = failure;
        self.result = result;
        self.completed_at = Some(at);
    }
}
