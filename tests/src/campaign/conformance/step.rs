//! What is played: requests as data, small enough to read, to keep in a file and to play again.
//!
//! Answers: which request a step is. Refuses to know: who answers it. Upholds: a step names what only a server knows
//! (uids and versions) by where it was last seen, so that one sequence fits every server.
//!
//! A text `@uid ConfigMap/a` stands for the uid of that object as last seen, `@version` for its version; `@old-uid` and
//! `@old-version` for those that it had before; `@continue ConfigMap` for where the last list of that kind goes on. A body
//! `{"@last": "ConfigMap/a", "@with": {...}}` is the object as last seen, with a merge patch over it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sample;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// POST.
    Create,
    /// GET of one object.
    Get,
    /// GET of all.
    List,
    /// Open a watch; its events are read when all steps are done.
    Watch,
    /// PATCH, RFC 7396.
    Merge,
    /// PATCH, server-side apply.
    Apply,
    /// PUT.
    Replace,
    /// DELETE of one object.
    Delete,
    /// DELETE of all.
    DeleteCollection,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is asked for.
    pub verb: Verb,
    /// The kind, as in manifests.
    pub kind: String,
    /// The object in the path; empty for requests to all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `status`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// Parameters of the URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// The body; null for none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

impl Step {
    /// The path and query of the request in a namespace; the query has to be free of placeholders.
    pub fn uri(&self, namespace: &str, query: &BTreeMap<String, String>) -> Result<String, String> {
        let kind = sample::resource(&self.kind)?;
        let root = if kind.group().is_empty() { "/api" } else { "/apis" };
        let mut uri = format!("{root}/{}/namespaces/{namespace}/{}", kind.api_version(), kind.plural());
        if !matches!(self.verb, Verb::Create | Verb::List | Verb::Watch | Verb::DeleteCollection) {
            uri.push('/');
            uri.push_str(&self.name);
        }
        if !self.part.is_empty() {
            uri.push('/');
            uri.push_str(&self.part);
        }
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(query);
        if self.verb == Verb::Watch {
            pairs.append_pair("watch", "true");
        }
        let query = pairs.finish();
        if !query.is_empty() {
            uri.push('?');
            uri.push_str(&query);
        }
        Ok(uri)
    }
}

/// Requests in their order, each sent when the one before is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// What it shows, or the seed it was drawn from.
    pub name: String,
    /// The requests.
    pub steps: Vec<Step>,
}
