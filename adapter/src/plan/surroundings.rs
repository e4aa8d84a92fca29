//! The world around a node that nobody runs: what the API server and the sidecar would answer.
//!
//! Answers: what is there. Around a node that is not Running nothing is; the children of a Running one exist as this
//! operator rendered them for the images that its status records, with a pod that runs those images and a sidecar that
//! answers as condition `SidecarReady` says. Live objects take the place of what is made up, kind by kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use k8s_openapi::Metadata;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::node::SidecarSpec;
use seinode_core::api::{NodePhase, SeiNode, Stamp, mode};
use seinode_core::platform::{self, Platform, PlatformFile};
use seinode_core::render::{self, names};
use seinode_core::world::{Blind, Health, Observed, PeerNode, Registry, SecretData, Seen, Topic};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::given::{Brought, InputError, refused};

/// What surrounds a node, and how much of it was shown so far.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Everything there is.
    there: Observed,
    /// What the operator sees: its caches, and what it has looked at.
    seen: Observed,
}

impl Surroundings {
    /// What surrounds `node` at a time.
    pub fn around(
        node: &SeiNode,
        platform: &Platform,
        file: &PlatformFile,
        brought: &Brought,
        now: Timestamp,
    ) -> Result<Self, InputError> {
        let made = MadeUp { node, platform, now };
        let there = made.observed(file, brought)?;
        let pod_name = names::pod(node.name());
        let own = |pods: &Vec<Pod>| pods.iter().filter(|p| p.metadata.name.as_ref() == Some(&pod_name)).cloned().collect();
        let is_imported = mode::imported_claim_name(&node.spec).is_some();
        let seen = Observed {
            statefulset: there.statefulset.clone(),
            service: there.service.clone(),
            config_map: there.config_map.clone(),
            // An imported claim carries no label of ours, so no cache has it.
            data_pvc: if is_imported { Seen::default() } else { there.data_pvc.clone() },
            job: there.job.clone(),
            pods: Seen::Present(there.pods.present().map(own).unwrap_or_default()),
            registry: there.registry.clone(),
            ..Observed::default()
        };
        Ok(Self { there, seen })
    }

    /// What the operator sees.
    pub fn seen(&self) -> &Observed {
        &self.seen
    }

    /// Shows what is there of some topics.
    pub fn look(&mut self, topics: BTreeSet<Topic>) {
        let there = &self.there;
        for topic in &topics {
            match topic {
                Topic::Node => {}
                Topic::StatefulSet => self.seen.statefulset.clone_from(&there.statefulset),
                Topic::Service => self.seen.service.clone_from(&there.service),
                Topic::ConfigMap => self.seen.config_map.clone_from(&there.config_map),
                Topic::DataPvc => self.seen.data_pvc.clone_from(&there.data_pvc),
                Topic::Volume => self.seen.volume.clone_from(&there.volume),
                Topic::Job => self.seen.job.clone_from(&there.job),
                Topic::Pods => self.seen.pods.clone_from(&there.pods),
                Topic::Secret(name) => {
                    let secret = there.secrets.get(name).cloned().unwrap_or(Seen::Absent);
                    self.seen.secrets.insert(name.clone(), secret);
                }
                Topic::Health => self.seen.health.clone_from(&there.health),
                Topic::SidecarTasks => self.seen.sidecar_tasks.clone_from(&there.sidecar_tasks),
                Topic::Peers => self.seen.peers.clone_from(&there.peers),
            }
        }
        self.seen.looked.extend(topics);
    }
}

/// What is made up around a node where nothing was brought.
struct MadeUp<'a> {
    node: &'a SeiNode,
    platform: &'a Platform,
    now: Timestamp,
}

impl MadeUp<'_> {
    fn observed(&self, file: &PlatformFile, brought: &Brought) -> Result<Observed, InputError> {
        let (node, name) = (self.node, self.node.name());
        let claim_name = mode::data_claim_name(name, &node.spec);
        let statefulset = self.one(brought, name, || self.statefulset())?;
        let live = brought.of("Pod", node.namespace());
        let pods = match live {
            Some(pods) => pods.into_iter().map(typed).collect::<Result<Vec<Pod>, _>>()?,
            None => statefulset.present().and_then(|sts| self.pod(sts)).into_iter().collect(),
        };
        let data_pvc = self.one(brought, &claim_name, || self.claim())?;
        let volume_name = data_pvc.present().and_then(|c: &PersistentVolumeClaim| c.spec.as_ref()?.volume_name.clone());
        let volume = match brought.of("PersistentVolume", "") {
            Some(volumes) => named(&volumes, &volume_name.unwrap_or_default())?,
            None => data_pvc.present().map_or(Seen::Absent, |claim| Seen::Present(volume(claim))),
        };
        let answers = pods.iter().any(|pod| is_own(pod, &statefulset) && runs_sidecar(pod));
        Ok(Observed {
            service: self.one(brought, name, || self.running(|| stored(render::service(node), "service")))?,
            config_map: self.one(brought, &names::rbac_proxy_config(name), || {
                self.running(|| stored(render::rbac_proxy_config(node), "config"))
            })?,
            data_pvc,
            volume,
            job: self.one(brought, &names::bootstrap_job(name), || None)?,
            secrets: secrets(brought, node.namespace())?,
            health: if answers { self.health() } else { Seen::Unknown(silent()) },
            sidecar_tasks: match self.health() {
                Seen::Present(_) if answers => Seen::Present(BTreeMap::new()),
                Seen::Present(_) | Seen::Absent | Seen::Unknown(_) => Seen::Unknown(silent()),
            },
            peers: Seen::Present(self.peers(brought)?),
            registry: if seinode_core::needs_registry(node) {
                Registry::Entries(platform::witnesses(file, &node.spec.chain_id))
            } else {
                Registry::NotAsked
            },
            statefulset,
            pods: Seen::Present(pods),
            ..Observed::default()
        })
    }

    /// The live object of a name where its kind was brought, else the made-up one.
    fn one<T>(&self, brought: &Brought, name: &str, made: impl FnOnce() -> Option<T>) -> Result<Seen<T>, InputError>
    where
        T: k8s_openapi::Resource + DeserializeOwned,
    {
        match brought.of(T::KIND, self.node.namespace()) {
            Some(objects) => named(&objects, name),
            None => Ok(made().map_or(Seen::Absent, Seen::Present)),
        }
    }

    fn is_running(&self) -> bool {
        self.node.status.phase == Some(NodePhase::Running)
    }

    fn running<T>(&self, made: impl FnOnce() -> T) -> Option<T> {
        self.is_running().then(made)
    }

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

    fn statefulset(&self) -> Option<StatefulSet> {
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
    fn pod(&self, sts: &StatefulSet) -> Option<Pod> {
        let spec = sts.spec.as_ref()?;
        if spec.replicas == Some(0) || !self.is_running() {
            return None;
        }
        let template = &spec.template;
        let mut pod = Pod { metadata: template.metadata.clone().unwrap_or_default(), spec: template.spec.clone(), status: None };
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
        let recorded = [(names::SEID, &status.current_image), (names::SIDECAR, &status.current_sidecar_image)];
        let mut were_there = true;
        let spec = pod.spec.get_or_insert_default();
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            let image = recorded.iter().find(|(name, _)| *name == container.name).and_then(|(_, image)| image.as_ref());
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
        let condition = |kind: &str, holds: bool| json!({"type": kind, "status": if holds { "True" } else { "False" }});
        json!({
            "phase": "Running", "startTime": since,
            "initContainerStatuses": inits.collect::<Vec<_>>(),
            "containerStatuses": spec.containers.iter().map(|c| running(&c.name)).collect::<Vec<_>>(),
            "conditions": [condition("PodScheduled", true), condition("Ready", serves)],
        })
    }

    /// The claim that the pod of a Running node mounts: bound, and as large as the node needs.
    fn claim(&self) -> Option<PersistentVolumeClaim> {
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

    /// What the sidecar answers, as condition `SidecarReady` says: 200, 503, nothing.
    fn health(&self) -> Seen<Health> {
        let shown = condition::find(&self.node.status.conditions, &ConditionType::SidecarReady);
        match shown.map(|c| &c.status) {
            Some(ConditionStatus::True) => Seen::Present(Health::Ready),
            Some(ConditionStatus::False) => Seen::Present(Health::NotReady),
            Some(ConditionStatus::Unknown | ConditionStatus::Other(_)) | None => Seen::Unknown(silent()),
        }
    }

    /// SeiNodes that were brought; else as many as make the label sources resolve to what status lists already.
    fn peers(&self, brought: &Brought) -> Result<Vec<PeerNode>, InputError> {
        if let Some(nodes) = brought.of(seinode_core::api::KIND, "") {
            let nodes = nodes.into_iter().map(typed).collect::<Result<Vec<SeiNode>, _>>()?;
            return Ok(nodes.iter().filter(|n| n.uid() != self.node.uid()).filter_map(|n| self.peer(n)).collect());
        }
        let Some(source) = self.node.spec.peers.iter().flatten().find_map(|p| p.label.as_ref()) else {
            return Ok(Vec::new());
        };
        let namespace = source.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(self.node.namespace());
        let entries = self.node.status.resolved_peers.iter().filter_map(|entry| entry.split_once('@'));
        Ok(entries
            .enumerate()
            .map(|(i, (id, address))| PeerNode {
                namespace: namespace.to_owned(),
                // No node can have such a name, so none is taken for this one.
                name: format!("resolved.{i}"),
                chain_id: self.node.spec.chain_id.clone(),
                labels: source.selector.clone(),
                external_address: Some(address.to_owned()),
                deleting: false,
                node_id: Seen::Present(id.to_owned()),
            })
            .collect())
    }

    /// A SeiNode as a peer. Nobody answers for its sidecar: an id that was resolved earlier stays.
    fn peer(&self, peer: &SeiNode) -> Option<PeerNode> {
        let labels = peer.metadata.labels.clone().unwrap_or_default();
        seinode_core::selects_peer(self.node, peer.namespace(), &labels).then(|| PeerNode {
            namespace: peer.namespace().to_owned(),
            name: peer.name().to_owned(),
            chain_id: peer.spec.chain_id.clone(),
            labels,
            external_address: peer.spec.external_address.clone(),
            deleting: peer.is_deleting(),
            node_id: Seen::Unknown(silent()),
        })
    }
}

/// Revision of made-up objects.
const REVISION: &str = "made-up";
/// Revision of a made-up pod that is not of its StatefulSet's template.
const OLDER_REVISION: &str = "made-up-earlier";
/// Name of the volume behind a made-up claim.
const VOLUME: &str = "made-up";

fn silent() -> Blind {
    Blind::Unreachable("no answer".to_owned())
}

/// Gives a made-up object what every stored one has.
fn stored<T: Metadata<Ty = ObjectMeta>>(mut object: T, word: &str) -> T {
    let meta = object.metadata_mut();
    meta.uid = Some(format!("made-up-{word}"));
    meta.resource_version = Some("1".to_owned());
    meta.generation = Some(1);
    object
}

/// The volume behind a claim, of the same size.
fn volume(claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut volume = PersistentVolume::default();
    volume.metadata.name = claim.spec.as_ref().and_then(|s| s.volume_name.clone());
    volume.spec.get_or_insert_default().capacity = claim.status.as_ref().and_then(|s| s.capacity.clone());
    volume.status.get_or_insert_default().phase = Some("Bound".to_owned());
    stored(volume, "volume")
}

fn is_own(pod: &Pod, statefulset: &Seen<StatefulSet>) -> bool {
    let uid = statefulset.present().and_then(|s| s.metadata.uid.as_deref());
    uid.is_some() && pod.metadata.owner_references.iter().flatten().any(|o| Some(o.uid.as_str()) == uid)
}

fn runs_sidecar(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
    statuses.filter(|c| c.name == names::SIDECAR).any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
}

fn secrets(brought: &Brought, namespace: &str) -> Result<BTreeMap<String, Seen<SecretData>>, InputError> {
    let objects = brought.of("Secret", namespace).unwrap_or_default();
    let secrets = objects.into_iter().map(typed).collect::<Result<Vec<Secret>, _>>()?;
    Ok(secrets
        .into_iter()
        .map(|secret| {
            let deleting = secret.metadata.deletion_timestamp.is_some();
            // Text is how a manifest may write what the server stores as bytes.
            let text = secret.string_data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes()));
            let data = secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).chain(text).collect();
            (secret.metadata.name.unwrap_or_default(), Seen::Present(SecretData { deleting, data }))
        })
        .collect())
}

fn named<T: DeserializeOwned>(objects: &[&Value], name: &str) -> Result<Seen<T>, InputError> {
    let found = objects.iter().find(|o| o.pointer("/metadata/name").and_then(Value::as_str) == Some(name));
    found.map_or(Ok(Seen::Absent), |object| typed(object).map(Seen::Present))
}

fn typed<T: DeserializeOwned>(object: &Value) -> Result<T, InputError> {
    serde_json::from_value(object.clone()).map_err(|error| {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let which = format!("{} {}", text("/kind"), text("/metadata/name"));
        refused(&PathBuf::from("--world"), format!("{which} can't be read: {error}; correct the field"))
    })
}
