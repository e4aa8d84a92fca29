//! When an active plan no longer says what is wanted, and how it is brought to rest before another one replaces it.
//!
//! Nothing extra is recorded for this, so it works for plans of the Go operator too. Peers and witnesses are set aside:
//! they change by themselves, and a plan keeps those it was built with.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use serde_json::{Map, Value};

use crate::api::status::{StoredPlan, StoredTask};
use crate::api::{TaskStatus, TaskType};
use crate::decision::Wake;
use crate::differ;
use crate::effect::{Effect, Manifest, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, TaskId};
use crate::owner::{self, Owner};
use crate::plan::recipe::{self, Inputs};
use crate::plan::{Recipe, choose, cursor, is_bootstrapping};
use crate::pod;
use crate::render;
use crate::task::bootstrap::{Removal, removal};
use crate::task::{is_of_sidecar, sidecar};
use crate::world::{Seen, SidecarTaskStatus, Topic, World};

/// A sidecar that gave no answer for this long can't be asked.
pub(crate) const SILENCE: Duration = Duration::from_mins(2);

/// How often a plan that is brought to rest is looked at.
const AGAIN: Duration = Duration::from_secs(2);

/// Why the plan is out of date; `None` if it still says what is wanted.
pub(crate) fn outdated(world: World<'_>, plan: &StoredPlan, inputs: Inputs<'_>) -> Option<String> {
    let today = today(world, plan, inputs)?;
    let mut wanted: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for (kind, params) in &today.tasks {
        wanted.entry(kind.as_str()).or_default().push(params);
    }
    for task in &plan.tasks {
        let done = task.status == TaskStatus::Complete;
        let config = matches!(task.task_type, TaskType::ConfigApply | TaskType::ConfigPatch);
        if done && !config {
            continue;
        }
        match wanted.get(task.task_type.as_str()) {
            // Part of some plans of its kind only.
            None if matches!(
                task.task_type,
                TaskType::ReplacePod | TaskType::TeardownBootstrap | TaskType::ConfigPatch
            ) => {}
            None if done => {}
            None => return Some(format!("task {} is not wanted any more", task.task_type)),
            Some(params) if params.iter().any(|p| same(task, p)) => {}
            Some(_) => return Some(format!("the spec asks for other parameters of task {}", task.task_type)),
        }
    }
    template_differs(world, plan).or_else(|| bootstrap_differs(world, plan))
}

/// Today's recipe of the kind that the plan is of; `None` for kinds that have no say in the spec.
fn today(world: World<'_>, plan: &StoredPlan, inputs: Inputs<'_>) -> Option<Recipe> {
    let has = |kind: &TaskType| plan.tasks.iter().any(|t| t.task_type == *kind);
    if has(&TaskType::ObserveImage) {
        return Some(recipe::update::recipe(inputs, true));
    }
    has(&TaskType::EnsureDataPvc).then(|| choose::first(world, inputs, Some(plan)))
}

/// Whether a stored task has the wanted params, peers, witnesses and `incremental` aside, in any letter case.
pub(crate) fn same(task: &StoredTask, wanted: &Value) -> bool {
    essence(&task.params) == essence(wanted)
}

/// What of params a spec edit can change. Nulls and zero values are the same as absence: merge patches drop nulls.
fn essence(params: &Value) -> Value {
    let Value::Object(map) = params else { return Value::Object(Map::new()) };
    let mut out = Map::new();
    for (key, value) in map {
        let key = key.to_ascii_lowercase();
        if matches!(key.as_str(), "incremental" | "rpcservers" | "targetversion") {
            continue;
        }
        let value = match (key.as_str(), value) {
            ("overrides", Value::Object(overrides)) => {
                let mut kept = overrides.clone();
                kept.remove("network.p2p.persistent_peers");
                Value::Object(kept)
            }
            ("files", files) => {
                let mut kept = files.clone();
                if let Some(Value::Object(p2p)) = kept.pointer_mut("/config.toml/p2p") {
                    p2p.remove("persistent-peers");
                }
                kept
            }
            (_, value) => value.clone(),
        };
        let nothing = match &value {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::Number(n) => n.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(_) | Value::Object(_) => false,
        };
        if !nothing {
            out.insert(key, value);
        }
    }
    Value::Object(out)
}

/// Once the StatefulSet was applied, its live template has to be today's.
fn template_differs(world: World<'_>, plan: &StoredPlan) -> Option<String> {
    let applied =
        |t: &StoredTask| t.task_type == TaskType::ApplyStatefulSet && t.status == TaskStatus::Complete;
    if !plan.tasks.iter().any(applied) {
        return None;
    }
    let live =
        world.observed.statefulset.present().filter(|s| owner::of(&s.metadata, world.node) == Owner::Ours)?;
    let rendered = render::statefulset(world.node, &world.settings.platform, 1).ok()?;
    let live = serde_json::to_value(live).ok()?;
    let path = differ::first_difference(&Manifest::StatefulSet(rendered).to_json(), &live)?;
    Some(format!("the spec asks for another {path} of the StatefulSet"))
}

/// A bootstrap Job is never changed. Until it has completed, one whose pod has not come to run an image has to be made anew
/// once the spec asks for another (W3); what runs already runs to its end.
fn bootstrap_differs(world: World<'_>, plan: &StoredPlan) -> Option<String> {
    if !is_bootstrapping(plan) || choose::has_bootstrapped(plan) {
        return None;
    }
    let job = world.observed.job.present().filter(|j| owner::of(&j.metadata, world.node) == Owner::Ours)?;
    let pod = match pod::of_job(&world.observed.pods, job) {
        Seen::Unknown(_) => return None,
        Seen::Absent => None,
        Seen::Present(pod) => Some(pod),
    };
    let has_begun = |name: &str| pod.is_some_and(|p| pod::has_begun(p, name));
    let waiting: BTreeMap<_, _> = images(job).filter(|(name, _)| !has_begun(name)).collect();
    if waiting.is_empty() {
        return None;
    }
    let rendered = render::bootstrap_job(world.node, &world.settings.platform, true).ok()?;
    let (name, image) =
        images(&rendered).find(|(name, image)| waiting.get(name).is_some_and(|has| has != image))?;
    Some(format!("the spec asks for image {image} of {name}, and the bootstrap has not come to run another"))
}

/// Images of a Job by container.
fn images(job: &Job) -> impl Iterator<Item = (&str, &str)> {
    let pod = job.spec.as_ref().and_then(|s| s.template.spec.as_ref());
    pod.into_iter()
        .flat_map(pod::containers)
        .map(|c| (c.name.as_str(), c.image.as_deref().unwrap_or_default()))
}

/// How far a plan is from being at rest.
pub(crate) enum Rest {
    /// It may be replaced.
    AtRest,
    /// Look first.
    Look(std::collections::BTreeSet<Topic>),
    /// Carry this out first.
    Do(Effect),
    /// Not yet.
    Wait(WaitingOn, Wake),
}

/// Before a plan is replaced: its bootstrap has completed or is removed, and a task that runs in the sidecar has ended, or
/// was cancelled, or the sidecar can't be asked. A genesis transaction is waited for.
pub(crate) fn quiesce(world: World<'_>, plan: &StoredPlan) -> Rest {
    if is_bootstrapping(plan) {
        // Nothing runs in the sidecar of a Job that has completed, and that of the StatefulSet is yet to come.
        if choose::has_bootstrapped(plan) {
            return Rest::AtRest;
        }
        return match removal(world, &plan.id, None) {
            // Its sidecar is gone with it.
            Removal::Gone => Rest::AtRest,
            Removal::Look(topics) => Rest::Look(topics),
            Removal::Do(effect) => Rest::Do(effect),
            Removal::Wait(why) => Rest::Wait(why, Wake::After(AGAIN)),
        };
    }
    let current = cursor(plan).and_then(|i| plan.tasks.get(i));
    // A task of the sidecar may run that the stored plan shows as open only; tasks before it are complete.
    if !current.is_some_and(|_| {
        plan.tasks.iter().any(|t| is_of_sidecar(&t.task_type) && t.status != TaskStatus::Complete)
    }) {
        return Rest::AtRest;
    }
    if sidecar::nobody_to_ask(world, false).is_some() {
        return Rest::AtRest;
    }
    if !world.observed.has_looked(&Topic::SidecarTasks) {
        return Rest::Look([Topic::SidecarTasks].into());
    }
    let records = match &world.observed.sidecar_tasks {
        Seen::Present(records) => records,
        Seen::Absent | Seen::Unknown(_) if world.observed.silence >= SILENCE => return Rest::AtRest,
        Seen::Absent | Seen::Unknown(_) => {
            let text = "the sidecar does not answer, and a task may run in it".to_owned();
            return Rest::Wait(WaitingOn::Replacing(text), Wake::After(AGAIN));
        }
    };
    let running = plan.tasks.iter().find_map(|task| {
        let record = records.get(&TaskId::new(&task.id))?;
        (record.status == SidecarTaskStatus::Running).then_some((task, record))
    });
    let gentx = TaskType::GenerateGentx.as_str();
    match running {
        None => Rest::AtRest,
        // By the record too: what stands under an id is what runs.
        Some((task, record)) if task.task_type.as_str() == gentx || record.task_type == gentx => {
            let text = "generate-gentx runs in the sidecar and is never cut short".to_owned();
            Rest::Wait(WaitingOn::Replacing(text), Wake::After(AGAIN))
        }
        Some((task, _)) => {
            let effect = Effect {
                id: EffectId::new(format!("{}/withdraw", task.id)),
                task: Some(TaskId::new(&task.id)),
                op: Op::Withdraw(TaskId::new(&task.id)),
            };
            match world.observed.fault(&effect.id) {
                None => Rest::Do(effect),
                Some(fault) => {
                    let text = format!("task {} could not be cancelled: {}", task.task_type, fault.text());
                    Rest::Wait(WaitingOn::Replacing(text), Wake::After(AGAIN))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn params_are_compared_without_peers_witnesses_zero_values_and_letter_case() {
        let rows = [
            (json!({"TargetHeight": 7}), json!({"targetheight": 7}), true),
            (json!({"TargetHeight": 7}), json!({"TargetHeight": 8}), false),
            (
                json!({"RpcServers": ["a:1"], "TrustPeriod": ""}),
                json!({"RpcServers": null, "BackfillBlocks": 0}),
                true,
            ),
            (json!({"UseLocalSnapshot": true}), json!({"UseLocalSnapshot": false}), false),
            (
                json!({"mode": "full", "incremental": true, "overrides": {"network.p2p.persistent_peers": "a"}}),
                json!({"mode": "full", "overrides": {"network.p2p.persistent_peers": "b"}}),
                true,
            ),
            (
                json!({"mode": "full", "overrides": {"a.b": "1"}}),
                json!({"mode": "full", "overrides": {"a.b": "2"}}),
                false,
            ),
        ];
        for (a, b, equal) in rows {
            assert_eq!(essence(&a) == essence(&b), equal, "{a} {b}");
        }
    }
}
