//! Tasks of a bootstrap: its Service, its Job, its end, its removal.
//!
//! Never two pods on one volume (W1): the Job is made suspended and let go by `scale` once nothing else mounts the claim;
//! it counts as removed only when Job and pod are seen gone; that it has completed is stored before it is removed (W6).

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};

use super::child::{apply, in_the_way};
use super::{Step, Turn};
use crate::api::mode;
use crate::api::{TaskStatus, TaskType};
use crate::decision::Wake;
use crate::effect::{Effect, Kind, Manifest, ObjectRef, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, TaskId, Uid};
use crate::owner::{self, Owner};
use crate::pod;
use crate::render;
use crate::world::{Health, Seen, SidecarTaskStatus, Topic, World};

/// How often a bootstrap is looked at, if nothing changes.
const AGAIN: Duration = Duration::from_secs(5);

/// How often a bootstrap that was lost (evicted, removed) is started anew before the plan fails.
pub(crate) const MOST_RESTARTS: i64 = 3;

/// `deploy-bootstrap-service`.
pub(super) fn service(turn: &Turn<'_>) -> Step {
    let manifest = Manifest::Service(render::bootstrap_service(turn.world.node));
    apply(turn, &turn.world.observed.service, manifest, Topic::Service)
}

/// `deploy-bootstrap-job`: made suspended; a Job of ours is never changed.
pub(super) fn job(turn: &Turn<'_>) -> Step {
    let name = render::names::bootstrap_job(turn.world.node.name());
    match &turn.world.observed.job {
        Seen::Unknown(blind) => turn.look(Topic::Job, blind),
        Seen::Present(job) => match owner::of(&job.metadata, turn.world.node) {
            Owner::Ours if job.metadata.deletion_timestamp.is_some() => {
                in_the_way(WaitingOn::Terminating(Kind::Job, name), turn, Topic::Job)
            }
            Owner::Ours => Step::Done,
            Owner::Previous => in_the_way(WaitingOn::PreviousOwner(Kind::Job, name), turn, Topic::Job),
            Owner::Foreign => in_the_way(WaitingOn::ForeignObject(Kind::Job, name), turn, Topic::Job),
        },
        Seen::Absent if !turn.world.observed.has_looked(&Topic::Job) => Step::Look([Topic::Job].into()),
        Seen::Absent => {
            // Its end may have been stored by nobody: a Job that a later task of the plan has used is not made again.
            if has_started(turn) {
                return Step::Done;
            }
            match render::bootstrap_job(turn.world.node, &turn.world.settings.platform, true) {
                Ok(job) => {
                    let base = crate::effect::Base::Absent;
                    turn.perform(Op::Apply { manifest: Box::new(Manifest::Job(job)), base }, &Topic::Job)
                }
                Err(error) => Step::Wait(WaitingOn::RenderFailed(error.to_string()), Wake::OnChange),
            }
        }
    }
}

/// Whether the stored plan shows that the Job was there already.
fn has_started(turn: &Turn<'_>) -> bool {
    let Some(plan) = &turn.world.node.status.plan else { return false };
    let at = plan.tasks.iter().position(|t| t.id == turn.task.id);
    at.is_some_and(|at| {
        plan.tasks.iter().skip(at + 1).any(|t| t.status == TaskStatus::Complete || t.submitted_at.is_some())
    })
}

/// `await-bootstrap-complete`.
pub(super) fn completion(turn: &Turn<'_>) -> Step {
    let observed = turn.world.observed;
    let job = match &observed.job {
        Seen::Unknown(blind) => return turn.look(Topic::Job, blind),
        Seen::Absent if !observed.has_looked(&Topic::Job) => return Step::Look([Topic::Job].into()),
        Seen::Absent => {
            return Step::Lost("the bootstrap Job is gone, and its completion was never seen".to_owned());
        }
        Seen::Present(job) => job,
    };
    if owner::of(&job.metadata, turn.world.node) != Owner::Ours {
        let name = render::names::bootstrap_job(turn.world.node.name());
        return in_the_way(WaitingOn::ForeignObject(Kind::Job, name), turn, Topic::Job);
    }
    if holds(job, "Complete") {
        return Step::Done;
    }
    if !holds(job, "Failed") {
        return keep_ready(turn, job);
    }
    // Why it failed is told by its pod: one that ended by itself has failed, anything else was lost.
    let wanted = BTreeSet::from([Topic::Job, Topic::Pods]);
    if !wanted.is_subset(&observed.looked) {
        return Step::Look(wanted);
    }
    let uid = owner::uid(&job.metadata);
    match &observed.pods {
        Seen::Unknown(blind) => turn.look(Topic::Pods, blind),
        Seen::Absent => Step::Lost("the pod of the bootstrap Job is gone".to_owned()),
        Seen::Present(pods) => {
            match pods.iter().find(|p| pod::is_controlled_by(p, "Job", uid.as_str())).and_then(own_end) {
                Some(code) => {
                    Step::Fail(format!("the bootstrap ended with exit code {code}: {}", message(job)))
                }
                None => Step::Lost("the pod of the bootstrap Job was evicted or removed".to_owned()),
            }
        }
    }
}

/// What the Job alone tells about a sidecar task of the bootstrap pod: once the Job has completed, all of them have; once
/// it is lost or has failed, none will. `None` while it runs.
pub(super) fn told_by_job(turn: &Turn<'_>) -> Option<Step> {
    match &turn.world.observed.job {
        Seen::Present(job) if !has_ended(job) => None,
        Seen::Present(_) | Seen::Absent => Some(completion(turn)),
        Seen::Unknown(blind) => Some(turn.look(Topic::Job, blind)),
    }
}

/// A Job that runs. Its sidecar may have been restarted before seid came up, and readiness is in its memory only: then it
/// is marked ready again, under an id of its own for each process, which harms nothing.
fn keep_ready(turn: &Turn<'_>, job: &Job) -> Step {
    let wait = Step::Wait(WaitingOn::Bootstrap("the bootstrap Job runs".to_owned()), Wake::After(AGAIN));
    let Seen::Present(pod) = pod::of_job(&turn.world.observed.pods, job) else { return wait };
    if !pod::is_running(pod, pod::SIDECAR) {
        return wait;
    }
    if !turn.world.observed.has_looked(&Topic::Health) {
        return Step::Look([Topic::Health].into());
    }
    if turn.world.observed.health != Seen::Present(Health::NotReady) {
        return wait;
    }
    // Its answer may be older than the last mark-ready, so the record of that one decides.
    if !turn.world.observed.has_looked(&Topic::SidecarTasks) {
        return Step::Look([Topic::SidecarTasks].into());
    }
    let Seen::Present(records) = &turn.world.observed.sidecar_tasks else { return wait };
    let restarts = pod::container(pod, pod::SIDECAR).map_or(0, |c| c.restart_count);
    let name = format!("{}/{}/{restarts}", turn.task.id, owner::uid(&pod.metadata));
    let id = TaskId::new(crate::ident::task_id(&name, &TaskType::MarkReady, 0));
    if records.get(&id).is_some_and(|r| r.status != SidecarTaskStatus::Failed) {
        return wait;
    }
    let submit = crate::effect::Submit { id, task_type: TaskType::MarkReady.to_string(), params: None };
    let effect = turn.effect(Op::Submit(submit));
    match turn.world.observed.fault(&effect.id) {
        None => Step::Do(vec![effect]),
        Some(_) => wait,
    }
}

fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a k8s_openapi::api::batch::v1::JobCondition> {
    let conditions = job.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().find(|c| c.type_ == kind && c.status == "True")
}

/// Whether a Job has completed or failed.
pub(crate) fn has_ended(job: &Job) -> bool {
    holds(job, "Complete") || holds(job, "Failed")
}

fn holds(job: &Job, kind: &str) -> bool {
    condition(job, kind).is_some()
}

fn message(job: &Job) -> String {
    condition(job, "Failed")
        .and_then(|c| c.message.clone())
        .unwrap_or_else(|| "no reason is given".to_owned())
}

/// The exit code of a pod whose node container ended by itself; none if the pod was evicted.
fn own_end(pod: &Pod) -> Option<i32> {
    let status = pod.status.as_ref()?;
    let disrupted = status.reason.as_deref() == Some("Evicted")
        || status.conditions.iter().flatten().any(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    if disrupted || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    pod::container(pod, pod::SEID)?.state.as_ref()?.terminated.as_ref().map(|t| t.exit_code)
}

/// `teardown-bootstrap`: absence is the goal, and a pod not seen gone is never assumed gone.
pub(super) fn teardown(turn: &Turn<'_>) -> Step {
    match removal(turn.world, &turn.task.id, Some(TaskId::new(&turn.task.id))) {
        Removal::Look(topics) => Step::Look(topics),
        Removal::Wait(why) => Step::Wait(why, Wake::After(AGAIN)),
        Removal::Gone => Step::Done,
        Removal::Do(effect) => {
            let before = turn.world.node.status.plan.iter().flat_map(|p| &p.tasks);
            let stored = before
                .into_iter()
                .filter(|t| t.task_type == TaskType::AwaitBootstrapComplete)
                .all(|t| t.status == TaskStatus::Complete);
            if stored { Step::Do(vec![effect]) } else { Step::StoreThenDo(vec![effect]) }
        }
    }
}

fn is_of_statefulset(world: World<'_>, pod: &Pod) -> bool {
    let uid = world.observed.statefulset.present().map(|s| owner::uid(&s.metadata));
    uid.is_some_and(|uid| pod::is_controlled_by(pod, "StatefulSet", uid.as_str()))
}

/// Whether a Service of ours selects the bootstrap pod only.
fn is_bootstrap(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.is_some_and(|s| s.get(render::labels::COMPONENT).is_some_and(|c| c == render::labels::BOOTSTRAP))
}

/// What is left to do until nothing of a bootstrap exists.
pub(crate) enum Removal {
    /// Nothing of it exists.
    Gone,
    /// Look first.
    Look(BTreeSet<Topic>),
    /// Delete this.
    Do(Effect),
    /// Not gone yet.
    Wait(WaitingOn),
}

/// Removes Job, pod and Service of a bootstrap. `of` is the task or the plan that the effects belong to.
pub(crate) fn removal(world: World<'_>, of: &str, task: Option<TaskId>) -> Removal {
    let observed = world.observed;
    let wanted = BTreeSet::from([Topic::Job, Topic::Service, Topic::Pods]);
    if !wanted.is_subset(&observed.looked) {
        return Removal::Look(wanted);
    }
    let wait = |text: String| Removal::Wait(WaitingOn::Bootstrap(text));
    let delete = |kind: Kind, name: &str, uid: Uid| {
        let target = ObjectRef { kind, namespace: world.node.namespace().to_owned(), name: name.to_owned() };
        let id = EffectId::new(format!("{of}/delete/{uid}"));
        match world.observed.fault(&id) {
            Some(fault) => wait(format!("{kind:?} {name} could not be deleted: {}", fault.text())),
            None => {
                Removal::Do(Effect { id, task: task.clone(), op: Op::Delete { target, uid, version: None } })
            }
        }
    };
    let job_name = render::names::bootstrap_job(world.node.name());
    match &observed.job {
        Seen::Unknown(blind) => return Removal::Wait(WaitingOn::Blind(Topic::Job, blind.clone())),
        Seen::Present(job) if owner::of(&job.metadata, world.node) == Owner::Ours => {
            if job.metadata.deletion_timestamp.is_none() {
                return delete(Kind::Job, &job_name, owner::uid(&job.metadata));
            }
            return wait("the bootstrap Job is being deleted".to_owned());
        }
        Seen::Present(_) | Seen::Absent => {}
    }
    match &observed.service {
        Seen::Unknown(blind) => return Removal::Wait(WaitingOn::Blind(Topic::Service, blind.clone())),
        Seen::Present(service)
            if owner::of(&service.metadata, world.node) == Owner::Ours && is_bootstrap(service) =>
        {
            if service.metadata.deletion_timestamp.is_none() {
                return delete(Kind::Service, world.node.name(), owner::uid(&service.metadata));
            }
            return wait("the bootstrap Service is being deleted".to_owned());
        }
        Seen::Present(_) | Seen::Absent => {}
    }
    let claim = mode::data_claim_name(world.node.name(), &world.node.spec);
    match &observed.pods {
        Seen::Unknown(blind) => Removal::Wait(WaitingOn::Blind(Topic::Pods, blind.clone())),
        Seen::Absent => Removal::Gone,
        // A pod of the StatefulSet is none of the bootstrap's; `scale` sees to it that the two never meet. Of the
        // bootstrap's own even a finished one has to go: its name is the address of the sidecar.
        Seen::Present(pods) => {
            let bars = |p: &Pod| {
                let ours =
                    owner::controller(&p.metadata).is_some_and(|c| c.kind == "Job" && c.name == job_name);
                if ours { pod::has_volume(p, &claim) } else { pod::mounts(p, &claim) }
            };
            match pods.iter().find(|p| bars(p) && !is_of_statefulset(world, p)) {
                Some(other) => {
                    let text = format!("pod {} still mounts claim {claim}", pod::name(other));
                    let remedy = "; nothing controls it, so it is not this operator's to delete";
                    wait(if owner::controller(&other.metadata).is_none() { text + remedy } else { text })
                }
                None => Removal::Gone,
            }
        }
    }
}
