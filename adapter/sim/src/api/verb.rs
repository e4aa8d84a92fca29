//! From a request to what it does to the store.
//!
//! Answers: the verbs. Refuses to know: HTTP, and troubles. Upholds: each verb is one locked call of the
//! store.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::Answer;
use super::{PatchType, Request, Verb, discovery, page};
use crate::error::{FieldError, StoreError};
use crate::patch::Patch;
use crate::store::{
    DeleteOptions, Deleted, Draft, Key, Kind, Part, Propagation, Selection, State, Store, Write,
};
use crate::watch::{Start, Watch, Wish};

/// Does what is asked.
pub(super) fn run(store: &Store, request: &Request) -> Result<Answer, StoreError> {
    match request.verb {
        Verb::Discover => discover(request),
        Verb::Get => Ok(Answer::json(200, store.lock().stored(&key(request))?)),
        Verb::List => list(store, request),
        Verb::Watch => watch(store, request),
        Verb::Create | Verb::Delete | Verb::DeleteCollection | Verb::Patch(_) | Verb::Update => {
            let work = |state: &mut State, who: &Write<'_>| write(state, request, who);
            if request.is_dry_run {
                store.rehearse(&request.manager, work)
            } else {
                store.write_as(&request.manager, work)
            }
        }
    }
}

fn write(state: &mut State, request: &Request, who: &Write<'_>) -> Result<Answer, StoreError> {
    let Request { kind, namespace, body, .. } = request;
    let (key, part) = (key(request), part(request));
    if matches!(request.verb, Verb::Create | Verb::Update) {
        check_type(*kind, body)?;
    }
    match request.verb {
        Verb::Create => {
            let draft = Draft { kind: *kind, namespace, object: body.clone() };
            state.create(draft, who).map(|object| Answer::json(201, &object))
        }
        Verb::Update => {
            let done = state.replace(&key, part, body.clone(), who)?;
            Ok(Answer::json(if done.is_new { 201 } else { 200 }, &done.object))
        }
        Verb::Patch(PatchType::Apply) => {
            let done = state.apply(&key, part, body, request.is_forced, who)?;
            Ok(Answer::json(if done.is_new { 201 } else { 200 }, &done.object))
        }
        Verb::Patch(PatchType::Merge) => {
            if !body.is_object() {
                let why = "json: cannot unmarshal array into Go value of type map[string]interface {}";
                return Err(StoreError::bad_request(format!("error decoding patch: {why}")));
            }
            state.patch(&key, part, &Patch::Merge(body.clone()), who).map(|object| Answer::json(200, &object))
        }
        Verb::Patch(PatchType::Json) => {
            let operations = body.as_array().ok_or_else(|| StoreError::bad_request("Invalid JSON Patch"))?;
            state
                .patch(&key, part, &Patch::Json(operations.clone()), who)
                .map(|object| Answer::json(200, &object))
        }
        Verb::Delete => {
            let deleted = state.delete(&key, &delete_options(request)?, who)?;
            Ok(Answer::json(200, &deletion(&key, &deleted)))
        }
        Verb::DeleteCollection => delete_collection(state, request, who),
        Verb::Discover | Verb::Get | Verb::List | Verb::Watch => Err(StoreError::method_not_allowed()),
    }
}

/// The real server knows the type of what it has compiled in, and wants to be told that of anything else.
fn check_type(kind: Kind, body: &Value) -> Result<(), StoreError> {
    if kind.is_custom() && (body["apiVersion"].is_null() || body["kind"].is_null()) {
        let message =
            format!("the object provided is unrecognized (must be of type {kind}): Object 'Kind' is missing");
        return Err(StoreError::bad_request(message));
    }
    Ok(())
}

fn discover(request: &Request) -> Result<Answer, StoreError> {
    let path = request.line.split_once(' ').map_or("", |(_, path)| path);
    discovery::answer(path).map(|found| Answer::json(200, &found)).ok_or_else(StoreError::no_such_resource)
}

fn list(store: &Store, request: &Request) -> Result<Answer, StoreError> {
    let selection = selection(request)?;
    let page = {
        let state = store.lock();
        let asked: u64 = request.query.number("resourceVersion").unwrap_or(0);
        if asked > state.version() {
            return Err(StoreError::version_ahead(asked, state.version()));
        }
        page::read(&state, request, within(request), &selection)?
    };
    let mut metadata = json!({ "resourceVersion": page.version.to_string() });
    if let Some(rest) = page.rest {
        metadata["continue"] = json!(rest.token);
        // How many a selection leaves, the real server does not count.
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(rest.count);
        }
    }
    Ok(Answer::written(200, &List::of(request.kind, metadata, &page.objects)))
}

fn watch(store: &Store, request: &Request) -> Result<Answer, StoreError> {
    let Request { kind, query, .. } = request;
    let version = query.text("resourceVersion");
    let start = match (query.text("sendInitialEvents"), version) {
        ("", "" | "0") => Start::Everything,
        ("false", "" | "0") => Start::Now,
        ("true", _) => {
            check_initial_events(request)?;
            Start::Announced
        }
        (_, text) => Start::After(text.parse().map_err(|_| bad_version(text))?),
    };
    let timeout: Option<u64> = query.number("timeoutSeconds");
    let wish = Wish {
        kind: *kind,
        namespace: within(request).map(str::to_owned),
        selection: selection(request)?,
        start,
        wants_bookmarks: query.is_set("allowWatchBookmarks"),
        deadline: timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
    };
    Ok(Answer::Stream(Box::new(Watch::start(store, wish))))
}

fn check_initial_events(request: &Request) -> Result<(), StoreError> {
    if request.query.text("resourceVersionMatch") == "NotOlderThan"
        && request.query.is_set("allowWatchBookmarks")
    {
        return Ok(());
    }
    let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents requires \
                   setting resourceVersionMatch to NotOlderThan";
    Err(StoreError::plain(422, "Invalid", message))
}

fn bad_version(text: &str) -> StoreError {
    let error =
        FieldError::invalid("resourceVersion", &json!(text), "strconv.ParseUint: parsing: invalid syntax");
    StoreError::bad_request(format!("{}: {}", error.field, error.message))
}

fn delete_collection(state: &mut State, request: &Request, who: &Write<'_>) -> Result<Answer, StoreError> {
    let (selection, options) = (selection(request)?, delete_options(request)?);
    let mut found: Vec<Arc<Value>> = state.of_kind(request.kind, within(request)).cloned().collect();
    found.retain(|object| selection.includes(object));
    for object in &found {
        state.delete(&Key::of(request.kind, object), &options, who)?;
    }
    // What was found, not what became of it.
    let metadata = json!({ "resourceVersion": state.version().to_string() });
    Ok(Answer::written(200, &List::of(request.kind, metadata, &found)))
}

fn deletion(key: &Key, deleted: &Deleted) -> Value {
    let object = match deleted {
        Deleted::Gone(object) if !key.kind.answers_deleted_object() => object,
        Deleted::Gone(object) | Deleted::Marked(object) => return Value::clone(object),
    };
    let mut details =
        json!({ "name": *key.name, "kind": key.kind.plural(), "uid": object["metadata"]["uid"] });
    if !key.kind.group().is_empty() {
        details["group"] = json!(key.kind.group());
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

fn delete_options(request: &Request) -> Result<DeleteOptions, StoreError> {
    let Request { body, query, .. } = request;
    let text = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
    // The query counts only where there is no body.
    let asked = |field: &str| if body.is_null() { query.text(field) } else { "" };
    let policy = body["propagationPolicy"].as_str().unwrap_or_else(|| asked("propagationPolicy"));
    let propagation = match (policy, body["orphanDependents"].as_bool()) {
        ("", Some(true)) | ("Orphan", _) => Some(Propagation::Orphan),
        ("", Some(false)) | ("Background", _) => Some(Propagation::Background),
        ("Foreground", _) => Some(Propagation::Foreground),
        ("", None) => None,
        (other, _) => {
            let message = format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}"
            );
            return Err(StoreError::plain(422, "Invalid", message));
        }
    };
    Ok(DeleteOptions {
        grace_period_seconds: body["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| asked("gracePeriodSeconds").parse().ok()),
        propagation,
        uid: text("uid"),
        resource_version: text("resourceVersion"),
    })
}

/// A list, written without a copy of what is in it: a fleet's takes many megabytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    api_version: String,
    items: Vec<Item<'a>>,
    kind: String,
    metadata: Value,
}

impl<'a> List<'a> {
    fn of(kind: Kind, metadata: Value, objects: &'a [Arc<Value>]) -> Self {
        let items = objects.iter().map(|object| Item { kind, object }).collect();
        Self { api_version: kind.api_version(), items, kind: format!("{}List", kind.name()), metadata }
    }
}

struct Item<'a> {
    kind: Kind,
    object: &'a Value,
}

/// Lists of built-in kinds leave the type out of their items.
impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.object {
            Value::Object(map) if !self.kind.is_custom() => serializer
                .collect_map(map.iter().filter(|(field, _)| *field != "apiVersion" && *field != "kind")),
            other => other.serialize(serializer),
        }
    }
}

fn selection(request: &Request) -> Result<Selection, StoreError> {
    Selection::parse(request.kind, request.query.text("labelSelector"), request.query.text("fieldSelector"))
}

fn within(request: &Request) -> Option<&str> {
    Some(request.namespace.as_str()).filter(|namespace| !namespace.is_empty())
}

fn key(request: &Request) -> Key {
    Key::new(request.kind, &request.namespace, &request.name)
}

fn part(request: &Request) -> Part {
    if request.subresource == "status" { Part::Status } else { Part::Main }
}
