//! What effects break: laws 1 and 2, and the invariants about ownership, pauses and the data volume.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::scene::Scene;
use crate::api::status::{PlanPhase, StoredPlan};
use crate::api::{TaskStatus, TaskType, mode};
use crate::draft::StatusDraft;
use crate::effect::{Base, Effect, Field, Kind, Manifest, ObjectRef, Op, Submit, WorkflowWrite};
use crate::gate;
use crate::ident::{ResourceVersion, TaskId, Uid};
use crate::owner::{self, Owner};
use crate::plan::intent;
use crate::pod;
use crate::rivals;
use crate::world::{Seen, SidecarTaskStatus, Topic};

/// What is wrong with the effects that follow when `plan` is what is stored.
pub(super) fn broken(scene: &Scene, plan: Option<&StoredPlan>, effects: &[Effect]) -> Vec<String> {
    let mut out = Vec::new();
    let ids: BTreeSet<_> = effects.iter().map(|e| &e.id).collect();
    if ids.len() != effects.len() {
        out.push("law 2: two effects have one id".to_owned());
    }
    for effect in effects {
        let found = outside(scene, plan, effect).into_iter().chain(guarded(scene, plan, effect));
        out.extend(found.map(|text| format!("{text}: {} {}", effect.op.verb(), effect.id)));
    }
    out
}

/// Law 1: the plan that names the task is stored and active; effects outside plans follow from the object itself.
fn outside(scene: &Scene, plan: Option<&StoredPlan>, effect: &Effect) -> Option<String> {
    let version = ResourceVersion::new(scene.node.resource_version());
    let Some(task) = &effect.task else {
        let fine = match &effect.op {
            Op::Announce(_) | Op::Patch { .. } | Op::Delete { .. } | Op::Workflow(_) => true,
            Op::Finalizer { version: seen, .. } => *seen == version,
            Op::Apply { .. } | Op::Submit(_) | Op::Withdraw(_) => false,
        };
        return (!fine).then(|| "law 1: an effect of no task".to_owned());
    };
    // What a plan has left behind may be cleared away after its end too.
    let clears = matches!(effect.op, Op::Withdraw(_) | Op::Delete { .. });
    let named = plan.into_iter().chain(of_workflow(scene)).filter(|p| clears || p.phase == PlanPhase::Active);
    let mut named = named.flat_map(|p| &p.tasks);
    let open = named.any(|t| (clears || t.status != TaskStatus::Complete) && TaskId::new(&t.id) == *task);
    (!open).then(|| "law 1: no open task of the stored plan asks for this".to_owned())
}

/// The stored plan of the workflow that has the node.
fn of_workflow(scene: &Scene) -> Option<&StoredPlan> {
    let uid = scene.node.status.adopted_workflow.as_ref()?.get("uid")?.as_str()?;
    let workflows = scene.observed.workflows.present()?;
    workflows.iter().find(|w| w.metadata.uid.as_deref() == Some(uid))?.status.plan.as_ref()
}

/// A workflow is changed at the version that was seen past the cache.
fn workflow(scene: &Scene, write: &WorkflowWrite) -> Option<String> {
    let seen = scene.observed.workflows.present().into_iter().flatten();
    let mut seen = seen.filter(|_| scene.observed.has_looked(&Topic::Workflows)).map(|w| &w.metadata);
    let fine = seen.any(|m| owner::uid(m) == write.uid && owner::version(m) == write.version);
    (!fine).then(|| "law 2: changes a workflow that was not seen".to_owned())
}

fn guarded(scene: &Scene, plan: Option<&StoredPlan>, effect: &Effect) -> Option<String> {
    let paused =
        scene.node.spec.paused == Some(true) && !scene.node.is_deleting() && scene.node.has_finalizer();
    match &effect.op {
        Op::Announce(_) | Op::Finalizer { .. } => None,
        Op::Patch { target, field: Field::Paused { .. }, uid, version } => (!paused
            || !is_ours(scene, target.kind, uid, Some(version)))
        .then(|| "stops what is not its to stop".to_owned()),
        Op::Workflow(write) => workflow(scene, write),
        _ if paused => Some("acts on a paused node".to_owned()),
        Op::Patch { target, field, uid, version } => {
            let stops = matches!(field, Field::Replicas(0) | Field::Suspend(true) | Field::Paused { .. });
            if stops && is_ours(scene, target.kind, uid, Some(version)) {
                None
            } else if is_ours(scene, target.kind, uid, Some(version)) {
                start(scene, plan, target.kind)
            } else {
                Some("scales what is not its own".to_owned())
            }
        }
        Op::Delete { target, uid, version } => delete(scene, effect, target, uid, version.as_ref()),
        Op::Apply { manifest, base } => apply(scene, manifest, base),
        Op::Submit(submit) => {
            let seen = scene.observed.has_looked(&Topic::SidecarTasks);
            let records = scene.observed.sidecar_tasks.present();
            let free = records
                .is_some_and(|r| r.get(&submit.id).is_none_or(|r| r.status == SidecarTaskStatus::Failed));
            if !seen || !free {
                return Some("law 2: submits without having looked, or what is not failed".to_owned());
            }
            let named = |plan: &&StoredPlan| plan.tasks.iter().any(|t| TaskId::new(&t.id) == submit.id);
            plan.filter(named).and_then(|plan| overridden(scene, plan, submit))
        }
        Op::Withdraw(id) => {
            let records = scene.observed.sidecar_tasks.present();
            let record =
                records.and_then(|r| r.get(id)).filter(|_| scene.observed.has_looked(&Topic::SidecarTasks));
            let runs = record.is_some_and(|r| r.status == SidecarTaskStatus::Running);
            let cuts = record.is_some_and(|r| r.task_type == TaskType::GenerateGentx.as_str());
            (!runs || cuts).then(|| "withdraws what does not run, or a genesis transaction".to_owned())
        }
    }
}

/// Invariant 7: what a plan of today's spec writes into the config, the user's overrides win.
fn overridden(scene: &Scene, plan: &StoredPlan, submit: &Submit) -> Option<String> {
    let follows =
        plan.tasks.iter().any(|t| matches!(t.task_type, TaskType::EnsureDataPvc | TaskType::ObserveImage));
    // A plan of a node that is held, or whose spec is invalid, goes on as it was made.
    let mut draft = StatusDraft::open(&scene.node, scene.now);
    let is_held = gate::held::gate(scene.world(), &mut draft).is_some();
    if !follows || is_held || mode::validate(&scene.node.spec).is_err() {
        return None;
    }
    let params = submit.params.as_ref()?;
    let written = |key: &str| match submit.task_type.as_str() {
        "config-apply" => Some(params["overrides"][key].as_str().unwrap_or_default()),
        "config-patch" if key == intent::PEERS => intent::patched_peers(params),
        "config-patch" if key == intent::ADDRESS => intent::patched_address(params),
        _ => None,
    };
    let wanted = scene.node.spec.overrides.iter().flatten();
    let mut lost = wanted.filter(|(key, value)| written(key).is_some_and(|found| found != value.as_str()));
    lost.next().map(|(key, _)| format!("invariant 7: writes another {key} than the user's"))
}

/// Whether an object of this kind was seen to be ours, at this version (any, if the effect names none).
fn is_ours(scene: &Scene, kind: Kind, uid: &Uid, version: Option<&ResourceVersion>) -> bool {
    let observed = &scene.observed;
    let seen = match kind {
        Kind::StatefulSet => meta(&observed.statefulset),
        Kind::Service => meta(&observed.service),
        Kind::PersistentVolumeClaim => meta(&observed.data_pvc),
        Kind::ConfigMap => meta(&observed.config_map),
        Kind::Job => meta(&observed.job),
        Kind::Pod => return is_our_pod(scene, uid),
    };
    seen.present().is_some_and(|meta| {
        owner::of(meta, &scene.node) == Owner::Ours
            && owner::uid(meta) == *uid
            && version.is_none_or(|v| *v == owner::version(meta))
    })
}

/// A pod is ours through the StatefulSet or the Job that is.
fn is_our_pod(scene: &Scene, uid: &Uid) -> bool {
    let Some(pods) = scene.observed.pods.present() else { return false };
    let Some(pod) = pods.iter().find(|p| owner::uid(&p.metadata) == *uid) else { return false };
    let parents = [(Kind::StatefulSet, "StatefulSet"), (Kind::Job, "Job")];
    let parent = owner::controller(&pod.metadata);
    parent.is_some_and(|c| {
        parents.iter().any(|(kind, name)| c.kind == *name && is_ours(scene, *kind, &Uid::new(&c.uid), None))
    })
}

/// Invariant 1: a start is decided on a fresh look, on known pods, none of which mounts the claim.
fn start(scene: &Scene, plan: Option<&StoredPlan>, kind: Kind) -> Option<String> {
    let parent = if kind == Kind::Job { Topic::Job } else { Topic::StatefulSet };
    if ![Topic::Node, parent, Topic::Pods].iter().all(|t| scene.observed.has_looked(t)) {
        return Some("starts without having looked".to_owned());
    }
    let claim = mode::data_claim_name(scene.node.name(), &scene.node.spec);
    let clear = match &scene.observed.pods {
        Seen::Unknown(_) => false,
        Seen::Absent => true,
        Seen::Present(pods) => !pods.iter().any(|p| pod::mounts(p, &claim)),
    };
    if !clear {
        return Some("starts while a pod mounts the claim, or may".to_owned());
    }
    if !is_alone(scene) {
        return Some("S3: starts although somebody else mounts its key or claim, or may".to_owned());
    }
    let tasks = plan.filter(|p| p.phase == PlanPhase::Active).into_iter().flat_map(|p| &p.tasks);
    let mut open = tasks.filter(|t| t.status != TaskStatus::Complete);
    let early = kind == Kind::StatefulSet && open.any(|t| t.task_type == TaskType::TeardownBootstrap);
    early.then(|| "starts before the bootstrap is torn down".to_owned())
}

/// S3: the neighbourhood was looked at, and nothing of anybody else that lives mounts what the node names.
fn is_alone(scene: &Scene) -> bool {
    let wanted = rivals::named(scene.node.name(), &scene.node.spec);
    let looked = scene.observed.has_looked(&Topic::Neighbourhood);
    looked
        && match &scene.observed.neighbourhood {
            Seen::Unknown(_) => false,
            Seen::Absent => true,
            Seen::Present(around) => {
                let mut theirs =
                    around.mounts.iter().filter(|m| m.live && m.node.as_deref() != Some(scene.node.uid()));
                theirs.all(|m| m.what.is_disjoint(&wanted))
            }
        }
}

/// W7 and invariant 4: only what is ours, by uid. A claim only of a node that is deleted and did not import it, seen past
/// the cache and by version; anything else only by a task of the plan.
fn delete(
    scene: &Scene,
    effect: &Effect,
    target: &ObjectRef,
    uid: &Uid,
    version: Option<&ResourceVersion>,
) -> Option<String> {
    let ours = is_ours(scene, target.kind, uid, version);
    let orphaned = scene.node.metadata.finalizers.iter().flatten().any(|f| f == "orphan");
    let fine = match target.kind {
        Kind::PersistentVolumeClaim => {
            ours && version.is_some()
                && scene.node.is_deleting()
                && !orphaned
                && scene.observed.has_looked(&Topic::DataPvc)
                && mode::imported_claim_name(&scene.node.spec).is_none()
        }
        Kind::Job if is_inert(scene) && version.is_some() => ours && scene.observed.has_looked(&Topic::Job),
        Kind::Job | Kind::Service => ours && (effect.task.is_some() || bootstraps(scene)),
        Kind::ConfigMap | Kind::Pod | Kind::StatefulSet => ours && effect.task.is_some(),
    };
    (!fine).then(|| "W7: deletes what it may not".to_owned())
}

/// Whether the bootstrap Job was never let go: nothing can have come of it.
fn is_inert(scene: &Scene) -> bool {
    scene.observed.job.present().is_some_and(|job| {
        let suspended = job.spec.as_ref().is_some_and(|s| s.suspend == Some(true));
        suspended && job.status.as_ref().is_none_or(|s| s.start_time.is_none())
    })
}

/// Whether the stored plan has a bootstrap that can be cleared away.
fn bootstraps(scene: &Scene) -> bool {
    let tasks = scene.node.status.plan.iter().flat_map(|p| &p.tasks);
    tasks
        .into_iter()
        .any(|t| matches!(t.task_type, TaskType::DeployBootstrapJob | TaskType::TeardownBootstrap))
}

/// Invariant 4 and the note on `Base`: created only where nothing is, inert; changed only if ours.
fn apply(scene: &Scene, manifest: &Manifest, base: &Base) -> Option<String> {
    let observed = &scene.observed;
    let (seen, replicas) = match manifest {
        Manifest::StatefulSet(sts) => {
            let live = observed
                .statefulset
                .present()
                .and_then(|s| s.spec.as_ref())
                .map_or(0, |s| s.replicas.unwrap_or(1));
            if sts.spec.as_ref().and_then(|s| s.replicas) != Some(live) {
                return Some("applies a StatefulSet that changes replicas".to_owned());
            }
            (meta(&observed.statefulset), Some(live))
        }
        Manifest::Service(_) => (meta(&observed.service), None),
        Manifest::DataPvc(_) => (meta(&observed.data_pvc), None),
        Manifest::ConfigMap(_) => (meta(&observed.config_map), None),
        Manifest::Job(_) => (meta(&observed.job), None),
    };
    let fine = match (base, &seen) {
        (Base::Absent, Seen::Absent) => replicas.is_none_or(|r| r == 0),
        (Base::At { uid, version }, Seen::Present(meta)) => {
            is_ours(scene, manifest.target().kind, uid, Some(version)) && meta.deletion_timestamp.is_none()
        }
        (Base::Absent | Base::At { .. }, Seen::Absent | Seen::Present(_) | Seen::Unknown(_)) => false,
    };
    (!fine).then(|| "law 2: applies to what it may not".to_owned())
}

fn meta<T: k8s_openapi::Metadata<Ty = ObjectMeta>>(seen: &Seen<T>) -> Seen<ObjectMeta> {
    match seen {
        Seen::Absent => Seen::Absent,
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        Seen::Present(object) => Seen::Present(object.metadata().clone()),
    }
}
