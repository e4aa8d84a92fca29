//! Pods: what one was made from and how far it has come; the object is made only where it is looked at.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use seinode_core::testkit::{object, scene};

use super::obj::Obj;

/// How far a pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// Not scheduled.
    Pending,
    /// Its sidecar runs and waits to be marked ready.
    Sidecar,
    /// It serves.
    Ready,
    /// It has ended well.
    Succeeded,
    /// It was evicted.
    Evicted,
}

/// What a pod was made from: no more of it than a pod can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parent {
    /// A StatefulSet.
    Set(Obj<StatefulSet>),
    /// A Job.
    Job(Obj<Job>),
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PodState {
    pub(crate) uid: String,
    pub(crate) parent: Parent,
    /// Its revision label; empty for a pod of a Job.
    pub(crate) revision: String,
    pub(crate) stage: Stage,
    pub(crate) deleting: bool,
}

impl PodState {
    /// A pod that a StatefulSet makes.
    pub(crate) fn of_set(set: &StatefulSet, revision: &str, uid: String) -> Self {
        let template = set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
        let spec = StatefulSetSpec { template, ..StatefulSetSpec::default() };
        let bare = StatefulSet { metadata: bare(&set.metadata), spec: Some(spec), ..StatefulSet::default() };
        let parent = Parent::Set(Obj::of(bare));
        Self { uid, parent, revision: revision.to_owned(), stage: Stage::Pending, deleting: false }
    }

    /// A pod that a Job makes.
    pub(crate) fn of_job(job: &Job, uid: String) -> Self {
        let mut spec = job.spec.clone().unwrap_or_default();
        spec.suspend = None;
        let bare = Job { metadata: bare(&job.metadata), spec: Some(spec), ..Job::default() };
        let parent = Parent::Job(Obj::of(bare));
        Self { uid, parent, revision: String::new(), stage: Stage::Pending, deleting: false }
    }

    /// Whether it still may write to what it mounts.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Succeeded | Stage::Evicted)
    }

    /// Whether its sidecar answers.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Sidecar | Stage::Ready)
    }

    /// Its template.
    pub(crate) fn template(&self) -> Option<&PodTemplateSpec> {
        match &self.parent {
            Parent::Set(set) => set.spec.as_ref().map(|s| &s.template),
            Parent::Job(job) => job.spec.as_ref().map(|s| &s.template),
        }
    }

    /// Its spec.
    pub(crate) fn spec(&self) -> Option<&PodSpec> {
        self.template()?.spec.as_ref()
    }

    /// The object.
    pub(crate) fn render(&self) -> Pod {
        let stage = match self.stage {
            Stage::Pending | Stage::Succeeded | Stage::Evicted => object::PodStage::Pending,
            Stage::Sidecar => object::PodStage::Sidecar,
            Stage::Ready => object::PodStage::Ready,
        };
        let mut pod = match &self.parent {
            Parent::Set(set) => object::pod(set, stage),
            Parent::Job(job) => object::job_pod(job, stage),
        };
        pod.metadata.uid = Some(self.uid.clone());
        if !self.revision.is_empty() {
            let mark = ("controller-revision-hash".to_owned(), self.revision.clone());
            pod.metadata.labels.get_or_insert_default().extend([mark]);
        }
        if self.deleting {
            pod.metadata.deletion_timestamp = Some(Time(scene::noon()));
        }
        let status = pod.status.get_or_insert_default();
        match self.stage {
            Stage::Succeeded => status.phase = Some("Succeeded".to_owned()),
            Stage::Evicted => {
                status.phase = Some("Failed".to_owned());
                status.reason = Some("Evicted".to_owned());
            }
            Stage::Pending | Stage::Sidecar | Stage::Ready => {}
        }
        pod
    }
}

/// What a pod knows of its parent.
fn bare(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        owner_references: meta.owner_references.clone(),
        ..ObjectMeta::default()
    }
}
