//! Judges: what one decision on one world breaks.
//!
//! Answers: which laws are broken, in words. An empty list is the only pass. Refuses to know: how the world came about.

mod blind;
mod effect;
mod write;

pub use blind::{Mask, new_verdict};

use crate::api::SeiNode;
use crate::api::status::PlanPhase;
use crate::decision::{Decision, Rest};
use crate::effect::Effect;

use super::scene::{Scene, stored};

/// Longest chain of commits that one unchanged world may lead to: take the node back from a workflow that is gone, end a plan,
/// show the new state, start the next plan, see it fail, show that.
pub const LONGEST_CHAIN: usize = 6;

/// What the decisions on a world break, all looks included.
pub fn broken(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    loop {
        let decision = scene.decide();
        let found = judge(&scene, &decision);
        match decision {
            Decision::Look(topics) if found.is_empty() => scene.observed.looked.extend(topics),
            Decision::Look(_) | Decision::Act(_) | Decision::Commit(_) | Decision::Rest(_) => return found,
        }
    }
}

/// What one decision on a world breaks.
pub fn judge(scene: &Scene, decision: &Decision) -> Vec<String> {
    let again = scene.decide();
    let mut out = Vec::new();
    if decision.show() != again.show() {
        out.push("law 9: the same world was decided in two ways".to_owned());
    }
    let mut plan = scene.node.status.plan.as_ref();
    match decision {
        Decision::Look(topics) if topics.is_subset(&scene.observed.looked) => {
            out.push("law 6: the same look is asked for again and again".to_owned());
        }
        Decision::Commit(commit) => {
            out.extend(write::broken(scene, commit.write()));
            plan = commit.write().status.plan.as_ref();
        }
        Decision::Rest(rest) => out.extend(silent(&scene.node, rest)),
        Decision::Act(_) | Decision::Look(_) => {}
    }
    out.extend(effect::broken(scene, plan, &effects(again, &scene.node)));
    out
}

/// The effects of a decision; those of a commit against the answer that the API server would give.
pub fn effects(decision: Decision, node: &SeiNode) -> Vec<Effect> {
    match decision {
        Decision::Act(act) => act.into_parts().0,
        Decision::Commit(commit) => {
            let answer = stored(node, commit.write());
            commit.stored(&answer).map(|act| act.into_parts().0).unwrap_or_default()
        }
        Decision::Look(_) | Decision::Rest(_) => Vec::new(),
    }
}

/// Law 10: while a plan is active or the phase is not Running there is a reason.
fn silent(node: &SeiNode, rest: &Rest) -> Option<String> {
    let active = node.status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active);
    let unsettled = active || node.status.phase != Some(crate::api::NodePhase::Running);
    let gone = node.is_deleting() && !node.has_finalizer();
    (unsettled && !gone && rest.why.is_empty()).then(|| "law 10: it rests without a reason".to_owned())
}

/// Law 6: a world where nothing but the stored status changes leads to no more than a few writes, never the same twice.
pub fn restless(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    let mut patches = Vec::new();
    loop {
        let Some(decision) = scene.settle() else {
            return vec!["law 6: the same look is asked for again and again".to_owned()];
        };
        let Decision::Commit(commit) = decision else { return Vec::new() };
        let write = commit.write().clone();
        if patches.contains(&write.patch) {
            return vec![format!("law 6: the same write again: {}", write.patch)];
        }
        patches.push(write.patch.clone());
        if patches.len() > LONGEST_CHAIN {
            return vec![format!("law 6: no end of writes: {patches:?}")];
        }
        scene.store(&write);
    }
}
