//! The laws that can be told from one status, or from a status and the one that follows it.
//!
//! A linter, not a gate: it is asserted by every test that makes a trace, and `plan` prints what it finds.

use std::collections::BTreeSet;

use crate::api::condition::{self, ConditionStatus, ConditionType};
use crate::api::status::StoredPlan;
use crate::api::{NodePhase, PlanPhase, SeiNodeStatus, TaskStatus, TaskType};
use crate::ident;

/// One broken law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Number of the law in `docs/architecture.md`.
    pub law: u8,
    /// What is wrong.
    pub text: String,
}

fn finding(law: u8, text: impl Into<String>) -> Finding {
    Finding { law, text: text.into() }
}

/// What is wrong with one status.
pub fn status(status: &SeiNodeStatus) -> Vec<Finding> {
    let mut out = Vec::new();
    let types: BTreeSet<_> = status.conditions.iter().map(|c| &c.condition_type).collect();
    if types.len() != status.conditions.len() {
        out.push(finding(11, "a condition type appears twice"));
    }
    if let Some(plan) = &status.plan {
        if plan.phase == PlanPhase::Complete && plan.tasks.iter().any(|t| t.status != TaskStatus::Complete) {
            out.push(finding(3, "a Complete plan has a task that is not"));
        }
        if (plan.phase == PlanPhase::Failed) != plan.failed_task_detail.is_some() {
            out.push(finding(3, "a plan is Failed without detail, or has detail without being Failed"));
        }
        let first_open =
            plan.tasks.iter().position(|t| t.status != TaskStatus::Complete).unwrap_or(plan.tasks.len());
        if plan.tasks.iter().skip(first_open + 1).any(|t| t.status == TaskStatus::Complete) {
            out.push(finding(8, "a task is Complete before one that stands earlier"));
        }
        let ids: BTreeSet<_> = plan.tasks.iter().map(|t| &t.id).collect();
        if ids.len() != plan.tasks.len() {
            out.push(finding(2, "two tasks have one id"));
        }
    }
    let silent = condition::find(&status.conditions, &ConditionType::Ready)
        .is_none_or(|c| c.status != ConditionStatus::True && c.reason.is_empty());
    let unsettled = status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active)
        || matches!(status.phase, Some(NodePhase::Initializing | NodePhase::Failed));
    if unsettled && silent {
        out.push(finding(10, "the node is not settled and says nothing about what is waited for"));
    }
    out
}

/// What is wrong with a step from one stored status to the next one.
pub fn step(before: &SeiNodeStatus, after: &SeiNodeStatus) -> Vec<Finding> {
    let mut out = Vec::new();
    if let (Some(a), Some(b)) = (&before.plan, &after.plan)
        && a.id == b.id
    {
        let finished = |phase: &PlanPhase| matches!(phase, PlanPhase::Complete | PlanPhase::Failed);
        if finished(&a.phase) && a.phase != b.phase {
            out.push(finding(8, "a finished plan was reopened"));
        }
        // One task may be put in (S20); the others stay in their order.
        let grown = b.tasks.len().saturating_sub(a.tasks.len());
        let at = a.tasks.iter().zip(&b.tasks).position(|(x, y)| x.id != y.id).unwrap_or(a.tasks.len());
        if b.tasks.len() < a.tasks.len() || grown > 1 {
            out.push(finding(8, "tasks were taken out of a plan, or more than one was put in"));
        }
        let kept = b.tasks.iter().take(at).chain(b.tasks.iter().skip(at + grown));
        for (x, y) in a.tasks.iter().zip(kept) {
            if x.id != y.id {
                out.push(finding(8, format!("task {} is not where it was in its plan", x.task_type)));
                continue;
            }
            if x.status == TaskStatus::Complete && y.status != TaskStatus::Complete {
                out.push(finding(8, format!("task {} was Complete and is not any more", x.task_type)));
            }
            if y.retry_count < x.retry_count {
                out.push(finding(8, format!("task {} lost count of its retries", x.task_type)));
            }
            if x.params != y.params {
                out.push(finding(8, format!("params of task {} changed", x.task_type)));
            }
        }
    }
    out.extend(door(before, after));
    for old in &before.conditions {
        match condition::find(&after.conditions, &old.condition_type) {
            None => out.push(finding(11, format!("condition {} vanished", old.condition_type))),
            Some(new) => {
                let moved = old.last_transition_time != new.last_transition_time;
                if moved && old.status == new.status && old.since().is_some() {
                    out.push(finding(
                        11,
                        format!("condition {} moved its time without a change", old.condition_type),
                    ));
                }
            }
        }
    }
    out
}

/// Law 3: a plan ends and its phase change appears in the same write, and phases change by no other door.
fn door(before: &SeiNodeStatus, after: &SeiNodeStatus) -> Vec<Finding> {
    let mut out = Vec::new();
    let set = |p: &Option<NodePhase>| p.clone().filter(|p| !p.as_str().is_empty());
    let active = before.plan.as_ref().filter(|p| p.phase == PlanPhase::Active);
    let ended = match (active, &after.plan) {
        (Some(a), Some(b)) if a.id == b.id && b.phase == PlanPhase::Complete => Some(set(&a.target_phase)),
        (Some(a), Some(b)) if a.id == b.id && b.phase == PlanPhase::Failed => Some(set(&a.failed_phase)),
        (Some(a), None) if a.target_phase == before.phase => Some(None),
        // Superseded: the ids of its tasks are taken, and nothing replaces it on a node that serves.
        (Some(_), None) if before.phase == Some(NodePhase::Running) => None,
        (Some(_), None) => {
            out.push(finding(3, "an active plan that does not converge was removed"));
            None
        }
        _ => None,
    };
    match ended {
        Some(Some(phase)) if after.phase.as_ref() != Some(&phase) => {
            out.push(finding(3, format!("a plan ended without its phase {phase}")));
        }
        Some(None) if after.phase != before.phase => {
            out.push(finding(3, "a plan without a phase changed the phase"));
        }
        None if after.phase != before.phase => {
            let stamped =
                after.plan.as_ref().is_some_and(|p| before.plan.as_ref().is_none_or(|b| b.id != p.id));
            let fine = after.phase == Some(NodePhase::Terminating)
                || (stamped && matches!(after.phase, Some(NodePhase::Initializing | NodePhase::Failed)));
            if !fine {
                out.push(finding(3, "the phase changed without a plan that ended"));
            }
        }
        Some(_) | None => {}
    }
    out
}

/// What is wrong with the ids of a plan built by this operator: they follow from plan id, type and index.
pub fn derived_ids(status: &SeiNodeStatus) -> Vec<Finding> {
    let tasks =
        status.plan.iter().flat_map(|plan| plan.tasks.iter().enumerate().map(move |(i, t)| (plan, i, t)));
    // Tasks behind one that was put in while the plan ran (S20) keep the ids of their first places.
    let moved = |plan: &StoredPlan, index: usize| {
        let init = plan.tasks.iter().any(|t| t.task_type == TaskType::EnsureDataPvc);
        let patches = plan.tasks.iter().take(index).filter(|t| t.task_type == TaskType::ConfigPatch);
        if init { patches.count() } else { 0 }
    };
    tasks
        .filter(|(plan, index, task)| {
            let places = index - moved(plan, *index).min(*index)..=*index;
            !places.into_iter().any(|place| task.id == ident::task_id(&plan.id, &task.task_type, place))
        })
        .map(|(_, index, task)| finding(9, format!("id of task {index} ({}) is not derived", task.task_type)))
        .collect()
}
