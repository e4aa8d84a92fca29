//! `replicas` of the StatefulSet follows `spec.paused`, outside plans and in every phase.
//!
//! Answers: stop it, start it, or leave it. Each is a merge patch of that one field with uid and resourceVersion.
//! Towards running only after a live look at node, StatefulSet and pods: a pod may come of it, and no second one may
//! ever mount the claim (hazards, invariant 1).

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::{PlanPhase, TaskType};
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Fault, Field, Kind, ObjectRef, Op};
use crate::explain::WaitingOn;
use crate::ident::EffectId;
use crate::owner::{self, Owner};
use crate::plan::advance::is_complete;
use crate::pod;
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
pub(crate) fn start(world: World<'_>, draft: &StatusDraft<'_>) -> Scale {
    let observed = world.observed;
    let Some(sts) = observed.statefulset.present().filter(|s| owner::of(&s.metadata, world.node) == Owner::Ours) else {
        return Scale::Right;
    };
    if replicas(sts) != 0 || sts.metadata.deletion_timestamp.is_some() || world.node.spec.paused == Some(true) {
        return Scale::Right;
    }
    if let Some(plan) = draft.status().plan.as_ref().filter(|p| p.phase == PlanPhase::Active) {
        // An earlier task of the plan still has a say: the object may change, or the volume is somebody else's.
        let open = [TaskType::TeardownBootstrap, TaskType::ApplyStatefulSet];
        if open.iter().any(|t| is_complete(plan, t) == Some(false)) {
            return Scale::Right;
        }
    }
    // Its controller writes to a new object right away; a start in between would only be refused as stale.
    if sts.status.as_ref().and_then(|s| s.observed_generation) < sts.metadata.generation {
        let text = "the StatefulSet was not observed by its controller yet".to_owned();
        return Scale::Wait(WaitingOn::Pod(text), Wake::After(AGAIN));
    }
    let wanted = BTreeSet::from([Topic::Node, Topic::StatefulSet, Topic::Pods]);
    if !wanted.is_subset(&observed.looked) {
        return Scale::Look(wanted);
    }
    let claim = mode::data_claim_name(world.node.name(), &world.node.spec);
    match &observed.pods {
        Seen::Unknown(blind) => return Scale::Wait(WaitingOn::Blind(Topic::Pods, blind.clone()), Wake::After(AGAIN)),
        Seen::Absent => {}
        Seen::Present(pods) => {
            if let Some(other) = pods.iter().find(|p| pod::mounts(p, &claim)) {
                let text = format!("pod {} still mounts claim {claim}; the node starts once it is gone", pod::name(other));
                return Scale::Wait(WaitingOn::Pod(text), Wake::After(AGAIN));
            }
        }
    }
    write(world, sts, Field::Replicas(1))
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
            return write(world, sts, Field::Paused { generation });
        }
        let status = sts.status.clone().unwrap_or_default();
        if status.observed_generation < sts.metadata.generation || status.replicas != 0 {
            return not_stopped(draft, WaitingOn::Stopping("the StatefulSet still counts a pod".into()));
        }
    }
    let known = draft.find(&ConditionType::Paused);
    let shown = known.is_some_and(|c| c.status == ConditionStatus::True && c.observed_generation == Some(generation));
    if !shown && !observed.has_looked(&Topic::Pods) {
        return Scale::Look(BTreeSet::from([Topic::Pods]));
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
            draft.condition(ConditionType::Paused, ConditionStatus::True, "Paused", "the node is stopped: no pod of it exists");
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

fn write(world: World<'_>, sts: &StatefulSet, field: Field) -> Scale {
    let (uid, version) = (owner::uid(&sts.metadata), owner::version(&sts.metadata));
    let verb = match field {
        Field::Replicas(_) => "start",
        Field::Paused { .. } => "stop",
    };
    let id = EffectId::new(format!("scale/{uid}/{version}/{verb}"));
    if let Some(fault) = world.observed.fault(&id) {
        // A conflict carries another version next time, so what is left here is worth a pause.
        let conflict = matches!(fault, Fault::Conflict(_));
        let why = WaitingOn::Pod(format!("the StatefulSet could not be scaled: {}", fault.text()));
        return Scale::Wait(why, Wake::After(if conflict { Duration::from_millis(200) } else { AGAIN }));
    }
    let target = ObjectRef {
        kind: Kind::StatefulSet,
        namespace: world.node.namespace().to_owned(),
        name: world.node.name().to_owned(),
    };
    Scale::Do(Effect { id, task: None, op: Op::Patch { target, field, uid, version } })
}
