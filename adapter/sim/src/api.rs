//! The store behind one tower service that a real `kube::Client` talks to.
//!
//! Answers: HTTP requests, as kube-apiserver would. Refuses to know: sockets, authentication, and what the
//! objects are for. Upholds: the effect of a request happens at one instant, under the lock of the store;
//! every request is recorded before its answer leaves; troubles are asked for before and after the effect,
//! never in between.
//!
//! ```text
//! let store = Store::new(Clock::starting_at(start));
//! let server = ApiServer::new(&store);
//! let client = kube::Client::new(server.serving("operator"), "default");
//! ```

mod answer;
mod discovery;
mod fault;
mod page;
mod query;
mod record;
mod request;
mod route;
mod verb;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request as HttpRequest, Response};
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::sleep;
use tower::Service;

pub use crate::watch::{Happened, WatchEvent};
pub use fault::{Delivery, Faults, NoFaults, Trouble};
pub use record::{Record, Recorder};
pub use request::{PatchType, Request, Verb};

use crate::store::Store;
use answer::Answer;
use request::Unread;

/// The pretend API server. Clones share the store, the record and the troubles.
#[derive(Clone)]
pub struct ApiServer {
    store: Store,
    recorder: Recorder,
    faults: Arc<dyn Faults>,
    client: Arc<str>,
}

impl ApiServer {
    /// A server over a store, without troubles.
    pub fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            recorder: Recorder::default(),
            faults: Arc::new(NoFaults),
            client: Arc::from(""),
        }
    }

    /// The same server with troubles.
    #[must_use]
    pub fn with_faults(mut self, faults: Arc<dyn Faults>) -> Self {
        self.faults = faults;
        self
    }

    /// The same server writing to another record; `Recorder::silent()` for runs too long to keep.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = recorder;
        self
    }

    /// The service for one client; the name stands in the record, and troubles can aim at it.
    #[must_use]
    pub fn serving(&self, client: &str) -> Self {
        Self { client: Arc::from(client), ..self.clone() }
    }

    /// What was requested so far.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The store behind the server.
    pub fn store(&self) -> &Store {
        &self.store
    }

    async fn serve<B>(
        self,
        request: HttpRequest<B>,
    ) -> Result<Response<UnsyncBoxBody<Bytes, io::Error>>, io::Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = match request::read(&parts, &body, &self.client) {
            Ok(request) => request,
            Err(unread) => return Ok(self.refuse(&parts, unread)),
        };
        let before = self.faults.before(&request);
        let answer = match self.suffer(&request, before).await? {
            Some(refusal) => refusal,
            None => self.effect(&request),
        };
        let after = self.faults.after(&request, answer.code());
        self.recorder.push(Record::answered(&request, self.store.clock().now(), answer.code(), &after));
        let answer = self.suffer_quietly(after).await?.unwrap_or(answer);
        Ok(answer.into_response(&request, &self.faults))
    }

    fn effect(&self, request: &Request) -> Answer {
        verb::run(&self.store, request).unwrap_or_else(Answer::from)
    }

    fn refuse(&self, parts: &Parts, unread: Unread) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
        self.recorder.push(Record::unread(parts, &self.client, self.store.clock().now(), unread.code()));
        unread.into_response()
    }

    /// A trouble before the effect; one that leaves no effect and no answer is recorded here.
    async fn suffer(&self, request: &Request, trouble: Trouble) -> Result<Option<Answer>, io::Error> {
        if matches!(trouble, Trouble::Hang | Trouble::Lose) {
            self.recorder.push(Record::unheard(request, self.store.clock().now(), &trouble));
        }
        self.suffer_quietly(trouble).await
    }

    async fn suffer_quietly(&self, trouble: Trouble) -> Result<Option<Answer>, io::Error> {
        match trouble {
            Trouble::None => Ok(None),
            Trouble::Delay(span) => {
                sleep(span).await;
                Ok(None)
            }
            Trouble::Hang => std::future::pending::<Result<Option<Answer>, io::Error>>().await,
            Trouble::Lose => Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")),
            Trouble::Refuse(refusal) => Ok(Some(Answer::from(refusal))),
        }
    }
}

impl<B> Service<HttpRequest<B>> for ApiServer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<UnsyncBoxBody<Bytes, io::Error>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<B>) -> Self::Future {
        Box::pin(self.clone().serve(request))
    }
}

/// A whole body, for answers that do not stream.
fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    http_body_util::Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}
