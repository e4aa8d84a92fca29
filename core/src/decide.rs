//! The order of questions: deletion, finalizer, pause, gates, active plan, failed node, next plan, steady state.
//!
//! Total: every input has an answer, none panics. Pure: same in, same out (law 9).

use std::time::Duration;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::{self, NodePhase, TaskType};
use crate::decision::{Act, Commit, Decision, Place, Rest, Wake};
use crate::deletion;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Op};
use crate::explain::WaitingOn;
use crate::gate;
use crate::ident::{EffectId, ResourceVersion};
use crate::notice;
use crate::peers;
use crate::plan::advance::{self, Progress};
use crate::plan::recipe::Inputs;
use crate::plan::{Stage, choose, cursor};
use crate::scale::{self, Scale};
use crate::steady;
use crate::world::{Topic, World};

/// How often a closed gate is looked at again: the registry file has no watch (`platform-config.md` 1.5).
const GATE_POLL: Duration = Duration::from_secs(30);

/// What to do about one node now.
pub fn decide(world: &World<'_>) -> Decision {
    let world = *world;
    let node = world.node;
    if let Some(text) = &node.unreadable {
        // Nothing is written over what could not be read.
        let why = WaitingOn::SpecInvalid(format!("the stored object can't be read: {text}"));
        return Decision::Rest(Rest::new(Wake::OnChange, vec![why]));
    }
    if node.is_deleting() {
        return deletion::decide(world);
    }
    if !node.has_finalizer() {
        return add_finalizer(world);
    }
    let mut draft = StatusDraft::open(node, world.now);
    seed(&mut draft, node);
    if node.spec.paused == Some(true) {
        return paused(world, draft);
    }
    draft.condition(ConditionType::Paused, ConditionStatus::False, "NotPaused", "spec.paused is not set");

    let running = node.status.phase == Some(NodePhase::Running);
    let mut why = Vec::new();
    if running {
        if let Some(topics) = steady::sidecar_ready(world, &mut draft) {
            return Decision::Look(topics);
        }
        why.extend(steady::show(world, &mut draft));
    }
    let blocked = if running { None } else { gate::witnesses::gate(world, &mut draft) };

    match Stage::of(node.status.plan.as_ref()) {
        Stage::Unreadable(text) => return hold(draft, WaitingOn::PlanUnreadable(text), Wake::OnChange),
        Stage::Active(_) => {
            let progress = advance::advance(world, &mut draft);
            return carry_on(world, draft, progress, false);
        }
        Stage::Idle => {}
    }
    if node.status.phase == Some(NodePhase::Failed) {
        let why = WaitingOn::NodeFailed(failure(&draft));
        show_wait(&mut draft, &why);
        return with_start(world, draft, vec![why], Wake::OnChange);
    }
    let valid = mode::validate(&node.spec);
    if !running {
        if let Err(error) = &valid {
            return hold(draft, WaitingOn::SpecInvalid(error.to_string()), Wake::OnChange);
        }
        if let Some(why) = blocked {
            return hold(draft, why, Wake::After(GATE_POLL));
        }
        if peers::needs_nodes(&node.spec) && !world.observed.has_looked(&Topic::Peers) {
            return Decision::Look([Topic::Peers].into());
        }
    }
    let resolved = if running {
        node.status.resolved_peers.clone()
    } else {
        peers::resolve(node, &world.observed.peers, &node.status.resolved_peers)
    };
    let witnesses = draft.status().resolved_state_syncers.clone();
    let inputs = Inputs { node, peers: &resolved, witnesses: &witnesses };
    match choose::choose(inputs, draft.status()) {
        Some(recipe) => {
            draft.fields().resolved_peers(resolved);
            let plan = recipe.plan(node);
            if !running {
                let text = format!("plan {} is under way", plan.id);
                draft.condition(ConditionType::Ready, ConditionStatus::False, "Initializing", &text);
            }
            draft.stamp(plan);
            let progress = advance::advance(world, &mut draft);
            carry_on(world, draft, progress, true)
        }
        None => {
            let wake = steady::wake(&draft);
            with_start(world, draft, why, wake)
        }
    }
}

/// The finalizer is on the node before anything else is created (P58).
fn add_finalizer(world: World<'_>) -> Decision {
    let node = world.node;
    let mut finalizers = node.metadata.finalizers.clone().unwrap_or_default();
    finalizers.push(api::FINALIZER.to_owned());
    let version = ResourceVersion::new(node.resource_version());
    let id = EffectId::new(format!("finalizer/{version}/add"));
    deletion::attempt(world, Effect { id, task: None, op: Op::Finalizer { finalizers, version } })
}

/// Every condition of this operator is there from the first pass on, and says so where it does not apply (V9).
fn seed(draft: &mut StatusDraft<'_>, node: &api::SeiNode) {
    use ConditionStatus::{False, Unknown};
    draft.seed(ConditionType::Ready, Unknown, "NotObserved", "nothing is known of the node yet");
    draft.seed(ConditionType::PlanFailed, False, "NoFailure", "no plan has failed");
    draft.seed(ConditionType::SidecarReady, Unknown, "NotAsked", "the sidecar is asked once the node is Running");
    let spec = &node.spec;
    let checks = [
        (ConditionType::ImportPvcReady, mode::imported_claim_name(spec).is_some()),
        (ConditionType::SigningKeyReady, mode::signing_key_secret(spec).is_some()),
        (ConditionType::NodeKeyReady, mode::node_key_secret(spec).is_some()),
        (ConditionType::OperatorKeyringReady, mode::operator_keyring(spec).is_some()),
    ];
    for (kind, applies) in checks {
        let unset = draft.find(&kind).is_none_or(|c| c.reason == "NotApplicable");
        if !applies {
            draft.condition(kind, False, "NotApplicable", "the spec names none");
        } else if unset {
            draft.condition(kind, Unknown, "NotChecked", "it is checked by a task of the next plan");
        }
    }
}

/// No plan runs while a node is paused; its StatefulSet goes to replicas 0.
fn paused(world: World<'_>, mut draft: StatusDraft<'_>) -> Decision {
    if world.node.status.phase != Some(NodePhase::Running) {
        // Shown, but it holds nothing by itself.
        let _ = gate::witnesses::gate(world, &mut draft);
    }
    match scale::stop(world, &mut draft) {
        Scale::Look(topics) => Decision::Look(topics),
        Scale::Do(effect) => Decision::Act(Act::new(vec![effect], Rest::new(Wake::After(Duration::ZERO), Vec::new()))),
        Scale::Wait(why, wake) => hold(draft, why, wake),
        Scale::Right => hold(draft, WaitingOn::Paused, Wake::OnChange),
    }
}

/// What follows from walking the plan in the draft. `fresh`: the plan is not stored yet.
fn carry_on(world: World<'_>, draft: StatusDraft<'_>, progress: Progress, fresh: bool) -> Decision {
    if let Some(text) = progress.not_ours {
        return replace(world, draft, text);
    }
    if progress.ended {
        return end(world, draft);
    }
    let Progress { mut effects, mut looks, mut why, wake, .. } = progress;
    let place = place(&draft);
    let mut wake = wake.unwrap_or(Wake::OnChange);
    match scale::start(world, &draft) {
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
        let again = if looks.is_empty() { wake } else { Wake::After(Duration::ZERO) };
        return settle(draft, effects, Rest::new(again, why).at(place));
    }
    if effects.is_empty() && !looks.is_empty() {
        return Decision::Look(looks);
    }
    settle(draft, effects, Rest::new(wake, why).at(place))
}

/// How far the plan in the draft is.
fn place(draft: &StatusDraft<'_>) -> Option<Place> {
    let plan = draft.status().plan.as_ref()?;
    Some(Place { plan: plan.id.clone(), done: cursor(plan).unwrap_or(plan.tasks.len()) })
}

/// A plan whose ids are taken by somebody else's records is replaced; the phase stays.
fn replace(world: World<'_>, mut draft: StatusDraft<'_>, text: String) -> Decision {
    let node = world.node;
    let plan = (node.status.phase != Some(NodePhase::Running)).then(|| {
        let status = draft.status();
        choose::first(Inputs { node, peers: &status.resolved_peers, witnesses: &status.resolved_state_syncers }).plan(node)
    });
    draft.supersede(plan);
    settle(draft, Vec::new(), Rest::new(Wake::After(Duration::ZERO), vec![WaitingOn::Sidecar(text)]))
}

/// The plan has ended in the draft: what else is known goes into the same write.
fn end(world: World<'_>, mut draft: StatusDraft<'_>) -> Decision {
    let node = world.node;
    if draft.status().phase == Some(NodePhase::Running) {
        let completed = node.status.plan.as_ref().filter(|_| !is_failed(&draft));
        if completed.is_some_and(|p| p.tasks.iter().any(|t| t.task_type == TaskType::MarkReady)) {
            draft.condition(ConditionType::SidecarReady, ConditionStatus::True, "Ready", "the sidecar lets seid run");
        }
        if node.status.phase != Some(NodePhase::Running) {
            steady::record_images(world, &mut draft);
        }
        let _ = steady::show(world, &mut draft);
    } else {
        let why = WaitingOn::NodeFailed(failure(&draft));
        show_wait(&mut draft, &why);
    }
    settle(draft, Vec::new(), Rest::new(Wake::After(Duration::ZERO), Vec::new()))
}

fn is_failed(draft: &StatusDraft<'_>) -> bool {
    draft.status().plan.as_ref().is_some_and(|p| p.phase == api::PlanPhase::Failed)
}

fn failure(draft: &StatusDraft<'_>) -> String {
    let detail = draft.status().plan.as_ref().and_then(|p| p.failed_task_detail.as_ref());
    match detail {
        Some(detail) => format!("task {} failed: {}", detail.task_type, crate::draft::cut(&detail.error)),
        None => "the node has failed".to_owned(),
    }
}

/// Starts the pod if it should run, and shows what there is to show.
fn with_start(world: World<'_>, draft: StatusDraft<'_>, mut why: Vec<WaitingOn>, wake: Wake) -> Decision {
    match scale::start(world, &draft) {
        Scale::Right => settle(draft, Vec::new(), Rest::new(wake, why)),
        Scale::Do(effect) => settle(draft, vec![effect], Rest::new(Wake::After(Duration::ZERO), why)),
        Scale::Look(topics) => Decision::Look(topics),
        Scale::Wait(reason, at) => {
            why.push(reason);
            settle(draft, Vec::new(), Rest::new(wake.sooner(at), why))
        }
    }
}

/// Shows what is waited for, and rests.
fn hold(mut draft: StatusDraft<'_>, why: WaitingOn, wake: Wake) -> Decision {
    show_wait(&mut draft, &why);
    settle(draft, Vec::new(), Rest::new(wake, vec![why]))
}

fn show_wait(draft: &mut StatusDraft<'_>, why: &WaitingOn) {
    draft.condition(ConditionType::Ready, ConditionStatus::False, why.reason(), &crate::draft::cut(&why.to_string()));
}

/// Store what is worth a write, then act; act at once where the intent is stored already; else rest.
fn settle(draft: StatusDraft<'_>, mut effects: Vec<Effect>, rest: Rest) -> Decision {
    match draft.write() {
        Some(write) => {
            effects.extend(notice::of(draft.node(), &write.status));
            Decision::Commit(Commit::new(write, Act::new(effects, rest)))
        }
        None if effects.is_empty() => Decision::Rest(rest),
        None => Decision::Act(Act::new(effects, rest)),
    }
}
