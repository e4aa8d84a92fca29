//! Everybody but operator and user: the controllers of StatefulSets and Jobs, the kubelet, the sidecar, the garbage
//! collector. Each does one small step at a time.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::TaskType;
use seinode_core::testkit::object;
use seinode_core::testkit::toy::Sidecar;
use seinode_core::world::SidecarTaskStatus;
use serde_json::json;

use super::obj::Obj;
use super::pod::{Parent, PodState, Stage};
use super::site::{Site, edit};

/// Who does a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The controller of StatefulSets.
    StatefulSet,
    /// The controller of Jobs.
    Job,
    /// The kubelet, with one pod.
    Kubelet(usize),
    /// The sidecar ends what it runs.
    Sidecar,
    /// The protection of claims that are in use.
    Claim,
}

/// Who may have a step to do.
pub(crate) fn parts(site: &Site) -> impl Iterator<Item = Part> + use<> {
    let pods = (0..site.pod_states().len()).map(Part::Kubelet);
    [Part::StatefulSet, Part::Job, Part::Sidecar, Part::Claim].into_iter().chain(pods)
}

/// The site after a step; `None` if there is nothing to do.
pub(crate) fn step(site: &Site, part: Part, now: Timestamp) -> Option<Site> {
    let mut next = site.clone();
    match part {
        Part::StatefulSet => statefulset(&mut next),
        Part::Job => job(&mut next, now),
        Part::Kubelet(index) => kubelet(&mut next, index),
        Part::Sidecar => finish(&mut next, now),
        Part::Claim => claim(&mut next),
    }
    (next != *site).then_some(next)
}

fn is_of_set(pod: &PodState) -> bool {
    matches!(pod.parent, Parent::Set(_))
}

fn is_of_job(pod: &PodState) -> bool {
    matches!(pod.parent, Parent::Job(_))
}

fn statefulset(site: &mut Site) {
    let Some(set) = site.statefulset.now().cloned() else { return };
    let replicas = set.spec.as_ref().map_or(0, |s| s.replicas.unwrap_or(1));
    let revision = revision(&set);
    let mut pods = site.pod_states().to_vec();
    if replicas == 0 {
        pods.iter_mut().filter(|p| is_of_set(p)).for_each(|p| p.deleting = true);
    } else if !pods.iter().any(is_of_set) {
        let uid = site.birth("pod");
        pods.push(PodState::of_set(&set, &revision, uid));
    }
    let count = pods.iter().filter(|p| is_of_set(p)).count();
    site.set_pods(pods);
    edit(&mut site.statefulset, |set| {
        let generation = set.metadata.generation;
        let status = set.status.get_or_insert_default();
        status.observed_generation = generation;
        status.update_revision = Some(revision.clone());
        // With OnDelete it stays at the first revision for ever.
        status.current_revision.get_or_insert(revision);
        status.replicas = i32::try_from(count).unwrap_or(i32::MAX);
        false
    });
}

/// Name of a template, as the controller would give it.
fn revision(set: &StatefulSet) -> String {
    let template = set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    format!("{:010x}", Obj::of(template).digest() >> 88)
}

fn ended(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Complete" || c.type_ == "Failed")
}

fn job(site: &mut Site, now: Timestamp) {
    let Some(job) = site.job.now().cloned().filter(|j| !ended(j)) else { return };
    let suspended = job.spec.as_ref().is_some_and(|s| s.suspend == Some(true));
    let mut pods = site.pod_states().to_vec();
    let mut condition = None;
    if suspended {
        pods.iter_mut().filter(|p| is_of_job(p)).for_each(|p| p.deleting = true);
    } else if let Some(pod) = pods.iter_mut().find(|p| is_of_job(p) && !p.deleting) {
        match pod.stage {
            // Its seid has halted at its height.
            Stage::Ready => {
                pod.stage = Stage::Succeeded;
                condition = Some("Complete");
                site.edit_sidecar(Sidecar::restart);
            }
            Stage::Succeeded => condition = Some("Complete"),
            // No pod is made anew: its back-off limit is 0.
            Stage::Evicted => condition = Some("Failed"),
            Stage::Pending | Stage::Sidecar => {}
        }
    } else {
        // A pod that a suspension has ended is not waited for.
        let uid = site.birth("pod");
        pods.push(PodState::of_job(&job, uid));
    }
    let active = pods.iter().filter(|p| is_of_job(p) && p.is_live()).count();
    site.set_pods(pods);
    edit(&mut site.job, |job| {
        let status: &mut JobStatus = job.status.get_or_insert_default();
        status.active = (active > 0).then_some(1);
        if suspended {
            status.start_time = None;
        } else {
            status.start_time.get_or_insert(Time(now));
        }
        if let Some(kind) = condition {
            status.conditions = Some(vec![object::parse(json!({"type": kind, "status": "True"}))]);
        }
        false
    });
}

fn kubelet(site: &mut Site, index: usize) {
    let mut pods = site.pod_states().to_vec();
    let Some(pod) = pods.get_mut(index) else { return };
    if pod.deleting {
        if pods.remove(index).is_up() {
            site.edit_sidecar(Sidecar::restart);
        }
    } else {
        pod.stage = match pod.stage {
            Stage::Pending if site.claim.now().is_some() => Stage::Sidecar,
            Stage::Sidecar if site.sidecar.ready => Stage::Ready,
            Stage::Ready if !site.sidecar.ready => Stage::Sidecar,
            other => other,
        };
    }
    site.set_pods(pods);
}

fn finish(site: &mut Site, now: Timestamp) {
    let runs = site.sidecar.records.values().any(|r| r.status == SidecarTaskStatus::Running);
    if runs && site.is_reachable() {
        site.edit_sidecar(|sidecar| {
            sidecar.finish(now);
        });
    }
}

fn claim(site: &mut Site) {
    let ends = site.claim.now().is_some_and(|c| c.metadata.deletion_timestamp.is_some());
    if ends && site.pod_states().is_empty() {
        site.claim.set(None);
    }
}

/// What can go wrong without anybody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// A pod is evicted.
    Evict(usize),
    /// The sidecar's process starts again.
    Restart,
    /// The sidecar has lost its records.
    Amnesia,
    /// What the sidecar runs fails.
    Fail,
    /// A Job that has ended is removed with its pod.
    Expire,
}

/// The site after a mishap; `None` if it can't happen now.
pub(crate) fn mishap(site: &Site, mishap: Mishap, now: Timestamp) -> Option<Site> {
    let mut next = site.clone();
    match mishap {
        Mishap::Evict(index) => {
            let mut pods = site.pod_states().to_vec();
            let pod = pods.get_mut(index).filter(|p| p.is_live() && !p.deleting)?;
            if is_of_set(pod) {
                pod.deleting = true;
            } else {
                if pod.is_up() {
                    next.edit_sidecar(Sidecar::restart);
                }
                pod.stage = Stage::Evicted;
            }
            next.set_pods(pods);
        }
        Mishap::Restart => next.edit_sidecar(Sidecar::restart),
        Mishap::Amnesia => next.edit_sidecar(|sidecar| {
            sidecar.restart();
            sidecar.records.clear();
            sidecar.failed.clear();
        }),
        Mishap::Fail => {
            let running = site.sidecar.records.values().find(|r| r.status == SidecarTaskStatus::Running)?;
            let kind = TaskType::from(running.task_type.clone());
            next.edit_sidecar(|sidecar| {
                sidecar.failures.insert(kind, 1);
            });
            finish(&mut next, now);
            next.edit_sidecar(|sidecar| sidecar.failures.clear());
        }
        Mishap::Expire => {
            site.job.now().filter(|j| ended(j))?;
            next.job.set(None);
            next.collect();
        }
    }
    (next != *site).then_some(next)
}
