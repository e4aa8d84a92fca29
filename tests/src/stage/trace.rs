//! What the operators did on the stage, as a trace that the laws judge: from the audit log, the record of versions and the
//! journals of the sidecars.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{SeiNode, StoredPlan, TaskType, mode, workflow};
use seinode_core::decision::StatusWrite;
use seinode_core::effect::{
    Base, Effect, Field, Kind, Manifest, ObjectRef, Op, Submit, WorkflowChange, WorkflowWrite,
};
use seinode_core::ident::{self, EffectId, NodeKey, ResourceVersion, TaskId, Uid};
use seinode_core::patch;
use seinode_sim::sidecar::{Entry, Event};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{Thing, Version};
use crate::live::AuditEvent;
use seinode_core::trace::{Step, Trace};

/// The versions of every node, by uid.
pub(super) struct Nodes<'a> {
    versions: BTreeMap<&'a str, Vec<(u64, &'a SeiNode)>>,
    /// Where some are missing.
    gaps: &'a [RangeInclusive<u64>],
}

impl<'a> Nodes<'a> {
    pub(super) fn of(versions: &'a [Version], gaps: &'a [RangeInclusive<u64>]) -> Self {
        let mut nodes: BTreeMap<&str, Vec<(u64, &SeiNode)>> = BTreeMap::new();
        for version in versions {
            if let (Thing::Node(node), false) = (&version.what, version.gone) {
                nodes.entry(node.uid()).or_default().push((version.at, node));
            }
        }
        Self { versions: nodes, gaps }
    }

    /// Namespace and name of every node there was.
    pub(super) fn keys(&self) -> BTreeSet<NodeKey> {
        self.versions.values().flatten().map(|(_, node)| NodeKey::of(node)).collect()
    }

    /// The version that a status write was decided on, and the one that it made.
    fn pair(&self, uid: &str, version: &str) -> Option<[&'a SeiNode; 2]> {
        let (versions, at) = (self.versions.get(uid)?, version.parse::<u64>().ok()?);
        let first = versions.iter().position(|(known, _)| *known == at)?;
        Some([versions.get(first)?.1, versions.get(first + 1)?.1])
    }

    /// Whether what was written on a version may be missing.
    fn is_missing(&self, version: &str) -> bool {
        version.parse().is_ok_and(|at| self.gaps.iter().any(|gap| gap.contains(&at)))
    }

    /// Versions with a plan that no operator of this stage has stored.
    fn inherited(&self, stored: &[&SeiNode]) -> Vec<&'a SeiNode> {
        let plan = |node: &SeiNode| Some((node.uid().to_owned(), node.status.plan.as_ref()?.id.clone()));
        let known: BTreeSet<_> = stored.iter().filter_map(|node| plan(node)).collect();
        let nodes = self.versions.values().flatten().map(|(_, node)| *node);
        nodes.filter(|node| plan(node).is_some_and(|plan| !known.contains(&plan))).collect()
    }
}

/// Whether an event is a granted write of an operator, events and leases aside.
fn is_deed(event: &AuditEvent) -> bool {
    event.user_agent.starts_with("seinode-operator/")
        && event.is_write()
        && event.is_granted()
        && !matches!(event.resource.as_str(), "events" | "leases")
}

/// The trace of all operators, merged by time. `Err` names a write that can't be told.
pub(super) fn trace(
    log: &[AuditEvent],
    versions: &[Version],
    nodes: &Nodes<'_>,
    journals: &[Entry],
) -> Result<Trace, String> {
    let mut deeds: Vec<(Timestamp, Deed<'_>)> = Vec::new();
    for event in log.iter().filter(|event| is_deed(event)) {
        deeds.push((event.done, Deed::of(event, nodes)?));
    }
    let started = journals.iter().filter(|entry| entry.event == Event::Started);
    deeds.extend(started.map(|entry| (entry.at, Deed::Started(entry))));
    deeds.sort_by_key(|(at, _)| *at);

    let stored = deeds.iter().filter_map(|(_, deed)| match deed {
        Deed::Stored { answer, .. } => Some(*answer),
        Deed::Missed(_) | Deed::Wrote(_) | Deed::Started(_) => None,
    });
    let stored: Vec<&SeiNode> = stored.collect();
    let inherited = nodes.inherited(&stored);
    let mut tasks = Tasks::default();
    for node in &inherited {
        tasks.learn(node);
    }
    let again = marked_again(versions, inherited.iter().chain(&stored).copied());
    let mut steps: Vec<Step> = inherited.iter().map(|node| Step::Read(Box::new((*node).clone()))).collect();
    for (_, deed) in deeds {
        let step = match deed {
            Deed::Stored { event, before, answer } => {
                tasks.learn(answer);
                stored_step(event, before, answer)
            }
            Deed::Missed(event) => {
                // What it stored is told by what was sent, as far as plans go.
                let mut node = SeiNode::default();
                node.metadata.uid = Some(guard(event).0);
                node.status.plan = serde_json::from_value(body(event)["status"]["plan"].clone()).ok();
                tasks.learn(&node);
                Step::Read(Box::new(node))
            }
            Deed::Wrote(event) => {
                // The tasks of a workflow are stored in the workflow.
                if let Some(plan) = workflow_plan(event) {
                    let mut lent = SeiNode::default();
                    lent.metadata.uid = Some(guard(event).0);
                    lent.status.plan = Some(plan);
                    steps.push(Step::Read(Box::new(lent)));
                }
                let effect = effect(event, &tasks).ok_or_else(|| {
                    format!("what was asked with {} {} {}", event.verb, event.resource, event.name)
                })?;
                Step::Performed { effect: Box::new(effect), changed: true }
            }
            Deed::Started(entry) => {
                let task = again.get(&entry.id).unwrap_or(&entry.id);
                Step::Performed { effect: Box::new(submit(entry, task)), changed: true }
            }
        };
        steps.push(step);
    }
    Ok(Trace { steps })
}

/// Something that an operator did.
enum Deed<'a> {
    Stored {
        event: &'a AuditEvent,
        before: &'a SeiNode,
        answer: &'a SeiNode,
    },
    /// A status write whose outcome was not recorded.
    Missed(&'a AuditEvent),
    Wrote(&'a AuditEvent),
    Started(&'a Entry),
}

impl<'a> Deed<'a> {
    fn of(event: &'a AuditEvent, nodes: &Nodes<'a>) -> Result<Self, String> {
        if (event.resource.as_str(), event.subresource.as_str()) != ("seinodes", "status") {
            return Ok(Self::Wrote(event));
        }
        let (uid, version) = guard(event);
        let pair = nodes.pair(&uid, &version).filter(|[before, answer]| is_answer(before, event, answer));
        match pair {
            Some([before, answer]) => Ok(Self::Stored { event, before, answer }),
            None if nodes.is_missing(&version) => Ok(Self::Missed(event)),
            None => Err(format!("a status write of {} on version {version:?}", event.name)),
        }
    }
}

/// Whether a status is what a write makes of the one before it; the server drops nulls wherever they stand.
fn is_answer(before: &SeiNode, event: &AuditEvent, answer: &SeiNode) -> bool {
    let json = |node: &SeiNode| serde_json::to_value(&node.status).unwrap_or_default();
    let (mut made, mut stored) = (json(before), json(answer));
    patch::apply(&mut made, &body(event)["status"]);
    drop_nulls(&mut made);
    drop_nulls(&mut stored);
    made == stored
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn stored_step(event: &AuditEvent, before: &SeiNode, answer: &SeiNode) -> Step {
    let (uid, version) = guard(event);
    let write = StatusWrite {
        key: NodeKey::of(before),
        uid: Uid::new(uid),
        version: ResourceVersion::new(version),
        patch: body(event)["status"].clone(),
        status: answer.status.clone(),
    };
    Step::Stored {
        before: Box::new(before.clone()),
        write: Box::new(write),
        answer: Box::new(answer.clone()),
    }
}

fn submit(entry: &Entry, task: &str) -> Effect {
    let submit = Submit { id: TaskId::new(&entry.id), task_type: entry.kind.clone(), params: None };
    let id = EffectId::new(format!("{}/{}", entry.id, entry.run));
    Effect { id, task: Some(TaskId::new(task)), op: Op::Submit(submit) }
}

/// The task of each type that was stored last, by uid of the node.
#[derive(Default)]
struct Tasks(BTreeMap<(String, TaskType), String>);

impl Tasks {
    fn learn(&mut self, node: &SeiNode) {
        for task in node.status.plan.iter().flat_map(|plan| &plan.tasks) {
            self.0.insert((node.uid().to_owned(), task.task_type.clone()), task.id.clone());
        }
    }

    /// The task that applies an object.
    fn applying(&self, kind: Kind, owner: &str) -> Option<&String> {
        applied_by(kind).iter().find_map(|task| self.0.get(&(owner.to_owned(), task.clone())))
    }
}

/// The ids by which the sidecar of a bootstrap pod may be marked ready again, with the task that asks for it.
fn marked_again<'a>(
    versions: &[Version],
    nodes: impl Iterator<Item = &'a SeiNode>,
) -> BTreeMap<String, String> {
    let tasks = nodes.flat_map(|node| node.status.plan.iter().flat_map(|plan| &plan.tasks));
    let awaits = tasks.filter(|task| task.task_type == TaskType::AwaitBootstrapComplete);
    let awaits: BTreeSet<&str> = awaits.map(|task| task.id.as_str()).collect();
    let pods = versions.iter().filter_map(|version| match &version.what {
        Thing::Pod(pod) => pod.metadata.uid.as_deref(),
        Thing::Node(_) | Thing::Set(_) => None,
    });
    let pods: BTreeSet<&str> = pods.collect();
    let names = awaits.iter().flat_map(|task| pods.iter().map(move |pod| (*task, *pod)));
    names
        .flat_map(|(task, pod)| (0..MOST_RESTARTS).map(move |n| (task, format!("{task}/{pod}/{n}"))))
        .map(|(task, name)| (ident::task_id(&name, &TaskType::MarkReady, 0), task.to_owned()))
        .collect()
}

/// More often than this no case restarts a sidecar.
const MOST_RESTARTS: usize = 4;

/// One line for a step.
pub(super) fn tell(step: Option<&Step>) -> String {
    match step {
        Some(Step::Read(node)) => format!("{} was read", NodeKey::of(node)),
        Some(Step::Stored { write, .. }) => {
            format!("{} at version {}: {}", write.key, write.version, write.patch)
        }
        Some(Step::Performed { effect, .. }) => format!("{} for task {:?}", effect.id, effect.task),
        Some(Step::Refused(_) | Step::Rested(_) | Step::Quiet) | None => String::new(),
    }
}

fn body(event: &AuditEvent) -> &Value {
    event.request.as_ref().unwrap_or(&Value::Null)
}

/// Uid and version that a write carries, empty where it carries none.
fn guard(event: &AuditEvent) -> (String, String) {
    let place = if event.verb == "delete" { "/preconditions" } else { "/metadata" };
    let text = |key: &str| {
        body(event).pointer(&format!("{place}/{key}")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    (text("uid"), text("resourceVersion"))
}

/// The plan that a write stores in a workflow.
fn workflow_plan(event: &AuditEvent) -> Option<StoredPlan> {
    let stored = (event.resource == workflow::PLURAL).then(|| body(event)["status"]["plan"].clone());
    serde_json::from_value(stored?).ok()
}

/// What a write asked of a workflow.
fn workflow_change(event: &AuditEvent) -> Option<WorkflowChange> {
    if event.subresource == "status" {
        return Some(WorkflowChange::Status(body(event)["status"].clone()));
    }
    serde_json::from_value(body(event)["metadata"]["finalizers"].clone()).ok().map(WorkflowChange::Finalizers)
}

/// What a write asked for.
fn effect(event: &AuditEvent, tasks: &Tasks) -> Option<Effect> {
    let (uid, version) = guard(event);
    let (uid, version) = (Uid::new(uid), ResourceVersion::new(version));
    let plain = |op: Op| Effect { id: EffectId::new(format!("{}/{uid}", op.verb())), task: None, op };
    if event.resource == "seinodes" {
        let finalizers = serde_json::from_value(body(event)["metadata"]["finalizers"].clone()).ok()?;
        return Some(plain(Op::Finalizer { finalizers, version }));
    }
    if event.resource == workflow::PLURAL {
        let (namespace, name) = (event.namespace.clone(), event.name.clone());
        let change = workflow_change(event)?;
        return Some(plain(Op::Workflow(WorkflowWrite {
            namespace,
            name,
            uid: uid.clone(),
            version,
            change,
        })));
    }
    let target = ObjectRef {
        kind: kind(&event.resource)?,
        namespace: event.namespace.clone(),
        name: event.name.clone(),
    };
    match event.verb.as_str() {
        "delete" => {
            let version = Some(version).filter(|v| !v.as_str().is_empty());
            Some(plain(Op::Delete { target, uid: uid.clone(), version }))
        }
        // A server-side apply is logged as a patch, or as a create of the same body.
        "patch" if !event.uri.contains("force=true") => {
            let paused = &body(event)["metadata"]["annotations"][seinode_core::PAUSED_GENERATION];
            let spec = &body(event)["spec"];
            let field = match (paused.as_str(), spec["replicas"].as_i64(), spec["suspend"].as_bool()) {
                (Some(generation), _, _) => Field::Paused { generation: generation.parse().ok()? },
                (None, Some(replicas), None) => Field::Replicas(i32::try_from(replicas).ok()?),
                (None, None, Some(suspend)) => Field::Suspend(suspend),
                (None, _, _) => return None,
            };
            Some(plain(Op::Patch { target, field, uid: uid.clone(), version }))
        }
        "patch" | "create" => {
            let manifest = Box::new(manifest(target.kind, body(event))?);
            let owner = body(event)["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default();
            let task = tasks.applying(target.kind, owner).map_or("none", String::as_str);
            let id = EffectId::new(format!("apply/{owner}/{:?}/{}", target.kind, target.name));
            let base = if version.as_str() == "1" { Base::Absent } else { Base::At { uid, version } };
            // Absence can recur, so a second create is another deed.
            let id = if base == Base::Absent { EffectId::new(format!("{id}/{}", event.done)) } else { id };
            Some(Effect { id, task: Some(TaskId::new(task)), op: Op::Apply { manifest, base } })
        }
        _ => None,
    }
}

fn kind(resource: &str) -> Option<Kind> {
    Some(match resource {
        "configmaps" => Kind::ConfigMap,
        "jobs" => Kind::Job,
        "persistentvolumeclaims" => Kind::PersistentVolumeClaim,
        "pods" => Kind::Pod,
        "services" => Kind::Service,
        "statefulsets" => Kind::StatefulSet,
        _ => return None,
    })
}

fn manifest(kind: Kind, body: &Value) -> Option<Manifest> {
    fn read<T: DeserializeOwned>(body: &Value) -> Option<T> {
        serde_json::from_value(body.clone()).ok()
    }
    Some(match kind {
        Kind::ConfigMap => Manifest::ConfigMap(read(body)?),
        Kind::Job => Manifest::Job(read(body)?),
        Kind::PersistentVolumeClaim => Manifest::DataPvc(read(body)?),
        Kind::Service => Manifest::Service(read(body)?),
        Kind::StatefulSet => Manifest::StatefulSet(read(body)?),
        Kind::Pod => return None,
    })
}

/// The tasks that apply an object.
fn applied_by(kind: Kind) -> &'static [TaskType] {
    match kind {
        Kind::ConfigMap => &[TaskType::ApplyRbacProxyConfig],
        Kind::Job => &[TaskType::DeployBootstrapJob],
        Kind::PersistentVolumeClaim => &[TaskType::EnsureDataPvc],
        Kind::Service => &[TaskType::ApplyService, TaskType::DeployBootstrapService],
        Kind::StatefulSet => &[TaskType::ApplyStatefulSet],
        Kind::Pod => &[],
    }
}

/// `Paused` is never True while a pod of the node exists that mounts its claim (W9).
pub(super) fn paused_with_a_pod(versions: &[Version]) -> Vec<String> {
    let mut paused: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut pods: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let mut out = Vec::new();
    for version in versions {
        match &version.what {
            Thing::Node(node) => {
                let claim = mode::data_claim_name(node.name(), &node.spec);
                let key = (node.namespace().to_owned(), claim);
                let is_paused = condition::find(&node.status.conditions, &ConditionType::Paused)
                    .is_some_and(|c| c.status == ConditionStatus::True);
                if is_paused && !version.gone && !node.is_deleting() {
                    paused.insert(key, node.name().to_owned());
                } else {
                    paused.remove(&key);
                }
            }
            Thing::Pod(pod) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                let over = pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Succeeded");
                if version.gone || over {
                    pods.remove(&uid);
                } else {
                    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
                    pods.insert(uid, (namespace, claims(pod)));
                }
            }
            Thing::Set(_) => continue,
        }
        for ((namespace, claim), node) in &paused {
            if pods.values().any(|(space, claims)| space == namespace && claims.contains(claim)) {
                out.push(format!(
                    "{namespace}/{node} was paused at version {} while a pod existed",
                    version.at
                ));
            }
        }
    }
    out
}

/// A pod that an operator deleted is of an old revision, and after that no other pod of this revision is deleted before
/// the StatefulSet has asked for it again.
pub(super) fn churn(versions: &[Version], log: &[AuditEvent]) -> Vec<String> {
    let deletes =
        log.iter().filter(|event| is_deed(event) && event.verb == "delete" && event.resource == "pods");
    let deleted: BTreeSet<String> = deletes.map(|event| guard(event).0).collect();
    // By StatefulSet uid: the revision whose pod was deleted last.
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mut done = BTreeSet::new();
    let mut out = Vec::new();
    for version in versions {
        match &version.what {
            Thing::Set(set) => {
                let uid = set.metadata.uid.clone().unwrap_or_default();
                let update = set.status.as_ref().and_then(|s| s.update_revision.clone());
                if update.is_some() && last.get(&uid) == update.as_ref() {
                    last.remove(&uid);
                }
            }
            Thing::Pod(pod) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                let going = pod.metadata.deletion_timestamp.is_some() || version.gone;
                if !deleted.contains(&uid) || !going || !done.insert(uid) {
                    continue;
                }
                let Some(set) =
                    pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))
                else {
                    continue;
                };
                let labels = pod.metadata.labels.as_ref();
                let revision =
                    labels.and_then(|l| l.get("controller-revision-hash")).cloned().unwrap_or_default();
                if last.insert(set.uid.clone(), revision.clone()).as_ref() == Some(&revision) {
                    out.push(format!("two pods of revision {revision} were deleted in a row"));
                }
            }
            Thing::Node(_) => {}
        }
    }
    out
}

fn claims(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|v| Some(v.persistent_volume_claim.as_ref()?.claim_name.clone())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(at: u64, what: Value) -> Version {
        let thing = match what["kind"].as_str() {
            Some("SeiNode") => Thing::Node(serde_json::from_value(what).unwrap()),
            Some("Pod") => Thing::Pod(serde_json::from_value(what).unwrap()),
            _ => Thing::Set(serde_json::from_value(what).unwrap()),
        };
        Version { at, gone: false, what: thing }
    }

    fn gone(mut version: Version) -> Version {
        version.gone = true;
        version
    }

    fn node(paused: &str) -> Value {
        json!({"kind": "SeiNode", "metadata": {"name": "one", "namespace": "a", "uid": "n"},
            "spec": {"chainId": "c", "image": "i", "fullNode": {}},
            "status": {"conditions": [{"type": "Paused", "status": paused}]}})
    }

    fn pod(uid: &str, revision: &str) -> Value {
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "one", "uid": "s", "controller": true});
        json!({"kind": "Pod",
            "metadata": {"name": "one-0", "namespace": "a", "uid": uid, "ownerReferences": [owner],
                "labels": {"controller-revision-hash": revision}},
            "spec": {"containers": [], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-one"}}]}})
    }

    fn set(revision: &str) -> Value {
        json!({"metadata": {"name": "one", "uid": "s"}, "status": {"replicas": 1, "updateRevision": revision}})
    }

    fn delete(uid: &str) -> AuditEvent {
        AuditEvent {
            verb: "delete".into(),
            user: String::new(),
            user_agent: "seinode-operator/1".into(),
            uri: String::new(),
            group: String::new(),
            resource: "pods".into(),
            subresource: String::new(),
            namespace: "a".into(),
            name: "one-0".into(),
            code: 200,
            at: Timestamp::UNIX_EPOCH,
            done: Timestamp::UNIX_EPOCH,
            request: Some(json!({"preconditions": {"uid": uid}})),
        }
    }

    #[test]
    fn w09_paused_beside_a_pod_is_found() {
        let pod = || pod("p", "r");
        let good =
            [version(1, pod()), gone(version(2, pod())), version(3, node("True")), version(4, node("False"))];
        assert!(paused_with_a_pod(&good).is_empty());
        let early = [version(1, pod()), version(2, node("True")), gone(version(3, pod()))];
        assert_eq!(paused_with_a_pod(&early).len(), 1);
        let late = [version(1, node("True")), version(2, pod())];
        assert_eq!(paused_with_a_pod(&late).len(), 1);
    }

    #[test]
    fn two_pods_of_one_revision_deleted_in_a_row_are_found() {
        let log = [delete("p"), delete("q")];
        let first = || gone(version(2, pod("p", "old")));
        let second = || gone(version(5, pod("q", "old")));
        assert_eq!(churn(&[first(), second()], &log).len(), 1);
        let wanted_again = [first(), version(3, set("old")), version(4, set("new")), second()];
        assert!(churn(&wanted_again, &log).is_empty());
        assert!(churn(&[first(), second()], &log[..1]).is_empty(), "the other went by itself");
    }

    #[test]
    fn a_write_is_told_by_what_it_carries() {
        let tasks = Tasks::default();
        let told = effect(&delete("p"), &tasks).unwrap();
        let Op::Delete { target, uid, version: None } = told.op else { unreachable!("a delete") };
        assert_eq!((target.name.as_str(), uid.as_str()), ("one-0", "p"));
        let scaled = AuditEvent {
            verb: "patch".into(),
            resource: "statefulsets".into(),
            name: "one".into(),
            request: Some(json!({"metadata": {"uid": "s", "resourceVersion": "7"}, "spec": {"replicas": 1}})),
            ..delete("p")
        };
        let Op::Patch { field, version, .. } = effect(&scaled, &tasks).unwrap().op else {
            unreachable!("a patch")
        };
        assert_eq!((field, version.as_str()), (Field::Replicas(1), "7"));
        let odd = AuditEvent { request: Some(json!({"spec": {"paused": true}})), ..scaled };
        assert!(effect(&odd, &tasks).is_none(), "what can't be told is not passed over");
    }
}
