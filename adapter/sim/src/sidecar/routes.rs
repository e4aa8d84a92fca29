//! The HTTP surface of a sidecar process, without HTTP.
//!
//! Answers: status, headers and body of every request.
//! Refuses to know: connections; an answer that never comes is a value too.
//! Upholds: the order of checks, the same-id rules, and 201 for every accepted submission.

use super::director::Event;
use super::kind::Kind;
use super::process::Sidecar;
use super::record::{Record, Status};
use super::script::Fault;
use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The body's bytes.
    pub body: &'a [u8],
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// An answer.
    Answered(Answer),
    /// The connection stays open and silent.
    Silent,
    /// The connection was refused.
    Refused,
    /// The request was carried out, then the connection broke.
    Lost,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Empty for HEAD.
    pub body: Bytes,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json")],
            body: Bytes::from(format!("{body}\n")),
        }
    }

    fn error(status: u16, text: &str) -> Self {
        Self::json(status, &json!({ "error": text }))
    }

    pub(super) fn text(status: u16, body: &'static str) -> Self {
        let headers =
            vec![("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")];
        Self { status, headers, body: Bytes::from_static(body.as_bytes()) }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Sidecar {
    /// Carries out one request. `X-Remote-User` is the proxy's business and not looked at.
    pub fn handle(&self, call: Call<'_>, now: Timestamp) -> Handled {
        self.advance(now);
        let path = call.target.split('?').next().unwrap_or_default();
        let fault = self.director.mishap(call.method, path);
        match fault {
            Some(Fault::Hang) => return Handled::Silent,
            Some(Fault::Refuse) => return Handled::Refused,
            Some(Fault::Status(status)) => return Handled::Answered(Answer::text(status, "proxy\n")),
            Some(Fault::Amnesia) => self.volume.forget_records(),
            Some(Fault::LoseAnswer | Fault::Locked) | None => {}
        }
        let mut answer = self.route(call, path, fault == Some(Fault::Locked), now);
        if call.method == "HEAD" {
            answer.body = Bytes::new();
        }
        if fault == Some(Fault::LoseAnswer) { Handled::Lost } else { Handled::Answered(answer) }
    }

    fn route(&self, call: Call<'_>, path: &str, is_locked: bool, now: Timestamp) -> Answer {
        let reads = ["GET", "HEAD"].contains(&call.method);
        let refused = |allow| Answer::text(405, "Method Not Allowed\n").with("allow", allow);
        let Some(below) = path.strip_prefix("/v0/") else { return not_found() };
        match (below, call.method) {
            ("healthz" | "startupz", _) if reads => Answer::empty(if self.state().ready { 200 } else { 503 }),
            ("livez", _) if reads => Answer::empty(200),
            ("status", _) if reads => {
                let word = if self.state().ready { "Ready" } else { "Initializing" };
                Answer::json(200, &json!({ "status": word }))
            }
            ("node-id", _) if reads => match self.volume.with(|disk| disk.node_id.clone()) {
                Some(id) => Answer::json(200, &json!({ "nodeId": id })),
                None => Answer::error(500, "node_key.json not found"),
            },
            ("metrics", _) if reads => self.metrics(),
            ("healthz" | "startupz" | "livez" | "status" | "node-id" | "metrics", _) => refused("GET, HEAD"),
            ("tasks", "POST") => self.submit(call.body, is_locked, now),
            ("tasks", _) if reads => {
                let shown = |disk: &mut super::volume::Disk| {
                    disk.newest_records().into_iter().map(Record::to_json).collect::<Vec<_>>()
                };
                Answer::json(200, &Value::Array(self.volume.with(shown)))
            }
            ("tasks", _) => refused("GET, HEAD, POST"),
            _ => match below.strip_prefix("tasks/").filter(|id| !id.is_empty() && !id.contains('/')) {
                None => not_found(),
                Some(id) if reads => {
                    let record = self.volume.with(|disk| disk.records.get(id).map(Record::to_json));
                    record.map_or_else(unknown_task, |record| Answer::json(200, &record))
                }
                Some(id) if call.method == "DELETE" => self.delete(id, is_locked, now),
                Some(_) => refused("DELETE, GET, HEAD"),
            },
        }
    }

    fn submit(&self, body: &[u8], is_locked: bool, now: Timestamp) -> Answer {
        let Some(request) = Submission::read(body) else { return Answer::error(400, "invalid request body") };
        if request.kind.is_empty() {
            return Answer::error(400, "type is required");
        }
        let Some(kind) = Kind::parse(&request.kind) else {
            return Answer::error(400, &format!("unknown task type: {}", request.kind));
        };
        if !request.id.is_empty() && Uuid::parse_str(&request.id).is_err() {
            return Answer::error(400, &format!("task ID must be a valid UUID: {:?}", request.id));
        }
        let mut state = self.state();
        self.volume.with(|disk| {
            let known = disk.records.get(&request.id);
            if let Some(known) = known.filter(|record| record.status != Status::Failed) {
                let sent = Record { kind: request.kind, params: request.params, ..known.clone() };
                self.note(&sent, Event::Repeated, now);
                return accepted(&sent.id);
            }
            let run = known.map_or(0, |record| record.run) + 1;
            if is_locked {
                return Answer::error(400, "persist task: database is locked");
            }
            let sequence = disk.next_sequence();
            let made_up =
                || Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}/{sequence}", disk.label).as_bytes());
            let record = Record {
                id: if request.id.is_empty() { made_up().to_string() } else { request.id },
                kind: request.kind,
                status: Status::Running,
                run,
                params: request.params,
                result: None,
                error: None,
                submitted_at: now,
                completed_at: None,
                sequence,
            };
            self.note(&record, Event::Started, now);
            disk.records.insert(record.id.clone(), record.clone());
            self.begin(&mut state, disk, &record, kind, now);
            accepted(&record.id)
        })
    }

    fn delete(&self, id: &str, is_locked: bool, now: Timestamp) -> Answer {
        let mut state = self.state();
        self.volume.with(|disk| {
            let Some(record) = disk.records.get(id) else { return unknown_task() };
            if is_locked {
                return Answer::error(503, "failed to delete task; retry").with("retry-after", "1");
            }
            self.note(record, Event::Deleted, now);
            disk.records.remove(id);
            Self::cancel(&mut state, id);
            Answer::empty(204)
        })
    }

    fn metrics(&self) -> Answer {
        let mut counts = std::collections::BTreeMap::<String, u64>::new();
        for entry in self.director.journal() {
            if [Event::Started, Event::Repeated].contains(&entry.event) {
                *counts.entry(entry.kind).or_default() += 1;
            }
        }
        let line = |(kind, count): (&String, &u64)| {
            format!("seictl_task_submissions_total{{type=\"{kind}\"}} {count}\n")
        };
        let body = Bytes::from(counts.iter().map(line).collect::<String>());
        Answer { status: 200, headers: vec![("content-type", "text/plain; version=0.0.4")], body }
    }
}

/// The request body of a POST, shape checked.
struct Submission {
    kind: String,
    id: String,
    params: Option<Map<String, Value>>,
}

impl Submission {
    /// Reads the first JSON value; bytes after it are ignored, null is an empty object.
    fn read(body: &[u8]) -> Option<Self> {
        let first = serde_json::Deserializer::from_slice(body).into_iter::<Value>().next()?.ok()?;
        let mut keys = match first {
            Value::Object(keys) => keys,
            Value::Null => Map::new(),
            _ => return None,
        };
        let mut text = |key: &str| match keys.remove(key) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Null) | None => Some(String::new()),
            Some(_) => None,
        };
        let (kind, id) = (text("type")?, text("id")?);
        let params = match keys.remove("params") {
            Some(Value::Object(params)) => Some(params).filter(|params| !params.is_empty()),
            Some(Value::Null) | None => None,
            Some(_) => return None,
        };
        Some(Self { kind, id, params })
    }
}

fn accepted(id: &str) -> Answer {
    Answer::json(201, &json!({ "id": id }))
}

fn unknown_task() -> Answer {
    Answer::error(404, "task not found")
}

fn not_found() -> Answer {
    Answer::text(404, "404 page not found\n")
}
