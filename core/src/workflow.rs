//! The workflow slot (`seinode.md` 15). This operator adopts no workflow; one that the Go operator has adopted is run to
//! its end, or released.
//!
//! Answers: does a workflow have the node to itself, and what is to be done about it. Its plan is walked like a node's
//! own, so the same rules keep its tasks from being sent twice; each step is stored in the workflow.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::api::condition::{self, ConditionStatus, ConditionType};
use crate::api::status::StoredPlan;
use crate::api::workflow::{FINALIZER, Workflow};
use crate::api::{PlanPhase, SeiNode};
use crate::decision::Wake;
use crate::draft::{StatusDraft, Verdict};
use crate::effect::{Effect, Notice, Op, WorkflowChange, WorkflowWrite};
use crate::explain::WaitingOn;
use crate::gate::witnesses::{self, FEWEST};
use crate::ident::{self, EffectId};
use crate::owner;
use crate::patch;
use crate::plan::advance::{self, Broken, Progress};
use crate::plan::recipe::state_sync;
use crate::plan::{cursor, pending};
use crate::world::{Seen, Topic, World};

/// How often a workflow that waits for somebody is looked at again (`seinode.md` 15: 30 s).
const AGAIN: Duration = Duration::from_secs(30);
/// How the message begins where a workflow that is being deleted keeps the node.
const DELETE_HELD: &str = "its deletion waits";

/// What is to be done about the workflow that has a node.
#[derive(Debug)]
pub(crate) enum Slot {
    /// None has it.
    Free,
    /// The node is its own again, in the draft.
    Released,
    /// Look first.
    Look(BTreeSet<Topic>),
    /// Carry these out.
    Act(Vec<Effect>),
    /// Nothing now.
    Wait(WaitingOn, Wake),
}

/// Looks at the slot. A paused node's workflow does not go on, but it can be released.
pub(crate) fn slot(world: World<'_>, draft: &mut StatusDraft<'_>) -> Slot {
    let Some(pointer) = &world.node.status.adopted_workflow else { return Slot::Free };
    let word = |key| pointer.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, uid) = (word("name"), word("uid"));
    if !world.observed.has_looked(&Topic::Workflows) {
        return Slot::Look(BTreeSet::from([Topic::Workflows]));
    }
    let workflows = match &world.observed.workflows {
        Seen::Present(workflows) => workflows,
        Seen::Unknown(blind) => return wait(name, &format!("it can't be told about: {blind}")),
        // Gone with its kind, or not served yet: what it has done to the data can't be told.
        Seen::Absent => {
            let text = "its kind is not installed: install it again, or clear status.adoptedWorkflow once the data \
                        is known to be whole";
            return wait(name, text);
        }
    };
    let is_it = |w: &&Workflow| w.name() == name && w.metadata.uid.as_deref() == Some(uid);
    match workflows.iter().find(is_it) {
        None => release(draft),
        Some(workflow) => about(world, draft, workflow),
    }
}

fn about(world: World<'_>, draft: &mut StatusDraft<'_>, workflow: &Workflow) -> Slot {
    let deleting = workflow.metadata.deletion_timestamp.is_some();
    let plan = workflow.status.plan.as_ref();
    let complete = plan.is_some_and(|p| p.phase == PlanPhase::Complete);
    // Failed or deleted before it had a plan: nothing was done to the node (S27).
    let never_begun = plan.is_none() && (deleting || workflow.status.phase.as_deref() == Some("Failed"));
    if complete || never_begun || (deleting && !workflow.is_marked()) {
        return if workflow.is_marked() { let_go(world, workflow, Vec::new()) } else { release(draft) };
    }
    if deleting && workflow.is_forced() {
        let text = format!("workflow {} was deleted by force; the data may not be whole", workflow.name());
        return let_go(world, workflow, vec![said(workflow, true, "WorkflowForceDeleted", text)]);
    }
    if deleting {
        let text = format!(
            "{DELETE_HELD}: whether the data is whole can't be told; once it is known to be, annotate the workflow with \
             {}=true",
            crate::api::workflow::FORCE
        );
        return held(draft, workflow, &text);
    }
    match plan {
        Some(plan) if plan.phase == PlanPhase::Failed => {
            let detail = plan.failed_task_detail.as_ref();
            let what = detail.map_or_else(String::new, |d| format!(" at {}: {}", d.task_type, d.error));
            let text = format!(
                "it failed{what}; mend the data, then delete the workflow with annotation {}=true",
                crate::api::workflow::FORCE
            );
            held(draft, workflow, &crate::draft::cut(&text))
        }
        Some(plan) if plan.phase != PlanPhase::Active => {
            wait(workflow.name(), &format!("its plan's phase {:?} is not known here", plan.phase.as_str()))
        }
        _ if world.node.spec.paused == Some(true) => wait(workflow.name(), "it goes on when the node does"),
        Some(plan) => {
            running(draft, workflow);
            run(world, workflow, plan)
        }
        None => {
            running(draft, workflow);
            begin(world, draft, workflow)
        }
    }
}

/// Stores the plan of a workflow that has the node but no plan yet.
fn begin(world: World<'_>, draft: &mut StatusDraft<'_>, workflow: &Workflow) -> Slot {
    if draft.status().resolved_state_syncers.len() < FEWEST {
        // A Running node needs none, so nobody has asked for long.
        let _ = witnesses::gate(world, draft);
    }
    let tasks = match state_sync::tasks(workflow, world.node, &draft.status().resolved_state_syncers) {
        Ok(tasks) => tasks,
        Err(text) => return wait(workflow.name(), &text),
    };
    let id =
        ident::plan_id_of(&owner::uid(&workflow.metadata), &owner::version(&workflow.metadata), "state-sync");
    let tasks =
        tasks.into_iter().enumerate().map(|(i, (kind, params))| pending(&id, i, kind, params)).collect();
    let plan = StoredPlan::active(id, tasks);
    match store(world, workflow, plan) {
        Ok(effect) => Slot::Act(vec![effect]),
        Err(slot) => slot,
    }
}

/// One step of its plan.
fn run(world: World<'_>, workflow: &Workflow, plan: &StoredPlan) -> Slot {
    let mut node: SeiNode = world.node.clone();
    node.status.plan = Some(plan.clone());
    let inner = World { node: &node, ..world };
    let mut draft = StatusDraft::open(&node, world.now);
    let Progress { effects: asked, looks, why, wake, broken, .. } =
        advance::advance(inner, &mut draft, false);
    if let Some(Broken::Lost(_, error) | Broken::NotOurs(error) | Broken::Outdated(error)) = broken {
        draft.close(&Verdict::Failed { index: cursor(plan).unwrap_or_default(), error });
    }
    if asked.is_empty() && !looks.is_empty() {
        return Slot::Look(looks);
    }
    let mut effects = Vec::new();
    if let Some(next) = draft.status().plan.clone().filter(|next| next != plan) {
        let end = ending(workflow, &next);
        match store(world, workflow, next) {
            Ok(effect) => effects.push(effect),
            Err(slot) => return slot,
        }
        effects.extend(end);
    }
    effects.extend(asked);
    if effects.is_empty() {
        let why: Vec<String> = why.iter().map(ToString::to_string).collect();
        return Slot::Wait(occupied(workflow.name(), &why.join("; ")), wake.unwrap_or(Wake::After(AGAIN)));
    }
    Slot::Act(effects)
}

/// The event that the end of a plan is worth.
fn ending(workflow: &Workflow, plan: &StoredPlan) -> Option<Effect> {
    let name = workflow.name();
    match plan.phase {
        PlanPhase::Complete => {
            Some(said(workflow, false, "WorkflowComplete", format!("workflow {name} has completed")))
        }
        PlanPhase::Failed => {
            let detail = plan.failed_task_detail.clone().unwrap_or_default();
            let text = format!("workflow {name} has failed at {}: {}", detail.task_type, detail.error);
            Some(said(workflow, true, "WorkflowFailed", crate::draft::cut(&text)))
        }
        PlanPhase::Active | PlanPhase::Other(_) => None,
    }
}

/// Writes the plan into the workflow's status, with the phase and the conditions that follow from it.
fn store(world: World<'_>, workflow: &Workflow, plan: StoredPlan) -> Result<Effect, Slot> {
    use ConditionStatus::{False, True};
    let mut next = workflow.status.clone();
    let (phase, failed, ready) = match plan.phase {
        PlanPhase::Complete => ("Complete", (False, "NotFailed"), (True, "Complete")),
        PlanPhase::Failed => ("Failed", (True, "PlanFailed"), (False, "NotComplete")),
        PlanPhase::Active | PlanPhase::Other(_) => ("Running", (False, "NotFailed"), (False, "NotComplete")),
    };
    next.phase = Some(phase.to_owned());
    let generation = workflow.metadata.generation.unwrap_or_default();
    let text = format!("plan {} is {}", plan.id, plan.phase);
    let rows = [(ConditionType::Other("Failed".to_owned()), failed), (ConditionType::Ready, ready)];
    for (kind, (status, reason)) in rows {
        // The message of a condition that says the same as before stays.
        let same = |c: &condition::Condition| c.status == status && c.reason == reason;
        if !condition::find(&next.conditions, &kind).is_some_and(same) {
            condition::set(&mut next.conditions, kind, status, reason, &text, generation, world.now);
        }
    }
    next.plan = Some(plan);
    let json = |status| serde_json::to_value(status).unwrap_or(Value::Null);
    let patch = patch::between(&json(&workflow.status), &json(&next)).unwrap_or(Value::Null);
    write(world, workflow, WorkflowChange::Status(patch))
}

/// Takes the finalizer from a workflow; the node is released once that is seen.
fn let_go(world: World<'_>, workflow: &Workflow, after: Vec<Effect>) -> Slot {
    let kept = workflow.metadata.finalizers.iter().flatten().filter(|f| *f != FINALIZER).cloned().collect();
    match write(world, workflow, WorkflowChange::Finalizers(kept)) {
        Ok(effect) => Slot::Act(std::iter::once(effect).chain(after).collect()),
        Err(slot) => slot,
    }
}

fn write(world: World<'_>, workflow: &Workflow, change: WorkflowChange) -> Result<Effect, Slot> {
    let (uid, version) = (owner::uid(&workflow.metadata), owner::version(&workflow.metadata));
    let word = match change {
        WorkflowChange::Status(_) => "status",
        WorkflowChange::Finalizers(_) => "finalizers",
    };
    let id = EffectId::new(format!("workflow/{uid}/{version}/{word}"));
    if let Some(fault) = world.observed.fault(&id) {
        return Err(wait(workflow.name(), &format!("its {word} could not be written: {}", fault.text())));
    }
    let write = WorkflowWrite {
        namespace: world.node.namespace().to_owned(),
        name: workflow.name().to_owned(),
        uid,
        version,
        change,
    };
    Ok(Effect { id, task: None, op: Op::Workflow(write) })
}

/// Before a node goes: the finalizer of every workflow that is for it goes first (`seinode.md` 11.4).
pub(crate) fn of_deleted(world: World<'_>) -> Slot {
    if !world.observed.has_looked(&Topic::Workflows) {
        return Slot::Look(BTreeSet::from([Topic::Workflows]));
    }
    let workflows = match &world.observed.workflows {
        Seen::Absent => return Slot::Free,
        Seen::Unknown(blind) => return wait("of this node", &format!("can't be told about: {blind}")),
        Seen::Present(workflows) => workflows,
    };
    let Some(workflow) = workflows.iter().find(|w| w.is_marked()) else { return Slot::Free };
    let_go(world, workflow, Vec::new())
}

/// The event of a workflow that keeps the node although it is being deleted.
pub(crate) fn deletion_held(message: &str) -> bool {
    message.contains(DELETE_HELD)
}

fn release(draft: &mut StatusDraft<'_>) -> Slot {
    draft.fields().no_workflow();
    let text = "no workflow occupies the node";
    draft.condition(ConditionType::WorkflowInProgress, ConditionStatus::False, "NoWorkflow", text);
    draft.insist();
    Slot::Released
}

fn running(draft: &mut StatusDraft<'_>, workflow: &Workflow) {
    let text = format!("workflow {} has the node to itself", workflow.name());
    draft.condition(ConditionType::WorkflowInProgress, ConditionStatus::True, "WorkflowRunning", &text);
}

fn held(draft: &mut StatusDraft<'_>, workflow: &Workflow, text: &str) -> Slot {
    let why = occupied(workflow.name(), text);
    let (kind, message) = (ConditionType::WorkflowInProgress, why.to_string());
    if draft.find(&kind).is_none_or(|c| c.message != message) {
        draft.insist();
    }
    draft.condition(kind, ConditionStatus::True, "WorkflowFailedHeld", &message);
    Slot::Wait(why, Wake::After(AGAIN))
}

fn wait(name: &str, text: &str) -> Slot {
    Slot::Wait(occupied(name, text), Wake::After(AGAIN))
}

fn occupied(name: &str, text: &str) -> WaitingOn {
    WaitingOn::Workflow(format!("workflow {name} has the node to itself; {text}"))
}

fn said(workflow: &Workflow, warning: bool, reason: &'static str, message: String) -> Effect {
    let (uid, version) = (owner::uid(&workflow.metadata), owner::version(&workflow.metadata));
    let id = EffectId::new(format!("event/{uid}/{version}/{reason}"));
    Effect { id, task: None, op: Op::Announce(Notice { warning, reason, message }) }
}
