//! A Running node: its plan, or the next one it needs, or steady state.

use std::collections::BTreeSet;

use super::active::{active, begin};
use super::{GATE_POLL, NOW, hold, occupied, peerless, resolve, settle, with_start};
use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::{self, TaskType, mode};
use crate::config;
use crate::converge::{self, Children};
use crate::decision::{self, Decision, Wake};
use crate::draft::StatusDraft;
use crate::drift;
use crate::explain::WaitingOn;
use crate::failure;
use crate::gate;
use crate::peers;
use crate::plan::{self, Stage, choose, recipe};
use crate::rivals;
use crate::scale::{self, Scale};
use crate::steady::{self, CanBeAsked};
use crate::turn::{self, Gate};
use crate::workflow::{self, Slot};
use crate::world::{Seen, Topic, World};

/// A Running node: its plan, or the next one it needs, or steady state.
pub(super) fn running(world: World<'_>, mut draft: StatusDraft<'_>, held: Option<String>) -> Decision {
    let node = world.node;
    if let Some(topics) = steady::sidecar_ready(world, &mut draft) {
        return Decision::Look(topics);
    }
    if draft.find(&ConditionType::StateSyncReady).is_none() || !gate::witnesses::needs_registry(node) {
        // A Running node needs no witnesses any more: it follows the spec, and never the registry (V13).
        gate::witnesses::show(world, &mut draft);
    }
    draft.tidy();
    let mut why: Vec<WaitingOn> = steady::show(world, &mut draft).into_iter().collect();
    drift::record_unobserved(world, &mut draft);
    let rival = running_rival(world, &mut draft);
    let asked = steady::can_be_asked(world, &draft);
    match workflow::slot(world, &mut draft) {
        Slot::Free => {}
        slot => return occupied(world, draft, slot, why),
    }
    match Stage::of(node.status.plan.as_ref()) {
        Stage::Unreadable(text) => return hold(draft, WaitingOn::PlanUnreadable(text), Wake::OnChange),
        Stage::Active(plan) => {
            let broken = plan::is_patch_first(plan) && matches!(asked, CanBeAsked::No);
            let text = "the sidecar went away before the config was patched".to_owned();
            // Whatever keeps an update waiting, the plan goes on meanwhile.
            let by_update = plan::is_mark_ready(plan) || plan::is_convergence(plan);
            let mut drifted = by_update.then(|| drift::of(world, &draft)).flatten();
            if drifted.is_some() && (held.is_some() || !failure::back_off_of_updates(&draft).is_zero()) {
                drifted = None;
            }
            if drifted.is_some() {
                match turn::gate(world, &mut draft) {
                    Gate::Open => {}
                    Gate::Look(topics) => return Decision::Look(topics),
                    Gate::Closed(_) => drifted = None,
                }
            }
            return active(world, draft, plan, broken.then_some(text).or(drifted), held);
        }
        Stage::Idle => {}
    }
    match scale::leftover(world) {
        Scale::Right => {}
        Scale::Look(topics) => return Decision::Look(topics),
        Scale::Do(effect) => return settle(draft, vec![effect], decision::Rest::new(NOW, why)),
        Scale::Wait(reason, wake) => {
            why.push(reason);
            return settle(draft, Vec::new(), decision::Rest::new(wake, why));
        }
    }
    if held.is_some() {
        why.extend(held.clone().map(WaitingOn::Held));
    }
    let inputs = peerless(world, &draft);
    let chosen = match choose::for_running(world, &draft, inputs.inputs(), true) {
        // A held node gets no plan but mark-ready.
        Some((recipe, drifted)) if held.is_none() || drifted.is_none() => Some((recipe, drifted)),
        Some(_) => choose::mark_ready(&draft, inputs.inputs()).map(|r| (r, None)),
        None if held.is_some() || mode::validate(&node.spec).is_err() => None,
        None => match converge::children(world, &mut draft) {
            Children::Right => None,
            Children::Look(topics) => return Decision::Look(topics),
            Children::Apply(tasks, paths) => {
                converge::repairing(&mut draft, &paths);
                Some((recipe::convergence::recipe(inputs.inputs(), tasks), None))
            }
        },
    };
    // Of two that share a key, one whose pod went away is not let go again while the other runs.
    if let (Some(text), Some((recipe, _))) = (&rival, &chosen)
        && recipe.tasks.iter().any(|(t, _)| *t == TaskType::MarkReady)
    {
        why.push(WaitingOn::Rival(text.clone()));
        return with_start(world, draft, why, Wake::After(GATE_POLL));
    }
    if chosen.as_ref().is_none_or(|(_, drifted)| drifted.is_none()) {
        turn::forget(&mut draft);
    }
    let Some((recipe, drifted)) = chosen else {
        let mut wake = steady::wake(world, &draft);
        if let Some(unready) = steady::unready_for(world, &draft) {
            if unready >= steady::UNREADY && !world.observed.has_looked(&Topic::Pods) {
                return Decision::Look(BTreeSet::from([Topic::Pods]));
            }
            wake = wake.sooner(Wake::After(steady::UNREADY));
        }
        if config::is_due(&draft) && held.is_none() && matches!(asked, CanBeAsked::Yes) {
            match compare_config(world, &mut draft) {
                Compared::Done => {}
                Compared::Look(topics) => return Decision::Look(topics),
                Compared::InTheDark => wake = wake.sooner(Wake::After(steady::HEALTH_POLL)),
            }
        }
        return with_start(world, draft, why, wake);
    };
    let left = failure::back_off(&draft);
    if !left.is_zero() {
        why.push(WaitingOn::BackingOff(format!(
            "the last plan failed; {} is tried again later",
            recipe.kind.as_str()
        )));
        return meanwhile(world, draft, why, Wake::After(left));
    }
    if let Some(what) = drifted {
        if let Err(error) = mode::validate(&node.spec) {
            why.push(WaitingOn::SpecInvalid(error.to_string()));
            return with_start(world, draft, why, Wake::OnChange);
        }
        match turn::gate(world, &mut draft) {
            Gate::Open => {}
            Gate::Look(topics) => return Decision::Look(topics),
            Gate::Closed(reason) => {
                why.push(reason);
                return meanwhile(world, draft, why, Wake::After(turn::POLL));
            }
        }
        // A late cache shows the pod of before the last update.
        let mut live = BTreeSet::from([Topic::StatefulSet, Topic::Pods]);
        live.retain(|topic| !world.observed.has_looked(topic));
        if !live.is_empty() {
            return Decision::Look(live);
        }
        let answering = match asked {
            CanBeAsked::Yes => true,
            CanBeAsked::No => false,
            CanBeAsked::Unsure(left) => {
                why.push(WaitingOn::Sidecar(
                    "the sidecar does not answer; an update waits to see if it will".to_owned(),
                ));
                return with_start(world, draft, why, Wake::After(left));
            }
        };
        let resolved = match resolve(world, &draft) {
            Ok(resolved) => resolved,
            Err(look) => return look,
        };
        let Some((recipe, _)) = choose::for_running(world, &draft, resolved.inputs(), answering) else {
            return with_start(world, draft, why, Wake::OnChange);
        };
        let text = crate::draft::cut(&what);
        draft.condition(ConditionType::NodeUpdateInProgress, ConditionStatus::True, turn::STARTED, &text);
        draft.fields().resolved_peers(resolved.peers.clone());
        return begin(world, draft, recipe.plan(node));
    }
    begin(world, draft, recipe.plan(node))
}

/// An update has to wait. What keeps the node alive does not wait with it: a sidecar that lost its readiness is told again to
/// let seid run, and a child that somebody took away comes back.
fn meanwhile(world: World<'_>, mut draft: StatusDraft<'_>, why: Vec<WaitingOn>, wake: Wake) -> Decision {
    let node = world.node;
    let inputs = peerless(world, &draft);
    // A plan of this kind that failed waits itself.
    let failed = node.status.plan.as_ref().filter(|p| p.phase == api::PlanPhase::Failed);
    if !failed.is_some_and(plan::is_mark_ready)
        && let Some(recipe) = choose::mark_ready(&draft, inputs.inputs())
    {
        return begin(world, draft, recipe.plan(node));
    }
    if mode::validate(&node.spec).is_ok() {
        match converge::children(world, &mut draft) {
            Children::Right => {}
            Children::Look(topics) => return Decision::Look(topics),
            Children::Apply(mut tasks, paths) => {
                // The StatefulSet is the update's.
                tasks.retain(|task| *task != TaskType::ApplyStatefulSet);
                if !tasks.is_empty() {
                    converge::repairing(&mut draft, &paths);
                    return begin(
                        world,
                        draft,
                        recipe::convergence::recipe(inputs.inputs(), tasks).plan(node),
                    );
                }
            }
        }
    }
    with_start(world, draft, why, wake)
}

/// How far a comparison of config and spec came.
enum Compared {
    Done,
    Look(BTreeSet<Topic>),
    InTheDark,
}

/// Compares the config of a Running node with its spec, from the sidecar's records.
fn compare_config(world: World<'_>, draft: &mut StatusDraft<'_>) -> Compared {
    let observed = world.observed;
    let records = Some(Topic::SidecarTasks).filter(|topic| !observed.has_looked(topic));
    let needed: BTreeSet<_> = records.into_iter().chain(peers::unseen(world)).collect();
    if !needed.is_empty() {
        return Compared::Look(needed);
    }
    let Some(records) = observed.sidecar_tasks.present() else { return Compared::InTheDark };
    let peers = peers::resolve(world.node, observed, &world.node.status.resolved_peers);
    config::compare(draft, records.values(), &peers);
    Compared::Done
}

/// Whether a Running node shares a key with another one that runs, from the caches; shown on the node.
fn running_rival(world: World<'_>, draft: &mut StatusDraft<'_>) -> Option<String> {
    let Seen::Present(around) = &world.observed.neighbourhood else { return None };
    let standing = rivals::standing(world.node, around);
    rivals::show(draft, &standing);
    match standing {
        rivals::Standing::Shared(text) | rivals::Standing::HeldBy(text) => Some(text),
        rivals::Standing::Clear | rivals::Standing::NotYet(_) => None,
    }
}
