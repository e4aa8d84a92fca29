//! The laws over traces, asked of whatever operators do on a pretend cluster.
//!
//! Answers: what is recorded of each operator and each node, and which laws it breaks. Refuses to know: what the story is,
//! or which faults are in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{StatusCode, Uri};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{SeiNode, StoredPlan, mode};
use seinode_core::decision::{Rest, StatusWrite};
use seinode_core::effect::{Effect, Op, Outcome};
use seinode_core::trace::{self, Step, Trace};
use seinode_sim::api::Request;
use seinode_sim::store::{Kind, Store};
use serde_json::Value;

use crate::error::PortError;
use crate::live::Audience;
use crate::ports::Stored;

/// The judge.
#[derive(Default)]
pub struct Judge {
    store: OnceLock<Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was stored right before a write that is under way, by client and request line.
    before: Vec<(String, String, Option<Arc<Value>>)>,
    /// What the latest write of a client to objects of one name came to.
    latest: BTreeMap<Place, Written>,
    /// By client and uid of the node.
    each: BTreeMap<(String, String), Trace>,
    /// What all of them stored and did, by uid of the node.
    all: BTreeMap<String, Trace>,
    /// Plans that are stored in workflows, by the id of each task.
    lent: BTreeMap<String, StoredPlan>,
    /// What was found while it happened.
    found: Vec<String>,
    submits_again: bool,
}

/// Client, namespace and name.
type Place = (String, String, String);

/// One write of an operator.
#[derive(Clone, Default)]
pub struct Written {
    /// The object before it.
    pub before: Option<Arc<Value>>,
    /// The object after it.
    pub after: Option<Arc<Value>>,
    /// Whether it took hold and changed anything.
    pub changed: bool,
}

impl Judge {
    /// Lets it look into the cluster.
    pub fn look_into(&self, store: &Store) {
        // It is told once, by the play that made it.
        let _ = self.store.set(store.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, request: &Request) -> Option<Arc<Value>> {
        self.store.get()?.get(request.kind, &request.namespace, &request.name).ok()
    }

    /// An operator is about to write.
    pub fn before(&self, request: &Request) {
        let found = self.find(request);
        let mut state = self.state();
        // One that was lost on its way is never heard of again.
        state.before.retain(|(client, line, _)| *client != request.client || *line != request.line);
        state.before.push((request.client.clone(), request.line.clone(), found));
    }

    /// It has written, or was refused.
    pub fn after(&self, request: &Request, code: u16) -> Written {
        let after = self.find(request);
        let mut state = self.state();
        let place = state.before.iter().position(|(c, l, _)| *c == request.client && *l == request.line);
        let before = place.and_then(|place| state.before.remove(place).2);
        let changed = (200..300).contains(&code) && before != after;
        let written = Written { before, after, changed };
        // Events are for people; whether one was written is no deed.
        if request.kind != Kind::CoreEvent {
            let place = (request.client.clone(), request.namespace.clone(), request.name.clone());
            state.latest.insert(place, written.clone());
        }
        let plan = written.after.as_ref().and_then(|after| after.pointer("/status/plan"));
        if let Some(plan) = plan.and_then(|plan| serde_json::from_value::<StoredPlan>(plan.clone()).ok())
            && request.kind == Kind::SeiNodeTaskWorkflow
        {
            state.lent.extend(plan.tasks.iter().map(|task| (task.id.clone(), plan.clone())));
        }
        if request.kind == Kind::SeiNode && changed {
            let found = written.after.as_deref().and_then(|after| self.paused_beside_a_pod(after));
            state.found.extend(found);
        }
        written
    }

    /// A sidecar has answered a write that was sent to this address; only a submission that begins a run changes anything.
    pub fn asked(&self, client: &str, address: &Uri, answer: Option<StatusCode>) {
        let mut host = address.host().unwrap_or_default().split('.').skip(1).map(str::to_owned);
        let (node, namespace) = (host.next().unwrap_or_default(), host.next().unwrap_or_default());
        let changed = answer == Some(StatusCode::CREATED);
        let written = Written { changed, ..Written::default() };
        self.state().latest.insert((client.to_owned(), namespace, node), written);
    }

    /// Nothing is new from here on.
    pub fn quiet(&self) {
        for trace in self.state().each.values_mut() {
            trace.steps.push(Step::Quiet);
        }
    }

    /// In this play tasks may be submitted again: a sidecar forgets them, or tells nothing of them.
    pub fn forgive_submits(&self) {
        self.state().submits_again = true;
    }

    /// W9: `Paused` is acknowledged only when no pod is left on the claim.
    fn paused_beside_a_pod(&self, node: &Value) -> Option<String> {
        let node: SeiNode = serde_json::from_value(node.clone()).ok()?;
        let paused = condition::find(&node.status.conditions, &ConditionType::Paused)?;
        if paused.status != ConditionStatus::True || node.spec.paused != Some(true) || node.is_deleting() {
            return None;
        }
        let claim = mode::data_claim_name(node.name(), &node.spec);
        let pods = self.store.get()?.list(Kind::Pod, Some(node.namespace()));
        let beside = pods.iter().find(|pod| is_live(pod) && mounts(pod, &claim))?;
        let pod = beside.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        Some(format!("invariant 6: {} says Paused while pod {pod} mounts {claim}", node.name()))
    }

    /// Who is to be told what an operator does.
    pub fn listener(self: &Arc<Self>, client: &str) -> Arc<dyn Audience> {
        Arc::new(Listener { judge: Arc::clone(self), client: client.to_owned() })
    }

    /// Every law that was broken so far. What one operator saw is judged by itself; what was stored and what took hold, for
    /// all of them together.
    pub fn broken(&self) -> Vec<String> {
        let state = self.state();
        let each = state.each.values().flat_map(trace::broken).filter(|b| !matches!(b.law, 4 | 13));
        let all = state.all.values().flat_map(trace::broken).filter(|b| matches!(b.law, 4 | 13));
        let excused = |text: &str| state.submits_again && text.contains("/submit took hold");
        let laws = each.chain(all).filter(|b| !excused(&b.text));
        let laws = laws.map(|b| format!("law {} at step {}: {}", b.law, b.at, b.text));
        state.found.iter().cloned().chain(laws).collect()
    }
}

fn is_live(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    !matches!(phase, Some("Succeeded" | "Failed"))
}

fn mounts(pod: &Value, claim: &str) -> bool {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let mut claims = volumes.filter_map(|v| v.pointer("/persistentVolumeClaim/claimName")?.as_str());
    claims.any(|name| name == claim)
}

/// Writes down what one operator does.
struct Listener {
    judge: Arc<Judge>,
    client: String,
}

impl Listener {
    /// What the latest write to an object of this name came to; each is told once.
    fn latest(&self, state: &mut State, namespace: &str, name: &str) -> Written {
        let place = (self.client.clone(), namespace.to_owned(), name.to_owned());
        state.latest.remove(&place).unwrap_or_default()
    }

    fn push(&self, state: &mut State, uid: &str, step: Step) {
        if matches!(step, Step::Stored { .. } | Step::Performed { .. }) {
            state.all.entry(uid.to_owned()).or_default().steps.push(step.clone());
        }
        state.each.entry((self.client.clone(), uid.to_owned())).or_default().steps.push(step);
    }
}

impl Audience for Listener {
    fn read(&self, node: &SeiNode) {
        self.push(&mut self.judge.state(), node.uid(), Step::Read(Box::new(node.clone())));
    }

    fn stored(&self, write: &StatusWrite, answer: &Result<Stored, PortError>) {
        let mut state = self.judge.state();
        let written = self.latest(&mut state, &write.key.namespace, &write.key.name);
        let before = written.before.and_then(|node| serde_json::from_value(Value::clone(&node)).ok());
        let step = match (answer, before) {
            (Ok(Stored::At(answer)), Some(before)) => Step::Stored {
                before: Box::new(before),
                write: Box::new(write.clone()),
                answer: answer.clone(),
            },
            (Ok(Stored::At(_)), None) => {
                state.found.push(format!("a status of {} was stored where there is no node", write.key));
                return;
            }
            (Ok(Stored::Conflict | Stored::Ambiguous(_)) | Err(_), _) => {
                Step::Refused(Box::new(write.clone()))
            }
        };
        self.push(&mut state, write.uid.as_str(), step);
    }

    fn performed(&self, node: &SeiNode, effect: &Effect, outcome: &Outcome) {
        let mut state = self.judge.state();
        let name = match &effect.op {
            Op::Apply { manifest, .. } => manifest.target().name,
            Op::Patch { target, .. } | Op::Delete { target, .. } => target.name.clone(),
            Op::Workflow(write) => write.name.clone(),
            Op::Announce(_) | Op::Finalizer { .. } | Op::Submit(_) | Op::Withdraw(_) => {
                node.name().to_owned()
            }
        };
        let changed = self.latest(&mut state, node.namespace(), &name).changed && outcome.result.is_ok();
        let lent = effect.task.as_ref().and_then(|task| state.lent.get(task.as_str())).cloned();
        if lent.is_some() {
            let mut workflow = node.clone();
            workflow.status.plan = lent;
            self.push(&mut state, node.uid(), Step::Read(Box::new(workflow)));
        }
        self.push(&mut state, node.uid(), Step::Performed { effect: Box::new(effect.clone()), changed });
    }

    fn rested(&self, node: &SeiNode, rest: &Rest) {
        let why = rest.why.iter().map(ToString::to_string).collect();
        self.push(&mut self.judge.state(), node.uid(), Step::Rested(why));
    }
}

#[cfg(test)]
#[allow(clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::jiff::Timestamp;
    use kube::Client;
    use kube::api::{Api, DeleteParams, Patch, PatchParams};
    use seinode_core::effect::{Field, ObjectRef};
    use seinode_core::ident::{EffectId, ResourceVersion, TaskId, Uid};
    use seinode_sim::api::{ApiServer, Faults, Trouble};
    use seinode_sim::store::Clock;
    use serde_json::json;

    use super::*;

    struct Hooks(Arc<Judge>);

    impl Faults for Hooks {
        fn before(&self, request: &Request) -> Trouble {
            self.0.before(request);
            Trouble::None
        }

        fn after(&self, request: &Request, code: u16) -> Trouble {
            self.0.after(request, code);
            Trouble::None
        }
    }

    fn bench() -> (Arc<Judge>, Store, Client) {
        let judge = Arc::new(Judge::default());
        let store = Store::new(Clock::starting_at(Timestamp::UNIX_EPOCH));
        judge.look_into(&store);
        let server = ApiServer::new(&store).with_faults(Arc::new(Hooks(Arc::clone(&judge))));
        (judge, store, Client::new(server.serving("operator"), "lab"))
    }

    fn node(spec: Value, status: &Value) -> Value {
        let meta = json!({"name": "alice", "namespace": "lab"});
        json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": meta, "spec": spec, "status": status})
    }

    #[tokio::test(start_paused = true)]
    async fn l13_what_takes_hold_twice_is_found_and_what_changes_nothing_is_not() {
        let (judge, store, client) = bench();
        store
            .create(Kind::ConfigMap, json!({"metadata": {"name": "alice", "namespace": "lab"}}))
            .unwrap_or_else(|error| panic!("{error}"));
        let maps: Api<ConfigMap> = Api::namespaced(client, "lab");
        let node: SeiNode =
            serde_json::from_value(node(json!({}), &json!({}))).unwrap_or_else(|e| panic!("{e}"));
        let id = EffectId::new("scale".to_owned());
        let target = ObjectRef {
            kind: seinode_core::effect::Kind::ConfigMap,
            namespace: "lab".to_owned(),
            name: "alice".to_owned(),
        };
        let (uid, version) = (Uid::new("u"), ResourceVersion::new("1"));
        let op = Op::Patch { target, field: Field::Replicas(0), uid, version };
        let effect = Effect { id: id.clone(), task: None, op };
        let listener = judge.listener("operator");
        let mut found = Vec::new();
        for value in ["a", "a", "b"] {
            let patch = json!({"data": {"key": value}});
            maps.patch("alice", &PatchParams::default(), &Patch::Merge(patch))
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            listener.performed(&node, &effect, &Outcome { effect: id.clone(), result: Ok(()) });
            found.push(judge.broken().len());
        }
        assert_eq!(found, [0, 0, 1], "{:?}", judge.broken());
        maps.delete("alice", &DeleteParams::default()).await.unwrap_or_else(|e| panic!("{e}"));
        listener.performed(
            &node,
            &Effect { task: Some(TaskId::new("t")), ..effect },
            &Outcome { effect: id, result: Ok(()) },
        );
        let broken = judge.broken().join("\n");
        assert!(broken.contains("law 1 at"), "of a task that is stored nowhere: {broken}");
    }

    #[tokio::test(start_paused = true)]
    async fn w9_a_pause_that_is_acknowledged_beside_a_pod_is_found() {
        for (phase, found) in [("Running", 1), ("Succeeded", 0)] {
            let (judge, store, client) = bench();
            let spec = json!({"chainId": "c", "image": "i", "fullNode": {}, "paused": true});
            let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-alice"}});
            let pod = json!({
                "metadata": {"name": "alice-0", "namespace": "lab"},
                "spec": {"containers": [], "volumes": [volume]},
            });
            let made = store.create(Kind::SeiNode, node(spec, &json!({}))).and_then(|_| {
                store.create(Kind::Pod, pod)?;
                store.update_status(Kind::Pod, "lab", "alice-0", &json!({"status": {"phase": phase}}))
            });
            made.unwrap_or_else(|error| panic!("{error}"));
            let nodes: Api<SeiNode> = Api::namespaced(client, "lab");
            let condition = json!({"type": "Paused", "status": "True", "reason": "Paused", "message": ""});
            let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
            nodes
                .patch_status("alice", &PatchParams::default(), &patch)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(judge.broken().len(), found, "{phase}: {:?}", judge.broken());
        }
    }
}
