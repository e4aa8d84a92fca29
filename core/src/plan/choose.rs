//! Which plan, if any, a node needs (`seinode.md` 5.1).

use serde_json::{Value, json};

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::status::StoredPlan;
use crate::api::{TaskStatus, TaskType};
use crate::draft::StatusDraft;
use crate::drift;
use crate::owner::{self, Owner};
use crate::plan::Recipe;
use crate::plan::recipe::{self, Inputs};
use crate::task::params;
use crate::world::World;

/// The recipe for a Running node: an update wins over mark-ready. `answering`: the sidecar can be asked.
pub(crate) fn for_running(
    world: World<'_>,
    draft: &StatusDraft<'_>,
    inputs: Inputs<'_>,
    answering: bool,
) -> Option<(Recipe, Option<String>)> {
    if let Some(what) = drift::of(world, draft) {
        return Some((recipe::update::recipe(inputs, answering), Some(what)));
    }
    mark_ready(draft, inputs).map(|recipe| (recipe, None))
}

/// Mark-ready, where the sidecar has lost its readiness.
pub(crate) fn mark_ready(draft: &StatusDraft<'_>, inputs: Inputs<'_>) -> Option<Recipe> {
    let ready = draft.find(&ConditionType::SidecarReady);
    ready.is_some_and(|c| c.status == ConditionStatus::False).then(|| recipe::mark_ready::recipe(inputs))
}

/// The init recipe of a node: the ceremony wins over the bootstrap. `before` is the plan that it follows, if any.
pub(crate) fn first(world: World<'_>, inputs: Inputs<'_>, before: Option<&StoredPlan>) -> Recipe {
    let mut recipe = by_spec(inputs, before);
    let ours = world
        .observed
        .statefulset
        .present()
        .is_some_and(|s| owner::of(&s.metadata, world.node) == Owner::Ours);
    if ours && let Some(at) = recipe.tasks.iter().position(|(t, _)| *t == TaskType::ApplyService) {
        // A StatefulSet that exists may have a pod of an old template.
        recipe.tasks.insert(at + 1, inputs.task(TaskType::ReplacePod));
    }
    let after_bootstrap = recipe.tasks.iter().any(|(t, _)| *t == TaskType::TeardownBootstrap);
    if !after_bootstrap && before.is_some_and(has_synced) {
        make_incremental(&mut recipe);
    }
    recipe
}

/// What the spec alone calls for.
pub(crate) fn by_spec(inputs: Inputs<'_>, before: Option<&StoredPlan>) -> Recipe {
    let spec = &inputs.node.spec;
    if mode::has_genesis_ceremony(spec) {
        recipe::genesis::recipe(inputs)
    } else if !mode::needs_bootstrap(spec) {
        recipe::init::recipe(inputs)
    } else if before.is_some_and(has_bootstrapped) {
        recipe::bootstrap::after(inputs)
    } else {
        recipe::bootstrap::recipe(inputs)
    }
}

/// Whether a plan's bootstrap has completed, or it follows one that had.
pub(crate) fn has_bootstrapped(plan: &StoredPlan) -> bool {
    let has = |kind: &TaskType| plan.tasks.iter().any(|t| t.task_type == *kind);
    let done = |t: &crate::api::StoredTask| {
        t.task_type == TaskType::AwaitBootstrapComplete && t.status == TaskStatus::Complete
    };
    plan.tasks.iter().any(done) || (has(&TaskType::TeardownBootstrap) && !has(&TaskType::DeployBootstrapJob))
}

/// Whether the state-sync section was written by a plan, or one before it: the sidecar's marker keeps it from being
/// written again, so a full `config-apply` must not wipe it.
fn has_synced(plan: &StoredPlan) -> bool {
    plan.tasks.iter().any(|t| {
        (t.task_type == TaskType::ConfigureStateSync && t.status == TaskStatus::Complete)
            || (t.task_type == TaskType::ConfigApply && params::boolean(&t.params, "incremental") == Ok(true))
    })
}

fn make_incremental(recipe: &mut Recipe) {
    for (kind, params) in &mut recipe.tasks {
        if let (TaskType::ConfigApply, Value::Object(params)) = (kind, params) {
            params.insert("incremental".to_owned(), json!(true));
        }
    }
}
