//! A decision in one line, for tables.

use super::law;
use super::scene::Scene;
use crate::api::condition::{Condition, ConditionType, find};
use crate::api::{NodePhase, PlanPhase};
use crate::decision::{Decision, Rest, Wake};
use crate::effect::{Effect, Field, Op, WorkflowChange};

/// What comes of a world after all looks, in one line: `act submit`, `commit Active Initializing, then apply`,
/// `rest 5s: ...`. Announcements are left out.
pub fn of(scene: &Scene) -> String {
    let mut scene = scene.clone();
    match scene.settle() {
        None => "looks for ever".to_owned(),
        Some(decision) => line(decision, &scene),
    }
}

/// One decision, looks included, in one line.
pub fn first(scene: &Scene) -> String {
    line(scene.decide(), scene)
}

fn line(decision: Decision, scene: &Scene) -> String {
    let head = match &decision {
        Decision::Look(topics) => {
            let names: Vec<String> = topics.iter().map(|t| format!("{t:?}")).collect();
            return format!("look {}", names.join(", "));
        }
        Decision::Rest(rest) => return said(rest),
        Decision::Act(_) => "act".to_owned(),
        Decision::Commit(commit) => {
            let status = &commit.write().status;
            let plan = status.plan.as_ref().map_or("none", |p| p.phase.as_str());
            let most =
                status.plan.iter().flat_map(|p| &p.tasks).map(|t| t.retry_count).max().unwrap_or_default();
            let phase = status.phase.as_ref().map_or("none", NodePhase::as_str);
            let retried = if most > 0 && plan == PlanPhase::Active.as_str() {
                format!(" retry {most}")
            } else {
                String::new()
            };
            format!("commit {plan} {phase}{retried}")
        }
    };
    let verbs: Vec<String> = law::effects(decision, &scene.node).iter().filter_map(verb).collect();
    if verbs.is_empty() { head } else { format!("{head}, {}", verbs.join(", ")) }
}

fn verb(effect: &Effect) -> Option<String> {
    match &effect.op {
        Op::Announce(_) => None,
        Op::Apply { manifest, .. } => Some(format!("apply {:?}", manifest.target().kind)),
        Op::Patch { field: Field::Replicas(n), .. } => Some(format!("replicas {n}")),
        Op::Patch { field: Field::Paused { generation }, .. } => Some(format!("pause {generation}")),
        Op::Delete { target, .. } => Some(format!("delete {:?} {}", target.kind, target.name)),
        Op::Finalizer { finalizers, .. } => Some(format!("finalizers {finalizers:?}")),
        Op::Patch { field: Field::Suspend(suspend), .. } => Some(format!("suspend {suspend}")),
        Op::Workflow(write) => Some(match &write.change {
            WorkflowChange::Finalizers(finalizers) => format!("workflow finalizers {finalizers:?}"),
            WorkflowChange::Status(status) => {
                format!(
                    "workflow {}",
                    status.pointer("/phase").and_then(|p| p.as_str()).unwrap_or("progress")
                )
            }
        }),
        Op::Submit(submit) => Some(format!("submit {}", submit.task_type)),
        Op::Withdraw(_) => Some("withdraw".to_owned()),
    }
}

/// A rest in one line.
pub fn said(rest: &Rest) -> String {
    let wake = match rest.wake {
        Wake::OnChange => "on change".to_owned(),
        Wake::After(delay) => format!("{}ms", delay.as_millis()),
    };
    let why: Vec<String> = rest.why.iter().map(ToString::to_string).collect();
    format!("rest {wake}: {}", why.join("; "))
}

/// A condition as the next write of this world has it; as stored if there is none.
pub fn condition(scene: &Scene, kind: &ConditionType) -> Option<Condition> {
    let mut scene = scene.clone();
    match scene.settle() {
        Some(Decision::Commit(commit)) => find(&commit.write().status.conditions, kind).cloned(),
        Some(Decision::Act(_) | Decision::Look(_) | Decision::Rest(_)) | None => {
            find(&scene.node.status.conditions, kind).cloned()
        }
    }
}

/// Reasons of the events that follow the next write.
pub fn events(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    let effects = scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default();
    let reasons = effects.into_iter().filter_map(|e| match e.op {
        Op::Announce(notice) => Some(notice.reason.to_owned()),
        Op::Apply { .. }
        | Op::Patch { .. }
        | Op::Delete { .. }
        | Op::Finalizer { .. }
        | Op::Workflow(_)
        | Op::Submit(_)
        | Op::Withdraw(_) => None,
    });
    reasons.collect()
}
