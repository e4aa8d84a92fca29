//! Flags and environment into one typed value, checked once. Names are the Go operator's (`platform-config.md` 2, 3), so
//! that its Deployment needs only another image.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::SignedDuration;
use seinode_core::platform::{self, Platform};

use crate::leader::Timing;
use crate::live::Pace;
use crate::shard::Shard;

/// Where the file of the platform's settings is named.
pub const CONFIG_VARIABLE: &str = "SEI_CONTROLLER_CONFIG";
/// Where a pod finds its account's token.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Flags of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Address of the metrics, for example :8080; 0 turns them off
    #[arg(long, default_value = ":8080", value_name = "ADDRESS", value_parser = parse_address)]
    pub metrics_bind_address: Address,
    /// Address of /healthz and /readyz; 0 turns them off
    #[arg(long, default_value = ":8081", value_name = "ADDRESS", value_parser = parse_address)]
    pub health_probe_bind_address: Address,
    /// Work only while holding the lease bc1f5b0a.sei.io
    #[arg(long, default_value = "true", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// How long a leader that says nothing more is respected
    #[arg(long, default_value = "4s", value_name = "TIME", value_parser = parse_time)]
    pub leader_elect_lease_duration: Duration,
    /// How long a leader goes on without a renewal of its lease
    #[arg(long, default_value = "3s", value_name = "TIME", value_parser = parse_time)]
    pub leader_elect_renew_deadline: Duration,
    /// Time between two renewals of the lease
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = parse_time)]
    pub leader_elect_retry_period: Duration,
    /// Namespace of the lease; else that of the pod, or of the kubeconfig's context
    #[arg(long, value_name = "NAMESPACE")]
    pub leader_elect_resource_namespace: Option<String>,
    /// Look after one of several equal parts of all nodes, for example 0/3; needs leader election
    #[arg(long, value_name = "INDEX/COUNT")]
    pub shard: Option<Shard>,
    /// How many validators of a chain follow a new default at once; 0: all
    #[arg(long, default_value_t = Pace::VALIDATORS, value_name = "COUNT")]
    pub validator_updates_at_once: usize,
    /// How many nodes of a chain and of each other role follow a new default at once, counted by each operator; 0: all
    #[arg(long, default_value_t = Pace::OTHERS, value_name = "COUNT")]
    pub node_updates_at_once: usize,
    /// Kubeconfig, outside a cluster; else KUBECONFIG, the pod's account, the file in the home folder
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The platform's settings; overrides SEI_CONTROLLER_CONFIG
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// Where a node's sidecar is; {name} and {namespace} stand for the node's
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://{name}-0.{name}.{namespace}.svc.cluster.local:8443",
        value_parser = parse_template
    )]
    pub sidecar_url_template: String,
    /// File with the bearer token for sidecars
    #[arg(long, value_name = "FILE", default_value = TOKEN_FILE)]
    pub sidecar_token_file: PathBuf,
    /// Console logs at debug level
    #[arg(long, default_value = "false", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub zap_devel: bool,
    /// Log form
    #[arg(long, value_enum, value_name = "FORM")]
    pub zap_encoder: Option<LogFormat>,
    /// Least level that is logged: debug, info, error, panic, or a number above 0
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = parse_level)]
    pub zap_log_level: String,
    /// Accepted for compatibility: errors carry their causes, no stack traces are logged
    #[arg(long, value_name = "LEVEL", hide = true)]
    pub zap_stacktrace_level: Option<String>,
    /// Accepted for compatibility: log times are RFC 3339
    #[arg(long, value_name = "FORM", hide = true)]
    pub zap_time_encoding: Option<String>,
    /// Not supported: metrics are plain HTTP; put a proxy in front to secure them
    #[arg(long, default_value = "false", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set, hide = true)]
    pub metrics_secure: bool,
    /// Accepted for compatibility; has a meaning only with --metrics-secure
    #[arg(long, value_name = "FOLDER", hide = true)]
    pub metrics_cert_path: Option<String>,
    /// Accepted for compatibility; has a meaning only with --metrics-secure
    #[arg(long, value_name = "FILE", hide = true)]
    pub metrics_cert_name: Option<String>,
    /// Accepted for compatibility; has a meaning only with --metrics-secure
    #[arg(long, value_name = "FILE", hide = true)]
    pub metrics_cert_key: Option<String>,
    /// Accepted for compatibility: the metrics server speaks HTTP/1.1
    #[arg(long, default_value = "false", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set, hide = true)]
    pub enable_http2: bool,
}

impl RunArgs {
    /// The platform file: by flag, else by environment. A blank variable is the same as none (`platform-config.md` 1.3).
    pub fn platform_file(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from);
        self.platform
            .clone()
            .or_else(variable)
            .map(|path| trimmed(&path))
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// How leadership is timed.
    pub fn timing(&self) -> Result<Timing, SettingsError> {
        let timing = Timing {
            lease: self.leader_elect_lease_duration,
            renew: self.leader_elect_renew_deadline,
            retry: self.leader_elect_retry_period,
        };
        if timing.retry < timing.renew && timing.renew < timing.lease {
            Ok(timing)
        } else {
            Err(SettingsError::Timing)
        }
    }

    /// Log form: as asked for, else by `--zap-devel`.
    pub fn log_format(&self) -> LogFormat {
        self.zap_encoder.unwrap_or(if self.zap_devel { LogFormat::Console } else { LogFormat::Json })
    }

    /// Log level as tracing has it.
    pub fn log_level(&self) -> &str {
        if self.zap_devel { "debug" } else { &self.zap_log_level }
    }
}

/// Log form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text.
    Console,
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub Option<SocketAddr>);

/// Reads `:8080`, `127.0.0.1:8080`, `[::1]:8080`, `0`.
fn parse_address(text: &str) -> Result<Address, String> {
    if text == "0" || text.is_empty() {
        return Ok(Address(None));
    }
    let refused = || format!("{text:?} is no address: write :8080, 127.0.0.1:8080, or 0 to turn it off");
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| refused())?;
        // All interfaces, both families where the machine has IPv6.
        let ip = if std::path::Path::new("/proc/net/if_inet6").exists() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        return Ok(Address(Some(SocketAddr::new(ip, port))));
    }
    text.parse().map(|address| Address(Some(address))).map_err(|_| refused())
}

fn parse_template(text: &str) -> Result<String, String> {
    let sample = text.replace("{name}", "n").replace("{namespace}", "ns");
    let uri: http::Uri = sample.parse().map_err(|e| format!("{text:?} is no URL: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err(format!("{text:?} must begin with http://: sidecars speak plain HTTP"));
    }
    if sample.contains('{') {
        return Err(format!("{text:?} has a placeholder other than {{name}} and {{namespace}}"));
    }
    Ok(text.to_owned())
}

/// Reads `4s`, `500ms`, `1m30s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no time between 100ms and 1h: write for example 4s or 500ms");
    let time = text.parse::<SignedDuration>().map_err(|_| refused())?;
    let time = Duration::try_from(time).map_err(|_| refused())?;
    if (Duration::from_millis(100)..=Duration::from_hours(1)).contains(&time) {
        Ok(time)
    } else {
        Err(refused())
    }
}

/// Reads a level of the Go operator's flag.
fn parse_level(text: &str) -> Result<String, String> {
    match text {
        "debug" | "info" | "error" => Ok(text.to_owned()),
        "panic" => Ok("error".to_owned()),
        number => match number.parse::<u32>() {
            Ok(n) if n > 0 => Ok(if n > 1 { "trace" } else { "debug" }.to_owned()),
            _ => Err(format!("{text:?} is none of debug, info, error, panic or a number above 0")),
        },
    }
}

/// A mistake in what the operator was started with.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The platform file could not be read.
    #[error("the platform file {} can't be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The times of leader election contradict each other.
    #[error(
        "--leader-elect-retry-period must be less than --leader-elect-renew-deadline, and that less than \
         --leader-elect-lease-duration: else two operators lead at once"
    )]
    Timing,
    /// A shard without leader election.
    #[error("--shard needs leader election: leave out --leader-elect=false, or --shard")]
    ShardWithoutElection,
    /// The platform file, or the environment, lacks or misstates something.
    #[error(transparent)]
    Platform(#[from] platform::PlatformError),
}

/// Reads and checks the platform file and the gateway variables (`platform-config.md` 1.4).
pub fn load_platform(
    path: Option<&PathBuf>,
    variables: &BTreeMap<String, String>,
) -> Result<Platform, SettingsError> {
    let text = match path {
        None => String::new(),
        Some(path) => match std::fs::read_to_string(trimmed(path)) {
            Ok(text) => text,
            // A path that points at nothing is an empty configuration; the checks name the first missing key.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(SettingsError::Unreadable { path: path.clone(), source }),
        },
    };
    let named = path.map_or_else(|| CONFIG_VARIABLE.to_owned(), |p| p.display().to_string());
    let file = platform::parse(&text).map_err(|e| e.in_file(&named))?;
    Ok(file.check_start(variables).map_err(|e| e.in_file(&named))?)
}

/// A path without the blanks around it.
pub fn trimmed(path: &std::path::Path) -> PathBuf {
    PathBuf::from(path.to_string_lossy().trim())
}

/// The gateway variables of this process.
pub fn gateway_variables() -> BTreeMap<String, String> {
    platform::GATEWAY_VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// Go programs take flags with one dash too: `-leader-elect=false` is `--leader-elect=false`. With no subcommand, the
/// operator runs.
pub fn normalized(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut out: Vec<OsString> = Vec::new();
    for (i, argument) in arguments.into_iter().enumerate() {
        let text = argument.to_string_lossy();
        let single = text.strip_prefix('-').filter(|rest| !rest.starts_with('-') && rest.chars().count() > 1);
        match single {
            Some(rest) if i > 0 && rest.starts_with(char::is_alphabetic) => {
                out.push(format!("--{rest}").into());
            }
            _ => out.push(argument),
        }
    }
    let has_command = out.get(1).is_some_and(|first| {
        let first = first.to_string_lossy();
        !first.starts_with('-') || matches!(first.as_ref(), "-h" | "--help" | "-V" | "--version")
    });
    if !has_command {
        out.insert(1.min(out.len()), "run".into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn flags_of_the_go_operator_are_read_with_one_dash_or_two() {
        assert_eq!(normalized(words("op -leader-elect=false")), words("op run --leader-elect=false"));
        assert_eq!(normalized(words("op")), words("op run"));
        assert_eq!(normalized(words("op simulate -f x")), words("op simulate -f x"));
        assert_eq!(normalized(words("op --help")), words("op --help"));
    }

    #[test]
    fn addresses_read_as_the_go_operator_writes_them() {
        assert_eq!(parse_address("0"), Ok(Address(None)));
        assert_eq!(parse_address(":8080").map(|a| a.0.map(|s| s.port())), Ok(Some(8080)));
        assert_eq!(
            parse_address("127.0.0.1:1").map(|a| a.0.map(|s| s.to_string())),
            Ok(Some("127.0.0.1:1".into()))
        );
        assert!(parse_address("8080").is_err());
    }

    #[test]
    fn times_read_as_in_go() {
        assert_eq!(parse_time("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(parse_time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "4", "-4s", "0s", "2h", "1 year"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_template_knows_name_and_namespace_only() {
        assert!(parse_template("http://127.0.0.1:1/{namespace}/{name}").is_ok());
        assert!(parse_template("https://{name}").is_err());
        assert!(parse_template("http://{pod}").is_err());
    }
}
