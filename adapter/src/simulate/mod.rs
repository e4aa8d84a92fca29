//! `simulate`: the same operator on a pretend cluster, with each task of the plan shown as it happens, or a script played.

mod display;
pub mod judge;
mod made_up;
pub mod pretend;
mod script;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::{NodePhase, SeiNode};
use seinode_core::ident::NodeKey;
use seinode_core::platform::{self, Platform};
use seinode_sim::store::Kind;
use serde_json::json;

use crate::live::RegistrySource;
use crate::manifest;
use crate::run::EXIT_CONFIG;
use crate::settings::{LogFormat, SettingsError, load_platform};
use crate::telemetry;
use display::Display;
use pretend::{Entry, Operator, Pretend, Setup};

/// Arguments of `simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Manifests of SeiNodes
    #[arg(required_unless_present = "script", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Play this script instead of waiting until every node is Running
    #[arg(long, value_name = "SCRIPT", long_help = script::HELP)]
    pub script: Option<PathBuf>,
    /// The platform's settings; a built-in file if absent
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// How many times faster than its own default pace the pretend cluster runs
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = parse_speed, conflicts_with = "script")]
    pub speed: f64,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS", conflicts_with = "script")]
    pub timeout: u64,
    /// Show the operator's own log lines
    #[arg(long)]
    pub verbose: bool,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && (0.01..=1000.0).contains(&speed) => Ok(speed),
        _ => Err(format!("{text:?} is no factor between 0.01 and 1000")),
    }
}

/// Pace of the pretend cluster at `--speed 1`, as a part of what it takes on real machines.
const PACE: f64 = 0.15;

/// Simulates on a runtime of its own: in real time, or for a script in a time that only the script moves.
pub fn simulate(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    if args.verbose {
        telemetry::init("info", LogFormat::Console);
    }
    let mut nodes = Vec::new();
    let play = match args.script.as_deref().map(script::read).transpose() {
        Ok(play) => play,
        Err(error) => return Ok(refuse(&error.to_string())),
    };
    let named = play.iter().flat_map(|play| &play.manifests);
    for file in args.files.iter().chain(named) {
        match manifest::nodes(file) {
            Ok(found) => nodes.extend(found),
            Err(error) => return Ok(refuse(&error.to_string())),
        }
    }
    if let Some(twice) = first_duplicate(&nodes) {
        return Ok(refuse(&format!(
            "metadata.name: node {twice} is given twice; give each node its own name"
        )));
    }
    let (platform, registry) = match settings(&args) {
        Ok(both) => both,
        Err(error) => return Ok(refuse(&error.to_string())),
    };
    if let Some(play) = play {
        // One thread and a clock that stands still while there is work: the same script plays the same way each time.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
        return match runtime.block_on(script::play(play, platform, &nodes)) {
            Ok(code) => Ok(code),
            Err(script::PlayError::Script(error)) => Ok(refuse(&error.to_string())),
            Err(script::PlayError::Output(error)) => Err(error).context("can't print"),
        };
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(watch(&args, platform, registry, &nodes))
}

/// Simulates until every node is Running or has failed.
async fn watch(
    args: &SimulateArgs,
    platform: Platform,
    registry: RegistrySource,
    nodes: &[SeiNode],
) -> anyhow::Result<ExitCode> {
    let scene = Scene::start(args, platform, registry, nodes);
    let keys: Vec<NodeKey> = nodes.iter().map(NodeKey::of).collect();
    scene.create(nodes)?;
    let verdict = scene.wait(&keys, Duration::from_secs(args.timeout)).await;
    scene.finish(&keys, verdict).await
}

fn refuse(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {text}");
    ExitCode::from(EXIT_CONFIG)
}

fn first_duplicate(nodes: &[SeiNode]) -> Option<NodeKey> {
    let mut seen = BTreeSet::new();
    nodes.iter().map(NodeKey::of).find(|key| !seen.insert(key.clone()))
}

/// The platform's settings, and the text that holds the witness registry.
fn settings(args: &SimulateArgs) -> Result<(Platform, RegistrySource), SettingsError> {
    let Some(path) = &args.platform else {
        return Ok((Platform::builtin(), RegistrySource::Text(platform::BUILTIN.to_owned())));
    };
    // The gateway variables serve no purpose here, so none are asked for.
    let gateway =
        platform::GATEWAY_VARIABLES.iter().map(|name| ((*name).to_owned(), "unused".to_owned())).collect();
    Ok((load_platform(Some(path), &gateway)?, RegistrySource::File(path.clone())))
}

/// Everything that runs.
struct Scene {
    pretend: Pretend,
    operator: Operator,
    display: Arc<Display>,
}

/// How a simulation ended.
enum Verdict {
    /// Every node is Running.
    Running,
    /// A node has failed.
    Failed,
    /// Time is up.
    TimedOut,
}

impl Scene {
    fn start(args: &SimulateArgs, platform: Platform, registry: RegistrySource, nodes: &[SeiNode]) -> Self {
        let pace = PACE / args.speed;
        let pretend = Pretend::start(Setup { pace, platform, registry, ..Setup::new(Timestamp::now()) });
        let display = Arc::new(Display::new(nodes));
        let audience = Arc::clone(&display);
        let operator = pretend.operator(Entry::new("seinode-operator", audience));
        Self { pretend, operator, display }
    }

    /// Puts the nodes and what they mention into the cluster.
    fn create(&self, nodes: &[SeiNode]) -> anyhow::Result<()> {
        for node in nodes {
            for note in self.pretend.make_up_for(node)? {
                self.display.note(&note);
            }
        }
        for node in nodes {
            let object = serde_json::to_value(node)?;
            let key = NodeKey::of(node);
            self.pretend
                .store
                .create(Kind::SeiNode, object)
                .with_context(|| format!("can't create SeiNode {key}"))?;
        }
        Ok(())
    }

    /// Waits until every node is Running, one has failed, or time is up.
    async fn wait(&self, keys: &[NodeKey], limit: Duration) -> Verdict {
        let mut changes = self.pretend.store.subscribe();
        let watch = async {
            loop {
                let nodes: Vec<SeiNode> = keys.iter().filter_map(|key| self.pretend.node(key)).collect();
                for node in &nodes {
                    self.display.stored(node);
                }
                if nodes.iter().any(|n| n.status.phase == Some(NodePhase::Failed)) {
                    return Verdict::Failed;
                }
                if nodes.len() == keys.len()
                    && nodes.iter().all(|n| n.status.phase == Some(NodePhase::Running))
                {
                    return Verdict::Running;
                }
                if changes.changed().await.is_err() {
                    return Verdict::TimedOut;
                }
            }
        };
        tokio::time::timeout(limit, watch).await.unwrap_or(Verdict::TimedOut)
    }

    /// Stops everything and prints the final statuses.
    async fn finish(self, keys: &[NodeKey], verdict: Verdict) -> anyhow::Result<ExitCode> {
        let nodes: Vec<SeiNode> = keys.iter().filter_map(|key| self.pretend.node(key)).collect();
        self.operator.stop().await;
        self.pretend.stop().await;
        self.display.end();
        let mut out = std::io::stdout();
        for node in &nodes {
            let text = json!({"node": NodeKey::of(node).to_string(), "status": node.status});
            writeln!(out, "---\n{}", serde_yaml_ng::to_string(&text)?.trim_end())?;
        }
        Ok(match verdict {
            Verdict::Running => ExitCode::SUCCESS,
            Verdict::Failed => {
                self.display.note("a node has failed: see status.plan.failedTaskDetail above");
                ExitCode::FAILURE
            }
            Verdict::TimedOut => {
                self.display.note("time is up before every node was Running: see condition Ready above");
                ExitCode::FAILURE
            }
        })
    }
}
