//! Logs: to stderr, because stdout is for results.

use std::io::IsTerminal;

use tracing::error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::LogFormat;

/// Libraries that would drown the operator's own lines, at any level that is asked for; some would show what is on the
/// wire. `RUST_LOG` overrides it.
const QUIET: &str =
    "h2=warn,hyper=warn,hyper_util=warn,kube_client=warn,kube_runtime=warn,rustls=warn,tonic=warn,tower=warn";

/// Begins to log. A second call (in tests) leaves the first setup in place.
pub fn init(level: &str, format: LogFormat) {
    init_with(level, format, None);
}

/// A further receiver of spans and events.
pub(crate) type Further = Box<dyn Layer<Registry> + Send + Sync>;

/// The same with a further receiver.
pub(crate) fn init_with(level: &str, format: LogFormat, further: Option<Further>) {
    let filter =
        EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new(format!("{level},{QUIET}")));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Console => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let _ = tracing_subscriber::registry().with(further).with(lines.with_filter(filter)).try_init();
}

/// A panic becomes one line like any other, instead of free text among JSON.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        error!(place, text, "panicked: a bug, please report it");
    }));
}
