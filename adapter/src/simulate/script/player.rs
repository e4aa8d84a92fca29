//! Plays a script.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use seinode_core::api::SeiNode;
use seinode_core::ident::NodeKey;
use seinode_core::platform::{self, Platform};
use seinode_sim::kubelet::JobEnding;
use seinode_sim::sidecar::{Fault as MishapFault, Mishap, Script as SidecarScript};
use seinode_sim::store::{Clock, DeleteOptions, Kind};
use serde_json::{Value, json};

use super::book::{Book, listening};
use super::state::{Named, State, key, split};
use super::step::{ClusterChange, Edit, Heal, PatchObject, Registry, Step};
use super::trouble::Troubles;
use super::{PlayError, Script, ScriptError, Scripted};
use crate::live::RegistrySource;
use crate::simulate::judge::Judge;
use crate::simulate::pretend::{Entry, Operator, Pretend, Setup};

/// The operator that is there from the start.
pub(super) const OPERATOR: &str = "operator";
/// When every play begins.
const START: &str = "2026-01-01T00:00:00Z";
/// How long `until` waits unless told otherwise.
const PATIENCE: Duration = Duration::from_hours(1);
/// How often a state is looked at that no stored change announces, at first and in the end.
const GLANCE: Duration = Duration::from_millis(100);
const LONGEST_GLANCE: Duration = Duration::from_mins(1);
/// Everything that happens at one instant has happened this much later.
const INSTANT: Duration = Duration::from_millis(1);

struct Stage {
    pretend: Pretend,
    operators: BTreeMap<String, Operator>,
    book: Arc<Book>,
    judge: Arc<Judge>,
    troubles: Arc<Troubles>,
    registry: Arc<Mutex<Result<String, String>>>,
    skew: Arc<AtomicI64>,
    nodes: BTreeMap<NodeKey, SeiNode>,
}

/// Plays a script to its end, or to the first step that does not come out.
pub(in super::super) async fn play(
    script: Script,
    platform: Platform,
    nodes: &[SeiNode],
) -> Result<ExitCode, PlayError> {
    let steps = checked(&script, nodes)?;
    let mut out = std::io::stdout();
    writeln!(out, "# {}", script.about.replace('\n', "\n# "))?;
    let mut stage = Stage::set(&script, platform, nodes);
    stage.start(OPERATOR);
    for (i, step) in steps.iter().enumerate() {
        stage.book.note("step", &format!("{} {}", i + 1, step.text));
        let came_out = stage.play(&step.step).await;
        if let Err(why) = &came_out {
            stage.book.note("FAILED", &format!("step {}: {why}", i + 1));
        }
        let has_failed = came_out.is_err() || stage.book.broken() > 0;
        if has_failed || i + 1 >= script.print_from {
            stage.book.print(&stage.pretend, &mut out)?;
        } else {
            stage.book.print(&stage.pretend, &mut std::io::sink())?;
        }
        if has_failed {
            return Ok(ExitCode::FAILURE);
        }
    }
    for (_, operator) in std::mem::take(&mut stage.operators) {
        operator.kill().await;
    }
    let broken = stage.judge.broken();
    for text in &broken {
        stage.book.law(text);
    }
    if !broken.is_empty() {
        stage.book.print(&stage.pretend, &mut out)?;
        return Ok(ExitCode::FAILURE);
    }
    stage.pretend.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The steps with every node named in full, if they fit the manifests.
fn checked(script: &Script, nodes: &[SeiNode]) -> Result<Vec<Scripted>, ScriptError> {
    let Some(first) = nodes.first().map(|node| NodeKey::of(node).to_string()) else {
        return Err(ScriptError {
            path: script.path.clone(),
            text: "manifests: there is no node; name at least one manifest here or on the command line"
                .into(),
        });
    };
    let mut steps = script.steps.clone();
    for (i, step) in steps.iter_mut().enumerate() {
        let node = match &mut step.step {
            Step::Create(node) | Step::Delete(node) | Step::Forget(node) | Step::Show(node) => node,
            Step::Edit(edit) => &mut edit.node,
            Step::Until(state) | Step::Expect(state) => &mut state.node,
            Step::Sidecar(trouble) => &mut trouble.node,
            Step::Task(plan) => &mut plan.node,
            Step::Witnesses(witnesses) => &mut witnesses.node,
            _ => continue,
        };
        if node.is_empty() {
            node.clone_from(&first);
        }
        let wanted = key(node);
        if !nodes.iter().any(|known| NodeKey::of(known) == wanted) {
            let known: Vec<String> = nodes.iter().map(|node| NodeKey::of(node).to_string()).collect();
            let text = format!(
                "step {}: node: no manifest holds {wanted}; write one of {}",
                i + 1,
                known.join(", ")
            );
            return Err(ScriptError { path: script.path.clone(), text });
        }
        *node = wanted.to_string();
    }
    Ok(steps)
}

impl Stage {
    fn set(script: &Script, platform: Platform, nodes: &[SeiNode]) -> Self {
        let start: Timestamp = START.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let registry = Arc::new(Mutex::new(Ok(platform::BUILTIN.to_owned())));
        let book = Arc::new(Book::new(Clock::starting_at(start)));
        let judge = Arc::new(Judge::default());
        let troubles = Arc::new(Troubles::new(Arc::clone(&book), Arc::clone(&judge)));
        let pretend = Pretend::start(Setup {
            pace: script.pace,
            platform,
            registry: RegistrySource::Shared(Arc::clone(&registry)),
            faults: Arc::clone(&troubles) as _,
            ..Setup::new(start)
        });
        judge.look_into(&pretend.store);
        Self {
            pretend,
            operators: BTreeMap::new(),
            book,
            judge,
            troubles,
            registry,
            skew: Arc::default(),
            nodes: nodes.iter().map(|node| (NodeKey::of(node), node.clone())).collect(),
        }
    }

    fn start(&mut self, name: &str) {
        self.book.meet(name);
        let (book, judge, who) = (Arc::clone(&self.book), Arc::clone(&self.judge), name.to_owned());
        let entry = Entry {
            skew: Arc::clone(&self.skew),
            sidecars: Box::new(move |transport| listening(book, judge, &who, transport)),
            ..Entry::new(name, self.judge.listener(name))
        };
        self.operators.insert(name.to_owned(), self.pretend.operator(entry));
    }

    async fn play(&mut self, step: &Step) -> Result<(), String> {
        let kubelet = &self.pretend.kubelet;
        match step {
            Step::Create(node) => self.create(node)?,
            Step::Put(object) => self.put(object)?,
            Step::Patch(patch) => self.patch(patch),
            Step::Remove(named) => self.remove(named),
            Step::Edit(edit) => self.edit(edit),
            Step::Delete(node) => self.remove(&Named::node(node)),
            Step::Wait(span) => tokio::time::sleep(span.0).await,
            Step::Until(state) => return self.until(state).await,
            Step::Expect(state) => {
                tokio::time::sleep(INSTANT).await;
                return as_wanted(&state.differences(&self.pretend));
            }
            Step::Quiet(span) => return self.quiet(span.0).await,
            Step::Start(name) if self.operators.contains_key(name) => {
                return Err(format!("operator {name} runs already"));
            }
            Step::Start(name) => self.start(name),
            Step::Kill(name) => match self.operators.remove(name) {
                Some(operator) => operator.kill().await,
                None => return Err(format!("operator {name} does not run")),
            },
            Step::Evict(pod) | Step::ForceDelete(pod) => {
                let (namespace, name) = &self.pod(pod)?;
                let done = if matches!(step, Step::Evict(_)) {
                    kubelet.evict(namespace, name).await
                } else {
                    kubelet.force_delete(namespace, name).await
                };
                done.map_err(|error| error.to_string())?;
            }
            Step::FailPod(pod) | Step::RestartSidecar(pod) | Step::CrashSeid(pod) => {
                let (namespace, name) = &self.pod(pod)?;
                match step {
                    Step::FailPod(_) => kubelet.fail_pod(namespace, name),
                    Step::RestartSidecar(_) => kubelet.restart_sidecar(namespace, name),
                    _ => kubelet.crash_seid(namespace, name),
                }
            }
            Step::Sidecar(trouble) => {
                let trouble = trouble.clone();
                if trouble.what == MishapFault::Amnesia {
                    self.judge.forgive_submits();
                }
                self.direct(&trouble.node, |script| {
                    script.mishaps.push(Mishap {
                        what: trouble.what,
                        method: trouble.method,
                        path: trouble.path,
                        times: trouble.times,
                    });
                });
            }
            Step::Task(plan) => self.direct(&plan.node, |script| {
                let task = script.tasks.entry(plan.task_type.clone()).or_default();
                task.runs.extend(plan.runs.iter().cloned());
                if let Some(span) = plan.lasts {
                    task.duration = Some(span.0);
                }
            }),
            Step::Forget(node) => {
                let key = key(node);
                let claim = self
                    .nodes
                    .get(&key)
                    .map(|node| seinode_core::api::mode::data_claim_name(node.name(), &node.spec));
                let volume = claim.and_then(|claim| kubelet.volume(&key.namespace, &claim));
                volume.ok_or(format!("no pod of {node} has mounted its volume yet"))?.forget_records();
                self.judge.forgive_submits();
            }
            Step::Witnesses(witnesses) => self.direct(&witnesses.node, |script| {
                script.silent_witnesses = witnesses.silent.iter().cloned().collect();
            }),
            Step::Api(trouble) => self.troubles.add(trouble.clone()),
            Step::Lag(lag) => self.troubles.lag(lag.clone()),
            Step::Heal(what) => {
                if matches!(what, Heal::Api | Heal::All) {
                    self.troubles.heal();
                }
                if matches!(what, Heal::Sidecar | Heal::All) {
                    for key in self.nodes.keys() {
                        self.direct(&key.to_string(), |script| script.mishaps.clear());
                    }
                }
            }
            Step::Registry(registry) => {
                let value = match registry {
                    Registry::Text(text) => Ok(text.clone()),
                    Registry::Unreadable(why) => Err(why.clone()),
                };
                *self.registry.lock().unwrap_or_else(PoisonError::into_inner) = value;
            }
            Step::Platform(change) => self.pretend.give(change.0.clone()),
            Step::Cluster(change) => self.change(change),
            Step::Jump(span) => {
                let millis = i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX);
                self.skew.store(millis, Ordering::Relaxed);
            }
            Step::Show(node) => self.show(node),
        }
        tokio::time::sleep(INSTANT).await;
        Ok(())
    }

    /// The pod of this name, or the one whose name begins so: a Job gives its pod a name of its own.
    fn pod(&self, text: &str) -> Result<(String, String), String> {
        let (namespace, name) = split(text);
        let pods = self.pretend.store.list(Kind::Pod, Some(namespace));
        let names: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        let begins = |found: &&&str| found.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        let found = names.iter().find(|found| **found == name).or_else(|| names.iter().find(begins));
        let found = found.ok_or(format!("there is no pod {text}; there are {}", names.join(", ")))?;
        Ok((namespace.to_owned(), (*found).to_owned()))
    }

    fn create(&self, node: &str) -> Result<(), String> {
        let key = key(node);
        let node = self.nodes.get(&key).ok_or(format!("no manifest holds {key}"))?;
        for note in self.pretend.make_up_for(node).map_err(|error| format!("{error:#}"))? {
            self.book.note("cluster", &note);
        }
        self.book.follow(&key);
        let object = serde_json::to_value(node).map_err(|error| error.to_string())?;
        self.tell(self.pretend.store.create(Kind::SeiNode, object).map(|_| ()));
        Ok(())
    }

    /// A refusal is an answer like any other: it is written down, and the play goes on.
    fn tell(&self, done: Result<(), seinode_sim::error::StoreError>) {
        if let Err(refusal) = done {
            self.book.note("cluster", &format!("refused: {refusal}"));
        }
    }

    fn put(&self, object: &Value) -> Result<(), String> {
        let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default();
        let kind = Kind::from_type_meta(text("/apiVersion"), text("/kind"))
            .ok_or("put: apiVersion and kind name no kind of the pretend API server")?;
        let name = text("/metadata/name").to_owned();
        let named = text("/metadata/namespace");
        let space = if kind.is_namespaced() && named.is_empty() { "default" } else { named };
        let store = &self.pretend.store;
        let done = if store.get(kind, space, &name).is_ok() {
            store.merge_patch(kind, space, &name, object)
        } else {
            store.create(kind, object.clone())
        };
        let done = done.and_then(|_| match object.get("status") {
            Some(status) if kind.has_status() => {
                store.update_status(kind, space, &name, &json!({ "status": status }))
            }
            _ => store.get(kind, space, &name),
        });
        self.tell(done.map(|_| ()));
        Ok(())
    }

    fn patch(&self, patch: &PatchObject) {
        let named = Named { kind: patch.kind, name: patch.name.clone() };
        let (namespace, name) = named.place();
        let store = &self.pretend.store;
        let done = if patch.patch.get("status").is_some() {
            store.update_status(patch.kind.0, namespace, name, &patch.patch)
        } else {
            store.merge_patch(patch.kind.0, namespace, name, &patch.patch)
        };
        self.tell(done.map(|_| ()));
    }

    fn remove(&self, named: &Named) {
        let (namespace, name) = named.place();
        let options = DeleteOptions::default();
        self.tell(self.pretend.store.delete(named.kind.0, namespace, name, &options).map(|_| ()));
    }

    fn edit(&self, edit: &Edit) {
        let mut patch = json!({});
        for (path, value) in [("labels", &edit.labels), ("annotations", &edit.annotations)] {
            if let Some(value) = value {
                patch["metadata"][path] = value.clone();
            }
        }
        if let Some(spec) = &edit.spec {
            patch["spec"] = spec.clone();
        }
        let key = key(&edit.node);
        let done = self.pretend.store.merge_patch(Kind::SeiNode, &key.namespace, &key.name, &patch);
        self.tell(done.map(|_| ()));
    }

    fn direct(&self, node: &str, change: impl FnOnce(&mut SidecarScript)) {
        let key = key(node);
        self.pretend.kubelet.director(&key.namespace, &key.name).direct(change);
    }

    fn change(&self, change: &ClusterChange) {
        self.pretend.kubelet.direct(|conduct| {
            if let Some(images) = &change.missing_images {
                conduct.missing_images = images.iter().cloned().collect();
            }
            if let Some(hosts) = change.hosts {
                conduct.no_hosts = !hosts;
            }
            if let Some(volumes) = change.volumes {
                conduct.no_volumes = !volumes;
            }
            for (name, end) in &change.jobs {
                let ending = JobEnding { after: end.after.map(|span| span.0), exit: end.exit };
                conduct.jobs.insert(name.clone(), ending);
            }
        });
    }

    async fn until(&self, state: &State) -> Result<(), String> {
        let mut changes = self.pretend.store.subscribe();
        let limit = state.within.map_or(PATIENCE, |span| span.0);
        let begun = tokio::time::Instant::now();
        let reached = async {
            while !state.differences(&self.pretend).is_empty() {
                // What no stored change announces is looked for now and then, in long waits less often.
                let glance = (begun.elapsed() / 1000).clamp(GLANCE, LONGEST_GLANCE);
                let _ = tokio::time::timeout(glance, changes.changed()).await;
            }
        };
        let reached = tokio::time::timeout(limit, reached).await;
        tokio::time::sleep(INSTANT).await;
        match reached {
            Ok(()) => Ok(()),
            Err(_) => as_wanted(&state.differences(&self.pretend))
                .map_err(|text| format!("not so within {limit:?}: {text}")),
        }
    }

    async fn quiet(&self, span: Duration) -> Result<(), String> {
        let before = self.book.writes();
        tokio::time::sleep(span).await;
        match self.book.writes() - before {
            0 => Ok(()),
            n => Err(format!("{n} writes, where none should be")),
        }
    }

    fn show(&self, node: &str) {
        let Some(node) = self.pretend.node(&key(node)) else {
            return self.book.note("status", &format!("{node} is gone"));
        };
        let status = &node.status;
        let phase = status.phase.as_ref().map_or("none", |p| p.as_str());
        let plan = status.plan.as_ref().map_or("none", |p| p.phase.as_str());
        self.book.note("status", &format!("{}: phase {phase}, plan {plan}", node.name()));
        for c in &status.conditions {
            let (kind, value) = (c.condition_type.as_str(), c.status.as_str());
            self.book.note("status", &format!("  {kind} {value}/{}: {}", c.reason, c.message));
        }
    }
}

fn as_wanted(differences: &[String]) -> Result<(), String> {
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}
