//! Counts each request to the API server, and limits how long its answer may take to begin.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use tower::{BoxError, Layer, Service};

use super::Metrics;

/// How long an answer may take to begin, watches and large lists included: their first byte comes at once. Requests of
/// single objects have a shorter limit of their own.
const BEGIN: Duration = Duration::from_mins(1);

/// Plurals of the resources that this operator asks for; what else there may be is `other`.
const RESOURCES: [(&str, &str); 14] = [
    ("configmaps", "ConfigMap"),
    ("events", "Event"),
    ("jobs", "Job"),
    ("leases", "Lease"),
    ("persistentvolumeclaims", "PersistentVolumeClaim"),
    ("persistentvolumes", "PersistentVolume"),
    ("pods", "Pod"),
    ("secrets", "Secret"),
    ("seinetworks", "SeiNetwork"),
    ("seinodes", "SeiNode"),
    ("seinodetasks", "SeiNodeTask"),
    ("seinodetaskworkflows", "SeiNodeTaskWorkflow"),
    ("services", "Service"),
    ("statefulsets", "StatefulSet"),
];

/// The layer of a client that counts.
#[derive(Clone)]
pub struct Requests(pub Arc<Metrics>);

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: Arc::clone(&self.0) }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = Response<A>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, kind) = named(request.method(), request.uri().path(), request.uri().query());
        let metrics = Arc::clone(&self.metrics);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match tokio::time::timeout(BEGIN, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(BoxError::from(format!("no answer began within {} s", BEGIN.as_secs()))),
            };
            metrics.api_request(verb, kind, answer.as_ref().ok().map(|a| a.status().as_u16()));
            answer
        })
    }
}

/// Verb and kind of a request, as the API server's own rules name them.
fn named(method: &Method, path: &str, query: Option<&str>) -> (&'static str, &'static str) {
    let mut parts = path.trim_matches('/').split('/');
    match parts.next() {
        Some("api") => parts.next(),
        Some("apis") => parts.nth(1),
        Some(_) | None => None,
    };
    let rest: Vec<&str> = parts.collect();
    let (plural, name) = match rest.as_slice() {
        ["namespaces", _, plural, name @ ..] => (*plural, name.first()),
        [plural, name @ ..] => (*plural, name.first()),
        [] => ("", None),
    };
    let kind = RESOURCES.iter().find(|(known, _)| *known == plural).map_or("other", |(_, kind)| kind);
    let watches = query.is_some_and(|q| q.split('&').any(|p| p == "watch=true" || p == "watch=1"));
    let verb = match *method {
        Method::GET if watches => "watch",
        Method::GET if name.is_none() => "list",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_as_rules_name_them() {
        for (method, path, query, expected) in [
            (Method::GET, "/api/v1/pods", Some("&labelSelector=a"), ("list", "Pod")),
            (Method::GET, "/api/v1/pods", Some("&watch=true&x=1"), ("watch", "Pod")),
            (Method::GET, "/api/v1/namespaces/a/secrets/b", None, ("get", "Secret")),
            (Method::GET, "/apis/sei.io/v1alpha1/namespaces/a/seinodes", Some(""), ("list", "SeiNode")),
            (
                Method::PATCH,
                "/apis/sei.io/v1alpha1/namespaces/a/seinodes/b/status",
                None,
                ("patch", "SeiNode"),
            ),
            (Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", None, ("update", "Lease")),
            (Method::POST, "/api/v1/namespaces/a/events", None, ("create", "Event")),
            (Method::DELETE, "/apis/apps/v1/namespaces/a/statefulsets/b", None, ("delete", "StatefulSet")),
            (Method::GET, "/api/v1/persistentvolumes/v", None, ("get", "PersistentVolume")),
            (Method::GET, "/apis/user.example/v1/secrets-of-mine/x", None, ("get", "other")),
            (Method::GET, "/version", None, ("list", "other")),
        ] {
            assert_eq!(named(&method, path, query), expected, "{method} {path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_given_up_and_counted() {
        let metrics = Arc::new(Metrics::new());
        let silent = tower::service_fn(|_: Request<()>| {
            std::future::pending::<Result<Response<()>, std::io::Error>>()
        });
        let answer = Requests(Arc::clone(&metrics)).layer(silent).call(Request::new(())).await;
        assert!(answer.is_err());
        let text = metrics.exposition().unwrap_or_default();
        let line = "sei_controller_api_requests_total{verb=\"list\",kind=\"other\",code=\"none\"} 1";
        assert!(text.contains(line), "{text}");
    }
}
