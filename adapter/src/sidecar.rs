//! The sidecar's HTTP contract over a tower service: time limits, bearer token, status codes into [`Fault`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use seinode_core::effect::{Fault, Submit};
use seinode_core::ident::{NodeKey, TaskId};
use seinode_core::world::{Blind, Health, Seen, SidecarTask};
use serde::Deserialize;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use crate::telemetry::Metrics;

/// What sends requests: live a hyper client, in simulations the pretend sidecars.
pub type Transport = BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, BoxError>;

/// Time limit of every call (`sidecar.md` 5.7: the reference client's default where none is set).
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Time limit of the readiness probe (`sidecar.md` 5.7).
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of a peer's node id: many are asked at once, and a peer left out is asked again later.
const NODE_ID_LIMIT: Duration = Duration::from_secs(3);
/// Longest answer in bytes, far above a list of a hundred records: what a sidecar sends must not take the memory that all
/// nodes share.
const LONGEST_ANSWER: usize = 16 << 20;
/// Age at which the token file is read again (`sidecar.md` 2.1).
const TOKEN_AGE: Duration = Duration::from_secs(50);

/// Where the bearer token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// A file that is read again from time to time.
    File(PathBuf),
    /// No token is sent; only where nobody checks one.
    None,
}

/// The client of all sidecars.
pub struct Sidecars {
    transport: Transport,
    template: String,
    source: TokenSource,
    token: Mutex<Option<(String, Instant)>>,
    metrics: Option<Arc<Metrics>>,
}

/// A call that gave no usable answer.
enum CallError {
    /// It was not sent.
    NotSent(String),
    /// It was sent, and what came of it is not known.
    NoAnswer(String),
}

impl Sidecars {
    /// A client for `template`, in which `{name}` and `{namespace}` stand for the node's.
    pub fn new(transport: Transport, template: String, source: TokenSource) -> Self {
        Self { transport, template, source, token: Mutex::new(None), metrics: None }
    }

    /// Counts the requests.
    #[must_use]
    pub(crate) fn counted(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// A transport over HTTP.
    pub fn http() -> Transport {
        let mut connector = hyper_util::client::legacy::connect::HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            // Below the server's 60 s, so that it rarely closes first (`sidecar.md` 5.7).
            .pool_idle_timeout(Duration::from_secs(45))
            .build::<_, Full<Bytes>>(connector);
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let client = client.clone();
            async move {
                let answer = client.request(request).await.map_err(|error| -> BoxError {
                    if error.is_connect() { Box::new(NotConnected) } else { Box::new(error) }
                })?;
                let (parts, body) = answer.into_parts();
                Ok(Response::from_parts(
                    parts,
                    Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes(),
                ))
            }
        }))
    }

    /// The readiness of a node's sidecar.
    pub async fn health(&self, node: &NodeKey) -> Seen<Health> {
        match self.call(node, Method::GET, "/v0/healthz", None, HEALTH_LIMIT).await {
            Ok(answer) => match answer.status() {
                StatusCode::OK => Seen::Present(Health::Ready),
                StatusCode::SERVICE_UNAVAILABLE => Seen::Present(Health::NotReady),
                other => Seen::Unknown(Blind::Unreachable(refusal(other))),
            },
            Err(error) => Seen::Unknown(Blind::Unreachable(error.text())),
        }
    }

    /// The records of a node's sidecar.
    pub async fn tasks(&self, node: &NodeKey) -> Seen<BTreeMap<TaskId, SidecarTask>> {
        let answer = match self.call(node, Method::GET, "/v0/tasks", None, CALL_LIMIT).await {
            Ok(answer) if answer.status() == StatusCode::OK => answer,
            Ok(answer) => return Seen::Unknown(Blind::Unreachable(refusal(answer.status()))),
            Err(error) => return Seen::Unknown(Blind::Unreachable(error.text())),
        };
        match serde_json::from_slice::<Vec<SidecarTask>>(answer.body()) {
            Ok(list) => Seen::Present(list.into_iter().map(|t| (TaskId::new(&t.id), t)).collect()),
            Err(error) => Seen::Unknown(Blind::Unreachable(format!(
                "the sidecar's list of tasks can't be read: {error}"
            ))),
        }
    }

    /// One record, for ids beyond the newest hundred that a list shows.
    pub async fn task(&self, node: &NodeKey, id: &str) -> Seen<SidecarTask> {
        match self.call(node, Method::GET, &format!("/v0/tasks/{id}"), None, CALL_LIMIT).await {
            Ok(answer) if answer.status() == StatusCode::OK => match serde_json::from_slice(answer.body()) {
                Ok(task) => Seen::Present(task),
                Err(error) => {
                    Seen::Unknown(Blind::Unreachable(format!("record {id} can't be read: {error}")))
                }
            },
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND => Seen::Absent,
            Ok(answer) => Seen::Unknown(Blind::Unreachable(refusal(answer.status()))),
            Err(error) => Seen::Unknown(Blind::Unreachable(error.text())),
        }
    }

    /// The P2P node id of a node.
    pub async fn node_id(&self, node: &NodeKey) -> Seen<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct NodeId {
            node_id: String,
        }
        match self.call(node, Method::GET, "/v0/node-id", None, NODE_ID_LIMIT).await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                match serde_json::from_slice::<NodeId>(answer.body()) {
                    Ok(id) if !id.node_id.is_empty() => Seen::Present(id.node_id),
                    Ok(_) => Seen::Unknown(Blind::Unreachable("the node id is empty".into())),
                    Err(error) => {
                        Seen::Unknown(Blind::Unreachable(format!("the node id can't be read: {error}")))
                    }
                }
            }
            Ok(answer) => Seen::Unknown(Blind::Unreachable(refusal(answer.status()))),
            Err(error) => Seen::Unknown(Blind::Unreachable(error.text())),
        }
    }

    /// Submits a task (`sidecar.md` 3.1).
    pub async fn submit(&self, node: &NodeKey, submit: &Submit) -> Result<(), Fault> {
        let body = serde_json::to_vec(submit)
            .map_err(|e| Fault::Terminal(format!("the task can't be encoded: {e}")))?;
        match self.call(node, Method::POST, "/v0/tasks", Some(body), CALL_LIMIT).await {
            Ok(answer) => match answer.status() {
                StatusCode::CREATED | StatusCode::ACCEPTED => Ok(()),
                // Final only if it lasts: a database that can't be written also shows as 400 (`sidecar.md` 4).
                StatusCode::BAD_REQUEST => {
                    Err(Fault::Terminal(format!("{}{}", refusal(answer.status()), error_text(answer.body()))))
                }
                other => Err(Fault::Transient(format!("{}{}", refusal(other), error_text(answer.body())))),
            },
            Err(CallError::NotSent(text)) => Err(Fault::Transient(text)),
            Err(CallError::NoAnswer(text)) => Err(Fault::Ambiguous(text)),
        }
    }

    /// Cancels a running task and removes its record (`sidecar.md` 5.4); one that is not there is fine.
    pub async fn withdraw(&self, node: &NodeKey, id: &TaskId) -> Result<(), Fault> {
        match self.call(node, Method::DELETE, &format!("/v0/tasks/{id}"), None, CALL_LIMIT).await {
            Ok(answer) => match answer.status() {
                StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
                other => Err(Fault::Transient(refusal(other))),
            },
            Err(CallError::NotSent(text)) => Err(Fault::Transient(text)),
            Err(CallError::NoAnswer(text)) => Err(Fault::Ambiguous(text)),
        }
    }

    async fn call(
        &self,
        node: &NodeKey,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<Response<Bytes>, CallError> {
        let operation = operation(&method, path);
        let base = self.template.replace("{namespace}", &node.namespace).replace("{name}", &node.name);
        let mut request =
            Request::builder().method(method).uri(format!("{}{path}", base.trim_end_matches('/')));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = self.bearer().await? {
            // Marked, so that no library shows it when it shows a request.
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                CallError::NotSent("the token for the sidecar is no text for a header".to_owned())
            })?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|e| CallError::NotSent(format!("the sidecar's address can't be built: {e}")))?;
        let mut transport = self.transport.clone();
        let sent = async move { transport.ready().await?.call(request).await };
        let start = Instant::now();
        let answer = tokio::time::timeout(limit, sent).await;
        if let Some(metrics) = &self.metrics {
            let status = answer.as_ref().ok().and_then(|a| a.as_ref().ok()).map(Response::status);
            metrics.sidecar_request(operation, status, start.elapsed());
        }
        match answer {
            Err(_) => {
                Err(CallError::NoAnswer(format!("the sidecar gave no answer within {} s", limit.as_secs())))
            }
            Ok(Err(error)) if error.is::<NotConnected>() => Err(CallError::NotSent(NotConnected.to_string())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(CallError::NoAnswer(format!(
                "the sidecar's answer is longer than {} MiB",
                LONGEST_ANSWER >> 20
            ))),
            Ok(Err(_)) => Err(CallError::NoAnswer("the connection to the sidecar broke".to_owned())),
            Ok(Ok(answer)) => {
                if answer.status() == StatusCode::UNAUTHORIZED {
                    self.drop_token();
                }
                Ok(answer)
            }
        }
    }

    /// The token; a file that can't be read any more leaves the old one in use (`sidecar.md` 2.1).
    async fn bearer(&self) -> Result<Option<String>, CallError> {
        let TokenSource::File(path) = &self.source else { return Ok(None) };
        let cached = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some((token, read)) = &cached
            && read.elapsed() < TOKEN_AGE
        {
            return Ok(Some(token.clone()));
        }
        let read = tokio::fs::read_to_string(path).await;
        let fresh = read.as_ref().ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        match (fresh, cached) {
            (Some(token), _) => {
                *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    Some((token.clone(), Instant::now()));
                Ok(Some(token))
            }
            (None, Some((old, _))) => Ok(Some(old)),
            (None, None) => {
                Err(CallError::NotSent(format!("there is no token for the sidecar in {}", path.display())))
            }
        }
    }

    fn drop_token(&self) {
        self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }
}

impl CallError {
    fn text(self) -> String {
        match self {
            Self::NotSent(text) | Self::NoAnswer(text) => text,
        }
    }
}

/// No connection came about, so nothing was sent; a [`Transport`] says so with this error.
#[derive(Debug, thiserror::Error)]
#[error("no connection to the sidecar")]
pub struct NotConnected;

/// What a request is for, of a fixed set: the label of a metric.
fn operation(method: &Method, path: &str) -> &'static str {
    match (method, path) {
        (&Method::POST, _) => "submit",
        (&Method::DELETE, _) => "withdraw",
        (_, "/v0/healthz") => "health",
        (_, "/v0/node-id") => "node_id",
        (_, "/v0/tasks") => "list",
        _ => "get",
    }
}

/// A status code in words for people; never the body of an answer that could hold anything.
fn refusal(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED => "the sidecar refuses the operator's token (401)".to_owned(),
        StatusCode::FORBIDDEN => {
            "the operator may not use this sidecar (403): it needs get, create and delete on sei.io/seinodetasks".to_owned()
        }
        StatusCode::BAD_GATEWAY => "the sidecar does not listen yet (502)".to_owned(),
        other => format!("the sidecar answered {}", other.as_u16()),
    }
}

fn error_text(body: &Bytes) -> String {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    serde_json::from_slice::<Body>(body).map(|b| format!(": {}", b.error)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with a body that never ends; says how much of it was taken.
    async fn endless(listener: TcpListener) -> usize {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert_ne!(connection.read(&mut request).await.unwrap(), 0, "a request");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let (part, mut taken) = (vec![b' '; 65536], 0);
        // Until the other side hangs up.
        while taken < 8 * LONGEST_ANSWER && connection.write_all(&part).await.is_ok() {
            taken += part.len();
        }
        taken
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let template = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(endless(listener));
        let sidecars = Sidecars::new(Sidecars::http(), template, TokenSource::None);
        let node = NodeKey { namespace: "ns".into(), name: "node".into() };
        let Seen::Unknown(blind) = sidecars.tasks(&node).await else { panic!("no answer can be used") };
        assert!(blind.to_string().contains("the sidecar's answer is longer than 16 MiB"), "{blind}");
        let taken = server.await.unwrap();
        assert!(taken < 2 * LONGEST_ANSWER, "{taken} bytes were taken");
    }
}
