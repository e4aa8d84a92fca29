//! What happened, as lines: one for each stored change, effect and event, in the order of time.
//!
//! Answers: the lines of a play. Refuses to know: the script. Upholds: no line holds an id or a version, so that it stays
//! the same when the work of others is ordered in another way within one instant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request as HttpRequest, Response as HttpResponse};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::{ConditionType, FINALIZER, SeiNode, SeiNodeStatus, TaskStatus};
use seinode_core::ident::NodeKey;
use seinode_core::plan::lint;
use seinode_sim::api::{PatchType, Request, Verb};
use seinode_sim::sidecar::Event as RunEvent;
use seinode_sim::store::{Clock, Kind};
use serde_json::Value;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::sidecar::{NotConnected, Transport};
use crate::simulate::judge::{Judge, Written};
use crate::simulate::pretend::Pretend;

/// The book.
pub(super) struct Book {
    clock: Clock,
    start: Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operators: BTreeSet<String>,
    lines: Vec<Line>,
    /// Writes of operators that took hold.
    writes: usize,
    broken: usize,
    /// How much of each journal is written down.
    journals: BTreeMap<NodeKey, usize>,
    /// What is written down of each pod.
    pods: BTreeMap<String, usize>,
    violations: usize,
}

struct Line {
    at: Timestamp,
    who: String,
    text: String,
}

impl Book {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, start: clock.now(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the writes of this client are written down.
    pub(super) fn meet(&self, operator: &str) {
        self.state().operators.insert(operator.to_owned());
    }

    pub(super) fn is_operator(&self, client: &str) -> bool {
        self.state().operators.contains(client)
    }

    /// How many writes of operators have taken hold.
    pub(super) fn writes(&self) -> usize {
        self.state().writes
    }

    /// How many laws were broken.
    pub(super) fn broken(&self) -> usize {
        self.state().broken
    }

    /// Writes a line.
    pub(super) fn note(&self, who: &str, text: &str) {
        let at = self.clock.now();
        self.state().lines.push(Line { at, who: who.to_owned(), text: text.to_owned() });
    }

    pub(super) fn law(&self, text: &str) {
        self.state().broken += 1;
        self.note("BROKEN", text);
    }

    /// Writes down a write of an operator.
    pub(super) fn write(&self, request: &Request, code: u16, written: &Written) {
        let (before, after, changed) = (written.before.as_deref(), written.after.as_deref(), written.changed);
        if changed {
            self.state().writes += 1;
        }
        let what = format!("{} {}", request.kind, request.name);
        let came_of_it = match (code, changed) {
            (201, _) => "created".to_owned(),
            (200..300, true) => "changed".to_owned(),
            (200..300, false) => "unchanged".to_owned(),
            (code, _) => format!("refused with {code}"),
        };
        let text = match (request.verb, request.kind) {
            (Verb::Patch(PatchType::Merge), Kind::SeiNode) if request.subresource == "status" => {
                if code >= 300 {
                    format!("status of {}: {came_of_it}", request.name)
                } else {
                    format!("status of {}: {}", request.name, self.status(before, after))
                }
            }
            (Verb::Patch(PatchType::Merge), Kind::SeiNode) => {
                let list = request.body.pointer("/metadata/finalizers").and_then(Value::as_array);
                let word = if list.is_some_and(|l| l.iter().any(|f| f == FINALIZER)) {
                    "put on"
                } else {
                    "taken off"
                };
                let end = if code < 300 { String::new() } else { format!(": {came_of_it}") };
                format!("finalizer of {} {word}{end}", request.name)
            }
            (Verb::Patch(PatchType::Apply), _) => format!("apply {what}: {came_of_it}"),
            (Verb::Create, Kind::CoreEvent) if code < 300 => {
                let field = |name: &str| request.body[name].as_str().unwrap_or_default();
                format!("event {} {}: {}", field("type"), field("reason"), field("message"))
            }
            (Verb::Patch(PatchType::Merge), Kind::CoreEvent) => {
                format!("event counted up to {}: {came_of_it}", request.body["count"])
            }
            (Verb::Patch(PatchType::Merge), _) => {
                let spec = request.body["spec"].to_string();
                format!("patch {what} {spec}: {came_of_it}")
            }
            (Verb::Delete, _) if code < 300 => format!("delete {what}"),
            (Verb::Delete, _) => format!("delete {what}: {came_of_it}"),
            _ => format!("{}: {came_of_it}", request.line),
        };
        self.note(&request.client, &text);
    }

    /// What a status write changed; the laws are checked on the way.
    fn status(&self, before: Option<&Value>, after: Option<&Value>) -> String {
        let read = |object: Option<&Value>| {
            object.and_then(|o| serde_json::from_value::<SeiNode>(o.clone()).ok()).map(|n| n.status)
        };
        let (Some(before), Some(after)) = (read(before), read(after)) else {
            return "of a node that is gone".to_owned();
        };
        let known = lint::status(&before);
        let new = lint::status(&after).into_iter().filter(|f| !known.contains(f));
        for finding in new.chain(lint::step(&before, &after)) {
            self.law(&format!("law {}: {}", finding.law, finding.text));
        }
        let mut parts = Vec::new();
        if before.phase != after.phase {
            parts.push(format!("phase {}", after.phase.as_ref().map_or("none", |p| p.as_str())));
        }
        parts.extend(plan(&before, &after));
        parts.extend(conditions(&before, &after));
        let images = |s: &SeiNodeStatus| (s.current_image.clone(), s.current_sidecar_image.clone());
        if images(&before) != images(&after) {
            let text = |image: Option<String>| image.unwrap_or("none".to_owned());
            let (image, sidecar) = images(&after);
            parts.push(format!("runs {} with {}", text(image), text(sidecar)));
        }
        if before.resolved_peers != after.resolved_peers {
            parts.push(format!("{} peers", after.resolved_peers.len()));
        }
        if before.resolved_state_syncers != after.resolved_state_syncers {
            parts.push(format!("{} witnesses", after.resolved_state_syncers.len()));
        }
        if parts.is_empty() { "other fields".to_owned() } else { parts.join("; ") }
    }

    /// Adds what sidecars and pods did since the last time.
    fn gather(&self, pretend: &Pretend) {
        let mut state = self.state();
        let mut new = Vec::new();
        for (key, written) in &mut state.journals {
            let journal = pretend.kubelet.director(&key.namespace, &key.name).journal();
            for entry in journal.iter().skip(*written) {
                let word = match entry.event {
                    RunEvent::Started => "started",
                    RunEvent::Repeated => continue,
                    RunEvent::Resumed => "started again by a new process",
                    RunEvent::Completed => "completed",
                    RunEvent::Failed => "failed",
                    RunEvent::Deleted => "withdrawn",
                };
                let text = format!("{}: {} run {} {word}", key.name, entry.kind, entry.run);
                new.push(Line { at: entry.at, who: "sidecar".to_owned(), text });
            }
            *written = journal.len();
        }
        for pod in pretend.kubelet.pods() {
            let moments = [
                (Some(pod.created), "made"),
                (pod.started, "started"),
                (pod.ready, "ready"),
                (pod.stopped, "stopped"),
                (pod.deleted, "gone"),
            ];
            let told = state.pods.entry(pod.uid.clone()).or_default();
            for (i, (at, word)) in moments.iter().enumerate() {
                if let Some(at) = at.filter(|_| *told & (1 << i) == 0) {
                    *told |= 1 << i;
                    new.push(Line { at, who: "pod".to_owned(), text: format!("{} {word}", pod.name) });
                }
            }
        }
        let violations = pretend.kubelet.violations();
        for violation in violations.iter().skip(state.violations) {
            let pods: Vec<_> = violation.pods.iter().map(|(name, _)| name.as_str()).collect();
            let text = format!("two pods on claim {}: {}", violation.claim.1, pods.join(" and "));
            new.push(Line { at: violation.at, who: "BROKEN".to_owned(), text });
            state.broken += 1;
        }
        state.violations = violations.len();
        state.lines.extend(new);
    }

    /// A node whose sidecars are written down.
    pub(super) fn follow(&self, key: &NodeKey) {
        self.state().journals.entry(key.clone()).or_default();
    }

    /// Prints what is new.
    pub(super) fn print(&self, pretend: &Pretend, out: &mut impl Write) -> io::Result<()> {
        self.gather(pretend);
        let mut lines = std::mem::take(&mut self.state().lines);
        lines.sort_by_key(|line| line.at);
        for line in lines {
            let passed = Duration::try_from(line.at.duration_since(self.start)).unwrap_or_default();
            let (seconds, millis) = (passed.as_secs(), passed.subsec_millis());
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let text = without_ids(&line.text);
            writeln!(out, "{hours}:{minutes:02}:{seconds:02}.{millis:03}  {:<9} {text}", line.who)?;
        }
        Ok(())
    }
}

/// The text with each UUID left out: it depends on versions, and those on the order of others' work.
fn without_ids(text: &str) -> String {
    const SHAPE: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    const JOB: &str = "-bootstrap-";
    let is_id = |part: &str| {
        part.len() == SHAPE.len()
            && part
                .chars()
                .zip(SHAPE.chars())
                .all(|(c, s)| if s == 'x' { c.is_ascii_hexdigit() } else { c == s })
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.get(..SHAPE.len()).is_some_and(is_id) {
            out.push_str("<id>");
            rest = &rest[SHAPE.len()..];
        } else if let Some(of_job) = rest.strip_prefix(JOB) {
            // A Job gives its pods names with a part of its own uid.
            out.push_str(JOB);
            out.push_str("<id>");
            rest = of_job.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// What changed in the plan.
fn plan(before: &SeiNodeStatus, after: &SeiNodeStatus) -> Vec<String> {
    let Some(plan) = &after.plan else {
        return if before.plan.is_some() { vec!["plan removed".to_owned()] } else { Vec::new() };
    };
    let known = before.plan.as_ref().filter(|known| known.id == plan.id);
    let done = |plan: &seinode_core::api::StoredPlan| {
        plan.tasks.iter().filter(|t| t.status == TaskStatus::Complete).count()
    };
    let mut parts = Vec::new();
    if known.is_none() {
        let tasks: Vec<&str> = plan.tasks.iter().map(|t| t.task_type.as_str()).collect();
        parts.push(format!("new plan: {}", tasks.join(", ")));
    }
    if known.map_or(0, done) != done(plan) {
        parts.push(format!("{} of {} tasks done", done(plan), plan.tasks.len()));
    }
    let mut begun = None;
    for (i, task) in plan.tasks.iter().enumerate() {
        let earlier = known.and_then(|known| known.tasks.get(i));
        if task.retry_count != earlier.map_or(0, |t| t.retry_count) {
            parts.push(format!("failure {} of {}", task.retry_count, task.task_type));
        }
        if earlier.is_some_and(|t| t.submitted_at.is_none()) && task.submitted_at.is_some() {
            begun = Some(task);
        }
    }
    // Of the tasks whose turn has come the last one is of interest; those before it are done.
    if let Some(task) = begun.filter(|t| t.status != TaskStatus::Complete) {
        parts.push(format!("turn of {}", task.task_type));
    }
    if known.is_some_and(|known| known.phase != plan.phase) {
        let mut text = format!("plan {}", plan.phase);
        if let Some(detail) = &plan.failed_task_detail {
            let _ = write!(text, " at {}: {}", detail.task_type, detail.error);
        }
        parts.push(text);
    }
    parts
}

/// Which conditions changed status or reason. Those that are seeded with the others are left out.
fn conditions(before: &SeiNodeStatus, after: &SeiNodeStatus) -> Vec<String> {
    let mut parts = Vec::new();
    for condition in &after.conditions {
        let known = before.conditions.iter().find(|c| c.condition_type == condition.condition_type);
        let is_ready = condition.condition_type == ConditionType::Ready;
        let changed = match known {
            Some(known) => (&known.status, &known.reason) != (&condition.status, &condition.reason),
            None => is_ready,
        };
        let reworded = known.is_some_and(|known| known.message != condition.message);
        if !changed && !reworded {
            continue;
        }
        let still = if changed { "" } else { "still " };
        let (name, status) = (condition.condition_type.as_str(), condition.status.as_str());
        parts.push(format!("{name} {still}{status}/{} ({})", condition.reason, condition.message));
    }
    parts
}

/// Writes down what an operator sends to sidecars, reads aside unless they go wrong.
pub(super) fn listening(book: Arc<Book>, judge: Arc<Judge>, who: &str, transport: Transport) -> Transport {
    let who = who.to_owned();
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest<Full<Bytes>>| {
        let (book, judge, who, transport) = (book.clone(), judge.clone(), who.clone(), transport.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let address = parts.uri.clone();
            let node = address.host().and_then(|h| h.split('.').nth(1)).unwrap_or_default();
            let what = match parts.method {
                Method::POST => {
                    let task: Value = serde_json::from_slice(&body).unwrap_or_default();
                    Some(format!("submit {} to {node}", task["type"].as_str().unwrap_or("something")))
                }
                Method::DELETE => Some(format!("withdraw a task from {node}")),
                _ => None,
            };
            let mut pending = Pending { book: &book, who: &who, what };
            let mut transport = transport;
            let answer = transport.ready().await?.call(HttpRequest::from_parts(parts, Full::new(body))).await;
            if let Some(what) = pending.what.take() {
                judge.asked(&who, &address, answer.as_ref().ok().map(HttpResponse::status));
                let end = match &answer {
                    Ok(answer) if answer.status().is_success() => String::new(),
                    Ok(answer) => format!(": answered {}", answer.status().as_u16()),
                    Err(error) if error.is::<NotConnected>() => ": no connection".to_owned(),
                    Err(_) => ": the connection broke".to_owned(),
                };
                book.note(&who, &format!("{what}{end}"));
            }
            answer
        }
    }))
}

/// A request that has no answer yet; dropped without one, it is written down as such.
struct Pending<'a> {
    book: &'a Book,
    who: &'a str,
    what: Option<String>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(what) = self.what.take() {
            self.book.note(self.who, &format!("{what}: no answer"));
        }
    }
}
