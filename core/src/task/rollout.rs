//! Tasks of a rollout: replace the pod of an old revision, and see the new one.
//!
//! Which pod is old is told by the pod's own revision label against `updateRevision`, read live; never by
//! `currentRevision`, which an `OnDelete` StatefulSet does not advance (W2). A pod is deleted by its uid, after the intent
//! is stored, and it counts as gone only when it is seen gone (S14, S15).

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;

use super::{Step, Turn};
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Kind, ObjectRef, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, TaskId};
use crate::owner::{self, Owner};
use crate::pod;
use crate::world::{Seen, Topic};

/// How often a rollout is looked at, if nothing changes.
const AGAIN: Duration = Duration::from_secs(5);

/// `replace-pod`.
pub(super) fn replace_pod(turn: &Turn<'_>) -> Step {
    let wanted = BTreeSet::from([Topic::StatefulSet, Topic::Pods]);
    if !wanted.is_subset(&turn.world.observed.looked) {
        return Step::Look(wanted);
    }
    let (sts, revision) = match rolled_template(turn) {
        Ok(found) => found,
        Err(step) => return step,
    };
    if sts.spec.as_ref().is_some_and(|s| s.replicas.unwrap_or(1) > 1) {
        return Step::Fail(
            "the StatefulSet has more than one replica; this operator runs one pod a node".to_owned(),
        );
    }
    let pods = match &turn.world.observed.pods {
        Seen::Unknown(blind) => return turn.look(Topic::Pods, blind),
        Seen::Absent => return Step::Done,
        Seen::Present(pods) => pods,
    };
    let uid = owner::uid(&sts.metadata);
    let old: Vec<&Pod> = pods
        .iter()
        .filter(|p| pod::is_controlled_by(p, "StatefulSet", uid.as_str()) && revision_of(p) != Some(revision))
        .collect();
    if old.is_empty() {
        return Step::Done;
    }
    let effects: Vec<Effect> =
        old.iter().filter(|p| p.metadata.deletion_timestamp.is_none()).map(|p| delete(turn, p)).collect();
    let Some(first) = effects.first() else {
        return wait(format!("pod {} of the old revision is being deleted", pod::name(old[0])));
    };
    if let Some(fault) = turn.world.observed.fault(&first.id) {
        return wait(format!("the pod of the old revision could not be deleted: {}", fault.text()));
    }
    // A deleted pod can't be taken back: that its turn has come is stored first.
    let stored = turn.world.node.status.plan.iter().flat_map(|p| &p.tasks);
    let intent = stored.into_iter().any(|t| t.id == turn.task.id && t.submitted_at.is_some());
    if intent { Step::Do(effects) } else { Step::StoreThenDo(effects) }
}

/// `observe-image`: done when the pod of the update revision has a node container that runs; its images are recorded as
/// it was asked to run them (S8).
pub(super) fn observe_image(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    let (sts, revision) = match rolled_template(turn) {
        Ok(found) => found,
        Err(step) => return step,
    };
    let pod = match pod::of_statefulset(&turn.world.observed.pods, sts) {
        Seen::Unknown(blind) => return turn.look(Topic::Pods, &blind),
        Seen::Absent => return wait("the pod of the new revision does not exist yet".to_owned()),
        Seen::Present(pod) => pod,
    };
    if revision_of(pod) != Some(revision) {
        return wait(format!("pod {} is still at the old revision", pod::name(pod)));
    }
    if !pod::is_running(pod, pod::SEID) {
        return wait(pod::why_not_running(pod, pod::SEID));
    }
    let (Some(seid), Some(sidecar)) =
        (pod::asked_image(pod, sts, pod::SEID), pod::asked_image(pod, sts, pod::SIDECAR))
    else {
        return wait(format!("pod {} lacks a container of the node", pod::name(pod)));
    };
    draft.fields().images(seid.to_owned(), sidecar.to_owned());
    Step::Done
}

/// The StatefulSet of ours and its update revision, once its controller has seen the template.
fn rolled_template<'a>(turn: &Turn<'a>) -> Result<(&'a StatefulSet, &'a str), Step> {
    let sts = match &turn.world.observed.statefulset {
        Seen::Unknown(blind) => return Err(turn.look(Topic::StatefulSet, blind)),
        Seen::Absent => return Err(wait("the StatefulSet does not exist".to_owned())),
        Seen::Present(sts) => sts,
    };
    if owner::of(&sts.metadata, turn.world.node) != Owner::Ours {
        return Err(wait("the StatefulSet is not controlled by this node".to_owned()));
    }
    let status = sts.status.as_ref();
    let revision = status.and_then(|s| s.update_revision.as_deref()).filter(|r| !r.is_empty());
    match revision {
        Some(revision) if status.and_then(|s| s.observed_generation) >= sts.metadata.generation => {
            Ok((sts, revision))
        }
        _ => Err(wait("the StatefulSet's new template was not observed by its controller yet".to_owned())),
    }
}

fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(pod::REVISION).map(String::as_str)
}

fn delete(turn: &Turn<'_>, pod: &Pod) -> Effect {
    let uid = owner::uid(&pod.metadata);
    let target = ObjectRef {
        kind: Kind::Pod,
        namespace: turn.world.node.namespace().to_owned(),
        name: pod::name(pod).to_owned(),
    };
    Effect {
        id: EffectId::new(format!("{}/{}/delete/{uid}", turn.task.id, turn.task.retry_count)),
        task: Some(TaskId::new(&turn.task.id)),
        op: Op::Delete { target, uid, version: None },
    }
}

fn wait(why: String) -> Step {
    Step::Wait(WaitingOn::Rollout(why), Wake::After(AGAIN))
}
