//! The order of questions: deletion, finalizer, pause, gates, active plan, failed node, next plan, steady state.
//!
//! Total: every input has an answer, none panics. Pure: same in, same out (law 9).

mod active;
mod running;
mod starting;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::{self, NodePhase, mode};
use crate::config;
use crate::decision::{self, Act, Commit, Decision, Wake};
use crate::deletion;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Op};
use crate::explain::WaitingOn;
use crate::failure;
use crate::gate;
use crate::ident::{EffectId, ResourceVersion};
use crate::notice;
use crate::peers;
use crate::plan::recipe::Inputs;
use crate::scale::{self, Scale};
use crate::workflow::{self, Slot};
use crate::world::{Blind, Topic, World};

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
        Some(NodePhase::Running) => running::running(world, draft, held),
        Some(NodePhase::Failed) => starting::failed(world, draft, held),
        // Not "no phase": an init plan on a volume that a newer version works on would be the worst guess (law 16).
        Some(NodePhase::Other(text)) if !text.is_empty() => {
            let why = WaitingOn::PlanUnreadable(format!(
                "status.phase is {text:?}, which this version does not know"
            ));
            hold(draft, why, Wake::OnChange)
        }
        Some(NodePhase::Pending | NodePhase::Initializing | NodePhase::Terminating | NodePhase::Other(_))
        | None => starting::starting(world, draft, held),
    }
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

/// Children that a write of ours may or may not have changed, or that were read live before the watch began anew: nothing is
/// decided before they were read live.
fn doubtful(world: World<'_>) -> BTreeSet<Topic> {
    let observed = world.observed;
    let is_doubtful = |blind: Option<&Blind>| matches!(blind, Some(Blind::NotSynced));
    [
        (Topic::StatefulSet, is_doubtful(observed.statefulset.blind())),
        (Topic::Service, is_doubtful(observed.service.blind())),
        (Topic::ConfigMap, is_doubtful(observed.config_map.blind())),
        (Topic::DataPvc, is_doubtful(observed.data_pvc.blind())),
        (Topic::Job, is_doubtful(observed.job.blind())),
        (Topic::Pods, is_doubtful(observed.pods.blind())),
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
