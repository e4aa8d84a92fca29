//! What an API server would say to an object, said without one.
//!
//! Answers: whether a create, an update or a status write passes the definition in [`super::crd`], what
//! would be stored, and otherwise everything that is wrong. Reads the same schema as the server; each CEL
//! rule has a twin in Rust. Refuses to know: who asks, and `metadata` beyond its name and the names of its
//! fields.

mod complaint;
mod finding;
mod metadata;
mod shape;
mod site;
mod tidy;
mod value;

use std::fmt;

use serde_json::Value;

use super::crd;
use finding::Findings;
use site::Site;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct FieldError {
    /// The field, as in `spec.peers[0].static`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.problem, self.remedy)
    }
}

/// Judges a create with strict field checking: what would be stored, without status, or everything wrong.
pub fn check(object: &Value) -> Result<Value, Vec<FieldError>> {
    let mut new = tidied(object)?;
    remove_status(&mut new);
    judge(new, None)
}

/// Judges an update of a stored object with strict field checking. What was wrong before and is unchanged
/// passes.
pub fn check_update(old: &Value, new: &Value) -> Result<Value, Vec<FieldError>> {
    let mut new = tidied(new)?;
    remove_status(&mut new);
    if let (Some(status), Value::Object(fields)) = (old.get("status"), &mut new) {
        fields.insert("status".to_owned(), status.clone());
    }
    judge(new, Some(old))
}

/// Judges a write to the status subresource of a stored object: only `status` of the new one counts.
pub fn check_status(old: &Value, new: &Value) -> Result<Value, Vec<FieldError>> {
    let tidied = tidied(new)?;
    let mut next = old.clone();
    remove_status(&mut next);
    if let (Some(status), Value::Object(fields)) = (tidied.get("status"), &mut next) {
        fields.insert("status".to_owned(), status.clone());
    }
    judge(next, Some(old))
}

/// The object without fields that the schema does not know, as a server stores it when field checking is not
/// strict.
pub fn prune(object: &Value) -> Value {
    let mut pruned = object.clone();
    tidy::prune(&crd::root_schema(), &mut pruned);
    pruned
}

fn remove_status(object: &mut Value) {
    if let Value::Object(fields) = object {
        fields.remove("status");
    }
}

/// Reads an object as the server does: unknown fields end it here, nulls go, defaults come.
fn tidied(object: &Value) -> Result<Value, Vec<FieldError>> {
    let schema = crd::root_schema();
    let mut errors = metadata::identity(object);
    tidy::unknown_fields(&Site::root(&schema, object, None), &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut tidied = object.clone();
    value::make_whole(&mut tidied);
    tidy::fill(&schema, &mut tidied);
    Ok(tidied)
}

fn judge(new: Value, old: Option<&Value>) -> Result<Value, Vec<FieldError>> {
    let schema = crd::root_schema();
    let site = Site::root(&schema, &new, old);
    let mut found = Findings::default();
    if let Some(error) = metadata::name(&new) {
        found.add(error);
    }
    shape::check(&site, &mut found);
    if !found.is_blocked {
        rules(&site, &mut found);
    }
    if found.errors.is_empty() { Ok(new) } else { Err(found.errors) }
}

/// The rules of a value and of everything below it; what did not change needs no second look.
fn rules(site: &Site<'_>, found: &mut Findings) {
    if site.is_unchanged() {
        return;
    }
    for rule in site.list("x-kubernetes-validations") {
        let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
        let is_optional = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        let compares = text.contains("oldSelf") && !is_optional;
        let holds = crd::rule::twin(text).is_none_or(|twin| (twin.holds)(site.new, site.old));
        if holds || (compares && site.old.is_none()) {
            continue;
        }
        found.add(complaint::of_rule(site, rule));
    }
    for child in site.children() {
        rules(&child, found);
    }
}
