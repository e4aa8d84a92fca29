//! All sidecars behind one tower service.
//!
//! Answers: requests to `http://{node}-0.{node}.{namespace}.svc.cluster.local:8443/v0/...` and, for servers on one
//! loopback socket, to `http://anything/{namespace}/{node}/v0/...`.
//! Refuses to know: sockets.
//! Upholds: nobody behind a name looks like a refused connection, a hanging sidecar like silence.

use super::process::Sidecar;
use super::routes::{Answer, Call, Handled};
use super::switchboard::{Line, Switchboard};
use crate::store::Clock;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use std::error::Error;
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;
use tower::Service;

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// Nobody listens under that name.
    #[error("connection refused")]
    Refused,
    /// The request may have been carried out.
    #[error("connection closed before the answer")]
    Closed,
    /// The request's own body could not be read.
    #[error("request body broke off")]
    Body,
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SidecarService {
    switchboard: Switchboard,
    clock: Clock,
}

impl SidecarService {
    /// Serves what the switchboard reaches, in the clock's time.
    pub fn new(switchboard: Switchboard, clock: Clock) -> Self {
        Self { switchboard, clock }
    }

    /// The routing table.
    pub fn switchboard(&self) -> &Switchboard {
        &self.switchboard
    }

    fn respond(&self, head: &http::request::Parts, body: &[u8]) -> Handled {
        let Some(route) = Route::of(head) else { return Handled::Refused };
        let Some(sidecar) = self.switchboard.find(&route.line) else { return Handled::Refused };
        if !is_let_in(&sidecar, &route.target, head) {
            return Handled::Answered(Answer::text(401, "Unauthorized\n"));
        }
        let call = Call { method: head.method.as_str(), target: &route.target, body };
        let handled = sidecar.handle(call, self.clock.now());
        self.switchboard.note_call(route.line);
        handled
    }
}

impl<B> Service<Request<B>> for SidecarService
where
    B: BodyExt + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| ConnectError::Body)?.to_bytes();
            match service.respond(&head, &body) {
                Handled::Answered(answer) => to_response(answer),
                Handled::Silent => std::future::pending().await,
                Handled::Refused => Err(ConnectError::Refused),
                Handled::Lost => Err(ConnectError::Closed),
            }
        })
    }
}

fn to_response(answer: Answer) -> Result<Response<Full<Bytes>>, ConnectError> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(answer.body)).map_err(|_| ConnectError::Closed)
}

/// The proxy's check of the bearer token.
fn is_let_in(sidecar: &Arc<Sidecar>, target: &str, head: &http::request::Parts) -> bool {
    let Some(token) = &sidecar.around.token else { return true };
    let path = target.split('?').next().unwrap_or_default();
    let is_health = ["/v0/healthz", "/v0/startupz", "/v0/livez", "/v0/metrics"].contains(&path);
    if is_health && sidecar.around.health_is_open {
        return true;
    }
    let given = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.strip_prefix("Bearer ")) == Some(token)
}

struct Route {
    line: Line,
    target: String,
}

impl Route {
    fn of(head: &http::request::Parts) -> Option<Self> {
        let named = head.headers.get(header::HOST).and_then(|value| value.to_str().ok());
        let host = head.uri.host().or_else(|| named.map(|host| host.split(':').next().unwrap_or(host)));
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        match host.and_then(|host| host.strip_suffix(DOMAIN)) {
            Some(name) => Self::by_host(name, target),
            None => Self::by_path(target),
        }
    }

    /// `n-0.n.ns`; the pod must be the first one of the Service it is asked under.
    fn by_host(name: &str, target: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let (pod, node, namespace) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || pod.strip_suffix("-0") != Some(node) {
            return None;
        }
        Some(Self { line: Line::new(namespace, node), target: target.to_owned() })
    }

    fn by_path(target: &str) -> Option<Self> {
        let (namespace, rest) = target.strip_prefix('/')?.split_once('/')?;
        let (node, _) = rest.split_once('/')?;
        let target = &rest[node.len()..];
        Some(Self { line: Line::new(namespace, node), target: target.to_owned() })
    }
}

const DOMAIN: &str = ".svc.cluster.local";
