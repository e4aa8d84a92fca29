//! `run`: the operator in or outside a cluster.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use seinode_core::platform::Platform;
use seinode_core::world::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock::Clock;
use crate::definition::{self, Place};
use crate::leader::{Elector, Mandate, Timing};
use crate::live::{Live, Pace, RegistrySource};
use crate::settings::{RunArgs, SettingsError, gateway_variables, load_platform};
use crate::sidecar::{Sidecars, TokenSource};
use crate::telemetry::{self, Metrics, Requests};
use crate::{controller, server, unmanaged};

/// Exit code of a usage or configuration error.
pub const EXIT_CONFIG: u8 = 2;

/// How long a connection to the API server may be silent: longer than a watch that has nothing to tell.
pub const SILENCE: Duration = Duration::from_mins(5);

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "otlp")]
    let otlp = match telemetry::otlp::Otlp::from_environment() {
        Ok(otlp) => {
            let spans = otlp.as_ref().map(telemetry::otlp::Otlp::spans);
            telemetry::init_with(args.log_level(), args.log_format(), spans);
            otlp
        }
        Err(problem) => {
            telemetry::init(args.log_level(), args.log_format());
            error!(error = %anyhow::Error::new(problem), "the configuration is not complete");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    #[cfg(not(feature = "otlp"))]
    telemetry::init(args.log_level(), args.log_format());
    telemetry::log_panics();
    let (platform, timing) = match checked(&args) {
        Ok(checked) => checked,
        Err(problem) => {
            error!(%problem, "the configuration is not complete");
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    if args.metrics_secure {
        error!(
            flag = "--metrics-secure",
            "secure metrics are not supported: leave the flag out and put a proxy in front"
        );
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    let metrics = Arc::new(Metrics::new());
    let client = client(&args, &metrics).await?;
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;

    let place = place(&args, &client);
    let mandate = Arc::new(if args.leader_elect { Mandate::elected() } else { Mandate::unlimited() });
    let watches = controller::watches(&client, &stop);
    let sidecars = Sidecars::new(
        Sidecars::http(),
        args.sidecar_url_template.clone(),
        TokenSource::File(args.sidecar_token_file.clone()),
    );
    let live = Live::new(
        client.clone(),
        Arc::clone(&watches.caches),
        sidecars,
        Settings { platform, asks_ec2: cfg!(feature = "ec2") },
        args.platform_file().map_or_else(|| RegistrySource::Text(String::new()), RegistrySource::File),
        Clock::system(),
        Arc::clone(&metrics),
    );
    let pace = Pace {
        validators: args.validator_updates_at_once,
        others: args.node_updates_at_once,
        namespace: place.namespace.clone(),
    };
    let live = Arc::new(live.elected(Arc::clone(&mandate)).sharing(args.shard).paced(pace));
    info!(version = env!("CARGO_PKG_VERSION"), "starting");

    let mut servers = JoinSet::new();
    if let Some(address) = args.metrics_bind_address.0 {
        servers.spawn(server::metrics(address, Arc::clone(&metrics), stop.clone()));
    }
    if let Some(address) = args.health_probe_bind_address.0 {
        servers.spawn(server::probes(address, Arc::clone(&live), stop.clone()));
    }
    let caches = Arc::clone(&watches.caches);
    tokio::spawn(definition::report(
        client.clone(),
        caches,
        Arc::clone(&metrics),
        place.clone(),
        stop.clone(),
    ));
    tokio::spawn({
        let (client, metrics) = (client.clone(), Arc::clone(&metrics));
        async move { unmanaged::report(&client, &metrics).await }
    });
    #[cfg(feature = "otlp")]
    let pushing = otlp.map(|otlp| tokio::spawn(otlp.push(Arc::clone(&metrics), stop.clone())));
    // The lease is given back after the last effect, so its end is another one than that of the work.
    let retire = CancellationToken::new();
    let election = args.leader_elect.then(|| {
        let elector = Elector::new(client, &place.namespace, args.shard, timing, mandate, metrics);
        tokio::spawn(elector.run(retire.clone()))
    });

    let mut work = tokio::spawn(controller::run(watches, live));
    let worked = loop {
        tokio::select! {
            worked = &mut work => break worked,
            Some(ended) = servers.join_next() => {
                // A server that can't listen is a mistake in the flags, not something to work around silently.
                ended.context("a server panicked")?.context("a server could not run")?;
            }
        }
    };
    stop.cancel();
    retire.cancel();
    if let Some(election) = election {
        election.await.context("leader election panicked")?;
    }
    worked.context("the loop panicked")?;
    #[cfg(feature = "otlp")]
    if let Some(pushing) = pushing {
        pushing.await.context("the push of metrics panicked")?;
    }
    while let Some(ended) = servers.join_next().await {
        ended.context("a server panicked")?.context("a server could not run")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn checked(args: &RunArgs) -> Result<(Platform, Timing), SettingsError> {
    let timing = args.timing()?;
    if args.shard.is_some() && !args.leader_elect {
        return Err(SettingsError::ShardWithoutElection);
    }
    Ok((load_platform(args.platform_file().as_ref(), &gateway_variables())?, timing))
}

/// Where the operator itself is.
fn place(args: &RunArgs, client: &Client) -> Place {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    match &args.leader_elect_resource_namespace {
        Some(namespace) => Place { namespace: namespace.clone(), pod: None },
        None => Place { namespace: client.default_namespace().to_owned(), pod: variable("POD_NAME") },
    }
}

async fn client(args: &RunArgs, metrics: &Arc<Metrics>) -> anyhow::Result<Client> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path)
                .with_context(|| format!("can't read kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("can't use kubeconfig {}", path.display()))?
        }
        None => Config::infer()
            .await
            .context("no way to an API server: give --kubeconfig, set KUBECONFIG, or run in a pod")?,
    };
    let agent = concat!("seinode-operator/", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    config.read_timeout = Some(SILENCE);
    let builder = ClientBuilder::try_from(config).context("can't build a client")?;
    Ok(builder.with_layer(&Requests(Arc::clone(metrics))).build())
}

fn stop_on_signal(stop: &CancellationToken) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("asked to stop; ending what is under way");
        stop.cancel();
    });
    Ok(())
}
