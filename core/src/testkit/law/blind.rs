//! Law 7: making a world darker never makes a verdict, a delete or a start out of nothing.

use std::collections::BTreeMap;

use super::super::scene::Scene;
use crate::api::{PlanPhase, TaskStatus, TaskType};
use crate::decision::Decision;
use crate::effect::{Field, Op};
use crate::task::{is_of_sidecar, wire};
use crate::world::{Blind, Registry, Seen};

/// Which parts of a world are dark: StatefulSet, Service, ConfigMap, claim, volume, pods, Secrets, sidecar, peers, Job.
pub type Mask = [bool; 10];

/// The same world with parts of it dark.
fn darker(scene: &Scene, mask: Mask) -> Scene {
    fn hide<T>(seen: &mut Seen<T>, is_dark: bool) {
        if is_dark {
            *seen = Seen::Unknown(Blind::Unreachable("dark".to_owned()));
        }
    }
    let mut scene = scene.clone();
    let observed = &mut scene.observed;
    hide(&mut observed.statefulset, mask[0]);
    hide(&mut observed.service, mask[1]);
    hide(&mut observed.config_map, mask[2]);
    hide(&mut observed.data_pvc, mask[3]);
    hide(&mut observed.volume, mask[4]);
    hide(&mut observed.pods, mask[5]);
    if mask[6] {
        observed.secrets = BTreeMap::new();
    }
    // Who can't tell about the pod can't reach its sidecar either.
    let sidecar = mask[0] || mask[5] || mask[7];
    hide(&mut observed.sidecar_tasks, sidecar);
    hide(&mut observed.health, sidecar);
    hide(&mut observed.job, mask[9]);
    hide(&mut observed.peers, mask[8]);
    hide(&mut observed.neighbourhood, mask[8]);
    if mask[8] {
        observed.registry = Registry::Unreadable("dark".to_owned());
    }
    scene
}

/// What a decision settles: how the plan ends, what is deleted or started.
#[derive(Debug, Default, PartialEq)]
struct Settled {
    verdict: Option<String>,
    /// The plan is replaced by another one.
    replaced: bool,
    /// Something is stopped first, whatever the plan is at.
    stops: bool,
    grave: Vec<String>,
}

fn settled(scene: &Scene) -> Settled {
    let mut scene = scene.clone();
    let Some(decision) = scene.settle() else { return Settled::default() };
    let before = scene.node.status.plan.as_ref();
    let mut replaced = false;
    let verdict = match &decision {
        Decision::Commit(commit) => {
            let after = commit.write().status.plan.as_ref();
            replaced = before.is_some_and(|b| after.is_some_and(|a| a.id != b.id));
            let ended = |p: &PlanPhase| matches!(p, PlanPhase::Complete | PlanPhase::Failed);
            let kept = after.filter(|a| before.is_some_and(|b| b.phase == PlanPhase::Active && b.id == a.id));
            // A plan that is replaced by nothing says why; one that has ended does not.
            let ended_well =
                decision.show()["commit"]["then"]["rest"]["why"].as_array().is_some_and(Vec::is_empty);
            let removed =
                before.is_some_and(|b| b.phase == PlanPhase::Active) && after.is_none() && ended_well;
            kept.filter(|a| ended(&a.phase))
                .map(|a| a.phase.to_string())
                .or(removed.then(|| "removed".to_owned()))
        }
        Decision::Act(_) | Decision::Look(_) | Decision::Rest(_) => None,
    };
    let effects = super::effects(decision, &scene.node);
    let grave = effects.iter().filter(|e| match &e.op {
        Op::Delete { .. } => true,
        Op::Patch { field, .. } => matches!(field, Field::Replicas(1..) | Field::Suspend(false)),
        // Only the last step of a deletion removes one.
        Op::Finalizer { .. } => scene.node.is_deleting(),
        Op::Announce(_) | Op::Apply { .. } | Op::Workflow(_) | Op::Submit(_) | Op::Withdraw(_) => false,
    });
    let stops = effects.iter().any(|e| {
        matches!(
            &e.op,
            Op::Patch { field: Field::Replicas(0) | Field::Suspend(true) | Field::Paused { .. }, .. }
        )
    });
    Settled { verdict, replaced, stops, grave: grave.map(|e| format!("{} {}", e.op.verb(), e.id)).collect() }
}

/// Whether the stored plan ends by what is stored: in the light it may be replaced before that.
fn settles_itself(scene: &Scene) -> bool {
    let Some(plan) = &scene.node.status.plan else { return false };
    plan.tasks.iter().find(|t| t.status != TaskStatus::Complete).is_none_or(|task| {
        let unreadable =
            is_of_sidecar(&task.task_type) && wire::params(&task.task_type, &task.params).is_err();
        let nameless =
            task.params.get("secretName").and_then(serde_json::Value::as_str).is_none_or(str::is_empty);
        let is_check = matches!(
            task.task_type,
            TaskType::ValidateSigningKey | TaskType::ValidateNodeKey | TaskType::ValidateOperatorKeyring
        );
        task.status == TaskStatus::Failed
            || unreadable
            || (is_check && nameless)
            || matches!(task.task_type, TaskType::Other(_))
    })
}

/// What becomes settled when parts of a world go dark, and was not in the light.
pub fn new_verdict(scene: &Scene, mask: Mask) -> Option<String> {
    let (light, dark) = (settled(scene), settled(&darker(scene, mask)));
    // In the light a plan may be replaced although all of it is seen to be done.
    let is_done = light.replaced && matches!(dark.verdict.as_deref(), Some("Complete" | "removed"));
    if dark.verdict.is_some() && dark.verdict != light.verdict && !is_done && !settles_itself(scene) {
        return Some(format!(
            "law 7: the plan is {:?} in the dark, {:?} in the light",
            dark.verdict, light.verdict
        ));
    }
    // What is stopped first in the light is followed by the same deletes.
    let later = |deed: &str| light.stops && deed.starts_with("delete ");
    let new: Vec<_> = dark.grave.iter().filter(|g| !light.grave.contains(g) && !later(g)).collect();
    (!new.is_empty()).then(|| format!("law 7: only in the dark: {new:?}"))
}
