//! Traces and metrics by OTLP over gRPC, where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector.
//!
//! Metrics are those of `/metrics`, translated: one place counts, whoever asks. Those that the Go operator pushes have
//! its names.

mod translate;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataKey, MetadataValue};
use tonic::transport::Endpoint;
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::Layer;

use super::Metrics;
use super::logs::Further;

/// Where the collector is named.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Name of the service in traces and metrics, as the Go operator has it.
const SERVICE: &str = "sei-k8s-controller";

/// Why nothing can be pushed.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The variable names no collector that can be spoken to.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT={0:?} is no address: write http://HOST:4317, or unset it")]
    Endpoint(String),
    /// The exporter could not be made.
    #[error("traces can't be exported")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

/// A way to a collector.
pub struct Otlp {
    endpoint: Endpoint,
    traces: SdkTracerProvider,
    started: SystemTime,
}

impl Otlp {
    /// The way that the environment names, if any. Must be called on the runtime.
    pub fn from_environment() -> Result<Option<Self>, OtlpError> {
        let Some(address) = std::env::var(ENDPOINT).ok().filter(|value| !value.trim().is_empty()) else {
            return Ok(None);
        };
        Self::to(address.trim()).map(Some)
    }

    fn to(address: &str) -> Result<Self, OtlpError> {
        let refused = || OtlpError::Endpoint(address.to_owned());
        // Plain text only: a collector beside the operator. One that is far away is behind another one.
        if !address.starts_with("http://") {
            return Err(refused());
        }
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| refused())?;
        let endpoint = endpoint.connect_timeout(LIMIT).timeout(LIMIT);
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_timeout(LIMIT)
            .with_endpoint(address);
        let traces = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.build().map_err(OtlpError::Exporter)?)
            .with_resource(Resource::builder().with_service_name(SERVICE).build())
            .build();
        Ok(Self { endpoint, traces, started: SystemTime::now() })
    }

    /// What takes up spans.
    pub(crate) fn spans(&self) -> Further {
        let tracer = self.traces.tracer(SERVICE);
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(LevelFilter::INFO).boxed()
    }

    /// Pushes metrics from time to time, and once more when stopped. A collector that is not there is no reason to stop.
    pub async fn push(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut pause = tokio::time::interval(interval());
        let mut client = MetricsServiceClient::new(self.endpoint.connect_lazy());
        let mut trouble = false;
        loop {
            let last = tokio::select! {
                () = stop.cancelled() => true,
                _ = pause.tick() => false,
            };
            match client.export(self.request(&metrics)).await {
                Ok(_) => trouble = false,
                Err(status) => {
                    if !trouble {
                        warn!(code = %status.code(), "metrics could not be pushed; trying on");
                    }
                    trouble = true;
                }
            }
            if last {
                break;
            }
        }
        let traces = self.traces;
        // It blocks until the last spans are sent, or its own limit is over.
        let ended = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(LIMIT)).await;
        if !matches!(ended, Ok(Ok(()))) {
            warn!("the last spans could not be pushed");
        }
    }

    fn request(&self, metrics: &Metrics) -> tonic::Request<ExportMetricsServiceRequest> {
        let text = metrics.exposition().unwrap_or_default();
        let attributes = resource();
        let body = translate::request(&text, &attributes, self.started, SystemTime::now());
        let mut request = tonic::Request::new(body);
        for (name, value) in headers() {
            request.metadata_mut().insert(name, value);
        }
        request
    }
}

/// Longest time for a push.
const LIMIT: Duration = Duration::from_secs(10);

/// `OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds.
fn interval() -> Duration {
    let told = std::env::var("OTEL_METRIC_EXPORT_INTERVAL").ok().and_then(|text| text.trim().parse().ok());
    told.filter(|ms| *ms >= 100).map_or(Duration::from_mins(1), Duration::from_millis)
}

/// What the operator is: `POD_NAME`, `POD_NAMESPACE`, `OTEL_RESOURCE_ATTRIBUTES`; the service name is fixed.
fn resource() -> Vec<(String, String)> {
    let mut attributes: Vec<(String, String)> = std::env::var("OTEL_RESOURCE_ATTRIBUTES")
        .unwrap_or_default()
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .filter(|(key, _)| key != "service.name")
        .collect();
    attributes.push(("service.name".to_owned(), SERVICE.to_owned()));
    for (variable, key) in [("POD_NAME", "k8s.pod.name"), ("POD_NAMESPACE", "k8s.namespace.name")] {
        if let Ok(value) = std::env::var(variable)
            && !value.is_empty()
        {
            attributes.push((key.to_owned(), value));
        }
    }
    attributes
}

/// `OTEL_EXPORTER_OTLP_HEADERS`: often a credential, so it is never logged.
fn headers() -> Vec<(MetadataKey<tonic::metadata::Ascii>, MetadataValue<tonic::metadata::Ascii>)> {
    let text = std::env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .filter_map(|(name, value)| {
            let name = MetadataKey::from_bytes(name.trim().to_lowercase().as_bytes()).ok()?;
            let mut value: MetadataValue<_> = value.trim().parse().ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response};
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::{Frame, Incoming};
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_is_no_plain_address_is_refused_with_the_remedy() {
        for address in ["collector:4317", "https://collector:4317", "http://"] {
            let refused = Otlp::to(address).map(|_| ()).unwrap_err();
            assert!(refused.to_string().contains("write http://HOST:4317"), "{address}: {refused}");
        }
    }

    /// Which services were called, and the bytes they were sent.
    type Calls = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

    /// A collector that takes everything: gRPC's empty answer and its status 0.
    async fn collector() -> (String, Calls) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let calls = Calls::default();
        let seen = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request: Request<Incoming>| {
                    let seen = Arc::clone(&seen);
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await?.to_bytes();
                        seen.lock().unwrap().push((path, body.to_vec()));
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
                        let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>)));
                        let answer =
                            Response::builder().header("content-type", "application/grpc").body(body);
                        Ok::<_, hyper::Error>(answer.unwrap())
                    }
                });
                let connection = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        (address, calls)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn metrics_and_spans_reach_a_collector() {
        let (address, calls) = collector().await;
        let otlp = Otlp::to(&address).unwrap();
        let subscriber = tracing_subscriber::registry().with(Some(otlp.spans()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("reconcile", node = "ns/one").in_scope(|| tracing::info!("stored"));
        });
        let metrics = Arc::new(Metrics::new());
        metrics.reconciled(Duration::from_millis(3), true);
        let stop = CancellationToken::new();
        stop.cancel();
        // The last push is not left out, and the last spans are sent before it ends.
        otlp.push(metrics, stop).await;
        let calls = calls.lock().unwrap();
        let sent = |service: &str, text: &str| {
            calls.iter().any(|(path, body)| {
                path.contains(service) && body.windows(text.len()).any(|part| part == text.as_bytes())
            })
        };
        assert!(sent("MetricsService/Export", "sei.controller.reconcile.errors"), "{calls:?}");
        assert!(sent("MetricsService/Export", SERVICE));
        assert!(sent("TraceService/Export", "reconcile") && sent("TraceService/Export", "ns/one"));
    }

    /// A port where nobody listens: it is tried, told, and ends in time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_is_not_there_holds_nobody_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let otlp = Otlp::to(&address).unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let pushed = otlp.push(Arc::new(Metrics::new()), stop);
        tokio::time::timeout(Duration::from_mins(1), pushed).await.unwrap();
    }
}
