//! `simulate`: the same operator on a pretend cluster, with each task of the plan shown as it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use seinode_core::api::{NodePhase, PlanPhase, SeiNode, TaskStatus, admission, mode};
use seinode_core::decision::Rest;
use seinode_core::ident::NodeKey;
use seinode_core::platform::{self, Platform};
use seinode_core::world::Settings;
use seinode_sim::api::ApiServer;
use seinode_sim::cluster::{Cluster, Running as RunningCluster};
use seinode_sim::error::FieldError as SimFieldError;
use seinode_sim::kubelet::{Kubelet, Options};
use seinode_sim::sidecar::{ConnectError, SidecarService};
use seinode_sim::store::{Clock as SimClock, Kind, Store, Validator};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use crate::clock::Clock;
use crate::controller;
use crate::live::{Live, RegistrySource};
use crate::manifest;
use crate::run::EXIT_CONFIG;
use crate::settings::{LogFormat, SettingsError, load_platform};
use crate::sidecar::{NotConnected, Sidecars, TokenSource, Transport};
use crate::telemetry::{self, Metrics};

/// Arguments of `simulate`.
#[derive(Args, Clone, Debug)]
pub struct SimulateArgs {
    /// Manifests of SeiNodes
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The platform's settings; a built-in file if absent
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,
    /// How many times faster than its own default pace the pretend cluster runs
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = parse_speed)]
    pub speed: f64,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
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

/// Simulates until every node is Running or has failed.
pub async fn simulate(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    if args.verbose {
        telemetry::init("info", LogFormat::Console);
    }
    let mut nodes = Vec::new();
    for file in &args.files {
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
    let scene = Scene::start(&args, platform, registry, &nodes);
    let keys: Vec<NodeKey> = nodes.iter().map(NodeKey::of).collect();
    scene.create(&nodes)?;
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
    store: Store,
    stop: CancellationToken,
    operator: tokio::task::JoinHandle<()>,
    kubelet: Kubelet,
    cluster: RunningCluster,
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
        let start = Timestamp::now();
        let sim_clock = SimClock::starting_at(start);
        let store = Store::new(sim_clock);
        store.validate_with(Kind::SeiNode, Validator::new(judge));
        let server = ApiServer::new(&store);
        let mut options = Options::new(sim_clock);
        options.timing.scale = PACE / args.speed;
        let kubelet = Kubelet::start(Client::new(server.serving("kubelet"), "default"), options);
        let cluster = Cluster::new(&store).start();

        let client = Client::new(server.serving("seinode-operator"), "default");
        let stop = CancellationToken::new();
        let watches = controller::watches(&client, &stop);
        let template = "http://{name}-0.{name}.{namespace}.svc.cluster.local:8443".to_owned();
        let sidecars = Sidecars::new(transport(kubelet.sidecars()), template, TokenSource::None);
        let display = Arc::new(Display::new(nodes));
        let audience = Arc::clone(&display);
        let live = Live::new(
            client,
            Arc::clone(&watches.caches),
            sidecars,
            Settings { platform },
            registry,
            Clock::starting_at(start),
            Arc::new(Metrics::new()),
        )
        .told_to(Box::new(move |node: &SeiNode, rest: &Rest| audience.told(node, rest)));
        let operator = tokio::spawn(controller::run(watches, Arc::new(live)));
        Self { store, stop, operator, kubelet, cluster, display }
    }

    /// Puts the nodes and what they mention into the cluster.
    fn create(&self, nodes: &[SeiNode]) -> anyhow::Result<()> {
        for node in nodes {
            for (name, data) in secrets_of(node) {
                let object = json!({
                    "apiVersion": "v1", "kind": "Secret",
                    "metadata": {"name": name, "namespace": node.namespace()}, "data": data,
                });
                if self.store.get(Kind::Secret, node.namespace(), &name).is_err() {
                    self.display.note(&format!("made up a Secret {name} for {}", NodeKey::of(node)));
                    self.store
                        .create(Kind::Secret, object)
                        .with_context(|| format!("can't create Secret {name}"))?;
                }
            }
            if let Some(claim) = mode::imported_claim_name(&node.spec) {
                self.display.note(&format!("made up a bound claim {claim} for {}", NodeKey::of(node)));
                self.create_claim(node, claim)?;
            }
        }
        for node in nodes {
            let object = serde_json::to_value(node)?;
            let key = NodeKey::of(node);
            self.store
                .create(Kind::SeiNode, object)
                .with_context(|| format!("can't create SeiNode {key}"))?;
        }
        Ok(())
    }

    /// A claim that was filled beforehand, bound to a volume large enough for any mode.
    fn create_claim(&self, node: &SeiNode, claim: &str) -> anyhow::Result<()> {
        let (namespace, volume, capacity) =
            (node.namespace(), format!("imported-{claim}"), json!({"storage": "100Ti"}));
        let pvc = self.store.create(
            Kind::PersistentVolumeClaim,
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": claim, "namespace": namespace},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": capacity}, "volumeName": volume},
            }),
        )?;
        let uid = pvc.pointer("/metadata/uid").cloned().unwrap_or(Value::Null);
        self.store.create(
            Kind::PersistentVolume,
            json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
                "spec": {
                    "capacity": capacity, "accessModes": ["ReadWriteOnce"],
                    "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim, "uid": uid},
                },
            }),
        )?;
        self.store.update_status(
            Kind::PersistentVolume,
            "",
            &volume,
            &json!({"status": {"phase": "Bound"}}),
        )?;
        let status = json!({"phase": "Bound", "capacity": capacity, "accessModes": ["ReadWriteOnce"]});
        self.store.update_status(
            Kind::PersistentVolumeClaim,
            namespace,
            claim,
            &json!({"status": status}),
        )?;
        Ok(())
    }

    fn node(&self, key: &NodeKey) -> Option<SeiNode> {
        let object = self.store.get(Kind::SeiNode, &key.namespace, &key.name).ok()?;
        serde_json::from_value(object.as_ref().clone()).ok()
    }

    /// Waits until every node is Running, one has failed, or time is up.
    async fn wait(&self, keys: &[NodeKey], limit: Duration) -> Verdict {
        let mut changes = self.store.subscribe();
        let watch = async {
            loop {
                let nodes: Vec<SeiNode> = keys.iter().filter_map(|key| self.node(key)).collect();
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
        let nodes: Vec<SeiNode> = keys.iter().filter_map(|key| self.node(key)).collect();
        self.stop.cancel();
        let _ = self.operator.await;
        self.kubelet.stop().await;
        self.cluster.stop();
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

/// The API server's judgement of a SeiNode: schema, defaults, rules.
fn judge(new: &Value, old: Option<&Value>) -> Result<Value, Vec<SimFieldError>> {
    let result = match old {
        None => admission::check(new),
        Some(old) if old.get("status") != new.get("status") => admission::check_status(old, new),
        Some(old) => admission::check_update(old, new),
    };
    result.map_err(|errors| {
        errors
            .into_iter()
            .map(|e| SimFieldError { message: e.to_string(), field: e.path, cause: "FieldValueInvalid" })
            .collect()
    })
}

/// The pretend sidecars as a transport.
fn transport(service: SidecarService) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
        let mut service = service.clone();
        async move {
            let answer = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await?.call(request).await;
            let (parts, body) = answer
                .map_err(|error| -> BoxError {
                    match error {
                        ConnectError::Refused => Box::new(NotConnected),
                        ConnectError::Closed | ConnectError::Body => Box::new(error),
                    }
                })?
                .into_parts();
            Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
        }
    }))
}

/// Made-up contents for each Secret that a node mentions, base64 as the API has it.
fn secrets_of(node: &SeiNode) -> BTreeMap<String, Value> {
    use k8s_openapi::ByteString;
    let mut out: BTreeMap<String, BTreeMap<String, ByteString>> = BTreeMap::new();
    let mut put = |secret: &str, key: &str, value: &str| {
        let data = out.entry(secret.to_owned()).or_default();
        data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    };
    let key = json!({"type": "tendermint/PrivKeyEd25519", "value": "made-up"});
    if let Some(secret) = mode::signing_key_secret(&node.spec) {
        let file = json!({"address": "MADEUP", "pub_key": key, "priv_key": key});
        put(secret, "priv_validator_key.json", &file.to_string());
    }
    if let Some(secret) = mode::node_key_secret(&node.spec) {
        put(secret, "node_key.json", &json!({"priv_key": key}).to_string());
    }
    if let Some(keyring) = mode::operator_keyring(&node.spec) {
        let name = keyring.key_name.clone().unwrap_or_else(|| "node_admin".to_owned());
        put(&keyring.secret_name, &format!("{name}.info"), "made-up");
        put(&keyring.secret_name, "00aa.address", "made-up");
        put(&keyring.passphrase_secret_ref.secret_name, &keyring.passphrase_secret_ref.key, "made-up");
    }
    out.into_iter().map(|(name, data)| (name, json!(data))).collect()
}

/// Shows progress: bars on a terminal, lines elsewhere; always on stderr.
struct Display {
    bars: Option<indicatif::MultiProgress>,
    nodes: Mutex<BTreeMap<NodeKey, Shown>>,
    many: bool,
    start: tokio::time::Instant,
}

/// What was shown of a node.
struct Shown {
    bar: Option<indicatif::ProgressBar>,
    plan: String,
    done: usize,
    phase: Option<NodePhase>,
    waiting: String,
}

impl Display {
    fn new(nodes: &[SeiNode]) -> Self {
        let bars = std::io::stderr().is_terminal().then(indicatif::MultiProgress::new);
        let shown = nodes.iter().map(|node| {
            let key = NodeKey::of(node);
            let bar = bars.as_ref().map(|bars| {
                let bar = bars.add(indicatif::ProgressBar::new(1));
                if let Ok(style) =
                    indicatif::ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len} {wide_msg}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(key.to_string());
                bar
            });
            (key, Shown { bar, plan: String::new(), done: 0, phase: None, waiting: String::new() })
        });
        let nodes_shown = shown.collect();
        Self {
            bars,
            nodes: Mutex::new(nodes_shown),
            many: nodes.len() > 1,
            start: tokio::time::Instant::now(),
        }
    }

    fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    fn line(&self, key: &NodeKey, text: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        let who = if self.many { format!("{key}: ") } else { String::new() };
        self.note(&format!("[{seconds:6.2} s] {who}{text}"));
    }

    /// How far the plan is, before it is stored.
    fn told(&self, node: &SeiNode, rest: &Rest) {
        let key = NodeKey::of(node);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = nodes.get_mut(&key) else { return };
        if let (Some(plan), Some(place)) = (&node.status.plan, &rest.place)
            && plan.id == place.plan
        {
            let types: Vec<String> = plan.tasks.iter().map(|t| t.task_type.to_string()).collect();
            self.advance(&key, shown, &plan.id, &types, place.done);
        }
        let waiting = rest.why.first().map(ToString::to_string).unwrap_or_default();
        if let Some(bar) = &shown.bar {
            bar.set_message(waiting.clone());
        }
        shown.waiting = waiting;
    }

    fn advance(&self, key: &NodeKey, shown: &mut Shown, plan: &str, types: &[String], done: usize) {
        if shown.plan != plan {
            plan.clone_into(&mut shown.plan);
            shown.done = 0;
            if let Some(bar) = &shown.bar {
                bar.set_length(types.len() as u64);
                bar.set_position(0);
            }
            self.line(key, &format!("plan of {} tasks: {}", types.len(), types.join(", ")));
        }
        for (i, task) in types.iter().enumerate().take(done).skip(shown.done) {
            self.line(key, &format!("{:2}/{} {task}", i + 1, types.len()));
            if let Some(bar) = &shown.bar {
                bar.inc(1);
            }
        }
        shown.done = shown.done.max(done);
    }

    /// What the stored status shows.
    fn stored(&self, node: &SeiNode) {
        let key = NodeKey::of(node);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = nodes.get_mut(&key) else { return };
        if let Some(plan) = &node.status.plan {
            let types: Vec<String> = plan.tasks.iter().map(|t| t.task_type.to_string()).collect();
            let done = plan.tasks.iter().take_while(|t| t.status == TaskStatus::Complete).count();
            self.advance(&key, shown, &plan.id, &types, done);
            if plan.phase == PlanPhase::Failed
                && let Some(detail) = &plan.failed_task_detail
                && shown.phase != node.status.phase
            {
                self.line(&key, &format!("task {} failed: {}", detail.task_type, detail.error));
            }
        }
        if shown.phase != node.status.phase {
            shown.phase.clone_from(&node.status.phase);
            if let Some(phase) = &node.status.phase {
                self.line(&key, &format!("phase {phase}"));
            }
        }
    }

    fn end(&self) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in nodes.values().filter_map(|s| s.bar.as_ref()) {
            bar.finish_and_clear();
        }
    }
}
