//! Events: what a status write means to people. They follow the write, so a conflict repeats none of them (V8).

use crate::api::condition::{self, ConditionStatus, ConditionType};
use crate::api::{NodePhase, SeiNode, SeiNodeStatus};
use crate::effect::{Effect, Notice, Op};
use crate::ident::EffectId;
use crate::workflow;

/// The events that the step from the stored status to the next one is worth.
pub(crate) fn of(node: &SeiNode, next: &SeiNodeStatus) -> Vec<Effect> {
    let base = &node.status;
    let mut out = Vec::new();
    if base.phase != next.phase
        && let Some(phase) = &next.phase
    {
        let before = base.phase.as_ref().map_or("none", NodePhase::as_str);
        out.push(normal("PhaseTransition", format!("phase changed from {before} to {phase}")));
        if *phase == NodePhase::Failed {
            let text = "the node has failed and needs attention: see status.plan.failedTaskDetail and condition PlanFailed";
            out.push(warning("NodeFailed", text.to_owned()));
        }
    }
    let before = |kind: &ConditionType| condition::find(&base.conditions, kind);
    for c in &next.conditions {
        let old = before(&c.condition_type);
        // What keeps a workflow changes under one reason.
        let changed = old.is_none_or(|o| {
            let retold = c.condition_type == ConditionType::WorkflowInProgress && o.message != c.message;
            retold || (&o.status, &o.reason) != (&c.status, &c.reason)
        });
        if !changed {
            continue;
        }
        match (&c.condition_type, &c.status) {
            (ConditionType::PlanFailed, ConditionStatus::True) => {
                out.push(warning("PlanFailed", c.message.clone()));
            }
            (ConditionType::StateSyncReady, status)
                if *status != ConditionStatus::True && c.reason != "NotApplicable" =>
            {
                out.push(warning("StateSyncBlocked", c.message.clone()));
            }
            (ConditionType::WorkflowInProgress, ConditionStatus::True)
                if workflow::deletion_held(&c.message) =>
            {
                out.push(warning("WorkflowDeleteHeld", c.message.clone()));
            }
            (ConditionType::SidecarReady, ConditionStatus::False) => {
                out.push(warning("SidecarReadinessLost", c.message.clone()));
            }
            // From Unknown too, if it was lost before (V11): the seeded Unknown has another reason.
            (ConditionType::SidecarReady, ConditionStatus::True)
                if old.is_some_and(|o| o.status == ConditionStatus::False || o.reason == "Unreachable") =>
            {
                out.push(normal("SidecarReadinessRestored", c.message.clone()));
            }
            _ => {}
        }
    }
    out.into_iter()
        .map(|notice| Effect {
            id: EffectId::new(format!("event/{}/{}", node.resource_version(), notice.reason)),
            task: None,
            op: Op::Announce(notice),
        })
        .collect()
}

fn normal(reason: &'static str, message: String) -> Notice {
    Notice { warning: false, reason, message }
}

fn warning(reason: &'static str, message: String) -> Notice {
    Notice { warning: true, reason, message }
}
