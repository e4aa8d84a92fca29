//! `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::live::Live;
use crate::telemetry::Metrics;

/// Serves the metrics until stopped.
pub async fn metrics(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new().route(
        "/metrics",
        get(move || {
            let metrics = Arc::clone(&metrics);
            async move {
                match metrics.exposition() {
                    Ok(text) => {
                        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                        ([(header::CONTENT_TYPE, kind)], text).into_response()
                    }
                    Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
                }
            }
        }),
    );
    serve(address, app, stop, "metrics").await
}

/// Serves the probes until stopped: alive always, ready once the caches are filled.
pub async fn probes(address: SocketAddr, live: Arc<Live>, stop: CancellationToken) -> std::io::Result<()> {
    let app = Router::new().route("/healthz", get(|| async { "ok" })).route(
        "/readyz",
        get(move || {
            let live = Arc::clone(&live);
            async move {
                if live.caches.are_synced() {
                    (StatusCode::OK, "ok")
                } else {
                    (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
                }
            }
        }),
    );
    serve(address, app, stop, "probes").await
}

async fn serve(address: SocketAddr, app: Router, stop: CancellationToken, what: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .inspect_err(|error| warn!(%address, %error, what, "can't listen"))?;
    info!(address = %listener.local_addr()?, what, "listening");
    axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await
}
