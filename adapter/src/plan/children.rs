//! The children of a Running node where none were brought: as rendered for the images that its status records.

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::SignedDuration;
use seinode_core::api::node::SidecarSpec;
use seinode_core::api::{SeiNode, Stamp, mode};
use seinode_core::render::{self, names};
use seinode_core::world::{Health, Seen};
use serde_json::{Value, json};

use super::surroundings::MadeUp;

impl MadeUp<'_> {
    /// The node as it was when its children were rendered: with the images that its status records.
    fn as_recorded(&self) -> SeiNode {
        let recorded = |image: &Option<String>| image.clone().filter(|i| !i.is_empty());
        let mut node = self.node.clone();
        if let Some(image) = recorded(&node.status.current_image) {
            node.spec.image = image;
        }
        if let Some(image) = recorded(&node.status.current_sidecar_image)
            && mode::sidecar_image(&node.spec, &self.platform.images.sidecar) != image
        {
            node.spec.sidecar.get_or_insert_with(SidecarSpec::default).image = Some(image);
        }
        node
    }

    pub(super) fn statefulset(&self) -> Option<StatefulSet> {
        if !self.is_running() {
            return None;
        }
        let is_paused = self.node.spec.paused == Some(true);
        let replicas = i32::from(!is_paused);
        let rendered = render::statefulset(&self.as_recorded(), self.platform, replicas).ok()?;
        let mut sts = stored(rendered, "statefulset");
        if let Some(known) = self.node.status.stateful_set.as_ref().filter(|k| !k.uid.is_empty()) {
            sts.metadata.uid = Some(known.uid.clone());
        }
        if is_paused {
            let mark = (seinode_core::PAUSED_GENERATION.to_owned(), self.node.generation().to_string());
            sts.metadata.annotations.get_or_insert_default().extend([mark]);
        }
        let revision = Some(format!("{}-{REVISION}", self.node.name()));
        let status = sts.status.get_or_insert_default();
        status.observed_generation = sts.metadata.generation;
        status.replicas = replicas;
        status.current_revision.clone_from(&revision);
        status.update_revision = revision;
        Some(sts)
    }

    /// The pod that a StatefulSet runs, unless it is scaled to nothing: of the template, but with the recorded images;
    /// of an older revision where those are not the template's.
    pub(super) fn pod(&self, sts: &StatefulSet) -> Option<Pod> {
        let spec = sts.spec.as_ref()?;
        if spec.replicas == Some(0) || !self.is_running() {
            return None;
        }
        let template = &spec.template;
        let mut pod = Pod {
            metadata: template.metadata.clone().unwrap_or_default(),
            spec: template.spec.clone(),
            status: None,
        };
        let is_current = self.put_recorded_images(&mut pod);
        let name = names::pod(self.node.name());
        let current = sts.status.as_ref().and_then(|s| s.update_revision.clone()).unwrap_or_default();
        let revision = if is_current { current } else { format!("{}-{OLDER_REVISION}", self.node.name()) };
        let meta = &mut pod.metadata;
        meta.labels.get_or_insert_default().extend([
            ("controller-revision-hash".to_owned(), revision),
            ("statefulset.kubernetes.io/pod-name".to_owned(), name.clone()),
        ]);
        meta.name = Some(name);
        meta.namespace = Some(self.node.namespace().to_owned());
        meta.owner_references = serde_json::from_value(json!([{
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": sts.metadata.name, "uid": sts.metadata.uid,
            "controller": true, "blockOwnerDeletion": true,
        }]))
        .ok();
        let mut pod = stored(pod, "pod");
        pod.status = serde_json::from_value(self.pod_status(&pod)).ok();
        Some(pod)
    }

    /// Puts the images into a pod that its node's status records. Whether they were there already.
    fn put_recorded_images(&self, pod: &mut Pod) -> bool {
        let status = &self.node.status;
        let recorded =
            [(names::SEID, &status.current_image), (names::SIDECAR, &status.current_sidecar_image)];
        let mut were_there = true;
        let spec = pod.spec.get_or_insert_default();
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            let image = recorded
                .iter()
                .find(|(name, _)| *name == container.name)
                .and_then(|(_, image)| image.as_ref());
            if let Some(image) = image.filter(|i| !i.is_empty()) {
                were_there &= container.image.as_ref() == Some(image);
                container.image = Some(image.clone());
            }
        }
        were_there
    }

    fn pod_status(&self, pod: &Pod) -> Value {
        // Long enough ago that nothing waits for the start any more.
        let since = Stamp::of(self.now.checked_sub(SignedDuration::from_hours(1)).unwrap_or(self.now));
        let serves = matches!(self.health(), Seen::Present(Health::Ready));
        let running = |name: &str| {
            let is_ready = serves || name == names::SIDECAR;
            json!({
                "name": name, "ready": is_ready, "started": true, "image": "", "imageID": "", "restartCount": 0,
                "state": {"running": {"startedAt": since}},
            })
        };
        let ended = |name: &str| {
            json!({
                "name": name, "ready": true, "started": false, "image": "", "imageID": "", "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
            })
        };
        let spec = pod.spec.clone().unwrap_or_default();
        let inits = spec.init_containers.iter().flatten().map(|c| {
            // An init container that restarts runs beside the others; any other one has ended before them.
            if c.restart_policy.is_some() { running(&c.name) } else { ended(&c.name) }
        });
        let condition =
            |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
        json!({
            "phase": "Running", "startTime": since,
            "initContainerStatuses": inits.collect::<Vec<_>>(),
            "containerStatuses": spec.containers.iter().map(|c| running(&c.name)).collect::<Vec<_>>(),
            "conditions": [condition("PodScheduled", true), condition("Ready", serves)],
        })
    }

    /// The claim that the pod of a Running node mounts: bound, and as large as the node needs.
    pub(super) fn claim(&self) -> Option<PersistentVolumeClaim> {
        if !self.is_running() {
            return None;
        }
        let mut claim = render::data_pvc(self.node, self.platform).ok()?;
        if let Some(imported) = mode::imported_claim_name(&self.node.spec) {
            claim.metadata = ObjectMeta {
                name: Some(imported.to_owned()),
                namespace: self.node.metadata.namespace.clone(),
                ..ObjectMeta::default()
            };
        }
        let mut claim = stored(claim, "claim");
        let spec = claim.spec.get_or_insert_default();
        spec.volume_name = Some(VOLUME.to_owned());
        let status = claim.status.get_or_insert_default();
        status.phase = Some("Bound".to_owned());
        status.capacity = spec.resources.as_ref().and_then(|r| r.requests.clone());
        status.access_modes.clone_from(&spec.access_modes);
        Some(claim)
    }
}

/// Revision of made-up objects.
const REVISION: &str = "made-up";
/// Revision of a made-up pod that is not of its StatefulSet's template.
const OLDER_REVISION: &str = "made-up-earlier";
/// Name of the volume behind a made-up claim.
const VOLUME: &str = "made-up";

/// Gives a made-up object what every stored one has.
pub(super) fn stored<T: Metadata<Ty = ObjectMeta>>(mut object: T, word: &str) -> T {
    let meta = object.metadata_mut();
    meta.uid = Some(format!("made-up-{word}"));
    meta.resource_version = Some("1".to_owned());
    meta.generation = Some(1);
    object
}

/// The volume behind a claim, of the same size.
pub(super) fn volume(claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut volume = PersistentVolume::default();
    volume.metadata.name = claim.spec.as_ref().and_then(|s| s.volume_name.clone());
    volume.spec.get_or_insert_default().capacity = claim.status.as_ref().and_then(|s| s.capacity.clone());
    volume.status.get_or_insert_default().phase = Some("Bound".to_owned());
    stored(volume, "volume")
}
