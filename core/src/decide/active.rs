//! An active plan goes on, is replaced, or ends.

use super::starting::{Not, init_plan};
use super::{NOW, failure_text, hold, peerless, resolve, settle, show_wait, with_start};
use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::status::StoredPlan;
use crate::api::{self, NodePhase, TaskType, mode};
use crate::config;
use crate::decision::{self, Decision, Place, Wake};
use crate::draft::{StatusDraft, Verdict};
use crate::explain::WaitingOn;
use crate::failure;
use crate::gate;
use crate::plan::advance::{Broken, Progress};
use crate::plan::supersede::Rest;
use crate::plan::{self, advance, choose, cursor, supersede};
use crate::scale::{self, Scale};
use crate::steady::{self, CanBeAsked};
use crate::task::bootstrap::MOST_RESTARTS;
use crate::turn;
use crate::world::World;

/// Stamps a new plan and starts with it.
pub(super) fn begin(world: World<'_>, mut draft: StatusDraft<'_>, plan: StoredPlan) -> Decision {
    draft.stamp(plan);
    let begun = draft.clone();
    let progress = advance::advance(world, &mut draft, false);
    if progress.ended && is_failed(&draft) && failure::is_unhandled(world.node) {
        // The back-off counts from the last failure, and one that begins and ends in a single write would not show as new.
        return settle(begun, Vec::new(), decision::Rest::new(NOW, Vec::new()));
    }
    carry_on(world, draft, progress, true)
}

/// An active plan goes on, unless it no longer says what is wanted. `broken`: a reason to replace it that was found.
pub(super) fn active(
    world: World<'_>,
    mut draft: StatusDraft<'_>,
    plan: &StoredPlan,
    broken: Option<String>,
    held: Option<String>,
) -> Decision {
    if let Some(text) = held {
        // A plan that has applied the StatefulSet runs to its end; an earlier one waits, and none is replaced.
        if advance::is_complete(plan, &TaskType::ApplyStatefulSet) == Some(false)
            || plan::is_convergence(plan)
        {
            let why = WaitingOn::Held(text);
            show_wait(&mut draft, &why);
            draft.insist();
            return with_start(world, draft, vec![why], Wake::OnChange);
        }
        let progress = advance::advance(world, &mut draft, true);
        if progress.broken.is_some() {
            // Nothing replaces a plan of a held node.
            draft.insist();
            return hold(draft, WaitingOn::Held(text), Wake::OnChange);
        }
        return carry_on(world, draft, progress, false);
    }
    let valid = mode::validate(&world.node.spec).is_ok();
    let outdated = || supersede::outdated(world, plan, peerless(world, &draft).inputs());
    if let Some(text) = broken.or_else(|| valid.then(outdated).flatten()) {
        return replace(world, draft, plan, Broken::Outdated(text));
    }
    let progress = advance::advance(world, &mut draft, false);
    carry_on(world, draft, progress, false)
}

/// What follows from walking the plan in the draft. `fresh`: the plan is not stored yet.
fn carry_on(world: World<'_>, mut draft: StatusDraft<'_>, progress: Progress, fresh: bool) -> Decision {
    if let Some(broken) = progress.broken {
        return match &world.node.status.plan {
            Some(plan) if !fresh => replace(world, draft, plan, broken),
            // What was just drafted is stored first.
            _ => settle(draft, Vec::new(), decision::Rest::new(NOW, Vec::new())),
        };
    }
    if progress.ended {
        return end(world, draft);
    }
    let Progress { mut effects, mut looks, mut why, wake, .. } = progress;
    let place = place(&draft);
    let mut wake = wake.unwrap_or(Wake::OnChange);
    let scale = match scale::bootstrap(world, &mut draft) {
        Scale::Right => scale::start(world, &mut draft),
        other => other,
    };
    match scale {
        Scale::Right => {}
        // First: what it was decided on ages.
        Scale::Do(effect) => effects.insert(0, effect),
        Scale::Look(topics) => looks.extend(topics),
        Scale::Wait(reason, at) => {
            why.push(reason);
            wake = wake.sooner(at);
        }
    }
    if fresh {
        // The plan is stored first, and looked at with fresh eyes then.
        let again = if looks.is_empty() { wake } else { NOW };
        return settle(draft, effects, decision::Rest::new(again, why).at(place));
    }
    if effects.is_empty() && !looks.is_empty() {
        return Decision::Look(looks);
    }
    settle(draft, effects, decision::Rest::new(wake, why).at(place))
}

/// How far the plan in the draft is.
fn place(draft: &StatusDraft<'_>) -> Option<Place> {
    let plan = draft.status().plan.as_ref()?;
    Some(Place { plan: plan.id.clone(), done: cursor(plan).unwrap_or(plan.tasks.len()) })
}

/// A plan that can't go on is brought to rest, and then replaced by what today asks for; the phase stays.
fn replace(world: World<'_>, mut draft: StatusDraft<'_>, plan: &StoredPlan, broken: Broken) -> Decision {
    let node = world.node;
    match supersede::quiesce(world, plan) {
        Rest::AtRest => {}
        Rest::Look(topics) => return Decision::Look(topics),
        Rest::Do(effect) => {
            // How far the plan came is stored before what shows it is removed.
            draft.insist();
            advance::keep_shown(world, &mut draft);
            return settle(draft, vec![effect], decision::Rest::new(NOW, Vec::new()));
        }
        Rest::Wait(why, wake) => {
            advance::note_replacing(world, &mut draft, &why);
            return settle(draft, Vec::new(), decision::Rest::new(wake, vec![why]));
        }
    }
    let restarts = match &broken {
        Broken::Lost(at, text) => {
            let restarts = plan.tasks.get(*at).map_or(0, |t| t.retry_count);
            if restarts >= MOST_RESTARTS {
                let index = cursor(plan).unwrap_or(*at);
                let error = format!("{text}; it was started anew {restarts} times");
                draft.close(&Verdict::Failed { index, error });
                return end(world, draft);
            }
            Some(restarts)
        }
        Broken::NotOurs(_) | Broken::Outdated(_) => None,
    };
    let (next, peers) = if node.status.phase == Some(NodePhase::Running) {
        let resolved = match resolve(world, &draft) {
            Ok(resolved) => resolved,
            Err(look) => return look,
        };
        let answering = !matches!(steady::can_be_asked(world, &draft), CanBeAsked::No);
        let chosen = choose::for_running(world, &draft, resolved.inputs(), answering);
        if let (Some((_, Some(_))), Err(error)) = (&chosen, mode::validate(&node.spec)) {
            return hold(draft, WaitingOn::SpecInvalid(error.to_string()), Wake::OnChange);
        }
        (chosen.map(|(recipe, _)| recipe.plan(node)), resolved.peers)
    } else {
        let blocked = gate::witnesses::gate(world, &mut draft);
        // What follows a lost bootstrap starts from nothing.
        let before = restarts.is_none().then_some(plan);
        match init_plan(world, &mut draft, before, blocked) {
            Ok((mut next, peers)) => {
                let deploy = next.tasks.iter_mut().find(|t| t.task_type == TaskType::DeployBootstrapJob);
                if let (Some(task), Some(restarts)) = (deploy, restarts) {
                    task.retry_count = restarts + 1;
                }
                (Some(next), peers)
            }
            Err(Not::Yet(decision)) => return decision,
            Err(Not::Held(why, wake)) => {
                // The old plan stays, and what holds the new one is shown at once.
                draft.insist();
                return hold(draft, why, wake);
            }
        }
    };
    let text = match broken {
        Broken::Lost(_, text) | Broken::NotOurs(text) | Broken::Outdated(text) => text,
    };
    let updating =
        next.as_ref().is_some_and(|p| p.tasks.iter().any(|t| t.task_type == TaskType::ObserveImage));
    let kind = ConditionType::NodeUpdateInProgress;
    if updating {
        draft.condition(kind, ConditionStatus::True, turn::STARTED, &crate::draft::cut(&text));
    } else if draft.find(&kind).is_some_and(|c| c.status == ConditionStatus::True) {
        draft.condition(kind, ConditionStatus::False, turn::COMPLETE, "nothing is left to update");
    }
    draft.fields().resolved_peers(peers);
    draft.supersede(next);
    settle(draft, Vec::new(), decision::Rest::new(NOW, vec![WaitingOn::Replacing(text)]))
}

/// The plan has ended in the draft: what else is known goes into the same write.
fn end(world: World<'_>, mut draft: StatusDraft<'_>) -> Decision {
    let node = world.node;
    if draft.status().phase == Some(NodePhase::Running) {
        let completed = node.status.plan.as_ref().filter(|_| !is_failed(&draft));
        if completed.is_some_and(|p| p.tasks.iter().any(|t| t.task_type == TaskType::MarkReady)) {
            draft.condition(
                ConditionType::SidecarReady,
                ConditionStatus::True,
                "Ready",
                "the sidecar lets seid run",
            );
        }
        if node.status.phase != Some(NodePhase::Running) {
            steady::record_images(world, &mut draft);
        }
        let _ = steady::show(world, &mut draft);
        let wrote = completed.is_some_and(plan::writes_config);
        if wrote && let Some(records) = world.observed.sidecar_tasks.present() {
            let peers = draft.status().resolved_peers.clone();
            config::compare(&mut draft, records.values(), &peers);
        }
    } else {
        let why = WaitingOn::NodeFailed(failure_text(&draft));
        show_wait(&mut draft, &why);
    }
    settle(draft, Vec::new(), decision::Rest::new(NOW, Vec::new()))
}

fn is_failed(draft: &StatusDraft<'_>) -> bool {
    draft.status().plan.as_ref().is_some_and(|p| p.phase == api::PlanPhase::Failed)
}
