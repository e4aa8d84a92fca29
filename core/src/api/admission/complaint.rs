//! How refusals read: each names the field, what is wrong with it, and the way out.

use serde_json::Value;

use super::FieldError;
use super::site::Site;

fn at(path: &str, problem: impl Into<String>, remedy: impl Into<String>) -> FieldError {
    FieldError { path: path.to_owned(), problem: problem.into(), remedy: remedy.into() }
}

pub(super) fn unknown(site: &Site<'_>, name: &str) -> FieldError {
    let known: Vec<_> =
        site.properties().into_iter().flat_map(|fields| fields.keys()).map(String::as_str).collect();
    let remedy = match known.as_slice() {
        [] => "remove it: this object has no fields".to_owned(),
        names => format!("remove it, or use one of {}", names.join(", ")),
    };
    at(&site.path_of(name), "is not a field of this object", remedy)
}

pub(super) fn wrong_type(site: &Site<'_>) -> FieldError {
    let (wanted, remedy) = match site.word("type") {
        Some("object") => ("an object", "give its fields, or {} for none"),
        Some("array") => ("a list", "give a list, even of one item"),
        Some("string") => ("text", "put the value in quotes"),
        Some("boolean") => ("true or false", "write true or false without quotes"),
        Some("integer") => ("a whole number", "write a number without quotes and without a fraction"),
        _ => ("a whole number or text", "write a whole number, or text such as 500m or 2Gi"),
    };
    at(&site.path, format!("must be {wanted}, not {}", type_of(site.new)), remedy)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn missing(site: &Site<'_>, name: &str) -> FieldError {
    let schema = site.properties().and_then(|properties| properties.get(name));
    at(&site.path_of(name), "is missing", set(schema))
}

pub(super) fn empty(site: &Site<'_>) -> FieldError {
    at(&site.path, "must not be empty", set(Some(site.schema)))
}

pub(super) fn too_few(site: &Site<'_>, least: u64) -> FieldError {
    let problem = match least {
        1 => "must not be empty".to_owned(),
        more => format!("must have at least {more} items"),
    };
    at(&site.path, problem, set(Some(site.schema)))
}

pub(super) fn too_long(site: &Site<'_>, most: u64) -> FieldError {
    at(&site.path, format!("must not have more than {most} characters"), "shorten it")
}

pub(super) fn too_small(site: &Site<'_>, least: i64) -> FieldError {
    at(&site.path, format!("must be at least {least}"), "raise it")
}

pub(super) fn out_of_range(site: &Site<'_>, format: &str) -> FieldError {
    at(
        &site.path,
        format!("must fit into a signed integer of the format {format}"),
        "use a smaller magnitude",
    )
}

pub(super) fn no_time(site: &Site<'_>) -> FieldError {
    at(&site.path, "must be a time", "write it like 2026-01-02T03:04:05Z")
}

pub(super) fn not_one_of(site: &Site<'_>, allowed: &[Value]) -> FieldError {
    let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
    at(&site.path, "must be one of the known values", format!("use one of {}", allowed.join(", ")))
}

pub(super) fn duplicate(site: &Site<'_>, index: usize) -> FieldError {
    let keys = site.list_keys().join(", ");
    let problem = if keys.is_empty() {
        "is in the list already".to_owned()
    } else {
        format!("has the same {keys} as an earlier item")
    };
    at(&format!("{}[{index}]", site.path), problem, "remove one of the two")
}

pub(super) fn no_match(site: &Site<'_>, pattern: &str) -> FieldError {
    let remedy = match FORMS.iter().find(|(_, needle)| pattern.contains(needle)) {
        Some((words, _)) => format!("use {words}"),
        None => set(Some(site.schema)),
    };
    at(&site.path, format!("must match {pattern}"), remedy)
}

/// Patterns of the spec in words, told by a part that only they have.
const FORMS: [(&str, &str); 4] = [
    ("a number with an optional unit such as m, k, M, G, Ki, Mi or Gi", "[KMGTPE]i"),
    ("host:port without a scheme, the port in one to five digits", ":[0-9]{1,5}"),
    ("letters, digits, underscores and dashes only", "^[a-zA-Z0-9_-]+$"),
    ("lower-case letters and digits, with dashes only inside", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
];

/// A refusal by a rule, in the words that the server would use.
pub(super) fn of_rule(site: &Site<'_>, rule: &Value) -> FieldError {
    let word = |key| rule.get(key).and_then(Value::as_str).unwrap_or_default();
    let path = format!("{}{}", site.path, word("fieldPath"));
    let (problem, remedy) = word("message").split_once("; ").unwrap_or((word("message"), "change it"));
    at(path.trim_start_matches('.'), problem, remedy)
}

/// "set the image of the node software", from the first sentence of a description.
fn set(schema: Option<&Value>) -> String {
    let description =
        schema.and_then(|schema| schema.get("description")).and_then(Value::as_str).unwrap_or_default();
    let end = description.find(['.', ';', ':']).filter(|end| *end > 0);
    match end.and_then(|end| description.get(..end)).and_then(|sentence| sentence.strip_prefix("The ")) {
        Some(noun) => format!("set the {noun}"),
        None => "set it".to_owned(),
    }
}
