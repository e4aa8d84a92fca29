//! The controllers of the toy world: StatefulSet and Job make their pods, the sidecar in them works.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde_json::json;
use uuid::Uuid;

use super::super::object::{self, PodStage};
use super::Toy;

/// What the pod was made from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Birth {
    parent: StatefulSet,
    revision: String,
    uid: String,
}

/// Name of a template, as the StatefulSet controller would give it.
fn revision(template: Option<&PodTemplateSpec>) -> String {
    let json = serde_json::to_vec(&template).expect("a template is JSON");
    Uuid::new_v5(&Uuid::nil(), &json).to_string()
}

impl Toy {
    /// The pods there are: that of the StatefulSet first.
    pub(super) fn pods(&self) -> Vec<Pod> {
        let of_set = self.birth.iter().zip(self.pod).map(|(birth, stage)| {
            let mut pod = object::pod(&birth.parent, stage);
            pod.metadata.uid = Some(birth.uid.clone());
            let mark = ("controller-revision-hash".to_owned(), birth.revision.clone());
            pod.metadata.labels.get_or_insert_default().extend([mark]);
            if let (Some(image), Some(spec)) = (&self.rewritten_image, &mut pod.spec) {
                spec.containers.iter_mut().for_each(|c| c.image = Some(image.clone()));
            }
            pod
        });
        let of_job =
            self.job.iter().zip(self.job_pod).map(|(job, stage)| job_pod(job, stage, self.job_is_done()));
        of_set.chain(of_job).collect()
    }

    /// Whether a sidecar can be reached.
    pub(super) fn is_reachable(&self) -> bool {
        let up = |pod: Option<PodStage>| pod.is_some_and(|stage| stage != PodStage::Pending);
        up(self.pod) || (up(self.job_pod) && !self.job_is_done())
    }

    pub(super) fn lose_pod(&mut self) {
        if self.pod.is_some() {
            self.sidecar.restart();
        }
        (self.pod, self.birth) = (None, None);
    }

    pub(super) fn lose_job_pod(&mut self) {
        if self.job_pod.is_some() {
            self.sidecar.restart();
        }
        self.job_pod = None;
    }

    fn job_is_done(&self) -> bool {
        let status = self.job.as_ref().and_then(|j| j.status.as_ref());
        status.is_some_and(|s| s.conditions.iter().flatten().any(|c| c.type_ == "Complete"))
    }

    /// One step of everybody but the operator. Whether anything moved.
    pub fn tick(&mut self) -> bool {
        let parts = |toy: &Self| {
            (toy.pod, toy.job_pod, toy.sidecar.clone(), toy.statefulset.clone(), toy.job.clone())
        };
        let before = parts(self);
        if self.is_reachable() {
            self.sidecar.finish(self.now);
        }
        self.tick_statefulset();
        self.tick_job();
        if self.pod.is_some() && self.job_pod.is_some() && !self.job_is_done() {
            self.broken.push("W1: two pods mount the claim".to_owned());
        }
        before != parts(self)
    }

    fn tick_statefulset(&mut self) {
        let Some(sts) = &mut self.statefulset else { return self.lose_pod() };
        let replicas = sts.spec.as_ref().map_or(0, |s| s.replicas.unwrap_or(1));
        let revision = revision(sts.spec.as_ref().map(|s| &s.template));
        let status = sts.status.get_or_insert_default();
        status.observed_generation = sts.metadata.generation;
        status.update_revision = Some(revision.clone());
        status.replicas = replicas;
        if replicas == 0 {
            return self.lose_pod();
        }
        if self.pod.is_none() {
            let parent = sts.clone();
            let uid = format!("uid-pod-{}", self.next_version());
            self.birth = Some(Birth { parent, revision, uid });
        }
        self.pod = Some(next(self.pod, self.sidecar.ready));
    }

    fn tick_job(&mut self) {
        let Some(job) = &self.job else { return };
        if job.spec.as_ref().is_some_and(|s| s.suspend == Some(true)) {
            return self.lose_job_pod();
        }
        if self.job_is_done() {
            return;
        }
        let stage = next(self.job_pod, self.sidecar.ready);
        self.job_pod = Some(stage);
        if stage == PodStage::Ready {
            // seid has halted at its height.
            self.sidecar.restart();
            let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
            self.job.iter_mut().for_each(|j| j.status = Some(object::parse(done.clone())));
        }
    }

    /// Somebody else sets a label of every StatefulSet that is applied.
    pub(super) fn contest(&mut self) {
        if let (Some(value), Some(sts)) = (&self.contested, &mut self.statefulset) {
            sts.metadata.labels.get_or_insert_default().insert("sei.io/node".to_owned(), value.clone());
        }
    }
}

/// How a pod comes up.
fn next(pod: Option<PodStage>, is_marked: bool) -> PodStage {
    match pod {
        None => PodStage::Pending,
        Some(PodStage::Pending) => PodStage::Sidecar,
        Some(_) if !is_marked => PodStage::Sidecar,
        Some(PodStage::Sidecar) => PodStage::Proxy,
        Some(PodStage::Proxy | PodStage::Ready) => PodStage::Ready,
    }
}

fn job_pod(job: &Job, stage: PodStage, is_done: bool) -> Pod {
    let template = job.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let spec = StatefulSetSpec { template, ..StatefulSetSpec::default() };
    let parent = StatefulSet { metadata: job.metadata.clone(), spec: Some(spec), ..StatefulSet::default() };
    let stage = if is_done { PodStage::Pending } else { stage };
    let (name, uid) =
        (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
    let mut pod = object::owned_by(object::pod(&parent, stage), Some(("batch/v1", "Job", &name, &uid)));
    pod.metadata.uid = Some(format!("{uid}-pod"));
    if is_done {
        pod.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    }
    pod
}
