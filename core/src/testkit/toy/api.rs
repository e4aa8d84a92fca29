//! The API server of the toy world: what is seen of it, and what it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::object;
use super::super::scene::{Scene, bump};
use super::Toy;
use crate::decision::StatusWrite;
use crate::effect::{Base, Effect, Fault, Field, Kind, Manifest, Op, Outcome};
use crate::ident::{ResourceVersion, Uid};
use crate::scale::PAUSED_GENERATION;
use crate::world::{Blind, Health, Observed, Registry, Seen, Topic, Turn};

impl Toy {
    /// The world as an operator sees it that has looked at these topics.
    pub(super) fn observe(&self, looked: &BTreeSet<Topic>, outcomes: &[Outcome]) -> Scene {
        let reachable = self.is_reachable();
        let dark = || Blind::Unreachable("no route to host".to_owned());
        let health = if self.sidecar.ready { Health::Ready } else { Health::NotReady };
        let secrets = object::secret_names(&self.node).into_iter();
        let observed = Observed {
            neighbourhood: Seen::Absent,
            workflows: Seen::Absent,
            turn: Seen::Present(Turn::Own),
            statefulset: seen(self.statefulset.as_ref()),
            service: seen(self.service.as_ref()),
            config_map: seen(self.config_map.as_ref()),
            data_pvc: seen(self.claim.as_ref()),
            volume: seen(self.volume.as_ref()),
            job: seen(self.job.as_ref()),
            pods: Seen::Present(self.pods()),
            secrets: secrets.map(|name| (name, Seen::Present(object::fit_secret(&self.node)))).collect(),
            health: if reachable { Seen::Present(health) } else { Seen::Unknown(dark()) },
            sidecar_tasks: if reachable {
                Seen::Present(self.sidecar.records.clone())
            } else {
                Seen::Unknown(dark())
            },
            silence: Duration::ZERO,
            peers: Seen::Present(Vec::new()),
            ec2: Vec::new(),
            registry: Registry::Entries(vec!["a.example.net:26657".into(), "b.example.net:26657".into()]),
            outcomes: outcomes.to_vec(),
            looked: looked.clone(),
        };
        Scene { node: self.node.clone(), observed, settings: self.settings.clone(), now: self.now }
    }

    /// A status write, refused if the version is not the newest.
    pub(super) fn store(&mut self, write: &StatusWrite) -> bool {
        if write.version.as_str() != self.node.resource_version() {
            return false;
        }
        let mut json = serde_json::to_value(&self.node.status).expect("a status is JSON");
        crate::patch::apply(&mut json, &write.patch);
        self.node.status = serde_json::from_value(json).expect("a status reads as it was written");
        bump(&mut self.node);
        self.writes += 1;
        true
    }

    /// An effect.
    pub(super) fn perform(&mut self, effect: &Effect) -> Result<(), Fault> {
        if !matches!(effect.op, Op::Announce(_)) {
            self.performed.push(effect.clone());
        }
        match &effect.op {
            Op::Announce(_) => Ok(()),
            Op::Apply { manifest, base } => self.apply(manifest, base),
            Op::Patch { target, field, uid, version } => self.scale(target.kind, field, uid, version),
            Op::Delete { target, uid, .. } => self.delete(target.kind, uid),
            Op::Finalizer { finalizers, version } => {
                check(version.as_str() == self.node.resource_version())?;
                self.node.metadata.finalizers = Some(finalizers.clone());
                bump(&mut self.node);
                Ok(())
            }
            Op::Workflow(_) => Err(Fault::Terminal("no workflows are installed".to_owned())),
            Op::Submit(_) | Op::Withdraw(_) if !self.is_reachable() => {
                Err(Fault::Transient("no route to host".to_owned()))
            }
            Op::Submit(submit) => {
                self.sidecar.submit(submit, self.now);
                Ok(())
            }
            Op::Withdraw(id) => {
                self.sidecar.records.remove(id);
                Ok(())
            }
        }
    }

    fn apply(&mut self, manifest: &Manifest, base: &Base) -> Result<(), Fault> {
        let version = self.next_version();
        match manifest {
            Manifest::StatefulSet(o) => {
                let status = self.statefulset.as_ref().and_then(|s| s.status.clone());
                put(&mut self.statefulset, o, base, version)?;
                self.statefulset.iter_mut().for_each(|s| s.status.clone_from(&status));
                self.contest();
                Ok(())
            }
            Manifest::Service(o) => put(&mut self.service, o, base, version),
            Manifest::ConfigMap(o) => put(&mut self.config_map, o, base, version),
            Manifest::DataPvc(o) => {
                put(&mut self.claim, o, base, version)?;
                let status = object::claim(&self.node, &self.settings.platform).status;
                self.claim.iter_mut().for_each(|c| c.status.clone_from(&status));
                Ok(())
            }
            Manifest::Job(o) => put(&mut self.job, o, base, version),
        }
    }

    fn scale(
        &mut self,
        kind: Kind,
        field: &Field,
        uid: &Uid,
        version: &ResourceVersion,
    ) -> Result<(), Fault> {
        let next = self.next_version();
        let meta = match kind {
            Kind::StatefulSet => self.statefulset.as_mut().map(|s| &mut s.metadata),
            Kind::Job => self.job.as_mut().map(|j| &mut j.metadata),
            Kind::ConfigMap | Kind::PersistentVolumeClaim | Kind::Pod | Kind::Service => None,
        };
        let Some(meta) = meta else { return check(false) };
        check(meta.uid.as_deref() == Some(uid.as_str()))?;
        check(meta.resource_version.as_deref() == Some(version.as_str()))?;
        meta.resource_version = Some(next.to_string());
        meta.generation = meta.generation.map(|g| g + 1);
        let (replicas, suspend) = match field {
            Field::Replicas(n) => (*n, true),
            Field::Suspend(suspend) => (0, *suspend),
            Field::Paused { generation } => {
                let mark = (PAUSED_GENERATION.to_owned(), generation.to_string());
                meta.annotations.get_or_insert_default().extend([mark]);
                (0, true)
            }
        };
        match kind {
            Kind::Job => {
                self.job.iter_mut().for_each(|j| j.spec.get_or_insert_default().suspend = Some(suspend));
            }
            Kind::StatefulSet => {
                self.statefulset
                    .iter_mut()
                    .for_each(|s| s.spec.get_or_insert_default().replicas = Some(replicas));
            }
            Kind::ConfigMap | Kind::PersistentVolumeClaim | Kind::Pod | Kind::Service => {}
        }
        Ok(())
    }

    fn delete(&mut self, kind: Kind, uid: &Uid) -> Result<(), Fault> {
        let is_it =
            |meta: Option<&ObjectMeta>| check(meta.is_some_and(|m| m.uid.as_deref() == Some(uid.as_str())));
        match kind {
            Kind::PersistentVolumeClaim => {
                is_it(self.claim.as_ref().map(|o| &o.metadata))?;
                self.claim = None;
            }
            Kind::Service => {
                is_it(self.service.as_ref().map(|o| &o.metadata))?;
                self.service = None;
            }
            Kind::Job => {
                is_it(self.job.as_ref().map(|o| &o.metadata))?;
                self.job = None;
                self.lose_job_pod();
            }
            Kind::Pod => {
                let pods = self.pods();
                is_it(pods.first().map(|o| &o.metadata))?;
                self.lose_pod();
            }
            Kind::ConfigMap | Kind::StatefulSet => return check(false),
        }
        Ok(())
    }
}

fn seen<T: Clone>(object: Option<&T>) -> Seen<T> {
    object.cloned().map_or(Seen::Absent, Seen::Present)
}

fn check(is_current: bool) -> Result<(), Fault> {
    if is_current { Ok(()) } else { Err(Fault::Conflict("the object has moved on".to_owned())) }
}

/// Creates or replaces an object, as far as its base allows.
fn put<T: Clone + Metadata<Ty = ObjectMeta>>(
    slot: &mut Option<T>,
    new: &T,
    base: &Base,
    version: u64,
) -> Result<(), Fault> {
    let live = slot.as_ref().map(|o| (uid_of(o.metadata()), o.metadata().clone()));
    let (uid, annotations) = match (base, &live) {
        (Base::Absent, None) => (format!("uid-{version}"), BTreeMap::new()),
        (Base::At { uid, version }, Some((live_uid, meta))) if uid.as_str() == live_uid => {
            check(meta.resource_version.as_deref() == Some(version.as_str()))?;
            (live_uid.clone(), meta.annotations.clone().unwrap_or_default())
        }
        (Base::Absent | Base::At { .. }, _) => return check(false),
    };
    let generation = live.as_ref().and_then(|(_, meta)| meta.generation).unwrap_or_default() + 1;
    let mut object = object::stored(new.clone(), &uid, version);
    object.metadata_mut().generation = Some(generation);
    object.metadata_mut().annotations.get_or_insert_default().extend(annotations);
    *slot = Some(object);
    Ok(())
}

fn uid_of(meta: &ObjectMeta) -> String {
    meta.uid.clone().unwrap_or_default()
}
