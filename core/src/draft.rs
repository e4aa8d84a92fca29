//! The only way to change a status.
//!
//! Answers: what the next status is and whether it is worth a write now. Upholds laws 3 (one door), 4 (one guarded
//! write), 5 (silence) and 11 (conditions stay).

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::api::condition::{self, Condition, ConditionStatus, ConditionType};
use crate::api::status::{FailedTaskDetail, StoredPlan, StoredTask};
use crate::api::{NodePhase, PlanPhase, SeiNode, SeiNodeStatus, Stamp, TaskStatus, TaskType};
use crate::decision::StatusWrite;
use crate::failure;
use crate::ident::{NodeKey, ResourceVersion, Uid};
use crate::patch;
use crate::turn;

/// How a plan ends.
pub(crate) enum Verdict {
    /// Every task is complete.
    Complete,
    /// The task at `index` has failed for good.
    Failed {
        /// Which task.
        index: usize,
        /// Why.
        error: String,
    },
}

/// The next status in the making.
#[derive(Clone)]
pub(crate) struct StatusDraft<'a> {
    node: &'a SeiNode,
    next: SeiNodeStatus,
    now: Timestamp,
    /// Whether a difference is worth a write although it shows progress only.
    insisted: bool,
}

impl<'a> StatusDraft<'a> {
    /// Starts from what is stored.
    pub(crate) fn open(node: &'a SeiNode, now: Timestamp) -> Self {
        Self { node, next: node.status.clone(), now, insisted: false }
    }

    /// The node as read.
    pub(crate) fn node(&self) -> &'a SeiNode {
        self.node
    }

    /// The next status so far.
    pub(crate) fn status(&self) -> &SeiNodeStatus {
        &self.next
    }

    /// Everything but phase and plan, which have their own doors.
    pub(crate) fn fields(&mut self) -> Fields<'_> {
        Fields { next: &mut self.next }
    }

    /// Sets a condition, at today's generation.
    pub(crate) fn condition(
        &mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: &str,
        message: &str,
    ) {
        let stored = condition::find(&self.node.status.conditions, &kind).filter(|c| c.status == status);
        let since = stored.filter(|c| c.since().is_some()).and_then(|c| c.last_transition_time.clone());
        condition::set(
            &mut self.next.conditions,
            kind.clone(),
            status,
            reason,
            message,
            self.node.generation(),
            self.now,
        );
        // Two rules may speak of one condition in a pass; what moves its time is the step from what is stored.
        if let (Some(_), Some(drafted)) =
            (&since, self.next.conditions.iter_mut().find(|c| c.condition_type == kind))
        {
            drafted.last_transition_time = since;
        }
    }

    /// Sets a condition only where none of its type is stored.
    pub(crate) fn seed(&mut self, kind: ConditionType, status: ConditionStatus, reason: &str, message: &str) {
        if condition::find(&self.next.conditions, &kind).is_none() {
            self.condition(kind, status, reason, message);
        }
    }

    /// A condition as drafted.
    pub(crate) fn find(&self, kind: &ConditionType) -> Option<&Condition> {
        condition::find(&self.next.conditions, kind)
    }

    /// Puts a new plan in place; a node without a phase, or a failed one, becomes Initializing in the same write (P39).
    /// Every failure before it counts as handled.
    pub(crate) fn stamp(&mut self, plan: StoredPlan) {
        self.next.plan = Some(plan);
        failure::handled(self);
        let fresh = match &self.next.phase {
            None | Some(NodePhase::Pending) => true,
            // A failed node starts over with a new plan.
            Some(NodePhase::Failed) => true,
            Some(NodePhase::Other(text)) => text.is_empty(),
            Some(NodePhase::Initializing | NodePhase::Running | NodePhase::Terminating) => false,
        };
        if fresh {
            self.set_phase(NodePhase::Initializing);
        }
    }

    /// Replaces a plan that can't go on as it is; the phase stays.
    pub(crate) fn supersede(&mut self, plan: Option<StoredPlan>) {
        self.next.plan = plan;
        if self.next.plan.is_some() {
            failure::handled(self);
        }
    }

    /// The node is being deleted.
    pub(crate) fn terminate(&mut self) {
        self.set_phase(NodePhase::Terminating);
    }

    /// Puts a task before the one at `index` of the active plan; the others keep their ids.
    pub(crate) fn insert(&mut self, index: usize, task: StoredTask) {
        if let Some(plan) = self.next.plan.as_mut().filter(|p| index <= p.tasks.len()) {
            plan.tasks.insert(index, task);
        }
    }

    /// Marks a task of the active plan complete.
    pub(crate) fn complete(&mut self, index: usize) {
        if let Some(task) = self.next.plan.as_mut().and_then(|p| p.tasks.get_mut(index)) {
            task.status = TaskStatus::Complete;
            task.error = None;
        }
    }

    /// Stamps the moment a task's turn came, once.
    pub(crate) fn turn(&mut self, index: usize, at: Timestamp) {
        if let Some(task) = self.next.plan.as_mut().and_then(|p| p.tasks.get_mut(index))
            && task.submitted_at.is_none()
        {
            task.submitted_at = Some(Stamp::of(at));
        }
    }

    /// Counts a failed attempt: the task is Pending again (P31).
    pub(crate) fn retry(&mut self, index: usize, count: i64) {
        if let Some(task) = self.next.plan.as_mut().and_then(|p| p.tasks.get_mut(index)) {
            task.retry_count = count;
            task.status = TaskStatus::Pending;
            task.error = None;
            task.submitted_at = None;
        }
    }

    /// A finished plan that an older operator left on a Running node: a finished convergence plan is removed, and an update
    /// that its condition still shows as under way has ended.
    pub(crate) fn tidy(&mut self) {
        let Some(plan) = &self.next.plan else { return };
        let verdict = match &plan.phase {
            PlanPhase::Complete => Verdict::Complete,
            PlanPhase::Failed => {
                let index = plan.failed_task_index.and_then(|i| usize::try_from(i).ok()).unwrap_or_default();
                let error =
                    plan.failed_task_detail.as_ref().map_or("unknown", |d| d.error.as_str()).to_owned();
                Verdict::Failed { index, error }
            }
            PlanPhase::Active | PlanPhase::Other(_) => return,
        };
        let (id, detail) = (plan.id.clone(), plan.failed_task_detail.clone());
        let is_init = plan.tasks.iter().any(|t| t.task_type == TaskType::EnsureDataPvc);
        update_ended(self, &verdict, &id, detail.as_ref());
        if matches!(verdict, Verdict::Complete) && !is_init {
            self.next.plan = None;
        }
    }

    /// The only way to end a plan: with its phase, together or not at all (P2-P4, P7, P10-P13).
    pub(crate) fn close(&mut self, verdict: &Verdict) {
        let before = self.next.phase.clone();
        let Some(plan) = self.next.plan.as_mut() else { return };
        let target = match verdict {
            Verdict::Complete => {
                plan.phase = PlanPhase::Complete;
                plan.target_phase.clone()
            }
            Verdict::Failed { index, error } => {
                plan.phase = PlanPhase::Failed;
                plan.failed_task_index = i64::try_from(*index).ok();
                if let Some(task) = plan.tasks.get_mut(*index) {
                    task.status = TaskStatus::Failed;
                    task.error = Some(error.clone());
                    plan.failed_task_detail = Some(FailedTaskDetail {
                        task_type: task.task_type.to_string(),
                        id: task.id.clone(),
                        error: error.clone(),
                        retry_count: task.retry_count,
                        max_retries: task.max_retries,
                        ..FailedTaskDetail::default()
                    });
                }
                plan.failed_phase.clone()
            }
        };
        let (plan_id, detail) = (plan.id.clone(), plan.failed_task_detail.clone());
        // A convergence plan is judged with the phase before the target phase is applied (P11).
        let converges = plan.target_phase.is_some() && plan.target_phase == before;
        if let Some(phase) = target.filter(|p| !p.as_str().is_empty()) {
            self.set_phase(phase);
        }
        update_ended(self, verdict, &plan_id, detail.as_ref());
        match verdict {
            Verdict::Complete => {
                if converges {
                    self.next.plan = None;
                }
                if self.find(&ConditionType::PlanFailed).is_some_and(|c| c.status == ConditionStatus::True) {
                    let message = format!("plan {plan_id} has completed");
                    self.condition(
                        ConditionType::PlanFailed,
                        ConditionStatus::False,
                        "PlanComplete",
                        &message,
                    );
                }
            }
            Verdict::Failed { .. } => {
                let detail = detail.unwrap_or_default();
                let message = format!("plan {plan_id}, task {}: {}", detail.task_type, detail.error);
                self.condition(
                    ConditionType::PlanFailed,
                    ConditionStatus::True,
                    "TaskFailed",
                    &cut(&message),
                );
                failure::failed(self);
            }
        }
    }

    /// Asks for a write although only progress would be shown: a long wait has reached another mark, or what follows
    /// can't be taken back.
    pub(crate) fn insist(&mut self) {
        self.insisted = true;
    }

    /// The time of the decision.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The write, if there is a difference that is worth one now.
    pub(crate) fn write(&self) -> Option<StatusWrite> {
        let base = &self.node.status;
        if *base == self.next || !(self.insisted || is_urgent(base, &self.next)) {
            return None;
        }
        let json = |status: &SeiNodeStatus| serde_json::to_value(status).unwrap_or(Value::Null);
        let patch = patch::between(&json(base), &json(&self.next))?;
        Some(StatusWrite {
            key: NodeKey::of(self.node),
            uid: Uid::new(self.node.uid()),
            version: ResourceVersion::new(self.node.resource_version()),
            patch,
            status: self.next.clone(),
        })
    }

    fn set_phase(&mut self, phase: NodePhase) {
        if self.next.phase.as_ref() != Some(&phase) {
            self.next.phase = Some(phase);
            self.next.phase_transition_time = Some(Stamp::of(self.now));
        }
    }
}

/// An update that was under way has ended with its plan.
fn update_ended(
    draft: &mut StatusDraft<'_>,
    verdict: &Verdict,
    plan: &str,
    detail: Option<&FailedTaskDetail>,
) {
    let kind = ConditionType::NodeUpdateInProgress;
    if draft.find(&kind).is_none_or(|c| c.status != ConditionStatus::True) {
        return;
    }
    let (reason, message) = match verdict {
        Verdict::Complete => (turn::COMPLETE, format!("plan {plan} has completed")),
        Verdict::Failed { error, .. } => {
            let task = detail.map_or("unknown", |d| d.task_type.as_str());
            (turn::FAILED, format!("plan {plan}, task {task}: {error}"))
        }
    };
    draft.condition(kind, ConditionStatus::False, reason, &cut(&message));
}

/// The parts of a status that any rule may set.
pub(crate) struct Fields<'a> {
    next: &'a mut SeiNodeStatus,
}

impl Fields<'_> {
    pub(crate) fn resolved_peers(&mut self, peers: Vec<String>) {
        self.next.resolved_peers = peers;
    }

    pub(crate) fn resolved_state_syncers(&mut self, witnesses: Vec<String>) {
        self.next.resolved_state_syncers = witnesses;
    }

    pub(crate) fn stateful_set(&mut self, name: &str, uid: &str) {
        let known = self.next.stateful_set.get_or_insert_default();
        name.clone_into(&mut known.name);
        uid.clone_into(&mut known.uid);
    }

    pub(crate) fn images(&mut self, seid: String, sidecar: String) {
        self.next.current_image = Some(seid);
        self.next.current_sidecar_image = Some(sidecar);
    }

    pub(crate) fn no_workflow(&mut self) {
        self.next.adopted_workflow = None;
    }

    pub(crate) fn endpoint(&mut self, endpoint: Option<crate::api::status::Endpoint>) {
        self.next.endpoint = endpoint;
    }
}

/// Conditions whose change is worth a write even while a plan runs.
const NEVER_WAITS: &[ConditionType] = &[
    ConditionType::Paused,
    ConditionType::PlanFailed,
    ConditionType::RetryHandled,
    ConditionType::SpecHeld,
    ConditionType::KeyConflict,
    ConditionType::NodeUpdateInProgress,
];

/// Whether a difference may not wait for the next write that comes anyway. While a plan runs, completed tasks, turns
/// and what is waited for ride along; what is stored of attempts, plans and phases never does.
fn is_urgent(base: &SeiNodeStatus, next: &SeiNodeStatus) -> bool {
    if base.phase != next.phase || base.endpoint != next.endpoint {
        return true;
    }
    let running =
        |s: &SeiNodeStatus| s.plan.as_ref().filter(|p| p.phase == PlanPhase::Active).map(|p| p.id.clone());
    let in_plan = running(base).is_some() && running(base) == running(next);
    let plans_differ = match (&base.plan, &next.plan) {
        (Some(a), Some(b)) if in_plan => {
            let kept =
                |p: &StoredPlan| p.tasks.iter().map(|t| (t.id.clone(), t.retry_count)).collect::<Vec<_>>();
            kept(a) != kept(b)
        }
        (a, b) => a != b,
    };
    let waits = |c: &Condition| in_plan && !NEVER_WAITS.contains(&c.condition_type);
    plans_differ
        || next.conditions.iter().filter(|c| !waits(c)).any(|c| {
            condition::find(&base.conditions, &c.condition_type).is_none_or(|old| {
                (&old.status, &old.reason, old.observed_generation)
                    != (&c.status, &c.reason, c.observed_generation)
            })
        })
}

/// Longest message of a condition that a sidecar's error text may fill, in characters; the server allows 32768.
const LONGEST_MESSAGE: usize = 2048;

/// Cuts a text for people to a length that fits a status.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
