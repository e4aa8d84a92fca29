//! Nodes on the real control plane whose operators are killed, whose API server and etcd go away, and who still end as
//! they are wanted.
//!
//! Answers: does anything go wrong for good when everything goes wrong for a while? Refuses to know: how operators work;
//! it looks at the audit log, the journals of the sidecars, the chronicle of the kubelet and the objects. Upholds: the
//! order of events comes from the seed alone; every wait ends; the control plane is its own and ends with the run.

mod check;
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode};
use seinode_core::plan::lint;
use serde_json::json;

use self::check::{Repeated, Times};
use self::script::{Event, Script, Wish, image_name, name};
use super::{Options, Row};
use crate::live::{Component, ControlPlane, LiveError, wait_until};
use crate::stage::{Operator, Stage};

pub use self::script::Size;

/// The whole campaign.
pub const WHOLE: Size = Size { nodes: 20, kills: 60, outages: 3, changes: 5 };

/// How slow the pretend nodes are compared with real ones.
const SCALE: f64 = 0.02;

/// The one namespace.
const SPACE: &str = "chaos";

/// The operators' caches and the controller manager take up to a minute to come back, and back-offs as long.
const SETTLED: Duration = Duration::from_mins(6);

/// For a server that has just come back.
const PATIENCE: Duration = Duration::from_mins(2);

/// The campaign, by the size that belongs to the share.
pub fn run(options: &Options) -> Result<Vec<Row>, String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a small count"
    )]
    let part = |count: usize| ((count as f64) * options.share).ceil() as usize;
    let size = Size {
        nodes: part(WHOLE.nodes),
        kills: part(WHOLE.kills),
        outages: part(WHOLE.outages),
        changes: WHOLE.changes,
    };
    let program = operator_beside_this_program()?;
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("cannot start a runtime: {error}"))?;
    runtime.block_on(play(&program, options.seed, size, options.limit)).map(|row| vec![row])
}

fn operator_beside_this_program() -> Result<PathBuf, String> {
    let this =
        std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let operator = this.with_file_name("operator");
    if operator.is_file() {
        return Ok(operator);
    }
    Err(format!("there is no {}; build it with `cargo build -p seinode-tests --bins`", operator.display()))
}

/// Plays the script of a seed with this operator, and looks at what it left.
pub async fn play(program: &Path, seed: u64, size: Size, limit: Duration) -> Result<Row, String> {
    let script = script::write(seed, size);
    let play = Play::begin(program).await.map_err(told)?;
    // From here on: the first run on a machine builds the control plane, which takes minutes.
    let start = Instant::now();
    let played = play.all(&script, start + limit).await?;
    let Played { wrong, counts } = played;
    let failure = (!wrong.is_empty()).then(|| format!("seed {seed}, {size:?}:\n{}", wrong.join("\n")));
    Ok(Row { name: "chaos".to_owned(), counts, took: start.elapsed(), failure })
}

fn told(error: LiveError) -> String {
    format!("{error:?}")
}

/// A run under way.
struct Play {
    stage: Stage,
    operators: BTreeMap<usize, Operator>,
    outages: u64,
    times: Times,
    foreign: Vec<(String, Option<String>, Option<String>)>,
}

/// What a run came to.
struct Played {
    wrong: Vec<String>,
    counts: Vec<(&'static str, u64)>,
}

impl Play {
    async fn begin(program: &Path) -> Result<Self, LiveError> {
        let stage = Stage::on(Arc::new(ControlPlane::start().await?), program, SCALE).await?;
        stage.namespace(SPACE).await?;
        let mut play = Self {
            stage,
            operators: BTreeMap::new(),
            outages: 0,
            times: Times::default(),
            foreign: Vec::new(),
        };
        play.make_foreign().await.map_err(|source| LiveError::Kube {
            what: "make objects of somebody else".to_owned(),
            source: Box::new(source),
        })?;
        play.foreign = play.look_at_foreign().await.map_err(|source| LiveError::Kube {
            what: "look at objects of somebody else".to_owned(),
            source: Box::new(source),
        })?;
        play.start(0).map_err(|source| LiveError::Io { what: "start the operator".to_owned(), source })?;
        Ok(play)
    }

    async fn all(mut self, script: &Script, end: Instant) -> Result<Played, String> {
        for (index, (pause, event)) in script.events.iter().enumerate() {
            if Instant::now() > end {
                return Err(format!("the limit was over after {index} of {} events", script.events.len()));
            }
            tokio::time::sleep(*pause).await;
            self.happen(event).await.map_err(|error| format!("event {index}, {event:?}: {error}"))?;
        }
        let settled = Instant::now();
        let mut wrong = self.await_end(script).await;
        let took = settled.elapsed();
        wrong.extend(self.look_back(script).await?);
        let mut counts = self.counts(script)?;
        counts.push(("events", script.events.len() as u64));
        counts.push(("s to settle", took.as_secs()));
        drop(self.operators);
        self.stage.kubelet.stop().await;
        Ok(Played { wrong, counts })
    }

    async fn happen(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Create(node, image) => self.create(*node, *image).await,
            Event::Image(node, image) => self.patch(*node, &json!({ "image": image_name(*image) })).await,
            Event::Pause(node, paused) => self.patch(*node, &json!({ "paused": paused })).await,
            Event::Delete(node) => self.delete(*node).await,
            // There may be no pod to drain just now.
            Event::Evict(node) => {
                let _ = self.stage.kubelet.evict(SPACE, &format!("{}-0", name(*node))).await;
                Ok(())
            }
            Event::RestartSidecar(node) => {
                self.stage.kubelet.restart_sidecar(SPACE, &format!("{}-0", name(*node)));
                Ok(())
            }
            Event::Kill(operator, down) => self.kill(*operator, *down).await,
            Event::StartSecond => {
                self.times.double = Some((Timestamp::now(), Timestamp::MAX));
                self.start(1).map_err(|error| error.to_string())
            }
            Event::StopSecond => {
                self.operators.remove(&1);
                if let Some((_, end)) = &mut self.times.double {
                    *end = Timestamp::now();
                }
                Ok(())
            }
            Event::Outage(component, kills) => self.outage(*component, kills).await,
        }
    }

    fn start(&mut self, operator: usize) -> std::io::Result<()> {
        let started = self.stage.operator(&format!("operator-{operator}")).map_err(std::io::Error::other)?;
        self.operators.insert(operator, started);
        Ok(())
    }

    async fn kill(&mut self, operator: usize, down: Duration) -> Result<(), String> {
        if let Some(running) = self.operators.remove(&operator) {
            running.kill().map_err(|error| format!("cannot kill the operator: {error}"))?;
            self.times.kills.push(Timestamp::now());
        }
        tokio::time::sleep(down).await;
        self.start(operator).map_err(|error| error.to_string())
    }

    /// etcd crashes, the API server is asked to end: so its audit log has no half line in its middle.
    async fn outage(&mut self, component: Component, kills: &[Duration]) -> Result<(), String> {
        self.outages += 1;
        let shared = || "the control plane is shared, and can't be stopped".to_owned();
        let plane = Arc::get_mut(&mut self.stage.plane).ok_or_else(shared)?;
        let stopped = match component {
            Component::Etcd => plane.kill(component).await,
            Component::ApiServer | Component::ControllerManager => plane.stop(component).await,
        };
        stopped.map_err(told)?;
        for pause in kills {
            tokio::time::sleep(*pause).await;
            self.kill(0, Duration::ZERO).await?;
        }
        let plane = Arc::get_mut(&mut self.stage.plane).ok_or_else(shared)?;
        plane.resume(component).await.map_err(told)?;
        // After ten seconds of outage it takes its watches up only a minute later, which would only be waited for.
        plane.stop(Component::ControllerManager).await.map_err(told)?;
        plane.resume(Component::ControllerManager).await.map_err(told)
    }

    async fn create(&self, node: usize, image: u32) -> Result<(), String> {
        let manifest = script::manifest(node, image);
        // The one before may still be on its way out.
        let what = format!("{} to be made", name(node));
        wait_until(&what, PATIENCE, async || self.stage.create(SPACE, &manifest).await.map(drop))
            .await
            .map_err(told)
    }

    async fn patch(&self, node: usize, spec: &serde_json::Value) -> Result<(), String> {
        let nodes = self.stage.nodes(SPACE);
        let patch = Patch::Merge(json!({ "spec": spec }));
        let name = name(node);
        let what = format!("{name} to be changed");
        wait_until(&what, PATIENCE, async || {
            nodes.patch(&name, &PatchParams::default(), &patch).await.map(drop)
        })
        .await
        .map_err(told)
    }

    async fn delete(&self, node: usize) -> Result<(), String> {
        let nodes = self.stage.nodes(SPACE);
        let name = name(node);
        let what = format!("{name} to be deleted");
        wait_until(&what, PATIENCE, async || nodes.delete(&name, &DeleteParams::background()).await.map(drop))
            .await
            .map_err(told)
    }

    /// Waits until every node is as wanted; answers what is not.
    async fn await_end(&self, script: &Script) -> Vec<String> {
        let end = Instant::now() + SETTLED;
        let mut wrong = Vec::new();
        let every = script.events.iter().filter_map(|(_, event)| match event {
            Event::Create(node, _) => Some(*node),
            _ => None,
        });
        let every: std::collections::BTreeSet<usize> = every.collect();
        for node in every {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(1));
            let name = name(node);
            let what = format!("{name} to be {:?}", script.wishes.get(&node));
            let done = match script.wishes.get(&node) {
                Some(wish) => wait_until(&what, left, async || self.is_as_wanted(&name, *wish).await).await,
                None => wait_until(&what, left, async || self.is_gone(&name).await).await,
            };
            wrong.extend(done.err().map(told));
        }
        wrong
    }

    async fn is_as_wanted(&self, name: &str, wish: Wish) -> Result<(), String> {
        let node = self.stage.nodes(SPACE).get(name).await.map_err(|error| error.to_string())?;
        let pods = Api::<Pod>::namespaced(self.stage.plane.client(), SPACE);
        let pod = pods.get_opt(&format!("{name}-0")).await.map_err(|error| error.to_string())?;
        let shown = || serde_json::to_string(&node.status).unwrap_or_default();
        let holds = |kind: &ConditionType, status: &ConditionStatus| {
            condition::find(&node.status.conditions, kind)
                .is_some_and(|c| c.status == *status && c.observed_generation == Some(node.generation()))
        };
        if wish.paused {
            let is_paused = holds(&ConditionType::Paused, &ConditionStatus::True);
            return if is_paused && pod.is_none() { Ok(()) } else { Err(shown()) };
        }
        let image = image_name(wish.image);
        let runs = pod.and_then(|pod| pod.spec).is_some_and(|spec| {
            spec.containers.iter().any(|c| c.name == "seid" && c.image.as_deref() == Some(image.as_str()))
        });
        let is_running = node.status.phase == Some(NodePhase::Running)
            && node.status.current_image.as_deref() == Some(image.as_str())
            && holds(&ConditionType::Ready, &ConditionStatus::True);
        if is_running && runs { Ok(()) } else { Err(shown()) }
    }

    /// The node, its claim, its pod and its Service are no more.
    async fn is_gone(&self, name: &str) -> Result<(), String> {
        let client = self.stage.plane.client();
        let node = self.stage.nodes(SPACE).get_opt(name).await;
        let claim = Api::<PersistentVolumeClaim>::namespaced(client.clone(), SPACE)
            .get_opt(&format!("data-{name}"))
            .await;
        let pod = Api::<Pod>::namespaced(client.clone(), SPACE).get_opt(&format!("{name}-0")).await;
        let service = Api::<Service>::namespaced(client, SPACE).get_opt(name).await;
        match (node, claim, pod, service) {
            (Ok(None), Ok(None), Ok(None), Ok(None)) => Ok(()),
            (node, claim, pod, service) => Err(format!(
                "node {:?} claim {:?} pod {:?} service {:?}",
                node.map(|node| node.map(|node| node.status)),
                claim.map(|one| one.map(|one| one.metadata)),
                pod.map(|one| one.map(|one| one.metadata)),
                service.map(|one| one.map(|one| one.metadata)),
            )),
        }
    }

    /// What the logs say about the whole run.
    async fn look_back(&self, script: &Script) -> Result<Vec<String>, String> {
        let log = check::of_operators(self.stage.plane.audit().map_err(told)?);
        let names = names(script);
        let kubelet = &self.stage.kubelet;
        let mut wrong = check::deleted_twice(&log, &kubelet.pods());
        wrong.extend(check::foreign(&log, SPACE, &names));
        let repeated = self.repeated(&names);
        if repeated.alone > 0 {
            wrong.push(format!("tasks were submitted twice by one operator: {repeated:?}"));
        }
        for name in &names {
            wrong.extend(check::pressed(name, &kubelet.director(SPACE, name).journal()));
            wrong.extend(check::started_twice(name, &kubelet.director(SPACE, name).journal()));
        }
        wrong.extend(
            kubelet.violations().iter().map(|violation| format!("two pods on a claim: {violation:?}")),
        );
        let foreign = self.look_at_foreign().await.map_err(|error| error.to_string())?;
        if foreign != self.foreign {
            wrong.push(format!("objects of somebody else were {:?} and are {foreign:?}", self.foreign));
        }
        for node in
            self.stage.nodes(SPACE).list(&ListParams::default()).await.map_err(|e| e.to_string())?.items
        {
            wrong.extend(findings(&node));
        }
        for operator in 0..2 {
            let log = self.stage.log(&format!("operator-{operator}"));
            let panics = log.lines().filter(|line| line.contains("panicked"));
            wrong.extend(panics.map(|line| format!("operator {operator}: {line}")));
        }
        Ok(wrong)
    }

    fn repeated(&self, names: &[String]) -> Repeated {
        let mut repeated = Repeated::default();
        for name in names {
            repeated.add(&self.stage.kubelet.director(SPACE, name).journal(), &self.times);
        }
        repeated
    }

    fn counts(&self, script: &Script) -> Result<Vec<(&'static str, u64)>, String> {
        let log = check::of_operators(self.stage.plane.audit().map_err(told)?);
        let journals: Vec<_> =
            names(script).iter().map(|name| self.stage.kubelet.director(SPACE, name).journal()).collect();
        let repeated = self.repeated(&names(script));
        let started =
            journals.iter().flatten().filter(|e| e.event == seinode_sim::sidecar::Event::Started).count();
        let deletions =
            log.iter().filter(|e| e.verb == "delete" && e.resource == "pods" && e.is_granted()).count();
        Ok(vec![
            ("nodes", names(script).len() as u64),
            ("kills", self.times.kills.len() as u64),
            ("outages", self.outages),
            ("pods", self.stage.kubelet.pods().len() as u64),
            ("operator writes", log.iter().filter(|e| e.is_write()).count() as u64),
            ("pod deletions", deletions as u64),
            ("task runs", started as u64),
            ("repeats, two operators", repeated.beside_another),
            ("repeats, kill", repeated.after_a_kill),
        ])
    }

    /// Objects beside the nodes, which no operator has any business with.
    async fn make_foreign(&self) -> Result<(), kube::Error> {
        let client = self.stage.plane.client();
        let how = PostParams::default();
        let map = object(json!({ "metadata": { "name": "foreign" }, "data": { "x": "1" } }))?;
        Api::<ConfigMap>::namespaced(client.clone(), SPACE).create(&how, &map).await?;
        let secret = object(json!({ "metadata": { "name": "n1-secret" }, "stringData": { "x": "1" } }))?;
        Api::<Secret>::namespaced(client.clone(), SPACE).create(&how, &secret).await?;
        let spec = json!({ "clusterIP": "None", "ports": [{ "port": 80 }], "selector": { "a": "1" } });
        let service = object(json!({ "metadata": { "name": "foreign" }, "spec": spec }))?;
        Api::<Service>::namespaced(client, SPACE).create(&how, &service).await?;
        Ok(())
    }

    async fn look_at_foreign(&self) -> Result<Vec<(String, Option<String>, Option<String>)>, kube::Error> {
        let client = self.stage.plane.client();
        let map = Api::<ConfigMap>::namespaced(client.clone(), SPACE).get("foreign").await?.metadata;
        let secret = Api::<Secret>::namespaced(client.clone(), SPACE).get("n1-secret").await?.metadata;
        let service = Api::<Service>::namespaced(client, SPACE).get("foreign").await?.metadata;
        let all = [("ConfigMap", map), ("Secret", secret), ("Service", service)];
        Ok(all.into_iter().map(|(kind, meta)| (kind.to_owned(), meta.uid, meta.resource_version)).collect())
    }
}

fn object<K: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<K, kube::Error> {
    serde_json::from_value(value).map_err(kube::Error::SerdeError)
}

/// What the linter finds in the status of a node.
fn findings(node: &SeiNode) -> Vec<String> {
    let findings = lint::status(&node.status).into_iter().chain(lint::derived_ids(&node.status));
    findings.map(|finding| format!("{}: {finding:?}", node.name())).collect()
}

/// The name of every node that there ever was.
fn names(script: &Script) -> Vec<String> {
    let mut names: Vec<String> = script
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Create(node, _) => Some(name(*node)),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}
