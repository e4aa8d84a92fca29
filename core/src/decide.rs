//! The order of questions: deletion, finalizer, pause, gates, active plan, failed node, next plan, steady state.
//!
//! Total: every input has an answer, none panics. Pure: same in, same out (law 9).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::status::StoredPlan;
use crate::api::{self, NodePhase, TaskType};
use crate::config;
use crate::converge::{self, Children};
use crate::decision::{self, Act, Commit, Decision, Place, Wake};
use crate::deletion;
use crate::draft::{StatusDraft, Verdict};
use crate::drift;
use crate::effect::{Effect, Op};
use crate::explain::WaitingOn;
use crate::failure;
use crate::gate;
use crate::ident::{EffectId, ResourceVersion};
use crate::notice;
use crate::peers;
use crate::plan::advance::{self, Broken, Progress};
use crate::plan::recipe::{self, Inputs};
use crate::plan::supersede::{self, Rest};
use crate::plan::{self, Stage, choose, cursor};
use crate::render::names;
use crate::rivals::{self, Permit};
use crate::scale::{self, Scale};
use crate::steady::{self, CanBeAsked};
use crate::task::bootstrap::MOST_RESTARTS;
use crate::turn::{self, Gate};
use crate::workflow::{self, Slot};
use crate::world::{Blind, Seen, Topic, World};

/// How often a closed gate is looked at again: the registry file has no watch (`platform-config.md` 1.5).
const GATE_POLL: Duration = Duration::from_secs(30);

/// At once.
const NOW: Wake = Wake::After(Duration::ZERO);

/// What to do about one node now.
pub fn decide(world: &World<'_>) -> Decision {
    let world = *world;
    let node = world.node;
    if let Some(text) = &node.unreadable {
        // Nothing is written over what could not be read.
        let why = WaitingOn::SpecInvalid(format!("the stored object can't be read: {text}"));
        return Decision::Rest(decision::Rest::new(Wake::OnChange, vec![why]));
    }
    if node.is_deleting() {
        return deletion::decide(world);
    }
    if !node.has_finalizer() {
        return add_finalizer(world);
    }
    let doubtful = doubtful(world);
    if !doubtful.is_empty() {
        return Decision::Look(doubtful);
    }
    let mut draft = StatusDraft::open(node, world.now);
    seed(&mut draft, node);
    peers::show_ec2(world, &mut draft);
    let held = gate::held::gate(world, &mut draft);
    if node.spec.paused == Some(true) {
        return paused(world, draft);
    }
    draft.condition(ConditionType::Paused, ConditionStatus::False, "NotPaused", "spec.paused is not set");

    if !matches!(node.status.phase, Some(NodePhase::Running | NodePhase::Other(_))) {
        match workflow::slot(world, &mut draft) {
            Slot::Free => {}
            slot => return occupied(world, draft, slot, Vec::new()),
        }
    }
    match &node.status.phase {
        Some(NodePhase::Running) => running(world, draft, held),
        Some(NodePhase::Failed) => failed(world, draft, held),
        // Not "no phase": an init plan on a volume that a newer version works on would be the worst guess (law 16).
        Some(NodePhase::Other(text)) if !text.is_empty() => {
            let why = WaitingOn::PlanUnreadable(format!(
                "status.phase is {text:?}, which this version does not know"
            ));
            hold(draft, why, Wake::OnChange)
        }
        Some(NodePhase::Pending | NodePhase::Initializing | NodePhase::Terminating | NodePhase::Other(_))
        | None => starting(world, draft, held),
    }
}

/// A node on its way to Running.
fn starting(world: World<'_>, mut draft: StatusDraft<'_>, held: Option<String>) -> Decision {
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

/// A Running node: its plan, or the next one it needs, or steady state.
fn running(world: World<'_>, mut draft: StatusDraft<'_>, held: Option<String>) -> Decision {
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
        draft.condition(ConditionType::NodeUpdateInProgress, ConditionStatus::True, "UpdateStarted", &text);
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

/// A failed node stays as it is until it is asked to start over.
fn failed(world: World<'_>, mut draft: StatusDraft<'_>, held: Option<String>) -> Decision {
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
enum Not {
    /// This comes first.
    Yet(Decision),
    /// The node is held until something changes.
    Held(WaitingOn, Wake),
}

/// The init plan that today's spec asks for, with the peers it was built with, if the node may have one: its spec is valid,
/// its witnesses are known (`blocked`: they are not), and nobody else has its keys or its claim.
fn init_plan(
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

/// Stamps a new plan and starts with it.
fn begin(world: World<'_>, mut draft: StatusDraft<'_>, plan: StoredPlan) -> Decision {
    draft.stamp(plan);
    let progress = advance::advance(world, &mut draft, false);
    carry_on(world, draft, progress, true)
}

/// An active plan goes on, unless it no longer says what is wanted. `broken`: a reason to replace it that was found.
fn active(
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

/// Peers and witnesses of a node, resolved in this pass.
struct Resolved<'a> {
    node: &'a api::SeiNode,
    peers: Vec<String>,
    witnesses: Vec<String>,
}

impl Resolved<'_> {
    fn inputs(&self) -> Inputs<'_> {
        Inputs { node: self.node, peers: &self.peers, witnesses: &self.witnesses }
    }
}

/// With the peers that were resolved before: for comparisons that set them aside.
fn peerless<'a>(world: World<'a>, draft: &StatusDraft<'_>) -> Resolved<'a> {
    let status = draft.status();
    Resolved {
        node: world.node,
        peers: status.resolved_peers.clone(),
        witnesses: status.resolved_state_syncers.clone(),
    }
}

/// With the peers of today; `Err` asks for a look at them first.
fn resolve<'a>(world: World<'a>, draft: &StatusDraft<'_>) -> Result<Resolved<'a>, Decision> {
    let node = world.node;
    if let Some(topic) = peers::unseen(world) {
        return Err(Decision::Look([topic].into()));
    }
    let peers = peers::resolve(node, world.observed, &node.status.resolved_peers);
    Ok(Resolved { node, peers, witnesses: draft.status().resolved_state_syncers.clone() })
}

/// Children that a write of ours may or may not have changed: nothing is decided before they were read live.
fn doubtful(world: World<'_>) -> BTreeSet<Topic> {
    let observed = world.observed;
    let is_doubtful = |blind: Option<&Blind>| matches!(blind, Some(Blind::NotSynced));
    [
        (Topic::StatefulSet, is_doubtful(observed.statefulset.blind())),
        (Topic::Service, is_doubtful(observed.service.blind())),
        (Topic::ConfigMap, is_doubtful(observed.config_map.blind())),
        (Topic::DataPvc, is_doubtful(observed.data_pvc.blind())),
        (Topic::Job, is_doubtful(observed.job.blind())),
    ]
    .into_iter()
    .filter(|(topic, doubtful)| *doubtful && !observed.has_looked(topic))
    .map(|(topic, _)| topic)
    .collect()
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
    failure::seed(draft);
    config::seed(draft);
    draft.seed(ConditionType::WorkflowInProgress, False, "NoWorkflow", "no workflow occupies the node");
    draft.seed(
        ConditionType::KeyConflict,
        False,
        "NoConflict",
        "no other node has a key or the claim of this one",
    );
    draft.seed(ConditionType::ChildContested, False, "NotContested", "nobody sets back what is applied");
    draft.seed(
        ConditionType::PodOutdated,
        False,
        "UpToDate",
        "the pod is at the template of its StatefulSet",
    );
    draft.seed(ConditionType::NodeUpdateInProgress, False, "NoUpdate", "no update is under way");
    draft.seed(
        ConditionType::SidecarReady,
        Unknown,
        "NotAsked",
        "the sidecar is asked once the node is Running",
    );
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
        Scale::Do(effect) => Decision::Act(Act::new(vec![effect], decision::Rest::new(NOW, Vec::new()))),
        Scale::Wait(why, wake) => hold(draft, why, wake),
        Scale::Right => match workflow::slot(world, &mut draft) {
            slot @ (Slot::Look(_) | Slot::Act(_) | Slot::Released) => {
                occupied(world, draft, slot, Vec::new())
            }
            Slot::Free | Slot::Wait(..) => hold(draft, WaitingOn::Paused, Wake::OnChange),
        },
    }
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
            return settle(draft, vec![effect], decision::Rest::new(NOW, Vec::new()));
        }
        Rest::Wait(why, wake) => return settle(draft, Vec::new(), decision::Rest::new(wake, vec![why])),
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
        draft.condition(kind, ConditionStatus::True, "UpdateStarted", &crate::draft::cut(&text));
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

fn failure_text(draft: &StatusDraft<'_>) -> String {
    let detail = draft.status().plan.as_ref().and_then(|p| p.failed_task_detail.as_ref());
    match detail {
        Some(detail) => format!("task {} failed: {}", detail.task_type, crate::draft::cut(&detail.error)),
        None => "the node has failed".to_owned(),
    }
}

/// A workflow has the node to itself, or has just released it.
fn occupied(world: World<'_>, mut draft: StatusDraft<'_>, slot: Slot, mut why: Vec<WaitingOn>) -> Decision {
    match slot {
        Slot::Look(topics) => Decision::Look(topics),
        Slot::Act(effects) => {
            let shown = draft.find(&ConditionType::WorkflowInProgress);
            if let Some(shown) = shown.filter(|c| c.status == ConditionStatus::True) {
                let reason = WaitingOn::Workflow(shown.message.clone());
                show_wait(&mut draft, &reason);
            }
            settle(draft, effects, decision::Rest::new(NOW, why))
        }
        Slot::Wait(reason, wake) => {
            show_wait(&mut draft, &reason);
            why.push(reason);
            with_start(world, draft, why, wake)
        }
        Slot::Released | Slot::Free => settle(draft, Vec::new(), decision::Rest::new(NOW, why)),
    }
}

/// Starts the pod if it should run, and shows what there is to show.
fn with_start(world: World<'_>, mut draft: StatusDraft<'_>, mut why: Vec<WaitingOn>, wake: Wake) -> Decision {
    match scale::start(world, &mut draft) {
        Scale::Right => settle(draft, Vec::new(), decision::Rest::new(wake, why)),
        Scale::Do(effect) => settle(draft, vec![effect], decision::Rest::new(NOW, why)),
        Scale::Look(topics) => Decision::Look(topics),
        Scale::Wait(reason, at) => {
            // What a live look has found on the claim may stay there for long (V2).
            if matches!(reason, WaitingOn::Pod(_)) && world.observed.has_looked(&Topic::Pods) {
                show_wait(&mut draft, &reason);
            }
            why.push(reason);
            settle(draft, Vec::new(), decision::Rest::new(wake.sooner(at), why))
        }
    }
}

/// Shows what is waited for, and rests.
fn hold(mut draft: StatusDraft<'_>, why: WaitingOn, wake: Wake) -> Decision {
    show_wait(&mut draft, &why);
    settle(draft, Vec::new(), decision::Rest::new(wake, vec![why]))
}

fn show_wait(draft: &mut StatusDraft<'_>, why: &WaitingOn) {
    draft.condition(
        ConditionType::Ready,
        ConditionStatus::False,
        why.reason(),
        &crate::draft::cut(&why.to_string()),
    );
}

/// Store what is worth a write, then act; act at once where the intent is stored already; else rest.
fn settle(draft: StatusDraft<'_>, mut effects: Vec<Effect>, rest: decision::Rest) -> Decision {
    match draft.write() {
        Some(write) => {
            effects.extend(notice::of(draft.node(), &write.status));
            Decision::Commit(Commit::new(write, Act::new(effects, rest)))
        }
        None if effects.is_empty() => Decision::Rest(rest),
        None => Decision::Act(Act::new(effects, rest)),
    }
}
