//! Claims and volumes: binding, release, and protection of what is in use.
//!
//! Answers: which claim a volume belongs to.
//! Refuses to know: provisioning; somebody makes volumes that name their claim.
//! Upholds: a bound pair names each other; a claim goes only when no scheduled pod mounts it, a volume only when it
//! is not bound.

use super::Cluster;
use super::object::{finalizers, has_finalizer, is_deleting, text};
use super::pod::claims;
use crate::error::StoreError;
use crate::store::{Key, Kind};
use serde_json::{Value, json};

impl Cluster {
    pub(super) fn look_after_claim(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(claim) = self.find(key) else { return Ok(()) };
        if is_deleting(&claim) {
            let is_used = self.store.list(Kind::Pod, Some(&key.namespace)).iter().any(|pod| {
                let is_scheduled = pod["spec"]["nodeName"].as_str().is_some_and(|host| !host.is_empty());
                is_scheduled && claims(pod).any(|name| name == &*key.name)
            });
            return if is_used { Ok(()) } else { self.unprotect(key, &claim, CLAIM_PROTECTION) };
        }
        let named = claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty());
        let bound = claim["status"]["phase"] == "Bound";
        let volume = match named {
            Some(name) => self.store.get(Kind::PersistentVolume, "", name).ok(),
            None => self.volumes_for(key).iter().find_map(|volume| self.find(volume)),
        };
        match volume {
            Some(volume) if is_for(&volume, &claim) => self.bind(key, &claim, &volume),
            Some(_) | None if bound => self.patch_status(key, &json!({"phase": "Lost"})),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn look_after_volume(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(volume) = self.find(key) else { return Ok(()) };
        let reference = &volume["spec"]["claimRef"];
        let claim = claim_of(&volume).and_then(|claim| self.find(&claim));
        let claim = claim.filter(|claim| is_for(&volume, claim));
        let is_promised = reference["uid"].as_str().is_none_or(str::is_empty);
        let phase = match &claim {
            Some(claim) if claim["spec"]["volumeName"] == *key.name => "Bound",
            Some(_) => "Available",
            None if is_promised => "Available",
            None => "Released",
        };
        if is_deleting(&volume) && phase != "Bound" {
            return self.unprotect(key, &volume, VOLUME_PROTECTION);
        }
        self.patch_status(key, &json!({ "phase": phase }))
    }

    /// Volumes that name a claim.
    pub(super) fn volumes_for(&self, claim: &Key) -> Vec<Key> {
        let names_it = |volume: &Key| self.find(volume).and_then(|v| claim_of(&v)).as_ref() == Some(claim);
        self.promised.get(claim).into_iter().flatten().filter(|volume| names_it(volume)).cloned().collect()
    }

    fn bind(&self, key: &Key, claim: &Value, volume: &Value) -> Result<(), StoreError> {
        let name = text(volume, "name");
        let volume_key = Key::new(Kind::PersistentVolume, "", name);
        if volume["spec"]["claimRef"]["uid"] != text(claim, "uid") {
            let reference = json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": &*key.namespace,
                "name": &*key.name,
                "uid": text(claim, "uid"),
            });
            self.patch(&volume_key, &json!({"spec": {"claimRef": reference}}))?;
        }
        if claim["spec"]["volumeName"] != name {
            let done = json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"});
            self.patch(key, &json!({"metadata": {"annotations": done}, "spec": {"volumeName": name}}))?;
        }
        self.patch_status(&volume_key, &json!({"phase": "Bound"}))?;
        let status = json!({
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        });
        self.patch_status(key, &status)
    }

    fn unprotect(&self, key: &Key, object: &Value, finalizer: &str) -> Result<(), StoreError> {
        if !has_finalizer(object, finalizer) {
            return Ok(());
        }
        let kept: Vec<_> = finalizers(object).into_iter().filter(|one| *one != finalizer).collect();
        self.patch(key, &json!({"metadata": {"uid": text(object, "uid"), "finalizers": kept}}))
    }
}

/// The claim that a volume names.
pub(super) fn claim_of(volume: &Value) -> Option<Key> {
    let reference = &volume["spec"]["claimRef"];
    let (namespace, name) = (reference["namespace"].as_str()?, reference["name"].as_str()?);
    Some(Key::new(Kind::PersistentVolumeClaim, namespace, name))
}

/// Whether a volume is free for a claim or already its own.
fn is_for(volume: &Value, claim: &Value) -> bool {
    let reference = &volume["spec"]["claimRef"];
    if reference.is_null() {
        return true;
    }
    let same = |field: &str| reference[field].as_str() == Some(text(claim, field));
    let is_uid_open = reference["uid"].as_str().is_none_or(str::is_empty);
    same("namespace") && same("name") && (is_uid_open || same("uid"))
}

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
