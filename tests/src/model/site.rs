//! One node and its children as the API server holds them, with as many earlier versions as a cache may still show.
//!
//! Versions count the writes to one object, not to all of them: a decision can only tell whether two are equal, and so two
//! orders of independent writes lead to one state.

use std::hash::{Hash, Hasher};

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use seinode_core::PAUSED_GENERATION;
use seinode_core::api::{self, SeiNode};
use seinode_core::effect::{Base, Effect, Fault, Field, Kind, Manifest, Op};
use seinode_core::ident::{ResourceVersion, Uid};
use seinode_core::testkit::{object, scene, toy::Sidecar};
use serde::Serialize;

use super::obj::Obj;
use super::pod::{Parent, PodState};

/// How far a cache may be behind, in versions of one object.
pub(crate) const LOOK_BACK: usize = 2;

/// An object, and what it was before.
#[derive(Debug)]
pub(crate) struct Past<T> {
    now: Option<Obj<T>>,
    /// The newest first.
    before: Vec<Option<Obj<T>>>,
}

// By hand: derived ones would ask the same of the object.
impl<T> Clone for Past<T> {
    fn clone(&self) -> Self {
        Self { now: self.now.clone(), before: self.before.clone() }
    }
}

impl<T> PartialEq for Past<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.now, &self.before) == (&other.now, &other.before)
    }
}

impl<T> Eq for Past<T> {}

impl<T> Hash for Past<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.now, &self.before).hash(state);
    }
}

impl<T> Past<T> {
    pub(crate) fn new(now: Option<Obj<T>>) -> Self {
        Self { now, before: Vec::new() }
    }

    pub(crate) fn now(&self) -> Option<&Obj<T>> {
        self.now.as_ref()
    }

    /// What a cache shows that is `back` versions behind; the oldest that is remembered if there are fewer.
    pub(crate) fn seen(&self, back: usize) -> Option<Obj<T>> {
        match back.min(self.before.len()) {
            0 => self.now.clone(),
            n => self.before[n - 1].clone(),
        }
    }

    /// How many earlier versions are remembered.
    pub(crate) fn depth(&self) -> usize {
        self.before.len()
    }

    pub(crate) fn set(&mut self, next: Option<Obj<T>>) {
        if next != self.now {
            self.before.insert(0, std::mem::replace(&mut self.now, next));
            self.before.truncate(LOOK_BACK);
        }
    }

    /// No cache is behind any more.
    pub(crate) fn forget(&mut self) {
        self.before.clear();
    }
}

/// One node and its children.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    pub(crate) node: Past<SeiNode>,
    pub(crate) statefulset: Past<StatefulSet>,
    pub(crate) service: Past<Service>,
    pub(crate) config_map: Past<ConfigMap>,
    pub(crate) claim: Past<PersistentVolumeClaim>,
    pub(crate) job: Past<Job>,
    pub(crate) pods: Past<Vec<PodState>>,
    /// Its records are on the data volume.
    pub(crate) sidecar: Obj<Sidecar>,
    /// Uids given out so far.
    pub(crate) births: u8,
}

impl Site {
    pub(crate) fn of(node: SeiNode) -> Self {
        Self {
            node: Past::new(Some(Obj::of(node))),
            statefulset: Past::new(None),
            service: Past::new(None),
            config_map: Past::new(None),
            claim: Past::new(None),
            job: Past::new(None),
            pods: Past::new(Some(Obj::shown(Vec::new()))),
            sidecar: Obj::shown(Sidecar::default()),
            births: 0,
        }
    }

    /// Caches are up to date.
    pub(crate) fn forget(&mut self) {
        self.node.forget();
        self.statefulset.forget();
        self.service.forget();
        self.config_map.forget();
        self.claim.forget();
        self.job.forget();
        self.pods.forget();
    }

    pub(crate) fn pod_states(&self) -> &[PodState] {
        self.pods.now().map_or(&[], |pods| pods.as_slice())
    }

    pub(crate) fn set_pods(&mut self, pods: Vec<PodState>) {
        self.pods.set(Some(Obj::shown(pods)));
    }

    /// A fresh uid.
    pub(crate) fn birth(&mut self, what: &str) -> String {
        self.births += 1;
        format!("{what}-{}", self.births)
    }

    /// Whether a sidecar answers: that of whichever pod is up.
    pub(crate) fn is_reachable(&self) -> bool {
        self.pod_states().iter().any(PodState::is_up)
    }

    pub(crate) fn edit_sidecar(&mut self, edit: impl FnOnce(&mut Sidecar)) {
        let mut sidecar = Sidecar::clone(&self.sidecar);
        edit(&mut sidecar);
        self.sidecar = Obj::shown(sidecar);
    }

    /// Writes to the node; the version moves if anything does.
    pub(crate) fn edit_node(&mut self, edit: impl FnOnce(&mut SeiNode)) {
        let Some(old) = self.node.now() else { return };
        let mut node = SeiNode::clone(old);
        edit(&mut node);
        if node != **old {
            scene::bump(&mut node);
            self.node.set(Some(Obj::of(node)));
        }
    }

    /// An effect, as the API server and the sidecar carry it out.
    pub(crate) fn perform(&mut self, effect: &Effect, now: Timestamp) -> Result<(), Fault> {
        match &effect.op {
            Op::Announce(_) => Ok(()),
            Op::Apply { manifest, base } => self.apply(manifest, base),
            Op::Patch { target, field, uid, version } => self.scale(target.kind, field, uid, version),
            Op::Delete { target, uid, version } => self.delete(target.kind, uid, version.as_ref(), now),
            Op::Finalizer { finalizers, version } => self.finalizers(finalizers, version, now),
            Op::Workflow(_) => Err(Fault::Terminal("no workflows are installed".to_owned())),
            Op::Submit(_) | Op::Withdraw(_) if !self.is_reachable() => {
                Err(Fault::Transient("no route to host".to_owned()))
            }
            Op::Submit(submit) => {
                self.edit_sidecar(|sidecar| sidecar.submit(submit, now));
                Ok(())
            }
            Op::Withdraw(id) => {
                self.edit_sidecar(|sidecar| {
                    sidecar.records.remove(id);
                });
                Ok(())
            }
        }
    }

    fn apply(&mut self, manifest: &Manifest, base: &Base) -> Result<(), Fault> {
        let births = &mut self.births;
        match manifest {
            Manifest::StatefulSet(o) => put(&mut self.statefulset, o, base, births, |new, old| {
                new.status = old.and_then(|o| o.status.clone());
                old.is_none_or(|o| o.spec != new.spec)
            }),
            Manifest::Service(o) => put(&mut self.service, o, base, births, |_, _| false),
            Manifest::ConfigMap(o) => put(&mut self.config_map, o, base, births, |_, _| false),
            Manifest::DataPvc(o) => put(&mut self.claim, o, base, births, |new, _| {
                new.status.get_or_insert_default().phase = Some("Bound".to_owned());
                new.spec.get_or_insert_default().volume_name = Some("volume-1".to_owned());
                false
            }),
            Manifest::Job(o) => put(&mut self.job, o, base, births, |new, old| {
                new.status = old.and_then(|o| o.status.clone());
                old.is_none_or(|o| o.spec != new.spec)
            }),
        }
    }

    fn scale(
        &mut self,
        kind: Kind,
        field: &Field,
        uid: &Uid,
        version: &ResourceVersion,
    ) -> Result<(), Fault> {
        let mark = |meta: &mut ObjectMeta| {
            if let Field::Paused { generation } = field {
                let mark = (PAUSED_GENERATION.to_owned(), generation.to_string());
                meta.annotations.get_or_insert_default().extend([mark]);
            }
        };
        match kind {
            Kind::StatefulSet => {
                current(self.statefulset.now(), uid, Some(version))?;
                let replicas = if let Field::Replicas(n) = field { *n } else { 0 };
                edit(&mut self.statefulset, |sts| {
                    mark(&mut sts.metadata);
                    sts.spec.get_or_insert_default().replicas = Some(replicas);
                    true
                });
            }
            Kind::Job => {
                current(self.job.now(), uid, Some(version))?;
                let suspend = *field != Field::Suspend(false);
                edit(&mut self.job, |job| {
                    mark(&mut job.metadata);
                    job.spec.get_or_insert_default().suspend = Some(suspend);
                    true
                });
            }
            Kind::ConfigMap | Kind::PersistentVolumeClaim | Kind::Pod | Kind::Service => {
                return Err(Fault::Terminal(format!("{kind:?} can't be scaled")));
            }
        }
        Ok(())
    }

    /// What is gone already is fine, as the adapter has it.
    fn delete(
        &mut self,
        kind: Kind,
        uid: &Uid,
        version: Option<&ResourceVersion>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        match kind {
            Kind::PersistentVolumeClaim if self.claim.now().is_some() => {
                current(self.claim.now(), uid, version)?;
                self.end_claim(now);
            }
            Kind::Service if self.service.now().is_some() => {
                current(self.service.now(), uid, version)?;
                self.service.set(None);
            }
            Kind::Job if self.job.now().is_some() => {
                current(self.job.now(), uid, version)?;
                self.job.set(None);
                self.collect();
            }
            Kind::StatefulSet if self.statefulset.now().is_some() => {
                current(self.statefulset.now(), uid, version)?;
                self.statefulset.set(None);
                self.collect();
            }
            Kind::ConfigMap if self.config_map.now().is_some() => {
                current(self.config_map.now(), uid, version)?;
                self.config_map.set(None);
            }
            Kind::Pod => {
                // By name: the node's one pod. Without a uid any pod of that name is meant.
                let of_set = |p: &&PodState| matches!(p.parent, Parent::Set(_));
                if let Some(live) = self.pod_states().iter().find(of_set).cloned() {
                    if !uid.as_str().is_empty() && live.uid != uid.as_str() {
                        return conflict();
                    }
                    self.end_pods(|p| p.uid == live.uid);
                }
            }
            Kind::PersistentVolumeClaim | Kind::Service | Kind::Job | Kind::StatefulSet | Kind::ConfigMap => {
            }
        }
        Ok(())
    }

    fn finalizers(
        &mut self,
        finalizers: &[String],
        version: &ResourceVersion,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(node) = self.node.now() else { return Ok(()) };
        if node.resource_version() != version.as_str() {
            return conflict();
        }
        if node.is_deleting() && finalizers.is_empty() {
            self.node.set(None);
            self.end_children(now);
        } else {
            self.edit_node(|node| node.metadata.finalizers = Some(finalizers.to_vec()));
        }
        Ok(())
    }

    /// The garbage collector, after the node: what it controls goes, by uid. The claim waits for its pods.
    pub(crate) fn end_children(&mut self, now: Timestamp) {
        let alive = self.node.now().map(|n| n.uid().to_owned());
        let orphaned = |meta: &ObjectMeta| {
            let controller = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
            controller.is_some_and(|c| c.kind == api::KIND && Some(&c.uid) != alive.as_ref())
        };
        if self.statefulset.now().is_some_and(|o| orphaned(&o.metadata)) {
            self.statefulset.set(None);
        }
        if self.service.now().is_some_and(|o| orphaned(&o.metadata)) {
            self.service.set(None);
        }
        if self.config_map.now().is_some_and(|o| orphaned(&o.metadata)) {
            self.config_map.set(None);
        }
        if self.job.now().is_some_and(|o| orphaned(&o.metadata)) {
            self.job.set(None);
        }
        if self.claim.now().is_some_and(|o| orphaned(&o.metadata)) {
            self.end_claim(now);
        }
        self.collect();
    }

    /// A claim that a pod mounts is only marked.
    fn end_claim(&mut self, now: Timestamp) {
        if self.pod_states().is_empty() {
            self.claim.set(None);
        } else {
            edit(&mut self.claim, |claim| {
                claim.metadata.deletion_timestamp.get_or_insert(Time(now));
                false
            });
        }
    }

    /// Pods whose parent is gone go.
    pub(crate) fn collect(&mut self) {
        let set = self.statefulset.now().and_then(|s| s.metadata.uid.clone());
        let job = self.job.now().and_then(|j| j.metadata.uid.clone());
        self.end_pods(|p| match &p.parent {
            Parent::Set(s) => s.metadata.uid != set,
            Parent::Job(j) => j.metadata.uid != job,
        });
    }

    /// Marks pods as being deleted; one that was never started is gone at once.
    pub(crate) fn end_pods(&mut self, which: impl Fn(&PodState) -> bool) {
        let mut pods = self.pod_states().to_vec();
        pods.iter_mut().filter(|p| which(p)).for_each(|p| p.deleting = true);
        self.set_pods(pods);
    }
}

fn conflict() -> Result<(), Fault> {
    Err(Fault::Conflict("the object has moved on".to_owned()))
}

/// The guard of a write: an empty uid or none, and no version, guard nothing.
fn current<T: Metadata<Ty = ObjectMeta>>(
    live: Option<&Obj<T>>,
    uid: &Uid,
    version: Option<&ResourceVersion>,
) -> Result<(), Fault> {
    let Some(live) = live else { return conflict() };
    let meta = live.metadata();
    let same_uid = uid.as_str().is_empty() || meta.uid.as_deref() == Some(uid.as_str());
    let same_version =
        version.is_none_or(|v| v.as_str().is_empty() || meta.resource_version.as_deref() == Some(v.as_str()));
    if same_uid && same_version { Ok(()) } else { conflict() }
}

/// Writes to an object; `edit` tells whether its generation moves. A write that changes nothing is none.
pub(crate) fn edit<T>(past: &mut Past<T>, edit: impl FnOnce(&mut T) -> bool)
where
    T: Metadata<Ty = ObjectMeta> + Clone + PartialEq + Serialize + Send + Sync + 'static,
{
    let Some(old) = past.now() else { return };
    let mut new = T::clone(old);
    let is_spec = edit(&mut new);
    if new == **old {
        return;
    }
    if is_spec {
        new.metadata_mut().generation = new.metadata().generation.map(|g| g + 1);
    }
    let version = new.metadata().resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    new.metadata_mut().resource_version = Some((version.unwrap_or_default() + 1).to_string());
    past.set(Some(Obj::of(new)));
}

/// A server-side apply, as far as its base allows. `complete` fills what the server keeps or sets, and tells whether the
/// spec is another one.
fn put<T>(
    past: &mut Past<T>,
    new: &T,
    base: &Base,
    births: &mut u8,
    complete: impl FnOnce(&mut T, Option<&T>) -> bool,
) -> Result<(), Fault>
where
    T: Metadata<Ty = ObjectMeta> + Clone + PartialEq + Serialize + Send + Sync + 'static,
{
    match base {
        Base::Absent if past.now().is_some() => return conflict(),
        Base::Absent => {
            *births += 1;
            let mut object = object::stored(new.clone(), &format!("uid-{births}"), 1);
            complete(&mut object, None);
            past.set(Some(Obj::of(object)));
        }
        Base::At { uid, version } => {
            current(past.now(), uid, Some(version))?;
            edit(past, |live| {
                let mut next = new.clone();
                let (kept, meta) = (live.metadata().clone(), next.metadata_mut());
                meta.uid = kept.uid;
                meta.resource_version = kept.resource_version;
                meta.generation = kept.generation;
                meta.deletion_timestamp = kept.deletion_timestamp;
                let mut annotations = kept.annotations.unwrap_or_default();
                annotations.extend(meta.annotations.clone().unwrap_or_default());
                meta.annotations = (!annotations.is_empty()).then_some(annotations);
                let is_spec = complete(&mut next, Some(live));
                *live = next;
                is_spec
            });
        }
    }
    Ok(())
}
