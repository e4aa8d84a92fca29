//! What the server says about itself.
//!
//! Answers: its version, its groups and the resources of a group. Refuses to know: objects.
//! Upholds: everything is derived from the one table of kinds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::store::Kind;

/// Whether a path asks about the server rather than about objects.
pub(super) fn knows(path: &str) -> bool {
    answer(path).is_some()
}

/// The answer; `None` for other paths.
pub(super) fn answer(path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => Some(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        })),
        ["api"] => {
            Some(json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }))
        }
        ["apis"] => Some(groups()),
        ["api", version] => resources("", version),
        ["apis", group, version] => resources(group, version),
        _ => None,
    }
}

fn groups() -> Value {
    let all: BTreeSet<_> = Kind::all().map(|kind| (kind.group(), kind.version())).collect();
    let group = |(name, version): (&str, &str)| {
        let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
        json!({ "name": name, "versions": [version.clone()], "preferredVersion": version })
    };
    let groups: Vec<Value> = all.into_iter().filter(|(name, _)| !name.is_empty()).map(group).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<Kind> =
        Kind::all().filter(|kind| kind.group() == group && kind.version() == version).collect();
    let first = kinds.first()?.api_version();
    let entry = |kind: Kind, suffix: &str, verbs: &[&str]| {
        json!({
            "name": format!("{}{suffix}", kind.plural()),
            "singularName": kind.name().to_lowercase(),
            "namespaced": kind.is_namespaced(),
            "kind": kind.name(),
            "verbs": verbs,
        })
    };
    let all = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let status = |kind: Kind| kind.has_status().then(|| entry(kind, "/status", &["get", "patch", "update"]));
    let list: Vec<Value> = kinds
        .into_iter()
        .flat_map(|kind| std::iter::once(entry(kind, "", &all)).chain(status(kind)))
        .collect();
    Some(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first, "resources": list }))
}
