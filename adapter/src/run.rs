//! `run`: the operator in or outside a cluster.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use seinode_core::world::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock::Clock;
use crate::live::{Live, RegistrySource};
use crate::settings::{RunArgs, gateway_variables, load_platform, trimmed};
use crate::sidecar::{Sidecars, TokenSource};
use crate::telemetry::{self, Metrics};
use crate::{controller, server};

/// Exit code of a usage or configuration error.
pub const EXIT_CONFIG: u8 = 2;

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    telemetry::init(args.log_level(), args.log_format());
    let platform = match load_platform(args.platform.as_ref(), &gateway_variables()) {
        Ok(platform) => platform,
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
    let client = client(&args).await?;
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;

    let metrics = Arc::new(Metrics::new());
    let watches = controller::watches(&client, &stop);
    let registry = args
        .platform
        .as_ref()
        .map_or_else(|| RegistrySource::Text(String::new()), |p| RegistrySource::File(trimmed(p)));
    let sidecars = Sidecars::new(
        Sidecars::http(),
        args.sidecar_url_template.clone(),
        TokenSource::File(args.sidecar_token_file.clone()),
    );
    let live = Arc::new(Live::new(
        client.clone(),
        Arc::clone(&watches.caches),
        sidecars,
        Settings { platform },
        registry,
        Clock::system(),
        Arc::clone(&metrics),
    ));
    let mut servers = tokio::task::JoinSet::new();
    if let Some(address) = args.metrics_bind_address.0 {
        servers.spawn(server::metrics(address, metrics, stop.clone()));
    }
    if let Some(address) = args.health_probe_bind_address.0 {
        servers.spawn(server::probes(address, Arc::clone(&live), stop.clone()));
    }
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    controller::report_unmanaged(&client, &live).await;

    let work = controller::run(watches, live);
    tokio::pin!(work);
    loop {
        tokio::select! {
            () = &mut work => break,
            Some(ended) = servers.join_next() => {
                // A server that can't listen is a mistake in the flags, not something to work around silently.
                ended.context("a server panicked")?.context("a server could not run")?;
            }
        }
    }
    stop.cancel();
    while let Some(ended) = servers.join_next().await {
        ended.context("a server panicked")?.context("a server could not run")?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn client(args: &RunArgs) -> anyhow::Result<Client> {
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
    Client::try_from(config).context("can't build a client")
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
