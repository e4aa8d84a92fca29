//! Label and field selectors.
//!
//! Answers: whether an object is selected. Refuses to know: where the selection came from. Upholds: a
//! selector that the real server would refuse is refused, never read as "everything".

use serde_json::Value;

use super::{Kind, meta};
use crate::error::StoreError;

/// What a list or a watch asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    Missing,
    /// The value is one of these.
    In(Vec<String>),
    /// The value is absent or none of these.
    NotIn(Vec<String>),
}

impl Selection {
    /// Reads the two query parameters; empty texts select everything.
    pub(crate) fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, StoreError> {
        let labels = split(labels).map(label).collect::<Result<_, _>>()?;
        let fields = split(fields).map(|part| field(kind, part)).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether every object is selected, for want of any requirement.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object is selected.
    pub(crate) fn includes(&self, object: &Value) -> bool {
        let label = |key: &str| meta::metadata(object)["labels"][key].as_str().map(str::to_owned);
        let field = |key: &str| Some(at(object, key));
        self.labels.iter().all(|r| r.holds(label(&r.key)))
            && self.fields.iter().all(|r| r.holds(field(&r.key)))
    }
}

impl Requirement {
    fn holds(&self, value: Option<String>) -> bool {
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Missing => value.is_none(),
            Test::In(wanted) => value.is_some_and(|value| wanted.contains(&value)),
            Test::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(&value)),
        }
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = text.split(move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn label(part: &str) -> Result<Requirement, StoreError> {
    let refused = || StoreError::bad_request(format!("unable to parse requirement: {part:?}"));
    if let Some(key) = part.strip_prefix('!') {
        return Ok(requirement(key, Test::Missing));
    }
    if let Some(found) = equality(part) {
        return Ok(found);
    }
    let mut words = part.splitn(2, char::is_whitespace);
    let (key, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().trim());
    if rest.is_empty() {
        return if key.contains('(') { Err(refused()) } else { Ok(requirement(key, Test::Exists)) };
    }
    let (test, list) = rest.split_once('(').ok_or_else(refused)?;
    let list = list.strip_suffix(')').ok_or_else(refused)?;
    let values = list.split(',').map(|value| value.trim().to_owned()).collect();
    match test.trim() {
        "in" => Ok(requirement(key, Test::In(values))),
        "notin" => Ok(requirement(key, Test::NotIn(values))),
        _ => Err(refused()),
    }
}

fn field(kind: Kind, part: &str) -> Result<Requirement, StoreError> {
    let found = equality(part).ok_or_else(|| {
        StoreError::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'"))
    })?;
    let known = match kind {
        Kind::Pod => &["spec.nodeName", "status.phase", "spec.serviceAccountName", "spec.restartPolicy"][..],
        Kind::CoreEvent => &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
        ],
        Kind::Event => {
            &["reason", "regarding.kind", "regarding.name", "regarding.namespace", "regarding.uid", "type"]
        }
        Kind::Job => &["status.successful"],
        Kind::Namespace => &["status.phase"],
        Kind::Node => &["spec.unschedulable"],
        Kind::Secret => &["type"],
        _ => &[],
    };
    let is_known = matches!(found.key.as_str(), "metadata.name" | "metadata.namespace");
    if !is_known && !known.contains(&found.key.as_str()) {
        return Err(StoreError::bad_request(format!("field label not supported: {}", found.key)));
    }
    Ok(found)
}

fn equality(part: &str) -> Option<Requirement> {
    let (key, value, is_negated) = if let Some((key, value)) = part.split_once("!=") {
        (key, value, true)
    } else if let Some((key, value)) = part.split_once("==") {
        (key, value, false)
    } else {
        let (key, value) = part.split_once('=')?;
        (key, value, false)
    };
    let values = vec![value.trim().to_owned()];
    Some(requirement(key, if is_negated { Test::NotIn(values) } else { Test::In(values) }))
}

fn requirement(key: &str, test: Test) -> Requirement {
    Requirement { key: key.trim().to_owned(), test }
}

/// The text at a dotted path; empty if there is none.
fn at(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |value, step| &value[step]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
