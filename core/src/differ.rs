//! Whether a live child object still says what we render.
//!
//! Answers: which rendered field has another value, and which field that we own is not rendered any more. Refuses to know:
//! fields of the server's and of other managers. `replicas` and `suspend` have their own rule, texts of shell scripts are left as they are until
//! something else changes (takeover), quantities compare by value.

use std::fmt;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::api::FIELD_MANAGER;
use crate::quantity::Quantity;

/// Path of the first rendered field that the live object has otherwise; `None` if nothing differs.
pub(crate) fn first_difference(rendered: &Value, live: &Value) -> Option<String> {
    let meta = ["labels", "annotations", "ownerReferences"].into_iter().find_map(|key| {
        let differs = difference(&rendered["metadata"][key], &live["metadata"][key], key, false)?;
        Some(differs.under(key).under("metadata"))
    });
    let differs = meta
        .or_else(|| members(rendered, live, &["apiVersion", "kind", "metadata", "spec", "status"], "", false))
        .or_else(|| {
            let differs = members(&rendered["spec"], &live["spec"], &["replicas", "suspend"], "", false)?;
            Some(differs.under("spec"))
        })?;
    Some(differs.to_string())
}

/// How a live object stands to what is rendered.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    /// It says what is rendered.
    Right,
    /// It has what is not rendered, and only a look past the cache tells whether that is ours.
    Unsure,
    /// This differs.
    Differs(String),
}

/// Compares a live object of ours with what is rendered. `looked`: it was read past the cache, so that it tells who owns its
/// fields.
pub(crate) fn standing<T>(rendered: &Value, live: &T, looked: bool) -> Standing
where
    T: Serialize + Metadata<Ty = ObjectMeta>,
{
    let json = serde_json::to_value(live).unwrap_or(Value::Null);
    if let Some(field) = first_difference(rendered, &json) {
        return Standing::Differs(field);
    }
    let extras = extras(rendered, &json);
    if extras.is_empty() {
        return Standing::Right;
    }
    if !looked {
        return Standing::Unsure;
    }
    match extras.iter().find(|extra| is_ours(live.metadata(), extra)) {
        Some(extra) => Standing::Differs(format!("{} is not rendered any more", extra.join(" "))),
        None => Standing::Right,
    }
}

/// Whether our Apply entry owns a field.
fn is_ours(meta: &ObjectMeta, extra: &Extra) -> bool {
    meta.managed_fields
        .iter()
        .flatten()
        .filter(|e| e.manager.as_deref() == Some(FIELD_MANAGER) && e.operation.as_deref() == Some("Apply"))
        .filter_map(|e| e.fields_v1.as_ref())
        .any(|fields| is_owned(&fields.0, extra))
}

/// A field of the live object that is not rendered, as keys of `fieldsV1` in managedFields.
type Extra = Vec<String>;

/// Labels and resources of the live object that are not rendered. Whether they are ours, and so to be removed, is told by
/// [`is_owned`]; any other field that a spec edit can end is in a list, whose length tells.
fn extras(rendered: &Value, live: &Value) -> Vec<Extra> {
    let mut out = Vec::new();
    for path in [vec!["metadata", "labels"], vec!["spec", "template", "metadata", "labels"]] {
        for key in surplus(at(rendered, &path), at(live, &path)) {
            out.push(path.iter().map(|p| format!("f:{p}")).chain([format!("f:{key}")]).collect());
        }
    }
    let pod = ["spec", "template", "spec"];
    for list in ["initContainers", "containers"] {
        let wanted = items(&at(rendered, &pod)[list]);
        for live in items(&at(live, &pod)[list]) {
            let Some(name) = live["name"].as_str() else { continue };
            let Some(wanted) = wanted.iter().find(|c| c["name"] == *name) else { continue };
            let (wanted, has) = (&wanted["resources"], &live["resources"]);
            for part in ["requests", "limits"] {
                for key in surplus(&wanted[part], &has[part]) {
                    // The server takes a missing request from the limit.
                    if part == "requests"
                        && has["limits"][&key] == has[part][&key]
                        && !wanted["limits"][&key].is_null()
                    {
                        continue;
                    }
                    let item = format!("k:{}", serde_json::json!({"name": name}));
                    let fields = ["resources", part, &key].map(|p| format!("f:{p}"));
                    let pod = pod.iter().chain([&list]).map(|p| format!("f:{p}"));
                    out.push(pod.chain([item]).chain(fields).collect());
                }
            }
        }
    }
    out
}

/// Whether an Apply entry of managedFields owns a field.
fn is_owned(fields: &Value, extra: &Extra) -> bool {
    let mut here = fields;
    extra.iter().all(|key| {
        here.get(key).is_some_and(|next| {
            here = next;
            true
        })
    })
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, key| &value[*key])
}

/// Keys of a live map that are not in the rendered one.
fn surplus(rendered: &Value, live: &Value) -> Vec<String> {
    let keys = live.as_object().into_iter().flat_map(Map::keys);
    keys.filter(|key| rendered.get(key.as_str()).is_none()).cloned().collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Where two values differ, from the inside out: mostly nothing differs, and a path is made only if something does.
#[derive(Default)]
struct Differs(Vec<String>);

impl Differs {
    fn under(mut self, step: impl Into<String>) -> Self {
        self.0.push(step.into());
        self
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().rev().enumerate() {
            let dot = if at == 0 || step.starts_with('[') { "" } else { "." };
            write!(f, "{dot}{step}")?;
        }
        Ok(())
    }
}

/// `key`: what holds the values; `quantities`: they are amounts.
fn difference(rendered: &Value, live: &Value, key: &str, quantities: bool) -> Option<Differs> {
    // What is rendered as nothing is not ours to compare: others may have filled it, annotations above all.
    let unsaid = matches!(rendered, Value::Null | Value::Object(_) | Value::Array(_)) && is_empty(rendered);
    if unsaid || (is_empty(rendered) && is_empty(live)) {
        return None;
    }
    match (rendered, live) {
        (Value::Object(_), Value::Object(_)) => members(rendered, live, &[], key, quantities),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (x, y))| Some(difference(x, y, "", quantities)?.under(format!("[{i}]")))),
        (Value::String(a), Value::String(b)) if quantities => {
            let same = a == b || matches!((Quantity::parse(a), Quantity::parse(b)), (Ok(x), Ok(y)) if x == y);
            (!same).then(Differs::default)
        }
        (a, b) => (a != b).then(Differs::default),
    }
}

/// Compares each member of what is rendered, some aside.
fn members(
    rendered: &Value,
    live: &Value,
    aside: &[&str],
    holder: &str,
    quantities: bool,
) -> Option<Differs> {
    let Value::Object(members) = rendered else { return None };
    let script = has_script(members) && live.as_object().is_some_and(has_script);
    members.iter().filter(|(key, _)| !aside.contains(&key.as_str())).find_map(|(key, x)| {
        let y = &live[key.as_str()];
        let differs = if script && (key == "command" || key == "args") {
            let same = without_script(key, x, rendered) == without_script(key, y, live);
            (!same).then(Differs::default)
        } else {
            let amounts = quantities || (holder == "resources" && (key == "requests" || key == "limits"));
            difference(x, y, key, amounts)
        };
        Some(differs?.under(key))
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a container runs a shell script: its command is a shell with `-c`.
fn has_script(container: &Map<String, Value>) -> bool {
    let command = container.get("command").and_then(Value::as_array);
    command.is_some_and(|c| {
        let word = |i: usize| c.get(i).and_then(Value::as_str).unwrap_or_default();
        matches!(word(0), "/bin/sh" | "/bin/bash") && word(1) == "-c"
    })
}

/// `command` or `args` of a container without the one word that is its script.
fn without_script<'a>(key: &str, words: &'a Value, container: &Value) -> Vec<&'a Value> {
    let in_command = items(&container["command"]).len() > 2;
    let script = match (key, in_command) {
        ("command", true) => Some(2),
        ("args", false) => Some(0),
        _ => None,
    };
    let words = items(words).iter().enumerate();
    words.map(|(at, word)| if Some(at) == script { &Value::Null } else { word }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sts(container: &Value) -> Value {
        json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        })
    }

    #[test]
    fn server_defaults_replicas_scripts_and_spellings_of_quantities_are_no_difference() {
        let ours = json!({"command": ["/bin/bash", "-c"], "args": ["one"], "resources": {"requests": {"cpu": "500m"}}, "env": []});
        let live = json!({
            "command": ["/bin/bash", "-c"], "args": ["other"], "resources": {"requests": {"cpu": "0.5"}},
            "terminationMessagePath": "/dev/termination-log",
        });
        let (a, mut b) = (sts(&ours), sts(&live));
        b["spec"]["replicas"] = json!(0);
        b["spec"]["podManagementPolicy"] = json!("OrderedReady");
        assert_eq!(first_difference(&a, &b), None);
    }

    #[test]
    fn fields_that_are_not_rendered_any_more_are_found_and_told_from_those_of_others() {
        let rendered = sts(&json!({"name": "c", "resources": {"limits": {"memory": "1Gi"}}}));
        let mut live = sts(&json!({"name": "c", "resources": {
            "limits": {"memory": "1Gi", "cpu": "1"}, "requests": {"memory": "1Gi"},
        }}));
        live["metadata"]["labels"] = json!({"a": "b", "old": "1"});
        live["spec"]["template"]["metadata"] = json!({"labels": {"older": "1"}});
        let found = extras(&rendered, &live);
        let shown: Vec<_> = found.iter().map(|extra| extra.join(" ")).collect();
        assert_eq!(
            shown,
            [
                "f:metadata f:labels f:old",
                "f:spec f:template f:metadata f:labels f:older",
                "f:spec f:template f:spec f:containers k:{\"name\":\"c\"} f:resources f:limits f:cpu",
            ],
            "the request that the server took from the limit is none"
        );
        let fields = json!({"f:metadata": {"f:labels": {"f:old": {}}}, "f:spec": {}});
        assert_eq!(
            found.iter().map(|extra| is_owned(&fields, extra)).collect::<Vec<_>>(),
            [true, false, false]
        );
        assert_eq!(extras(&rendered, &rendered), Vec::<Extra>::new());
    }

    #[test]
    fn what_others_have_added_where_nothing_is_rendered_is_no_difference() {
        let a = sts(&json!({"image": "x:1", "env": []}));
        let mut b = sts(&json!({"image": "x:1", "env": [{"name": "A", "value": "b"}]}));
        b["metadata"]["annotations"] = json!({"sei.io/paused-generation": "2"});
        assert_eq!(first_difference(&a, &b), None);
    }

    #[test]
    fn a_rendered_field_with_another_value_is_named() {
        let a = sts(&json!({"command": ["/bin/bash", "-c"], "args": ["one"], "image": "x:2"}));
        let b = sts(&json!({"command": ["/bin/bash", "-c"], "args": ["one"], "image": "x:1"}));
        assert_eq!(first_difference(&a, &b).as_deref(), Some("spec.template.spec.containers[0].image"));
        let b = sts(&json!({"command": ["/bin/sh", "-c"], "args": ["one"], "image": "x:2"}));
        assert_eq!(first_difference(&a, &b).as_deref(), Some("spec.template.spec.containers[0].command"));
        let mut c = a.clone();
        c["metadata"]["labels"] = json!({});
        assert_eq!(first_difference(&a, &c).as_deref(), Some("metadata.labels.a"));
    }
}
