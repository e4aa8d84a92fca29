//! Answers: who asked the API server for what, in which order, and what was the answer?
//!
//! Refuses to know who should have.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::LiveError;

/// The verbs that change something.
pub(super) const WRITES: [&str; 5] = ["create", "delete", "deletecollection", "patch", "update"];

/// One answered request. Text is empty where the request has none, as in Kubernetes itself. A watch is in the
/// log when it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// Who asked; behind a kubeconfig of [`super::ControlPlane::kubeconfig_as`], the user that it is for.
    pub user: String,
    /// What the client calls itself.
    pub user_agent: String,
    /// Path and query: field manager, force, dry run, selectors.
    pub uri: String,
    /// The API group.
    pub group: String,
    /// The resource, in plural.
    pub resource: String,
    /// `status`, `scale` and the like.
    pub subresource: String,
    /// The namespace of the object.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// When the request came.
    pub at: Timestamp,
    /// When it was answered. Events are in this order.
    pub done: Timestamp,
    /// What was sent; only for writes.
    pub request: Option<Value>,
}

impl AuditEvent {
    /// Whether the request asked for a change, granted or not. A dry run does not.
    pub fn is_write(&self) -> bool {
        WRITES.contains(&self.verb.as_str()) && !self.uri.contains("dryRun=")
    }

    /// Whether the request was granted.
    pub fn is_granted(&self) -> bool {
        (200..300).contains(&self.code)
    }
}

/// A place in the audit log, to read on from there. The default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditMark(u64);

impl AuditMark {
    /// The end of the log as it is now.
    pub(super) fn end(log: &Path) -> Result<Self, LiveError> {
        let metadata = log.metadata().map_err(LiveError::io("look at the audit log"))?;
        Ok(Self(metadata.len()))
    }

    /// The events after the mark. A line that was half written at the mark counts as before it, and one that
    /// is half written now is left for later.
    pub(super) fn read(self, log: &Path) -> Result<Vec<AuditEvent>, LiveError> {
        let mut bytes = Vec::new();
        let start = self.0.saturating_sub(1);
        File::open(log)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(start))?;
                file.read_to_end(&mut bytes)
            })
            .map_err(LiveError::io("read the audit log"))?;
        let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
        lines.pop();
        let before = usize::from(self.0 > 0);
        lines.into_iter().skip(before).map(parse).collect()
    }
}

fn parse(line: &[u8]) -> Result<AuditEvent, LiveError> {
    let failed = |source| LiveError::Audit { line: String::from_utf8_lossy(line).into_owned(), source };
    let stored: Stored = serde_json::from_slice(line).map_err(failed)?;
    let object = stored.object_ref.unwrap_or_default();
    Ok(AuditEvent {
        verb: stored.verb,
        user: stored.impersonated_user.unwrap_or(stored.user).username,
        user_agent: stored.user_agent,
        uri: stored.request_uri,
        group: object.api_group,
        resource: object.resource,
        subresource: object.subresource,
        namespace: object.namespace,
        name: object.name,
        code: stored.response_status.unwrap_or_default().code,
        at: stored.request_received_timestamp.0,
        done: stored.stage_timestamp.0,
        request: stored.request_object,
    })
}

/// The event as kube-apiserver writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    verb: String,
    user: StoredUser,
    impersonated_user: Option<StoredUser>,
    #[serde(default)]
    user_agent: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    object_ref: Option<StoredObject>,
    response_status: Option<StoredStatus>,
    request_object: Option<Value>,
    request_received_timestamp: MicroTime,
    stage_timestamp: MicroTime,
}

#[derive(Deserialize)]
struct StoredUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredStatus {
    code: u16,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;

    use super::*;

    const FIRST: &str = r#"{"verb":"get","user":{"username":"ann"},"requestURI":"/api","requestReceivedTimestamp":"2026-01-02T03:04:05.000006Z","stageTimestamp":"2026-01-02T03:04:05.000007Z"}"#;
    const SECOND: &str = r#"{"verb":"patch","user":{"username":"ann"},"impersonatedUser":{"username":"bob"},"userAgent":"test","requestURI":"/api/v1/namespaces/a/pods/b/status?fieldManager=c","objectRef":{"resource":"pods","subresource":"status","namespace":"a","name":"b","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":409},"requestObject":{"x":1},"requestReceivedTimestamp":"2026-01-02T03:04:05.000008Z","stageTimestamp":"2026-01-02T03:04:05.000009Z"}"#;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_becomes_an_event() {
        let event = parse(SECOND.as_bytes()).unwrap();
        assert!(event.is_write() && !event.is_granted());
        let expected = AuditEvent {
            verb: "patch".into(),
            user: "bob".into(),
            user_agent: "test".into(),
            uri: "/api/v1/namespaces/a/pods/b/status?fieldManager=c".into(),
            group: String::new(),
            resource: "pods".into(),
            subresource: "status".into(),
            namespace: "a".into(),
            name: "b".into(),
            code: 409,
            at: at("2026-01-02T03:04:05.000008Z"),
            done: at("2026-01-02T03:04:05.000009Z"),
            request: Some(serde_json::json!({ "x": 1 })),
        };
        assert_eq!(event, expected);
    }

    #[test]
    fn half_lines_are_left_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let verbs = |mark: usize| {
            let events = AuditMark(mark as u64).read(file.path()).unwrap();
            events.into_iter().map(|event| event.verb).collect::<Vec<_>>()
        };
        fs::write(file.path(), format!("{FIRST}\n{SECOND}\n{FIRST}")).unwrap();
        let second = FIRST.len() + 1;
        let third = second + SECOND.len() + 1;
        assert_eq!(verbs(0), ["get", "patch"]);
        assert_eq!(verbs(7), ["patch"], "the mark was set within the first line");
        assert_eq!(verbs(second), ["patch"]);
        assert!(verbs(second + 7).is_empty(), "the mark was set within the second line");
        assert!(verbs(third).is_empty());
        assert!(verbs(third + 7).is_empty());
    }
}
