//! A request, read.
//!
//! Answers: what a client asks for, as one value. Refuses to know: whether it will be granted.
//! Upholds: everything that tests and troubles may ask about a request stands in it; nothing is read twice.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use serde_json::Value;

use super::query::Query;
use super::route;
use crate::error::StoreError;
use crate::store::Kind;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "these are the verbs of Kubernetes")]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Discover,
    Get,
    List,
    Patch(PatchType),
    Update,
    Watch,
}

/// How a patch is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "these are the patch types of Kubernetes")]
pub enum PatchType {
    Apply,
    Json,
    Merge,
}

impl Verb {
    /// Whether the verb may change something.
    pub fn is_write(self) -> bool {
        match self {
            Self::Create | Self::Delete | Self::DeleteCollection | Self::Patch(_) | Self::Update => true,
            Self::Discover | Self::Get | Self::List | Self::Watch => false,
        }
    }
}

/// A request that names a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client, as [`super::ApiServer::serving`] names it.
    pub client: String,
    /// Method and path, without the query.
    pub line: String,
    /// What is to be done.
    pub verb: Verb,
    /// The resource. For discovery it stands for nothing.
    pub kind: Kind,
    /// The namespace; empty for all and for kinds that live in none.
    pub namespace: String,
    /// The name in the path; for a creation the one in the body, so empty where a name is to be generated.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
    /// The field manager: the one asked for, else the first part of the user agent.
    pub manager: String,
    /// Whether an apply takes fields from other managers.
    pub is_forced: bool,
    /// Whether nothing is to be stored.
    pub is_dry_run: bool,
    /// The body; `Null` if there is none.
    pub body: Value,
    pub(super) query: Query,
}

/// Field managers from user agents are cut to this length, as on the real server.
const LONGEST_MANAGER: usize = 128;

/// Why no request could be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// No resource has this path; the real server answers this with plain text.
    NoPath,
    Refused(StoreError),
}

impl From<StoreError> for Unread {
    fn from(refusal: StoreError) -> Self {
        Self::Refused(refusal)
    }
}

/// Reads a request, or says why it makes none.
pub(super) fn read(parts: &Parts, body: &Bytes, client: &str) -> Result<Request, Unread> {
    let path = parts.uri.path();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let line = format!("{} {path}", parts.method);
    let route = match route::read(path) {
        Some(route) if !route.is_served() => return Err(StoreError::no_such_resource().into()),
        Some(route) => route,
        None if parts.method == Method::GET && super::discovery::knows(path) => route::Route {
            kind: Kind::Namespace,
            namespace: String::new(),
            name: String::new(),
            subresource: "discovery".to_owned(),
        },
        None => return Err(Unread::NoPath),
    };
    let verb = verb(parts, &route, &query)?;
    let body = match body.as_ref() {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes)
            .map_err(|error| StoreError::bad_request(format!("error decoding the body: {error}")))?,
    };
    let name = if verb == Verb::Create {
        body["metadata"]["name"].as_str().unwrap_or_default()
    } else {
        &route.name
    };
    Ok(Request {
        client: client.to_owned(),
        line,
        verb,
        kind: route.kind,
        name: name.to_owned(),
        namespace: route.namespace,
        subresource: route.subresource,
        manager: manager(parts, &query, verb),
        is_forced: query.is_set("force"),
        is_dry_run: is_dry_run(verb, &query, &body),
        body,
        query,
    })
}

fn verb(parts: &Parts, route: &route::Route, query: &Query) -> Result<Verb, StoreError> {
    let is_collection = route.name.is_empty();
    match (&parts.method, is_collection) {
        (&Method::GET, _) if route.subresource == "discovery" => Ok(Verb::Discover),
        (&Method::GET, true) if query.is_set("watch") => Ok(Verb::Watch),
        (&Method::GET, true) => Ok(Verb::List),
        (&Method::GET, false) => Ok(Verb::Get),
        (&Method::POST, true) if route.kind.is_namespaced() && route.namespace.is_empty() => {
            Err(StoreError::method_not_allowed())
        }
        (&Method::POST, true) => Ok(Verb::Create),
        (&Method::PUT, false) => Ok(Verb::Update),
        (&Method::PATCH, false) => patch_type(parts).map(Verb::Patch),
        (&Method::DELETE, false) if route.subresource.is_empty() => Ok(Verb::Delete),
        (&Method::DELETE, true) => Ok(Verb::DeleteCollection),
        _ => Err(StoreError::method_not_allowed()),
    }
}

fn patch_type(parts: &Parts) -> Result<PatchType, StoreError> {
    let text = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim() {
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        other => {
            let message = format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml; got {other}"
            );
            Err(StoreError::plain(415, "UnsupportedMediaType", message))
        }
    }
}

/// A deletion has its options in the body, and in the query only if there is no body.
fn is_dry_run(verb: Verb, query: &Query, body: &Value) -> bool {
    let is_deletion = matches!(verb, Verb::Delete | Verb::DeleteCollection);
    if is_deletion && !body.is_null() { body["dryRun"][0] == "All" } else { query.text("dryRun") == "All" }
}

fn manager(parts: &Parts, query: &Query, verb: Verb) -> String {
    let asked = query.text("fieldManager");
    if !asked.is_empty() || verb == Verb::Patch(PatchType::Apply) {
        return asked.to_owned();
    }
    let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.split('/').next().unwrap_or_default().chars().take(LONGEST_MANAGER).collect()
}
