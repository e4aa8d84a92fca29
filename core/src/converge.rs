//! Whether the children of a Running node still say what is rendered.
//!
//! A child that someone deleted or changed is repaired by a convergence plan. A field that is set back after the repair is
//! not fought over: `ChildContested` names it, and the next try is at a new generation or after an hour. What was last
//! repaired is kept in that condition's message while it is False.

use std::time::Duration;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::{FIELD_MANAGER, TaskType};
use crate::differ::{self, Standing};
use crate::draft::StatusDraft;
use crate::effect::{Manifest, ObjectRef};
use crate::owner::{self, Owner};
use crate::render;
use crate::retry;
use crate::world::{Seen, Topic, World};

/// How long a field that somebody sets back is left alone.
const TRUCE: Duration = Duration::from_hours(1);

/// What is to be done about the children.
pub(crate) enum Children {
    /// They are right, or left alone.
    Right,
    /// Look at these first.
    Look(std::collections::BTreeSet<Topic>),
    /// Apply these, because of what is named.
    Apply(Vec<TaskType>, String),
}

/// How one child is.
enum Child {
    Right,
    Look(Topic),
    Differs { path: String, contested: Option<String> },
}

/// Compares every child; shows what is contested.
pub(crate) fn children(world: World<'_>, draft: &mut StatusDraft<'_>) -> Children {
    let observed = world.observed;
    let node = world.node;
    let replicas = observed.statefulset.present().and_then(|s| s.spec.as_ref()?.replicas).unwrap_or(0);
    // A child that can't be rendered is left as it is; the platform's settings are checked at start.
    let Ok(statefulset) = render::statefulset(node, &world.settings.platform, replicas) else {
        return Children::Right;
    };
    let config = Manifest::ConfigMap(render::rbac_proxy_config(node));
    let service = Manifest::Service(render::service(node));
    let all = [
        (
            TaskType::ApplyRbacProxyConfig,
            compare(world, draft, &observed.config_map, &config, Topic::ConfigMap),
        ),
        (
            TaskType::ApplyStatefulSet,
            compare(
                world,
                draft,
                &observed.statefulset,
                &Manifest::StatefulSet(statefulset),
                Topic::StatefulSet,
            ),
        ),
        (TaskType::ApplyService, compare(world, draft, &observed.service, &service, Topic::Service)),
    ];
    let (mut applies, mut looks, mut paths, mut contested) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (task, child) in all {
        match child {
            Child::Right => {}
            Child::Look(topic) => looks.push(topic),
            Child::Differs { path, contested: None } => {
                applies.push(task);
                paths.push(path);
            }
            Child::Differs { path, contested: Some(manager) } => {
                contested.push(format!("{path} (set by {manager})"));
            }
        }
    }
    if !looks.is_empty() {
        return Children::Look(looks.into_iter().collect());
    }
    if !contested.is_empty() {
        let text = format!("somebody sets back what this operator applies: {}", contested.join(", "));
        draft.condition(
            ConditionType::ChildContested,
            ConditionStatus::True,
            "SetBack",
            &crate::draft::cut(&text),
        );
    }
    if applies.is_empty() { Children::Right } else { Children::Apply(applies, paths.join(", ")) }
}

fn compare<T>(
    world: World<'_>,
    draft: &StatusDraft<'_>,
    seen: &Seen<T>,
    rendered: &Manifest,
    topic: Topic,
) -> Child
where
    T: Serialize + Metadata<Ty = ObjectMeta>,
{
    let ObjectRef { kind, name, .. } = rendered.target();
    let live = match seen {
        Seen::Present(live) => live,
        Seen::Absent | Seen::Unknown(_) if !world.observed.has_looked(&topic) => return Child::Look(topic),
        // What can't be told about is left alone.
        Seen::Unknown(_) => return Child::Right,
        Seen::Absent => return Child::Differs { path: format!("{kind:?} {name} is gone"), contested: None },
    };
    let meta = live.metadata();
    if owner::of(meta, world.node) != Owner::Ours || meta.deletion_timestamp.is_some() {
        return Child::Right;
    }
    let field = match differ::standing(&rendered.to_json(), live, world.observed.has_looked(&topic)) {
        Standing::Right => return Child::Right,
        // The cache keeps no owners of fields, only a live object tells.
        Standing::Unsure => return Child::Look(topic),
        Standing::Differs(field) => field,
    };
    let path = format!("{kind:?} {name}: {field}");
    let contested = contested(world, draft, meta, &path);
    Child::Differs { path, contested }
}

/// Who set a field back after it was repaired at this generation, within the truce.
fn contested(world: World<'_>, draft: &StatusDraft<'_>, meta: &ObjectMeta, path: &str) -> Option<String> {
    let known = draft.find(&ConditionType::ChildContested)?;
    if !known.message.contains(path) || known.observed_generation != Some(world.node.generation()) {
        return None;
    }
    let entries = || meta.managed_fields.iter().flatten();
    let ours = entries()
        .filter(|e| e.manager.as_deref() == Some(FIELD_MANAGER) && e.operation.as_deref() == Some("Apply"));
    let applied = ours.filter_map(|e| e.time.as_ref()).map(|t| t.0).max()?;
    if retry::elapsed(applied, world.now) >= TRUCE {
        return None;
    }
    let others = entries().filter(|e| e.manager.as_deref() != Some(FIELD_MANAGER) && e.subresource.is_none());
    let last = others.max_by_key(|e| e.time.as_ref().map(|t| t.0));
    Some(last.and_then(|e| e.manager.clone()).unwrap_or_else(|| "an unknown manager".to_owned()))
}

/// A repair begins, in the draft.
pub(crate) fn repairing(draft: &mut StatusDraft<'_>, paths: &str) {
    draft.condition(
        ConditionType::ChildContested,
        ConditionStatus::False,
        "Repaired",
        &crate::draft::cut(paths),
    );
}
