//! Plays a sequence on a server.
//!
//! Answers: what the server said to each step, and what each watch saw. Refuses to know: whether the server is real.
//! Upholds: a step is sent when the one before is answered; a watch is read up to objects that are made last of all, so
//! no event is missed and nothing is waited for in vain.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use seinode_sim::store::Kind;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::sample;
use super::step::{Sequence, Step, Verb};

/// What a server said to a sequence, as it said it.
#[derive(Clone, Debug)]
pub(super) struct Played {
    pub(super) answers: Vec<Answer>,
}

/// The answer to one step.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) code: u16,
    /// The body; of a watch the list of its events.
    pub(super) body: Value,
}

/// Plays it in a namespace that has nothing in it.
pub(super) async fn play(client: &Client, namespace: &str, sequence: &Sequence) -> Result<Played, String> {
    let mut player = Player::new(client, namespace);
    let mut answers = Vec::new();
    let mut watches = Vec::new();
    for (index, step) in sequence.steps.iter().enumerate() {
        let failed = |error: String| format!("step {index}: {error}");
        if step.verb == Verb::Watch {
            let step = player.begun(step).await?;
            let response = player.send(&step).await.map_err(failed)?;
            let code = response.status().as_u16();
            if code == 200 {
                watches.push((index, response.into_body()));
                answers.push(Answer { code, body: Value::Null });
            } else {
                answers.push(Answer { code, body: read(response.into_body()).await.map_err(failed)? });
            }
        } else {
            answers.push(player.play(step).await.map_err(failed)?);
        }
    }
    for kind in watched(sequence) {
        for name in LAST {
            let answer = player.ask(&last(&kind, name)?).await?;
            if answer.code != 201 {
                return Err(format!("the last {kind} could not be made: {}", answer.body));
            }
        }
    }
    for (index, body) in watches {
        let events = timeout(PATIENCE, events(body)).await.map_err(|_| {
            format!(
                "step {index}: the watch has not seen the objects that were made last within {PATIENCE:?}"
            )
        })??;
        answers[index].body = Value::Array(events);
    }
    Ok(Played { answers })
}

/// The objects that are made last: whatever a watch selects, it selects one of them.
const LAST: [&str; 2] = ["zz-labelled", "zz-plain"];

/// The kinds that are watched.
fn watched(sequence: &Sequence) -> Vec<String> {
    let watches = sequence.steps.iter().filter(|step| step.verb == Verb::Watch);
    let mut kinds: Vec<String> = watches.map(|step| step.kind.clone()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn last(kind: &str, name: &str) -> Result<Step, String> {
    let sample = sample::of(kind).ok_or_else(|| format!("sequences can't watch {kind}: it has no sample"))?;
    let mut body = sample.base.clone();
    body["apiVersion"] = json!(sample.resource()?.api_version());
    body["kind"] = json!(kind);
    body["metadata"] = json!({ "name": name });
    if name == LAST[0] {
        body["metadata"]["labels"] = json!({ "l1": "x", "l2": "x" });
    }
    Ok(Step {
        verb: Verb::Create,
        kind: kind.to_owned(),
        name: String::new(),
        part: String::new(),
        query: BTreeMap::new(),
        body,
    })
}

/// A client that remembers what it saw.
pub(super) struct Player<'a> {
    client: &'a Client,
    namespace: &'a str,
    /// Every state of an object that an answer showed, by kind and name, oldest first.
    seen: BTreeMap<String, Vec<Value>>,
    /// By kind, where the list that was answered last goes on.
    tokens: BTreeMap<String, String>,
}

impl<'a> Player<'a> {
    pub(super) fn new(client: &'a Client, namespace: &'a str) -> Self {
        Self { client, namespace, seen: BTreeMap::new(), tokens: BTreeMap::new() }
    }

    /// Sends a step and remembers what the answer shows.
    pub(super) async fn play(&mut self, step: &Step) -> Result<Answer, String> {
        let answer = self.ask(step).await?;
        self.remember(step, &answer);
        Ok(answer)
    }

    /// Sends a step.
    pub(super) async fn ask(&self, step: &Step) -> Result<Answer, String> {
        let response = self.send(step).await?;
        let code = response.status().as_u16();
        let body = read(response.into_body()).await?;
        Ok(Answer { code, body })
    }

    async fn send(&self, step: &Step) -> Result<http::Response<Body>, String> {
        let (method, content) = match step.verb {
            Verb::Create => ("POST", "application/json"),
            Verb::Get | Verb::List | Verb::Watch => ("GET", "application/json"),
            Verb::Merge => ("PATCH", "application/merge-patch+json"),
            Verb::Apply => ("PATCH", "application/apply-patch+yaml"),
            Verb::Replace => ("PUT", "application/json"),
            Verb::Delete | Verb::DeleteCollection => ("DELETE", "application/json"),
        };
        let query = step.query.iter().map(|(name, value)| {
            let value = self.filled(&json!(value)).as_str().unwrap_or_default().to_owned();
            (name.clone(), value)
        });
        let uri = step.uri(self.namespace, &query.collect())?;
        let body = match self.filled(&step.body) {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .header(CONTENT_TYPE, content)
            .header(USER_AGENT, "conformance/1")
            .body(Body::from(body))
            .map_err(|error| format!("{method} {uri}: {error}"))?;
        self.client.send(request).await.map_err(|error| format!("{method} {uri}: {error}"))
    }

    /// A watch that begins with a version that is known: where its object was never seen, with that of a list.
    async fn begun(&self, step: &Step) -> Result<Step, String> {
        let mut step = step.clone();
        let key = step.query.get("resourceVersion").and_then(|text| text.split_once(' ')).map(|(_, key)| key);
        if key.is_some_and(|key| !self.seen.contains_key(key)) {
            let list = Step { verb: Verb::List, query: BTreeMap::new(), ..step.clone() };
            let version = self.ask(&list).await?.body["metadata"]["resourceVersion"].clone();
            step.query.insert("resourceVersion".to_owned(), version.as_str().unwrap_or_default().to_owned());
        }
        Ok(step)
    }

    /// The body with everything in it that only the server knows.
    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match text.split_once(' ') {
                Some((what, key)) if what.starts_with('@') => json!(self.known(what, key)),
                _ => value.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(map) => {
                if let Some(key) = map.get("@last").and_then(Value::as_str) {
                    let mut object =
                        self.seen.get(key).and_then(|all| all.last()).cloned().unwrap_or_else(|| {
                            let (kind, name) = key.split_once('/').unwrap_or((key, ""));
                            unseen(kind, name)
                        });
                    let with = map.get("@with").map(|with| self.filled(with)).unwrap_or_default();
                    seinode_core::patch::apply(&mut object, &with);
                    return object;
                }
                map.iter().map(|(name, inner)| (name.clone(), self.filled(inner))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// A uid, version or token as last seen; of what was never seen, a uid or version that no object has.
    fn known(&self, what: &str, key: &str) -> String {
        if what == "@continue" {
            return self.tokens.get(key).cloned().unwrap_or_default();
        }
        let field = if what.ends_with("uid") { "uid" } else { "resourceVersion" };
        let all = self.seen.get(key).map(Vec::as_slice).unwrap_or_default();
        let values: Vec<&str> = all.iter().filter_map(|object| object["metadata"][field].as_str()).collect();
        let newest = values.last().copied();
        let wanted = if what.starts_with("@old-") {
            values.iter().rev().copied().find(|value| Some(*value) != newest)
        } else {
            newest
        };
        let nothing = if field == "uid" { "11111111-1111-4111-8111-111111111111" } else { "2" };
        wanted.unwrap_or(nothing).to_owned()
    }

    fn remember(&mut self, step: &Step, answer: &Answer) {
        let is_rehearsal = step.query.contains_key("dryRun") || !step.body["dryRun"].is_null();
        let is_stored = (200..300).contains(&answer.code) && !is_rehearsal;
        let name = answer.body["metadata"]["name"].as_str().unwrap_or_default();
        if is_stored && !name.is_empty() {
            let mut object = answer.body.clone();
            // Times of entries may differ from server to server, and nobody sends them back by hand.
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            self.seen.entry(format!("{}/{name}", step.kind)).or_default().push(object);
        }
        if step.verb == Verb::List {
            let token = answer.body["metadata"]["continue"].as_str().unwrap_or_default();
            self.tokens.insert(step.kind.clone(), token.to_owned());
        }
    }
}

/// The least object, for a replacement of what was never seen.
fn unseen(kind: &str, name: &str) -> Value {
    let mut object = sample::of(kind).map_or_else(|| json!({}), |sample| sample.base);
    object["apiVersion"] = json!(sample::resource(kind).map(Kind::api_version).ok());
    object["kind"] = json!(kind);
    object["metadata"] = json!({ "name": name });
    object
}

async fn read(body: Body) -> Result<Value, String> {
    let bytes = timeout(PATIENCE, body.collect())
        .await
        .map_err(|_| format!("the answer is not complete after {PATIENCE:?}"))?
        .map_err(|error| format!("the answer broke off: {error}"))?
        .to_bytes();
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}

/// The events up to the first object that is made last, that one excluded; or up to the end of the watch.
async fn events(mut body: Body) -> Result<Vec<Value>, String> {
    let mut bytes = Vec::new();
    let mut out = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the watch broke off: {error}"))?;
        bytes.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            let event: Value =
                serde_json::from_slice(&line).map_err(|error| format!("an event is no JSON: {error}"))?;
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            if LAST.contains(&name) {
                return Ok(out);
            }
            out.push(event);
        }
    }
    Ok(out)
}

/// Long for a server on the same machine, even a busy one.
const PATIENCE: Duration = Duration::from_secs(30);
