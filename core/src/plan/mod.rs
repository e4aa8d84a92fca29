//! Reading and building plans.
//!
//! Answers: where a stored plan stands, and what a new one looks like. Refuses to know: when to build one (`choose`)
//! and how its tasks are carried out (`advance`). Upholds laws 8 (forward only) and 16 (unknown survives).

pub(crate) mod advance;
pub(crate) mod choose;
pub(crate) mod fresh_peers;
pub(crate) mod intent;
pub mod lint;
pub mod recipe;
pub(crate) mod supersede;

use serde_json::{Map, Value};

use crate::api::status::{StoredPlan, StoredTask};
use crate::api::{NodePhase, PlanPhase, SeiNode, TaskStatus, TaskType};
use crate::ident;
use crate::task;

/// Kinds of plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanKind {
    /// First start without a bootstrap Job.
    Init,
    /// First start with a bootstrap Job.
    Bootstrap,
    /// First start of a founding validator.
    Genesis,
    /// New images on a Running node.
    NodeUpdate,
    /// A child of a Running node differs from what is rendered.
    Convergence,
    /// The sidecar was restarted and has to let seid start again.
    MarkReady,
}

impl PlanKind {
    /// One word, part of the plan id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Bootstrap => "bootstrap",
            Self::Genesis => "genesis",
            Self::NodeUpdate => "node-update",
            Self::Convergence => "convergence",
            Self::MarkReady => "mark-ready",
        }
    }
}

/// Kind of a stored plan for metrics (`seinode.md` 3): whichever telling task comes first.
pub fn metric_kind(plan: &StoredPlan) -> &'static str {
    for task in &plan.tasks {
        if task.task_type == TaskType::ObserveImage {
            return "node-update";
        }
        if task.task_type == TaskType::EnsureDataPvc {
            return "init";
        }
    }
    match plan.tasks.as_slice() {
        [only] if only.task_type == TaskType::MarkReady => "mark-ready-reapply",
        _ => "unknown",
    }
}

/// An ordered list of tasks with parameters, not yet tied to a version of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Kind.
    pub kind: PlanKind,
    /// The tasks in order.
    pub tasks: Vec<(TaskType, Value)>,
    /// Phase of the node after success.
    pub target: NodePhase,
    /// Phase of the node after failure; none means that the phase stays and the work is tried again.
    pub failed: Option<NodePhase>,
}

impl Recipe {
    /// The plan as stored: ids derived from the version of the node that was read.
    pub fn plan(self, node: &SeiNode) -> StoredPlan {
        let id = ident::plan_id(node, self.kind.as_str());
        let tasks = self
            .tasks
            .into_iter()
            .enumerate()
            .map(|(index, (task_type, params))| pending(&id, index, task_type, params))
            .collect();
        let plan = StoredPlan::active(id, tasks);
        StoredPlan { target_phase: Some(self.target), failed_phase: self.failed, ..plan }
    }
}

/// A task that nothing was done for yet; its id follows from the plan's id, its type and its place.
pub(crate) fn pending(plan: &str, index: usize, task_type: TaskType, params: Value) -> StoredTask {
    StoredTask {
        id: ident::task_id(plan, &task_type, index),
        status: TaskStatus::Pending,
        params,
        submitted_at: None,
        error: None,
        max_retries: task::stored_retries(&task_type),
        retry_count: 0,
        extra: Map::new(),
        task_type,
    }
}

/// Where a node stands with its plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage<'a> {
    /// No plan, or one that has ended.
    Idle,
    /// A plan is under way.
    Active(&'a StoredPlan),
    /// A plan that this version can't read; it is held and reported.
    Unreadable(String),
}

impl<'a> Stage<'a> {
    /// Reads the stored plan.
    pub(crate) fn of(plan: Option<&'a StoredPlan>) -> Self {
        let Some(plan) = plan else { return Self::Idle };
        match &plan.phase {
            PlanPhase::Active => Self::Active(plan),
            PlanPhase::Complete | PlanPhase::Failed => Self::Idle,
            PlanPhase::Other(text) => {
                Self::Unreadable(format!("status.plan.phase is {text:?}, which this version does not know"))
            }
        }
    }
}

/// Index of the current task: the first that is not Complete (P28).
pub(crate) fn cursor(plan: &StoredPlan) -> Option<usize> {
    plan.tasks.iter().position(|task| task.status != TaskStatus::Complete)
}

/// Whether a plan still has a bootstrap to run or to remove: the bootstrap pod is the one whose sidecar is meant.
pub(crate) fn is_bootstrapping(plan: &StoredPlan) -> bool {
    plan.tasks.iter().any(|t| t.task_type == TaskType::TeardownBootstrap && t.status != TaskStatus::Complete)
        && plan.tasks.iter().any(|t| t.task_type == TaskType::DeployBootstrapJob)
}

/// Whether a plan patches the config before it replaces the pod, and has not done so yet.
pub(crate) fn is_patch_first(plan: &StoredPlan) -> bool {
    let at = |kind: &TaskType| plan.tasks.iter().position(|t| t.task_type == *kind);
    let open = |i: usize| plan.tasks.get(i).is_some_and(|t| t.status != TaskStatus::Complete);
    match (at(&TaskType::ConfigPatch), at(&TaskType::ReplacePod)) {
        (Some(patch), Some(replace)) => patch < replace && open(patch),
        _ => false,
    }
}

/// Whether a plan does nothing but apply children that differ.
pub(crate) fn is_convergence(plan: &StoredPlan) -> bool {
    let applies = [TaskType::ApplyRbacProxyConfig, TaskType::ApplyStatefulSet, TaskType::ApplyService];
    !plan.tasks.is_empty() && plan.tasks.iter().all(|t| applies.contains(&t.task_type))
}

/// Whether a plan does nothing but mark the sidecar ready.
pub(crate) fn is_mark_ready(plan: &StoredPlan) -> bool {
    plan.tasks.iter().all(|t| t.task_type == TaskType::MarkReady)
}

/// Whether a plan has a task that writes config.
pub(crate) fn writes_config(plan: &StoredPlan) -> bool {
    plan.tasks.iter().any(|t| matches!(t.task_type, TaskType::ConfigApply | TaskType::ConfigPatch))
}
