//! The pretend sidecars behind a real socket on loopback.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use seinode_sim::sidecar::{ConnectError, SidecarService};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::{Service, ServiceExt};

/// A server; dropping it ends it.
pub(super) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(sidecars: SidecarService) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sidecars = sidecars.clone();
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request: Request<Incoming>| answer(sidecars.clone(), request));
                    // A connection that breaks is the client's to notice.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { address, task })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
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
