//! Peers that were found while a first plan ran (S20): nodes that start together learn of each other only then.
//!
//! Before the config of an init plan is checked, the peers of today are compared with those that its `config-apply` wrote.
//! Where they differ, one `config-patch` is put before the check: the one case in which an init plan has one. A ceremony
//! has peers of its own. A bootstrap plan writes the whole config twice, so there each `config-apply` may be followed by one.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::status::{StoredPlan, StoredTask};
use crate::api::{TaskStatus, TaskType};
use crate::draft::StatusDraft;
use crate::ident::TaskId;
use crate::peers;
use crate::plan::{intent, is_bootstrapping, pending};
use crate::task::bootstrap::has_ended;
use crate::task::params;
use crate::world::{Topic, World};

/// What is to be done before a task.
pub(crate) enum Patch {
    /// Nothing.
    NotNeeded,
    /// Look first.
    Look(BTreeSet<Topic>),
    /// Put this task before it; the peers are those it writes.
    Insert(StoredTask, Vec<String>),
}

/// Whether the config has to be patched before the task at `index`, the current one of the plan in the draft.
pub(crate) fn before(world: World<'_>, draft: &StatusDraft<'_>, index: usize, task: &StoredTask) -> Patch {
    let Some(written) = draft.status().plan.as_ref().and_then(|plan| written(plan, index, task)) else {
        return Patch::NotNeeded;
    };
    // Once the Job has ended, it alone tells what was done: nothing can be put before that any more.
    let bootstraps = draft.status().plan.as_ref().is_some_and(is_bootstrapping);
    if bootstraps && world.observed.job.present().is_none_or(has_ended) {
        return Patch::NotNeeded;
    }
    // A check that was sent already is not preceded by anything any more.
    let observed = world.observed;
    if !observed.has_looked(&Topic::SidecarTasks) {
        return Patch::Look([Topic::SidecarTasks].into());
    }
    match observed.sidecar_tasks.present() {
        Some(records) if !records.contains_key(&TaskId::new(&task.id)) => {}
        Some(_) | None => return Patch::NotNeeded,
    }
    if let Some(topic) = peers::unseen(world) {
        return Patch::Look([topic].into());
    }
    let known = draft.status();
    let resolved = peers::resolve(world.node, observed, &known.resolved_peers);
    let params = intent::config_patch(world.node, &resolved);
    let Some(plan) = known.plan.as_ref().filter(|_| intent::patched_peers(&params) != Some(written)) else {
        return Patch::NotNeeded;
    };
    Patch::Insert(pending(&plan.id, index, TaskType::ConfigPatch, params), resolved)
}

/// The peers that the last `config-apply` before a check wrote, if this is a check that a patch may come before.
fn written<'a>(plan: &'a StoredPlan, index: usize, task: &StoredTask) -> Option<&'a str> {
    let has = |kind: &TaskType| plan.tasks.iter().any(|t| t.task_type == *kind);
    let is_init = has(&TaskType::EnsureDataPvc) && !has(&TaskType::GenerateGentx);
    if task.task_type != TaskType::ConfigValidate || !is_init {
        return None;
    }
    let earlier = plan.tasks.get(..index)?;
    let last =
        earlier.iter().rfind(|t| matches!(t.task_type, TaskType::ConfigApply | TaskType::ConfigPatch))?;
    if last.task_type != TaskType::ConfigApply || last.status != TaskStatus::Complete {
        return None;
    }
    let overrides = params::field(&last.params, "overrides");
    Some(overrides.and_then(|o| o.get(intent::PEERS)).and_then(Value::as_str).unwrap_or_default())
}
