//! What a fleet costs: the operator as a process of its own, against the real control plane or a pretend one, measured from
//! outside.
//!
//! Nothing here asserts a time. Requests and writes are exact; times hold for the machine that they were taken on.

mod process;
mod site;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use serde_json::json;

use crate::live::LiveError;
pub use process::Usage;
use site::Site;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes.
    pub nodes: usize,
    /// How many namespaces they are spread over.
    pub namespaces: usize,
    /// Against the pretend control plane, which carries more nodes than a small machine's real one.
    pub is_pretend: bool,
    /// How slow pods and sidecars are compared with real ones.
    pub scale: f64,
    /// How long the fleet is watched at rest.
    pub idle: Duration,
    /// Give up on the start after this time.
    pub limit: Duration,
}

/// The namespace of a node.
fn space_of(number: usize, options: &Options) -> String {
    format!("load-{}", number % options.namespaces.max(1))
}

/// How many creations are under way at once.
const AT_ONCE: usize = 16;

/// Requests by verb and resource.
pub type Counts = BTreeMap<(String, String), u64>;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    options: Options,
    until_running: Vec<Duration>,
    whole: Duration,
    start: (Counts, Usage),
    /// What else ran meanwhile, and its CPU.
    others: BTreeMap<String, Usage>,
    idle: (Counts, Usage),
    restart: (Counts, Usage),
    sidecar_calls: u64,
}

/// Starts a fleet and measures. `program` is the operator.
pub async fn measure(program: &Path, options: &Options) -> Result<Report, LiveError> {
    let site = Site::set(program, options).await?;
    for number in 0..options.namespaces.max(1) {
        site.namespace(&space_of(number, options)).await?;
    }
    let operator = site.operator("load")?;
    let (before, busy) = (site.requests()?, site.others()?);
    let begun = Instant::now();
    let client = site.client();
    let wait = tokio::time::timeout(options.limit, all_ready(Api::all(client.clone()), options.nodes));
    let (created, times) = tokio::join!(create(&client, options), wait);
    let created = created?;
    let times = times.map_err(|_| LiveError::Load("not every node was Ready in time".to_owned()))??;
    let whole = begun.elapsed();
    // Before the requests are read: that alone takes this program a while.
    let mut others = site.others()?;
    let start = (since(&before, &site.requests()?), operator.usage()?);
    for (name, used) in &mut others {
        *used = used.since(&busy.get(name).copied().unwrap_or_default());
    }

    let (before, used) = (site.requests()?, operator.usage()?);
    tokio::time::sleep(options.idle).await;
    let idle = (since(&before, &site.requests()?), operator.usage()?.since(&used));

    operator.stop()?;
    let before = site.requests()?;
    let again = site.operator("again")?;
    tokio::time::sleep(options.idle).await;
    let restart = (since(&before, &site.requests()?), again.usage()?);
    again.stop()?;

    let sidecar_calls = site.sidecar_calls();
    let mut until_running: Vec<_> = times
        .iter()
        .filter_map(|(name, at)| Some(at.saturating_duration_since(*created.get(name)?)))
        .collect();
    until_running.sort();
    site.end().await;
    Ok(Report { options: options.clone(), until_running, whole, start, others, idle, restart, sidecar_calls })
}

/// Creates the fleet; says when each was asked for.
async fn create(client: &Client, options: &Options) -> Result<BTreeMap<String, Instant>, LiveError> {
    futures::stream::iter(0..options.nodes)
        .map(|number| async move {
            let name = format!("node-{number:05}");
            let witnesses = ["a.example.net:26657", "b.example.net:26657"];
            let node: SeiNode = serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {
                    "chainId": "load-1", "image": "registry.example.net/seid:1",
                    "fullNode": {"snapshot": {"stateSync": {}, "rpcServers": witnesses}},
                },
            }))
            .map_err(|error| LiveError::Load(error.to_string()))?;
            let asked = Instant::now();
            let nodes: Api<SeiNode> = Api::namespaced(client.clone(), &space_of(number, options));
            nodes
                .create(&PostParams::default(), &node)
                .await
                .map_err(|error| LiveError::Load(error.to_string()))?;
            Ok((name, asked))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Waits until every node is Ready; says when each became Running.
async fn all_ready(nodes: Api<SeiNode>, count: usize) -> Result<BTreeMap<String, Instant>, LiveError> {
    let stream = watcher(nodes, watcher::Config::default()).default_backoff().applied_objects();
    let mut stream = std::pin::pin!(stream);
    let (mut running, mut ready) = (BTreeMap::new(), std::collections::BTreeSet::new());
    while ready.len() < count {
        let Some(event) = stream.next().await else {
            return Err(LiveError::Load("the watch has ended".to_owned()));
        };
        let Ok(node) = event else { continue };
        if node.status.phase == Some(NodePhase::Running) {
            running.entry(node.name().to_owned()).or_insert_with(Instant::now);
        }
        let is_ready = condition::find(&node.status.conditions, &ConditionType::Ready)
            .is_some_and(|c| c.status == ConditionStatus::True);
        if is_ready {
            ready.insert(node.name().to_owned());
        }
    }
    Ok(running)
}

fn since(before: &Counts, after: &Counts) -> Counts {
    after
        .iter()
        .map(|(key, n)| (key.clone(), n - before.get(key).copied().unwrap_or_default()))
        .filter(|(_, n)| *n > 0)
        .collect()
}

fn is_write(verb: &str) -> bool {
    !matches!(verb, "get" | "list" | "watch")
}

fn writes(counts: &Counts) -> u64 {
    counts.iter().filter(|((verb, resource), _)| is_write(verb) && is_ours(resource)).map(|(_, n)| n).sum()
}

/// Events and leases are not counted among the writes for nodes; they are shown.
fn is_ours(resource: &str) -> bool {
    !matches!(resource, "events" | "leases")
}

impl Report {
    /// The report as Markdown tables.
    #[must_use]
    pub fn table(&self) -> String {
        let Self { options, until_running, whole, start, others, idle, restart, sidecar_calls } = self;
        let at = |share: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let index = (until_running.len().saturating_sub(1) as f64 * share) as usize;
            until_running.get(index).copied().unwrap_or_default().as_secs_f64()
        };
        #[allow(clippy::cast_precision_loss)]
        let per_node = |n: f64| n / options.nodes.max(1) as f64;
        #[allow(clippy::cast_precision_loss)]
        let each = |n: u64| per_node(n as f64);
        let plane = if options.is_pretend { "pretend" } else { "real" };
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "| {name} | {value} |");
        };
        row("measured", "value".to_owned());
        row("---", "---:".to_owned());
        row("control plane", plane.to_owned());
        row("nodes", options.nodes.to_string());
        row("namespaces", options.namespaces.to_string());
        row("pace of pods and sidecars", format!("{} of a real one", options.scale));
        row("from creation to Running, p50 / p99", format!("{:.2} s / {:.2} s", at(0.5), at(0.99)));
        row("until all are Ready", format!("{:.1} s", whole.as_secs_f64()));
        row("API writes per start, events aside", format!("{:.2}", each(writes(&start.0))));
        row("API requests per start, all", format!("{:.2}", each(start.0.values().sum())));
        row("sidecar calls per start", format!("{:.2}", each(*sidecar_calls)));
        let cpu = |usage: &Usage| format!("{:.1} ms", per_node(usage.cpu.as_secs_f64() * 1000.0));
        row("CPU per start", cpu(&start.1));
        for (name, usage) in others {
            row(&format!("CPU per start of {name}"), cpu(usage));
        }
        row("peak memory", format!("{:.1} MiB", start.1.peak_mib()));
        row("memory at rest", format!("{:.1} MiB", idle.1.resident_mib()));
        let seconds = options.idle.as_secs();
        row(&format!("API requests in {seconds} s of rest"), idle.0.values().sum::<u64>().to_string());
        row(&format!("CPU in {seconds} s of rest"), format!("{:.0} ms", idle.1.cpu.as_secs_f64() * 1000.0));
        row("memory after a restart", format!("{:.1} MiB", restart.1.resident_mib()));
        row("API writes after a restart, events aside", writes(&restart.0).to_string());
        let _ = writeln!(out, "\n| request while starting | per node |\n|---|---:|");
        for ((verb, resource), n) in &start.0 {
            let _ = writeln!(out, "| {verb} {resource} | {:.2} |", each(*n));
        }
        out
    }

    /// API writes per start, events aside.
    #[must_use]
    pub fn writes_of_start(&self) -> u64 {
        writes(&self.start.0)
    }

    /// API writes at rest and after a restart, events aside.
    #[must_use]
    pub fn writes_of_rest(&self) -> u64 {
        writes(&self.idle.0) + writes(&self.restart.0)
    }
}
