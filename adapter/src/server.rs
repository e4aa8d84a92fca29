//! `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

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

/// Serves the probes until stopped. Alive: the loop is not stuck. Ready: the caches are filled, whether it leads or not,
/// so that an update of the operator itself goes on and a standby is one that could take over at once.
pub async fn probes(address: SocketAddr, live: Arc<Live>, stop: CancellationToken) -> std::io::Result<()> {
    let health = Arc::clone(&live);
    let healthz = move || {
        let stuck = health.metrics().backlog().stuck();
        std::future::ready(match stuck {
            None => (StatusCode::OK, "ok".to_owned()),
            Some(why) => {
                error!(why, "the loop is stuck; only a restart helps");
                (StatusCode::INTERNAL_SERVER_ERROR, why)
            }
        })
    };
    let readyz = move || {
        std::future::ready(match (live.caches.are_synced(), live.mandate.is_held()) {
            (true, true) => (StatusCode::OK, "ok"),
            (true, false) => (StatusCode::OK, "ok, standing by"),
            (false, _) if live.caches.definition_is_missing() => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the CustomResourceDefinition seinodes.sei.io is not installed",
            ),
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet"),
        })
    };
    let app = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    serve(address, app, stop, "probes").await
}

async fn serve(address: SocketAddr, app: Router, stop: CancellationToken, what: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .inspect_err(|error| warn!(%address, %error, what, "can't listen"))?;
    info!(address = %listener.local_addr()?, what, "listening");
    axum::serve(listener, app).with_graceful_shutdown(async move { stop.cancelled().await }).await
}
