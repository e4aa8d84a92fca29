//! The world around a node that nobody runs: what the API server and the sidecar would answer.
//!
//! Answers: what is there. Around a node that is not Running nothing is; the children of a Running one exist as this
//! operator rendered them for the images that its status records, with a pod that runs those images and a sidecar that
//! answers as condition `SidecarReady` says. Live objects take the place of what is made up, kind by kind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, SeiNode, mode};
use seinode_core::platform::{self, Platform, PlatformFile};
use seinode_core::render::{self, names};
use seinode_core::world::{Blind, Health, Observed, PeerNode, Registry, SecretData, Seen, Topic, Turn};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::children::{stored, volume};
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
        let own = |pods: &Vec<Pod>| {
            pods.iter().filter(|p| p.metadata.name.as_ref() == Some(&pod_name)).cloned().collect()
        };
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
                // No other node is brought, so nobody else wants its keys or its claim.
                Topic::Neighbourhood => self.seen.neighbourhood = Seen::Absent,
                Topic::Turn => self.seen.turn = Seen::Present(Turn::Own),
                Topic::Workflows => self.seen.workflows = Seen::Absent,
            }
        }
        self.seen.looked.extend(topics);
    }
}

/// What is made up around a node where nothing was brought.
pub(super) struct MadeUp<'a> {
    pub(super) node: &'a SeiNode,
    pub(super) platform: &'a Platform,
    pub(super) now: Timestamp,
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
        let volume_name =
            data_pvc.present().and_then(|c: &PersistentVolumeClaim| c.spec.as_ref()?.volume_name.clone());
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
    fn one<T>(
        &self,
        brought: &Brought,
        name: &str,
        made: impl FnOnce() -> Option<T>,
    ) -> Result<Seen<T>, InputError>
    where
        T: k8s_openapi::Resource + DeserializeOwned,
    {
        match brought.of(T::KIND, self.node.namespace()) {
            Some(objects) => named(&objects, name),
            None => Ok(made().map_or(Seen::Absent, Seen::Present)),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.node.status.phase == Some(NodePhase::Running)
    }

    fn running<T>(&self, made: impl FnOnce() -> T) -> Option<T> {
        self.is_running().then(made)
    }

    /// What the sidecar answers, as condition `SidecarReady` says: 200, 503, nothing.
    pub(super) fn health(&self) -> Seen<Health> {
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
            return Ok(nodes
                .iter()
                .filter(|n| n.uid() != self.node.uid())
                .filter_map(|n| self.peer(n))
                .collect());
        }
        let Some(source) = self.node.spec.peers.iter().flatten().find_map(|p| p.label.as_ref()) else {
            return Ok(Vec::new());
        };
        let namespace =
            source.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(self.node.namespace());
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

fn silent() -> Blind {
    Blind::Unreachable("no answer".to_owned())
}

fn is_own(pod: &Pod, statefulset: &Seen<StatefulSet>) -> bool {
    let uid = statefulset.present().and_then(|s| s.metadata.uid.as_deref());
    uid.is_some() && pod.metadata.owner_references.iter().flatten().any(|o| Some(o.uid.as_str()) == uid)
}

fn runs_sidecar(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
    statuses
        .filter(|c| c.name == names::SIDECAR)
        .any(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
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
            let data =
                secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).chain(text).collect();
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
