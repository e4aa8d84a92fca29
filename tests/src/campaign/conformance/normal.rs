//! What of an answer is compared.
//!
//! Answers: the answers of a server in a form in which equal behaviour is equal text. Refuses to know: the other server.
//! Upholds: uids and versions become numbers in the order in which they are first seen, so that who is who and what came
//! when is compared, and the values are not; times become "time"; sentences of refusals and defaults of built-in kinds
//! are left out, everything else stays.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::player::Played;
use super::sample;
use super::step::{Sequence, Step};

/// The answers, one value a step.
pub(super) fn normal(sequence: &Sequence, played: &Played) -> Vec<Value> {
    let mut names = Names::default();
    let answers = sequence.steps.iter().zip(&played.answers);
    let mut all: Vec<Value> = answers
        .map(|(step, answer)| {
            let body =
                if answer.code < 300 { shown(step, &answer.body) } else { refusal(step, &answer.body) };
            json!({ "code": answer.code, "body": body })
        })
        .collect();
    // An event of a watch may name an owner that only a later answer shows.
    for answer in &mut all {
        names.learn(answer);
    }
    all.into_iter().map(|answer| names.replaced(answer)).collect()
}

/// An object, a list, the events of a watch, or the status that a deletion is answered with.
fn shown(step: &Step, body: &Value) -> Value {
    match body {
        Value::Array(events) => {
            let is_told = |event: &&Value| {
                event["type"] != "BOOKMARK" || !event["object"]["metadata"]["annotations"].is_null()
            };
            events.iter().filter(is_told).map(|event| happened(step, event)).collect()
        }
        Value::Object(map) if map.contains_key("items") => {
            let items = body["items"].as_array().into_iter().flatten();
            json!({
                "kind": body["kind"],
                "apiVersion": body["apiVersion"],
                "goes on": body["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty()),
                "after it": body["metadata"]["remainingItemCount"],
                "items": items.map(|item| object(step, item)).collect::<Value>(),
            })
        }
        Value::Object(_) if body["kind"] == "Status" => {
            json!({ "kind": "Status", "status": body["status"], "details": body["details"] })
        }
        other => object(step, other),
    }
}

fn happened(step: &Step, event: &Value) -> Value {
    let shown = match event["type"].as_str() {
        Some("BOOKMARK") => json!({ "annotations": event["object"]["metadata"]["annotations"] }),
        Some("ERROR") => refusal(step, &event["object"]),
        _ => object(step, &event["object"]),
    };
    json!({ "type": event["type"], "object": shown })
}

/// A refusal without its sentence. Of what is invalid the fields are compared, not what is wrong with them; of built-in
/// kinds only those of metadata.
fn refusal(step: &Step, body: &Value) -> Value {
    if body["kind"] != "Status" {
        return body.clone();
    }
    let is_invalid = body["reason"] == "Invalid";
    let is_compared = |cause: &&Value| {
        let field = cause["field"].as_str().unwrap_or_default();
        !is_invalid || field != "<nil>" && (step.kind == "SeiNode" || field.starts_with("metadata"))
    };
    let causes = body["details"]["causes"].as_array().into_iter().flatten().filter(is_compared);
    let shown = |cause: &Value| {
        let reason = if is_invalid { &Value::Null } else { &cause["reason"] };
        json!({ "reason": reason, "field": cause["field"] })
    };
    let mut causes: Vec<Value> = causes.map(shown).collect();
    causes.sort_by_key(Value::to_string);
    // The real server looks at some fields twice, or three times.
    causes.dedup();
    json!({
        "reason": body["reason"],
        "code": body["code"],
        "name": body["details"]["name"],
        "group": body["details"]["group"],
        "kind": body["details"]["kind"],
        "causes": causes,
    })
}

fn object(step: &Step, value: &Value) -> Value {
    let compared = sample::of(&step.kind).map(|sample| sample.compared).unwrap_or_default();
    let mut value = value.clone();
    let Some(map) = value.as_object_mut() else { return value };
    if !compared.is_empty() {
        let paths: Vec<Vec<&str>> = compared.iter().map(|path| path.split('.').collect()).collect();
        for (field, inner) in map.iter_mut() {
            if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
                *inner = kept(inner, &below(&paths, field), false);
            }
        }
        let managed = map.get_mut("metadata").and_then(|metadata| metadata.get_mut("managedFields"));
        if let Some(entries) = managed.and_then(Value::as_array_mut) {
            let mut paths = paths;
            paths.push(vec!["metadata"]);
            for entry in entries {
                entry["fieldsV1"] = kept(&entry["fieldsV1"], &paths, true);
            }
        }
        // The real server reads built-in kinds into types, which do not tell empty from absent.
        map.retain(|_, inner| !is_nothing(inner));
    }
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        tidy(metadata);
    }
    value
}

fn tidy(metadata: &mut Map<String, Value>) {
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if metadata.get(field).is_some_and(|value| !value.is_null()) {
            metadata.insert(field.to_owned(), json!("time"));
        }
    }
    if let Some(base) = metadata.get("generateName").and_then(Value::as_str).map(str::to_owned) {
        let is_generated = metadata.get("name").and_then(Value::as_str).is_some_and(|n| n.starts_with(&base));
        if is_generated {
            metadata.insert("name".to_owned(), json!(format!("{base}*")));
        }
    }
    if let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        for entry in entries.iter_mut() {
            if !entry["time"].is_null() {
                entry["time"] = json!("time");
            }
        }
        entries.retain(|entry| !is_nothing(&entry["fieldsV1"]));
        // Entries stand in the order of times, in whole seconds: chance, for a sequence that takes less than one.
        entries.sort_by_key(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            (text("operation"), text("manager"), text("subresource"), text("apiVersion"))
        });
        if entries.is_empty() {
            metadata.remove("managedFields");
        }
    }
}

/// The rest of the paths that lead through a field.
fn below<'a>(paths: &[Vec<&'a str>], field: &str) -> Vec<Vec<&'a str>> {
    let through =
        paths.iter().filter(|path| path.first().is_some_and(|first| *first == field || *first == "*"));
    through.map(|path| path[1..].to_vec()).collect()
}

/// The value with nothing in it but what the paths lead to. Fields of owners are spelled `f:name` and `k:{...}`.
fn kept(value: &Value, paths: &[Vec<&str>], is_owned: bool) -> Value {
    if paths.iter().any(Vec::is_empty) {
        return without_nothing(value, is_owned);
    }
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, inner) in map {
                let field = key.strip_prefix("f:").filter(|_| is_owned).unwrap_or(key);
                let below = below(paths, field);
                // The member itself is owned where something below it is compared.
                if key == "." && is_owned {
                    out.insert(key.clone(), inner.clone());
                } else if !below.is_empty() {
                    let inner_kept = kept(inner, &below, is_owned);
                    if is_owned && inner == &json!({}) || !is_nothing(&inner_kept) {
                        out.insert(key.clone(), inner_kept);
                    }
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => {
            let below = below(paths, "*");
            items.iter().map(|item| kept(item, &below, is_owned)).collect()
        }
        _ => Value::Null,
    }
}

fn without_nothing(value: &Value, is_owned: bool) -> Value {
    match value {
        Value::Object(map) if !is_owned => {
            let inner = map.iter().map(|(key, inner)| (key.clone(), without_nothing(inner, is_owned)));
            Value::Object(inner.filter(|(_, inner)| !is_nothing(inner)).collect())
        }
        other => other.clone(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Uids and versions by the order of their appearance.
#[derive(Default)]
struct Names {
    uids: BTreeMap<String, usize>,
    versions: BTreeMap<String, usize>,
}

impl Names {
    fn replaced(&self, value: Value) -> Value {
        // Uids stand in labels, in details and in the keys of owned fields too.
        let mut text = value.to_string();
        for (uid, number) in &self.uids {
            text = text.replace(uid, &format!("uid-{number}"));
        }
        serde_json::from_str(&text).unwrap_or(value)
    }

    fn learn(&mut self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.learn(item)),
            Value::Object(map) => {
                if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                    if let Some(uid) = metadata.get("uid").and_then(Value::as_str) {
                        let next = self.uids.len();
                        self.uids.entry(uid.to_owned()).or_insert(next);
                    }
                    if let Some(version) = metadata.get("resourceVersion").and_then(Value::as_str) {
                        let next = self.versions.len();
                        let number = *self.versions.entry(version.to_owned()).or_insert(next);
                        metadata.insert("resourceVersion".to_owned(), json!(format!("version-{number}")));
                    }
                }
                map.iter_mut()
                    .filter(|(field, _)| *field != "metadata")
                    .for_each(|(_, inner)| self.learn(inner));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
