//! One life with one fault, and what came of it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use seinode_core::api::condition;
use seinode_core::api::{ConditionStatus, ConditionType, SeiNode, mode};
use seinode_core::ident::NodeKey;
use seinode_core::platform;
use seinode_operator::live::RegistrySource;
use seinode_operator::simulate::pretend::{Entry, Operator, Pretend, Setup};
use seinode_sim::error::StoreError;
use seinode_sim::sidecar::Event;
use seinode_sim::store::{DeleteOptions, Kind, Propagation};
use serde_json::{Value, json};

use super::end;
use super::fault::{Fault, FaultKind, Place};
use super::layer::{Amnesiac, FIRST, MOST_CALLS, Mischief, SECOND};
use super::life::{Act, Goal, Life, PAUSE, Turn, failure};

/// What a play came to.
#[derive(Debug, Default)]
pub(super) struct Played {
    /// The final state, without what differs from run to run.
    pub(super) end: Value,
    /// Deeds that must not be done twice, counted.
    pub(super) deeds: BTreeMap<String, usize>,
    /// The calls that were made.
    pub(super) places: Vec<Place>,
    /// The watch events that came.
    pub(super) events: usize,
    /// Whether the fault came about.
    pub(super) has_happened: bool,
    /// Whether it ended early, with a plan that has failed and says why.
    pub(super) has_failed: bool,
    /// What is wrong whatever the fault was.
    pub(super) wrong: Vec<String>,
}

/// For how many turns of the runtime watches are ended: enough for each to notice.
const CUT_TURNS: usize = 1000;

/// Runs that fail until a task heals: more than any fault makes of one.
const MANY: usize = 10;

/// After this time in one act something is stuck.
const PATIENCE: Duration = Duration::from_hours(6);
/// Within this time after the last act everything has settled.
const SETTLED: Duration = Duration::from_mins(30);
/// From then on nothing may be written for this long.
const QUIET: Duration = Duration::from_hours(1);
/// A killed operator is started again after this time.
const RESTART: Duration = Duration::from_secs(3);
/// A watch that left something out lists again after this time.
const RELIST: Duration = Duration::from_mins(1);

/// Plays a life with a fault on a runtime of its own.
pub(super) fn play(life: &Life, fault: Option<Fault>) -> Result<Played, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.map_err(|error| error.to_string())?.block_on(Stage::play(life, fault))
}

struct Stage {
    pretend: Arc<Pretend>,
    mischief: Arc<Mischief>,
    registry: Arc<Mutex<Result<String, String>>>,
    nodes: Vec<Cast>,
}

/// A node of the life.
struct Cast {
    manifest: Value,
    key: NodeKey,
    claim: String,
}

impl Stage {
    async fn play(life: &Life, fault: Option<Fault>) -> Result<Played, String> {
        let mischief = Arc::new(Mischief::new(fault));
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().map_err(|error| format!("{error}"))?;
        let registry = Arc::new(Mutex::new(Ok(platform::BUILTIN.to_owned())));
        let setup = Setup {
            faults: Arc::clone(&mischief) as _,
            registry: RegistrySource::Shared(Arc::clone(&registry)),
            ..Setup::new(start)
        };
        let pretend = Arc::new(Pretend::start(setup));
        mischief.judge.look_into(&pretend.store);
        let mut nodes = Vec::new();
        for manifest in (life.nodes)() {
            let node: SeiNode =
                serde_json::from_value(manifest.clone()).map_err(|error| error.to_string())?;
            pretend.make_up_for(&node).map_err(|error| format!("{error:#}"))?;
            let claim = mode::data_claim_name(node.name(), &node.spec);
            nodes.push(Cast { manifest, key: NodeKey::of(&node), claim });
        }
        let stage = Self { pretend, mischief, registry, nodes };
        let mut played = Played::default();
        {
            let mut first = stage.operator(FIRST);
            let mut second: Option<Operator> = None;
            let story = stage.tell(life, fault);
            tokio::pin!(story);
            let told = loop {
                tokio::select! {
                    biased;
                    told = &mut story => break told,
                    () = stage.mischief.crash.notified() => {
                        first.kill().await;
                        tokio::time::sleep(RESTART).await;
                        first = stage.operator(FIRST);
                    }
                    () = stage.mischief.storm.notified() => {
                        break Err(format!("it comes to no rest: more than {MOST_CALLS} calls"));
                    }
                    () = stage.mischief.second.notified() => second = Some(stage.operator(SECOND)),
                    () = stage.mischief.relist.notified() => stage.relist().await,
                }
            };
            match told {
                Ok(has_failed) => played.has_failed = has_failed,
                Err(stuck) => played.wrong.push(stuck),
            }
            first.kill().await;
            if let Some(second) = second {
                second.kill().await;
            }
        }
        stage.sum_up(&mut played, fault);
        Ok(played)
    }

    fn operator(&self, name: &str) -> Operator {
        let dead = Arc::new(AtomicBool::new(false));
        let (for_api, for_sidecars) = (Arc::clone(&self.mischief), Arc::clone(&self.mischief));
        let claims = self.nodes.iter().map(|node| node.claim.clone()).collect();
        let forgets = Amnesiac { pretend: Arc::clone(&self.pretend), claims };
        let (also, who) = (Arc::clone(&dead), name.to_owned());
        self.pretend.operator(Entry {
            skew: Arc::clone(&self.mischief.skew),
            connect: Box::new(move |server| for_api.client(server, dead)),
            sidecars: Box::new(move |inner| for_sidecars.transport(inner, &who, forgets, also)),
            ..Entry::new(name, self.mischief.judge.listener(name))
        })
    }

    /// After a watch has left something out, every watch is ended and has to list again: that is what a real one does
    /// when it has fallen behind.
    async fn relist(&self) {
        tokio::time::sleep(RELIST).await;
        self.mischief.cut_all(true);
        self.pretend.store.bookmark();
        self.pretend.store.compact();
        // Counted in turns, not in time: time stands still while watches end and begin again.
        for _ in 0..CUT_TURNS {
            tokio::task::yield_now().await;
        }
        self.mischief.cut_all(false);
    }

    /// Acts, and waits for what has to come of each: an error is what did not. Answers whether it ended early, with a plan that a
    /// lying sidecar has led astray.
    async fn tell(&self, life: &Life, fault: Option<Fault>) -> Result<bool, String> {
        let mut has_failed = false;
        for Turn { node, act, goal } in (life.acts)() {
            let cast = self.nodes.get(node).ok_or(format!("there is no node {node}"))?;
            let done = self.act(&act, cast).await;
            done.map_err(|error| format!("{act:?} could not be done: {error}"))?;
            if let Goal::Soon(span) = goal {
                tokio::time::sleep(span).await;
                continue;
            }
            tokio::time::sleep(PAUSE).await;
            let reached = async {
                while !goal.is_reached(self.pretend.node(&cast.key).as_ref()) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            if tokio::time::timeout(PATIENCE, reached).await.is_err() {
                if fault.is_some_and(|f| f.kind.misleads()) && self.plan_has_failed(&cast.key) {
                    has_failed = true;
                    break;
                }
                let status = self.pretend.node(&cast.key).map(|n| end::of_node(&n));
                return Err(format!("{goal:?} is not reached after {act:?}: {}", json!(status)));
            }
        }
        tokio::time::sleep(SETTLED).await;
        self.mischief.judge.quiet();
        tokio::time::sleep(QUIET).await;
        Ok(has_failed)
    }

    fn plan_has_failed(&self, key: &NodeKey) -> bool {
        self.pretend.node(key).is_some_and(|node| {
            let failed = condition::find(&node.status.conditions, &ConditionType::PlanFailed);
            failed.is_some_and(|c| c.status == ConditionStatus::True && !c.message.is_empty())
        })
    }

    async fn act(&self, act: &Act, cast: &Cast) -> Result<(), String> {
        let (store, name) = (&self.pretend.store, cast.key.name.as_str());
        let options = DeleteOptions::default();
        let pod = format!("{name}-0");
        let done = match act {
            Act::Create => store.create(Kind::SeiNode, cast.manifest.clone()).map(|_| ()),
            Act::Edit(patch) => store.merge_patch(Kind::SeiNode, "default", name, patch).map(|_| ()),
            Act::Delete => store.delete(Kind::SeiNode, "default", name, &options).map(|_| ()),
            Act::RemoveStatefulSet => store.delete(Kind::StatefulSet, "default", name, &options).map(|_| ()),
            Act::RemoveService => store.delete(Kind::Service, "default", name, &options).map(|_| ()),
            Act::RemoveJob => match self.begins_with(Kind::Job, name) {
                Some(job) => {
                    let background = Some(Propagation::Background);
                    let options = DeleteOptions { propagation: background, ..options };
                    store.delete(Kind::Job, "default", &job, &options).map(|_| ())
                }
                None => Ok(()),
            },
            Act::RestartSidecar => {
                self.pretend.kubelet.restart_sidecar("default", &pod);
                Ok(())
            }
            Act::Evict => {
                return self.pretend.kubelet.evict("default", &pod).await.map_err(|error| error.to_string());
            }
            Act::EvictBootstrap => {
                let Some(pod) = self.begins_with(Kind::Pod, name) else { return Ok(()) };
                return self.pretend.kubelet.evict("default", &pod).await.map_err(|error| error.to_string());
            }
            Act::Nothing => Ok(()),
            Act::Lend => self.lend(name),
            Act::Registry(text) => {
                let value = text.map(str::to_owned).ok_or("permission denied".to_owned());
                *self.registry.lock().unwrap_or_else(PoisonError::into_inner) = value;
                Ok(())
            }
            Act::TaskFails(task) | Act::TaskHeals(task) => {
                let fails = if matches!(act, Act::TaskFails(_)) { MANY } else { 0 };
                let director = self.pretend.kubelet.director("default", name);
                director.direct(|script| {
                    let runs = &mut script.tasks.entry((*task).to_owned()).or_default().runs;
                    *runs = std::iter::repeat_with(failure).take(fails).collect();
                });
                Ok(())
            }
        };
        done.map_err(|error| error.to_string())
    }

    /// What the bootstrap of a node has of this kind.
    fn begins_with(&self, kind: Kind, node: &str) -> Option<String> {
        let objects = self.pretend.store.list(kind, Some("default"));
        let mut names = objects.iter().filter_map(|object| object["metadata"]["name"].as_str());
        names.find(|name| name.starts_with(&format!("{node}-bootstrap"))).map(str::to_owned)
    }

    /// Gives the node to a workflow, as the operator of workflows does.
    fn lend(&self, node: &str) -> Result<(), StoreError> {
        let workflow = self.pretend.store.create(
            Kind::SeiNodeTaskWorkflow,
            json!({
                "apiVersion": "sei.io/v1alpha1", "kind": "SeiNodeTaskWorkflow",
                "metadata": {
                    "name": "flow", "namespace": "default",
                    "finalizers": ["sei.io/seinodetaskworkflow-finalizer"],
                },
                "spec": {"kind": "StateSync", "target": {"nodeRef": {"name": node}}, "stateSync": {}},
            }),
        )?;
        let uid = &workflow["metadata"]["uid"];
        let lent = json!({"name": "flow", "uid": uid, "adoptedAt": "2026-01-01T00:00:00Z"});
        let patch = json!({"status": {"adoptedWorkflow": lent}});
        self.pretend.store.update_status(Kind::SeiNode, "default", node, &patch).map(|_| ())
    }

    fn sum_up(&self, played: &mut Played, fault: Option<Fault>) {
        played.end = end::of(&self.pretend);
        played.places = self.mischief.places();
        played.events = self.mischief.events();
        played.has_happened = self.mischief.has_happened();
        let journals = self.nodes.iter().map(|node| self.pretend.kubelet.director("default", &node.key.name));
        let entries = journals.flat_map(|director| director.journal());
        for entry in entries.filter(|entry| entry.event == Event::Started) {
            *played.deeds.entry(format!("run of {}", entry.kind)).or_default() += 1;
        }
        for pod in self.pretend.kubelet.pods() {
            let name = if pod.name.contains("-bootstrap-") { "bootstrap pod" } else { "pod" };
            *played.deeds.entry(format!("{name} made")).or_default() += 1;
        }
        for (kind, count) in self.mischief.deletes() {
            *played.deeds.entry(format!("delete of {kind}")).or_default() += count;
        }
        for violation in self.pretend.kubelet.violations() {
            played.wrong.push(format!("two pods on claim {}", violation.claim.1));
        }
        // A sidecar that has forgotten a task, or does not tell of it, is sent it again: completions are stored with the next
        // write, not each by itself. What comes of it in the end is compared all the same.
        if fault.is_some_and(|f| matches!(f.kind, FaultKind::Amnesia | FaultKind::Stale(_))) {
            self.mischief.judge.forgive_submits();
        }
        played.wrong.extend(self.mischief.judge.broken());
    }
}
