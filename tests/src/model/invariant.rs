//! What must hold in every state, and for every effect that takes hold, whoever decided it and however late it comes.

use std::collections::BTreeMap;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{PlanPhase, SeiNode, TaskType};
use seinode_core::effect::{Effect, Kind, Manifest, Op};
use seinode_core::ident::TaskId;
use seinode_core::rivals::{self, Exclusive};

use super::obj::Obj;
use super::pod::{Parent, PodState};
use super::site::Site;
use super::state::State;

/// What a state breaks.
pub(crate) fn of_state(state: &State) -> Vec<String> {
    // A submit can't carry a guard: each operator but one may be late with one.
    let late = i64::try_from(state.workers.len()).unwrap_or_default() - 1;
    let mut out: Vec<String> =
        state.sites.iter().flat_map(|site| of_site(site, state.forgot, late)).collect();
    let failed = |site: &&Site| {
        let plan = site.node.now().and_then(|n| n.status.plan.as_ref());
        plan.is_some_and(|p| p.phase == PlanPhase::Failed)
    };
    if state.strict && state.sites.iter().any(|s| failed(&s)) {
        out.push("invariant 5: a plan has failed, and nothing has".to_owned());
    }
    out.extend(shared(state));
    out
}

fn of_site(site: &Site, forgot: bool, late: i64) -> Vec<String> {
    let mut out = Vec::new();
    let ids: Vec<_> = if forgot { Vec::new() } else { site.sidecar.surplus_runs() };
    out.extend(ids.iter().map(|id| format!("invariant 10: task {} ran without need", id.as_str())));
    let Some(node) = site.node.now() else { return out };
    let paused = condition::find(&node.status.conditions, &ConditionType::Paused);
    let stopped = node.spec.paused == Some(true)
        && paused.is_some_and(|c| {
            c.status == ConditionStatus::True && c.observed_generation == Some(node.generation())
        });
    if stopped && site.pod_states().iter().any(PodState::is_live) {
        out.push("invariant 6: the pause is acknowledged, and a pod is there".to_owned());
    }
    if forgot {
        return out;
    }
    for task in node.status.plan.iter().flat_map(|p| &p.tasks) {
        let run = site.sidecar.records.get(&TaskId::new(&task.id)).map_or(0, |r| r.run);
        if run > task.retry_count + 1 + late {
            out.push(format!("invariant 10: run {run} of task {} was not stored first", task.task_type));
        }
        // What is counted for this one are bootstraps.
        if task.retry_count == 0 || task.task_type == TaskType::DeployBootstrapJob {
            continue;
        }
        let failed = site.sidecar.failed.get(&TaskId::new(&task.id)).copied().unwrap_or_default();
        if task.retry_count > failed {
            out.push(format!(
                "invariant 10: task {} counts {} failures of {failed}",
                task.task_type, task.retry_count
            ));
        }
    }
    out
}

/// Invariant 1 and S3: at most one live pod for a claim, and for a key.
fn shared(state: &State) -> Vec<String> {
    let nodes = || state.sites.iter().filter_map(|s| s.node.now());
    let keys: Vec<Exclusive> = nodes().flat_map(|n| rivals::named(n.name(), &n.spec)).collect();
    let mut users: BTreeMap<Exclusive, usize> = BTreeMap::new();
    for pod in state.sites.iter().flat_map(Site::pod_states).filter(|p| p.is_live()) {
        for thing in pod.spec().map(rivals::mounted).unwrap_or_default() {
            *users.entry(thing).or_default() += 1;
        }
    }
    let shared = users.into_iter().filter(|(_, n)| *n > 1);
    shared
        .filter_map(|(thing, n)| match thing {
            Exclusive::Claim(_) => Some(format!("invariant 1: {n} pods mount {thing}")),
            Exclusive::Key(_) => keys.contains(&thing).then(|| format!("S3: {n} pods mount {thing}")),
        })
        .collect()
}

/// What an effect breaks that has taken hold: `before` is the site as it was, `decided_on` the node that was read.
pub(crate) fn of_effect(
    before: &Site,
    after: &State,
    at: usize,
    decided_on: &SeiNode,
    effect: &Effect,
) -> Vec<String> {
    let mut out = Vec::new();
    let kind = match &effect.op {
        Op::Apply { manifest, .. } => match manifest.as_ref() {
            Manifest::StatefulSet(_) => Kind::StatefulSet,
            Manifest::Service(_) => Kind::Service,
            Manifest::DataPvc(_) => Kind::PersistentVolumeClaim,
            Manifest::ConfigMap(_) => Kind::ConfigMap,
            Manifest::Job(_) => Kind::Job,
        },
        Op::Patch { target, .. } | Op::Delete { target, .. } => target.kind,
        Op::Announce(_) | Op::Finalizer { .. } | Op::Workflow(_) | Op::Submit(_) | Op::Withdraw(_) => {
            return out;
        }
    };
    if kind == Kind::Pod {
        return of_pod(before, after, at, decided_on);
    }
    let owner = match kind {
        Kind::StatefulSet => controller(before.statefulset.now()),
        Kind::Service => controller(before.service.now()),
        Kind::PersistentVolumeClaim => controller(before.claim.now()),
        Kind::ConfigMap => controller(before.config_map.now()),
        Kind::Job => controller(before.job.now()),
        Kind::Pod => None,
    };
    if owner.as_ref().is_some_and(|uid| uid.as_deref() != Some(decided_on.uid())) {
        out.push(format!("invariant 4: {} of a {kind:?} that is not of the node", effect.op.verb()));
    }
    let chains = (chain(before), chain(&after.sites[at]));
    if kind == Kind::StatefulSet && chains.0.is_some() && chains.0 != chains.1 {
        out.push(format!("S5: the chain of a live node was changed: {chains:?}"));
    }
    let live = after.sites[at].node.now();
    let lives = live.is_some_and(|n| owner == Some(Some(n.uid().to_owned())) && !n.is_deleting());
    let deletes = matches!(effect.op, Op::Delete { .. });
    if deletes && lives && kind == Kind::PersistentVolumeClaim {
        out.push("W7: the claim of a node that lives was deleted".to_owned());
    }
    out
}

/// A pod is deleted only if it is of an old revision by what the cluster says now, and of this node.
fn of_pod(before: &Site, after: &State, at: usize, decided_on: &SeiNode) -> Vec<String> {
    let mut out = Vec::new();
    let marked = |pod: &&PodState| {
        !pod.deleting && after.sites[at].pod_states().iter().any(|p| p.uid == pod.uid && p.deleting)
    };
    let Some(pod) = before.pod_states().iter().find(marked) else { return out };
    let owner = match &pod.parent {
        Parent::Set(set) => rivals::node_uid(&set.metadata),
        Parent::Job(job) => rivals::node_uid(&job.metadata),
    };
    if owner != Some(decided_on.uid()) {
        out.push("invariant 4: the pod of another node was deleted".to_owned());
    }
    let wanted = before.statefulset.now().and_then(|s| s.status.as_ref()?.update_revision.clone());
    // No guard of the pod tells of a later edit: that such a delete may come late is known.
    let edited = after.sites[at].node.now().is_none_or(|n| n.generation() != decided_on.generation());
    if matches!(pod.parent, Parent::Set(_)) && wanted.as_ref() == Some(&pod.revision) && !edited {
        out.push("invariant 3: a pod of the wanted revision was deleted".to_owned());
    }
    out
}

/// The chain that the pods of a StatefulSet work for.
fn chain(site: &Site) -> Option<String> {
    let spec = site.statefulset.now()?.spec.as_ref()?.template.spec.as_ref()?;
    let env = spec.init_containers.iter().flatten().flat_map(|c| c.env.iter().flatten());
    env.into_iter().find(|e| e.name == "SEI_CHAIN_ID")?.value.clone()
}

/// The uid of the node that controls an object: none if there is no object, none in it if nobody does.
#[allow(clippy::option_option, reason = "an object of nobody is not the same as no object")]
fn controller<T: Metadata<Ty = ObjectMeta>>(object: Option<&Obj<T>>) -> Option<Option<String>> {
    object.map(|o| rivals::node_uid(o.metadata()).map(str::to_owned))
}
