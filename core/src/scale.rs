//! `replicas` of the StatefulSet follows `spec.paused`, outside plans and in every phase.
//!
//! Answers: stop it, start it, or leave it. Each is a merge patch of that one field with uid and resourceVersion.
//! Towards running only after a live look at node, StatefulSet and pods: a pod may come of it, and no second one may
//! ever mount the claim (hazards, invariant 1).

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::{PlanPhase, TaskType};
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Fault, Field, Kind, ObjectRef, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, ResourceVersion, Uid};
use crate::owner::{self, Owner};
use crate::plan::advance::is_complete;
use crate::pod;
use crate::render;
use crate::rivals::{self, Permit};
use crate::world::{Seen, Topic, World};

/// Annotation of the StatefulSet: the generation of the node that asked for the pause.
pub const PAUSED_GENERATION: &str = "sei.io/paused-generation";

/// How often something that stands in the way of a start or a stop is looked at again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be done about `replicas`.
#[derive(Debug)]
pub(crate) enum Scale {
    /// Nothing.
    Right,
    /// This write.
    Do(Effect),
    /// Look first.
    Look(BTreeSet<Topic>),
    /// Nothing yet.
    Wait(WaitingOn, Wake),
}

/// Whether to start the pod of a node that is not paused.
pub(crate) fn start(world: World<'_>, draft: &mut StatusDraft<'_>) -> Scale {
    let observed = world.observed;
    let Some(sts) =
        observed.statefulset.present().filter(|s| owner::of(&s.metadata, world.node) == Owner::Ours)
    else {
        return Scale::Right;
    };
    if replicas(sts) != 0 || sts.metadata.deletion_timestamp.is_some() || world.node.spec.paused == Some(true)
    {
        return Scale::Right;
    }
    if let Some(plan) = draft.status().plan.as_ref() {
        // The volume is the bootstrap's until that is torn down; and what an active plan is yet to apply is not started.
        let applied =
            plan.phase != PlanPhase::Active || is_complete(plan, &TaskType::ApplyStatefulSet) != Some(false);
        if is_complete(plan, &TaskType::TeardownBootstrap) == Some(false) || !applied {
            return Scale::Right;
        }
    }
    // Its controller writes to a new object right away; a start in between would only be refused as stale.
    if sts.status.as_ref().and_then(|s| s.observed_generation) < sts.metadata.generation {
        let text = "the StatefulSet was not observed by its controller yet".to_owned();
        return Scale::Wait(WaitingOn::Pod(text), Wake::After(AGAIN));
    }
    let wanted = BTreeSet::from([Topic::Node, Topic::StatefulSet, Topic::Pods, Topic::Neighbourhood]);
    if !wanted.is_subset(&observed.looked) {
        return Scale::Look(wanted);
    }
    if let Some(wait) = others_on_the_claim(world).or_else(|| rivals(world, draft)) {
        return wait;
    }
    write(world, of_set(world, sts), Field::Replicas(1))
}

/// Until its bootstrap is torn down, a StatefulSet that exists has no pod, and the bootstrap Job is let go once nothing
/// else mounts the claim (W1).
pub(crate) fn bootstrap(world: World<'_>, draft: &mut StatusDraft<'_>) -> Scale {
    let observed = world.observed;
    let Some(plan) =
        draft.status().plan.as_ref().filter(|p| is_complete(p, &TaskType::TeardownBootstrap) == Some(false))
    else {
        return Scale::Right;
    };
    let ours = observed.statefulset.present().filter(|s| owner::of(&s.metadata, world.node) == Owner::Ours);
    if let Some(sts) = ours.filter(|s| replicas(s) != 0) {
        let wanted = BTreeSet::from([Topic::Node, Topic::StatefulSet]);
        if !wanted.is_subset(&observed.looked) {
            return Scale::Look(wanted);
        }
        return write(world, of_set(world, sts), Field::Replicas(0));
    }
    let waits =
        plan.phase == PlanPhase::Active && is_complete(plan, &TaskType::DeployBootstrapJob) == Some(true);
    let Some(job) =
        observed.job.present().filter(|j| owner::of(&j.metadata, world.node) == Owner::Ours && waits)
    else {
        return Scale::Right;
    };
    if !is_suspended(job) || job.metadata.deletion_timestamp.is_some() {
        return Scale::Right;
    }
    let wanted =
        BTreeSet::from([Topic::Node, Topic::StatefulSet, Topic::Job, Topic::Pods, Topic::Neighbourhood]);
    if !wanted.is_subset(&observed.looked) {
        return Scale::Look(wanted);
    }
    match others_on_the_claim(world).or_else(|| rivals(world, draft)) {
        Some(wait) => wait,
        None => write(world, of_job(world, job), Field::Suspend(false)),
    }
}

/// Another node that has a say in the start.
fn rivals(world: World<'_>, draft: &mut StatusDraft<'_>) -> Option<Scale> {
    match rivals::permit(world, draft) {
        Permit::Granted => None,
        Permit::Look(topics) => Some(Scale::Look(topics)),
        Permit::Refused(why, wake) => Some(Scale::Wait(why, wake)),
    }
}

/// A bootstrap Job of ours that was never let go and that no plan wants: made by a write that came late. It is removed, by
/// uid and version, after a look past the cache; one that runs or has run is none of this rule's.
pub(crate) fn leftover(world: World<'_>) -> Scale {
    let Some(job) = world.observed.job.present() else { return Scale::Right };
    let inert = is_suspended(job) && job.status.as_ref().is_none_or(|s| s.start_time.is_none());
    let ours = owner::of(&job.metadata, world.node) == Owner::Ours;
    if !inert || !ours || job.metadata.deletion_timestamp.is_some() {
        return Scale::Right;
    }
    let wanted = BTreeSet::from([Topic::Node, Topic::Job]);
    if !wanted.is_subset(&world.observed.looked) {
        return Scale::Look(wanted);
    }
    let Target { object, uid, version } = of_job(world, job);
    let id = EffectId::new(format!("leftover/{uid}/{version}"));
    match world.observed.fault(&id) {
        Some(fault) => Scale::Wait(
            WaitingOn::Bootstrap(format!("a leftover Job could not be removed: {}", fault.text())),
            Wake::After(AGAIN),
        ),
        None => Scale::Do(Effect {
            id,
            task: None,
            op: Op::Delete { target: object, uid, version: Some(version) },
        }),
    }
}

/// A pod that mounts the claim, or what can't be told about it.
fn others_on_the_claim(world: World<'_>) -> Option<Scale> {
    let claim = mode::data_claim_name(world.node.name(), &world.node.spec);
    match &world.observed.pods {
        Seen::Unknown(blind) => {
            Some(Scale::Wait(WaitingOn::Blind(Topic::Pods, blind.clone()), Wake::After(AGAIN)))
        }
        Seen::Absent => None,
        Seen::Present(pods) => pods.iter().find(|p| pod::mounts(p, &claim)).map(|other| {
            let text = format!(
                "pod {} still mounts claim {claim}; the node starts once it is gone",
                pod::name(other)
            );
            Scale::Wait(WaitingOn::Pod(text), Wake::After(AGAIN))
        }),
    }
}

/// Stops a paused node, and tells whether it is stopped: `Paused` is True only if nothing of it runs any more (W9).
pub(crate) fn stop(world: World<'_>, draft: &mut StatusDraft<'_>) -> Scale {
    let observed = world.observed;
    let generation = world.node.generation();
    let sts = match &observed.statefulset {
        Seen::Unknown(blind) => {
            let wait = WaitingOn::Blind(Topic::StatefulSet, blind.clone());
            return unless_looked(world, Topic::StatefulSet, || not_stopped(draft, wait));
        }
        Seen::Present(sts) if owner::of(&sts.metadata, world.node) == Owner::Ours => Some(sts),
        Seen::Present(_) | Seen::Absent => None,
    };
    if let Some(sts) = sts {
        let marked = sts.metadata.annotations.as_ref().and_then(|a| a.get(PAUSED_GENERATION));
        if replicas(sts) != 0 || marked.is_none_or(|m| *m != generation.to_string()) {
            let wanted = BTreeSet::from([Topic::Node, Topic::StatefulSet]);
            if !wanted.is_subset(&observed.looked) {
                return Scale::Look(wanted);
            }
            return write(world, of_set(world, sts), Field::Paused { generation });
        }
        let status = sts.status.clone().unwrap_or_default();
        if status.observed_generation < sts.metadata.generation || status.replicas != 0 {
            return not_stopped(draft, WaitingOn::Stopping("the StatefulSet still counts a pod".into()));
        }
    }
    if let Some(scale) = stop_job(world, draft, generation) {
        return scale;
    }
    let known = draft.find(&ConditionType::Paused);
    let shown =
        known.is_some_and(|c| c.status == ConditionStatus::True && c.observed_generation == Some(generation));
    // A late cache may not show yet what a write of ours, or of an operator before us, has made.
    let wanted = BTreeSet::from([Topic::StatefulSet, Topic::Job, Topic::Pods]);
    if !shown && !wanted.is_subset(&observed.looked) {
        return Scale::Look(wanted);
    }
    let claim = mode::data_claim_name(world.node.name(), &world.node.spec);
    match &observed.pods {
        Seen::Unknown(blind) if !shown => not_stopped(draft, WaitingOn::Blind(Topic::Pods, blind.clone())),
        Seen::Present(pods) if pods.iter().any(|p| pod::mounts(p, &claim)) => {
            if !observed.has_looked(&Topic::Pods) {
                return Scale::Look(BTreeSet::from([Topic::Pods]));
            }
            not_stopped(draft, WaitingOn::Stopping(format!("a pod still mounts claim {claim}")))
        }
        Seen::Unknown(_) | Seen::Absent | Seen::Present(_) => {
            draft.condition(
                ConditionType::Paused,
                ConditionStatus::True,
                "Paused",
                "the node is stopped: no pod of it exists",
            );
            Scale::Right
        }
    }
}

fn unless_looked(world: World<'_>, topic: Topic, otherwise: impl FnOnce() -> Scale) -> Scale {
    if world.observed.has_looked(&topic) { otherwise() } else { Scale::Look(BTreeSet::from([topic])) }
}

fn not_stopped(draft: &mut StatusDraft<'_>, why: WaitingOn) -> Scale {
    draft.condition(ConditionType::Paused, ConditionStatus::False, "Stopping", &why.to_string());
    Scale::Wait(why, Wake::After(AGAIN))
}

fn replicas(sts: &StatefulSet) -> i32 {
    sts.spec.as_ref().map_or(1, |s| s.replicas.unwrap_or(1))
}

/// Suspends the bootstrap Job of a paused node; `None` once it is absent, suspended without a pod, or has ended.
fn stop_job(world: World<'_>, draft: &mut StatusDraft<'_>, generation: i64) -> Option<Scale> {
    let job = match &world.observed.job {
        Seen::Unknown(blind) => {
            let wait = WaitingOn::Blind(Topic::Job, blind.clone());
            return Some(unless_looked(world, Topic::Job, || not_stopped(draft, wait)));
        }
        Seen::Present(job) if owner::of(&job.metadata, world.node) == Owner::Ours => job,
        Seen::Present(_) | Seen::Absent => return None,
    };
    let status = job.status.clone().unwrap_or_default();
    if status
        .conditions
        .iter()
        .flatten()
        .any(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
    {
        return None;
    }
    let marked = job.metadata.annotations.as_ref().and_then(|a| a.get(PAUSED_GENERATION));
    if !is_suspended(job) || marked.is_none_or(|m| *m != generation.to_string()) {
        let wanted = BTreeSet::from([Topic::Node, Topic::Job]);
        if !wanted.is_subset(&world.observed.looked) {
            return Some(Scale::Look(wanted));
        }
        return Some(write(world, of_job(world, job), Field::Paused { generation }));
    }
    (status.active.unwrap_or(0) > 0)
        .then(|| not_stopped(draft, WaitingOn::Stopping("the bootstrap Job still has a pod".to_owned())))
}

fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().is_some_and(|s| s.suspend == Some(true))
}

/// What a scaling write is decided on.
struct Target {
    object: ObjectRef,
    uid: Uid,
    version: ResourceVersion,
}

fn of_set(world: World<'_>, sts: &StatefulSet) -> Target {
    target(world, Kind::StatefulSet, world.node.name().to_owned(), &sts.metadata)
}

fn of_job(world: World<'_>, job: &Job) -> Target {
    target(world, Kind::Job, render::names::bootstrap_job(world.node.name()), &job.metadata)
}

fn target(world: World<'_>, kind: Kind, name: String, meta: &ObjectMeta) -> Target {
    let object = ObjectRef { kind, namespace: world.node.namespace().to_owned(), name };
    Target { object, uid: owner::uid(meta), version: owner::version(meta) }
}

fn write(world: World<'_>, on: Target, field: Field) -> Scale {
    let Target { object, uid, version } = on;
    let verb = match field {
        Field::Replicas(0) | Field::Suspend(true) | Field::Paused { .. } => "stop",
        Field::Replicas(_) | Field::Suspend(false) => "start",
    };
    let id = EffectId::new(format!("scale/{uid}/{version}/{verb}"));
    if let Some(fault) = world.observed.fault(&id) {
        // A conflict carries another version next time, so what is left here is worth a pause.
        let conflict = matches!(fault, Fault::Conflict(_));
        let why = WaitingOn::NotScaled(format!(
            "{:?} {} could not be scaled: {}",
            object.kind,
            object.name,
            fault.text()
        ));
        return Scale::Wait(why, Wake::After(if conflict { Duration::from_millis(200) } else { AGAIN }));
    }
    Scale::Do(Effect { id, task: None, op: Op::Patch { target: object, field, uid, version } })
}
