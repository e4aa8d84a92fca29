//! What the pretend API server refuses, and how it says so.
//!
//! Answers: which code, reason, message and details a refusal carries on the wire. Refuses to know: who
//! asked. Upholds: a refusal reads the same through HTTP as through the direct interface of the store,
//! because both hand out this one type.

use serde_json::{Map, Value, json};

use crate::store::Kind;

/// A refusal, in the shape of a `metav1.Status` failure.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message} ({code} {reason})")]
pub struct StoreError {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason; empty where the real server has none.
    pub reason: &'static str,
    /// The sentence for people, worded as the real server words it.
    pub message: String,
    /// The `details` of the status object; `Null` for none.
    pub details: Value,
}

/// One complaint about one field, as a validator reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Dotted path of the field, e.g. `spec.chainId`.
    pub field: String,
    /// The machine-readable cause, e.g. `FieldValueInvalid`.
    pub cause: &'static str,
    /// What is wrong, including the `Invalid value: ...` lead of the real server.
    pub message: String,
}

impl FieldError {
    /// A value that is not acceptable.
    pub fn invalid(field: &str, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { field: field.to_owned(), cause: "FieldValueInvalid", message }
    }

    /// A value that is of another type than the schema has.
    pub fn of_wrong_type(field: &str, value: &Value) -> Self {
        let message = format!("Invalid value: {value}: {field} in body must be of another type");
        Self { field: field.to_owned(), cause: "FieldValueTypeInvalid", message }
    }

    /// A value that is missing.
    pub fn required(field: &str, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { field: field.to_owned(), cause: "FieldValueRequired", message }
    }

    /// A value that nobody may set.
    pub fn forbidden(field: &str, why: &str) -> Self {
        Self { field: field.to_owned(), cause: "FieldValueForbidden", message: format!("Forbidden: {why}") }
    }
}

impl StoreError {
    /// A refusal without details, for faults and for cases the named constructors do not cover.
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    /// 404: no such object.
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.group_resource());
        Self { details: about(kind.plural(), kind, name), ..Self::plain(404, "NotFound", message) }
    }

    /// 409: an object of this name is there already.
    pub fn already_exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.group_resource());
        Self { details: about(kind.plural(), kind, name), ..Self::plain(409, "AlreadyExists", message) }
    }

    /// The same refusal, saying that the object in the way is on its way out.
    #[must_use]
    pub fn while_deleting(mut self) -> Self {
        self.message = format!("object is being deleted: {}", self.message);
        self
    }

    /// 409: the write was based on something that is no longer so.
    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.group_resource());
        Self { details: about(kind.plural(), kind, name), ..Self::plain(409, "Conflict", message) }
    }

    /// 409: the write was based on an older version.
    pub fn stale(kind: Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 409: a precondition of a deletion names another uid or version. The real server names the kind here.
    pub fn precondition(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.group_kind());
        Self { details: about(kind.name(), kind, name), ..Self::plain(409, "Conflict", message) }
    }

    /// 409: other managers own fields that an apply without force wants to change.
    pub fn apply_conflict(message: String, causes: &[FieldError]) -> Self {
        let details = json!({ "causes": causes.iter().map(cause).collect::<Vec<_>>() });
        Self { details, ..Self::plain(409, "Conflict", message) }
    }

    /// 422: the object does not satisfy the rules of its kind.
    pub fn invalid(kind: Kind, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
        let text = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {text}", kind.group_kind());
        let mut details = about(kind.name(), kind, name);
        details["causes"] = errors.iter().map(cause).collect();
        Self { details, ..Self::plain(422, "Invalid", message) }
    }

    /// 422: an update breaks common rules of metadata, or those of its kind. The real server checks
    /// metadata twice, and names each such cause twice.
    pub fn invalid_update(kind: Kind, name: &str, metadata: &[FieldError], rest: &[FieldError]) -> Self {
        let mut refusal = Self::invalid(kind, name, &[metadata, rest].concat());
        refusal.details["causes"] = metadata.iter().chain(metadata).chain(rest).map(cause).collect();
        refusal
    }

    /// 422: a replacement has to name the version it is based on. The real server names the resource here.
    pub fn unversioned(kind: Kind, name: &str, error: &FieldError) -> Self {
        let message =
            format!("{} \"{name}\" is invalid: {}: {}", kind.group_resource(), error.field, error.message);
        let mut details = about(kind.plural(), kind, name);
        details["causes"] = json!([cause(error)]);
        Self { details, ..Self::plain(422, "Invalid", message) }
    }

    /// 400: the request itself makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 410: the history that a watch or list asks for is no longer kept.
    pub fn gone(asked: u64, oldest: u64) -> Self {
        Self::plain(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 504: the caller wants a version that does not exist yet.
    pub fn version_ahead(asked: u64, have: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {have}");
        let details = json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        });
        Self { details, ..Self::plain(504, "Timeout", message) }
    }

    /// 404: the resource has no such subresource.
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self { details: json!({}), ..Self::plain(404, "NotFound", message) }
    }

    /// 405: the resource exists but does not support this verb.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: json!({}), ..Self::plain(405, "MethodNotAllowed", message) }
    }

    /// 422: a JSON patch does not fit the object. The real server does not say where.
    pub fn unfit_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self { details: json!({}), ..Self::plain(422, "Invalid", message) }
    }

    /// Whether this is a 404.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Whether this is a 409 other than `AlreadyExists`.
    pub fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason == "Conflict"
    }

    /// The refusal as the `Status` object that goes over the wire.
    pub fn to_status(&self) -> Value {
        let mut status = Map::new();
        status.insert("kind".to_owned(), json!("Status"));
        status.insert("apiVersion".to_owned(), json!("v1"));
        status.insert("metadata".to_owned(), json!({}));
        status.insert("status".to_owned(), json!("Failure"));
        status.insert("message".to_owned(), json!(self.message));
        if !self.reason.is_empty() {
            status.insert("reason".to_owned(), json!(self.reason));
        }
        if !self.details.is_null() {
            status.insert("details".to_owned(), self.details.clone());
        }
        status.insert("code".to_owned(), json!(self.code));
        Value::Object(status)
    }
}

/// The `details` object: empty groups are left out, as the real server does.
fn about(what: &str, kind: Kind, name: &str) -> Value {
    let mut details = Map::new();
    if !name.is_empty() {
        details.insert("name".to_owned(), json!(name));
    }
    if !kind.group().is_empty() {
        details.insert("group".to_owned(), json!(kind.group()));
    }
    details.insert("kind".to_owned(), json!(what));
    Value::Object(details)
}

fn cause(error: &FieldError) -> Value {
    json!({ "reason": error.cause, "message": error.message, "field": error.field })
}
