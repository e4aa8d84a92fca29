//! The pretend sidecars, or another pretend server, behind a real socket on loopback.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use seinode_sim::sidecar::{ConnectError, SidecarService};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::{Service, ServiceExt};

/// A server; dropping it ends it.
pub(crate) struct Server {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Server {
    /// The pretend sidecars.
    pub(crate) async fn start(sidecars: SidecarService) -> io::Result<Self> {
        Self::of(move |request| answer(sidecars.clone(), request)).await
    }

    /// Anything that answers requests.
    pub(crate) async fn of<A, F, B, E>(answer: A) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, counter) = (answer.clone(), Arc::clone(&counter));
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        counter.fetch_add(1, Ordering::Relaxed);
                        answer(request)
                    });
                    // A connection that breaks is the client's to notice.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { address, calls, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Nobody behind the name: the proxy's 502, since the socket itself always listens.
async fn answer(
    mut sidecars: SidecarService,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, ConnectError> {
    match ServiceExt::<Request<Incoming>>::ready(&mut sidecars).await?.call(request).await {
        Err(ConnectError::Refused) => {
            let mut response = Response::new(Full::new(Bytes::from_static(b"bad gateway")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            Ok(response)
        }
        other => other,
    }
}
