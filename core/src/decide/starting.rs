//! A node without a plan on its way to Running: its first plan, or the one that a failed node starts over with.

use super::active::{active, begin};
use super::{GATE_POLL, NOW, failure_text, hold, resolve, settle, show_wait, with_start};
use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::status::StoredPlan;
use crate::api::{self, mode};
use crate::decision::{self, Decision, Wake};
use crate::draft::StatusDraft;
use crate::explain::WaitingOn;
use crate::failure;
use crate::gate;
use crate::plan::supersede::Rest;
use crate::plan::{Stage, choose, supersede};
use crate::render::names;
use crate::rivals::{self, Permit};
use crate::world::{Seen, Topic, World};

/// A node on its way to Running.
pub(super) fn starting(world: World<'_>, mut draft: StatusDraft<'_>, held: Option<String>) -> Decision {
    let node = world.node;
    let blocked = gate::witnesses::gate(world, &mut draft);
    match Stage::of(node.status.plan.as_ref()) {
        Stage::Unreadable(text) => hold(draft, WaitingOn::PlanUnreadable(text), Wake::OnChange),
        Stage::Active(plan) => active(world, draft, plan, None, held),
        Stage::Idle => match held {
            Some(text) => hold(draft, WaitingOn::Held(text), Wake::OnChange),
            None => first_plan(world, draft, blocked),
        },
    }
}

/// A failed node stays as it is until it is asked to start over.
pub(super) fn failed(world: World<'_>, mut draft: StatusDraft<'_>, held: Option<String>) -> Decision {
    let node = world.node;
    let blocked = gate::witnesses::gate(world, &mut draft);
    let text = failure_text(&draft);
    failure::adopt(&mut draft, &text);
    let why = WaitingOn::NodeFailed(text);
    show_wait(&mut draft, &why);
    if !failure::asked_to_start_over(&draft) {
        return with_start(world, draft, vec![why], Wake::OnChange);
    }
    if let Some(text) = held {
        return with_start(world, draft, vec![why, WaitingOn::Held(text)], Wake::OnChange);
    }
    let left = failure::back_off(&draft);
    if !left.is_zero() {
        let waiting =
            WaitingOn::BackingOff("the node was asked to start over and waits out its back-off".to_owned());
        show_wait(&mut draft, &waiting);
        return with_start(world, draft, vec![waiting], Wake::After(left));
    }
    if let Some(plan) = &node.status.plan {
        match supersede::quiesce(world, plan) {
            Rest::AtRest => {}
            Rest::Look(topics) => return Decision::Look(topics),
            Rest::Do(effect) => return settle(draft, vec![effect], decision::Rest::new(NOW, vec![why])),
            Rest::Wait(why, wake) => return hold(draft, why, wake),
        }
    }
    first_plan(world, draft, blocked)
}

/// Builds the first plan of a node, or the one that it starts over with.
fn first_plan(world: World<'_>, mut draft: StatusDraft<'_>, blocked: Option<WaitingOn>) -> Decision {
    let node = world.node;
    let (plan, peers) = match init_plan(world, &mut draft, node.status.plan.as_ref(), blocked) {
        Ok(built) => built,
        Err(Not::Yet(decision)) => return decision,
        Err(Not::Held(why, wake)) => return hold(draft, why, wake),
    };
    let text = format!("plan {} is under way", plan.id);
    draft.condition(ConditionType::Ready, ConditionStatus::False, "Initializing", &text);
    draft.fields().resolved_peers(peers);
    begin(world, draft, plan)
}

/// Why there is no init plan.
pub(super) enum Not {
    /// This comes first.
    Yet(Decision),
    /// The node is held until something changes.
    Held(WaitingOn, Wake),
}

/// The init plan that today's spec asks for, with the peers it was built with, if the node may have one: its spec is valid,
/// its witnesses are known (`blocked`: they are not), and nobody else has its keys or its claim.
pub(super) fn init_plan(
    world: World<'_>,
    draft: &mut StatusDraft<'_>,
    before: Option<&StoredPlan>,
    blocked: Option<WaitingOn>,
) -> Result<(StoredPlan, Vec<String>), Not> {
    let node = world.node;
    if let Some(text) = too_long(node) {
        return Err(Not::Held(WaitingOn::NameTooLong(text), Wake::OnChange));
    }
    if let Err(error) = mode::validate(&node.spec) {
        return Err(Not::Held(WaitingOn::SpecInvalid(error.to_string()), Wake::OnChange));
    }
    if let Some(why) = blocked {
        return Err(Not::Held(why, Wake::After(GATE_POLL)));
    }
    let resolved = resolve(world, draft).map_err(Not::Yet)?;
    match rivals::permit(world, draft) {
        Permit::Granted => {}
        Permit::Look(topics) => return Err(Not::Yet(Decision::Look(topics))),
        Permit::Refused(why, wake) => return Err(Not::Held(why, wake)),
    }
    // Whether a StatefulSet exists has a say in the plan.
    if let Seen::Unknown(_) = world.observed.statefulset
        && !world.observed.has_looked(&Topic::StatefulSet)
    {
        return Err(Not::Yet(Decision::Look([Topic::StatefulSet].into())));
    }
    let plan = choose::first(world, resolved.inputs(), before).plan(node);
    Ok((plan, resolved.peers))
}

/// A name that fits, and yet no pod can be made under it (S30). New nodes are refused by the definition.
fn too_long(node: &api::SeiNode) -> Option<String> {
    let length = node.name().chars().count();
    (length > names::LONGEST_NODE).then(|| {
        format!(
            "metadata.name has {length} characters, and with more than {} no pod can be made, because a label of it \
             would pass 63: create the node under a shorter name",
            names::LONGEST_NODE
        )
    })
}
