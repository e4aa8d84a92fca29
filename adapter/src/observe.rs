//! Stores, live reads and sidecar answers into [`Observed`]. It never lies about age: what may be behind is `Unknown`.

pub(crate) mod ec2;
mod neighbourhood;
mod sidecars;
pub(crate) mod together;
pub(crate) mod turn;
pub(crate) mod workflows;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, PoisonError};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::{Api, ResourceExt};
use seinode_core::api::{SeiNode, mode};
use seinode_core::ident::NodeKey;
use seinode_core::is_near_pod;
use seinode_core::platform;
use seinode_core::render::names;
use seinode_core::world::{Blind, Observed, Registry, SecretData, Seen, Topic};

use crate::cache::{Cache, Child, Packed};
use crate::error::PortError;
use crate::live::{Live, RegistrySource};
use crate::perform::limited;
use crate::ports::Snapshot;
use together::Answer;

/// Observes a node.
pub(crate) async fn observe(
    live: &Live,
    key: &NodeKey,
    known: Option<Snapshot>,
    looks: &BTreeSet<Topic>,
) -> Result<Option<Snapshot>, PortError> {
    let (mut node, mut observed) = match known {
        Some(snapshot) => (snapshot.node, snapshot.observed),
        None => {
            let Some(node) = node(live, key, looks).await? else { return Ok(None) };
            let observed = cached(live, &node).await;
            (node, observed)
        }
    };
    let wanted: Vec<Topic> = looks.difference(&observed.looked).cloned().collect();
    if wanted.contains(&Topic::Node) {
        match read_node(live, key).await? {
            Some(fresh) => node = fresh,
            None => return Ok(None),
        }
        observed.looked.insert(Topic::Node);
    }
    // What the same look asks of all pods is asked once: the node was read before.
    let mut pods = None;
    for topic in wanted {
        Box::pin(look(live, &node, &mut observed, &mut pods, &topic)).await;
        observed.looked.insert(topic);
    }
    Ok(Some(Snapshot { node, observed }))
}

async fn node(live: &Live, key: &NodeKey, looks: &BTreeSet<Topic>) -> Result<Option<SeiNode>, PortError> {
    match live.caches.nodes.seen(&key.namespace, &key.name) {
        Seen::Present(node) => Ok(Some(Arc::unwrap_or_clone(node))),
        Seen::Absent if !looks.contains(&Topic::Node) => Ok(None),
        Seen::Absent | Seen::Unknown(_) => read_node(live, key).await,
    }
}

async fn read_node(live: &Live, key: &NodeKey) -> Result<Option<SeiNode>, PortError> {
    let api: Api<SeiNode> = Api::namespaced(live.client.clone(), &key.namespace);
    let fail = |source| PortError::Api { what: "read", node: key.clone(), source: Box::new(source) };
    let read = limited(api.get_opt(&key.name)).await.map_err(fail)?;
    Ok(match read {
        Some(node) => Some(Arc::unwrap_or_clone(live.caches.nodes.learn(node))),
        None => {
            live.caches.nodes.forget(&key.namespace, &key.name);
            None
        }
    })
}

/// What the caches tell, at no cost.
async fn cached(live: &Live, node: &SeiNode) -> Observed {
    let (namespace, name, caches) = (node.namespace(), node.name(), &live.caches);
    let data_pvc = match mode::imported_claim_name(&node.spec) {
        // An imported claim carries no label of ours, so no cache has it.
        Some(_) => Seen::default(),
        None => own(caches.claims.seen(namespace, &mode::data_claim_name(name, &node.spec))),
    };
    let job = own(caches.jobs.seen(namespace, &names::bootstrap_job(name)));
    let pods = cached_pods(live, node, job.present());
    let registry = if seinode_core::needs_registry(node) {
        registry(live, &node.spec.chain_id).await
    } else {
        Registry::NotAsked
    };
    Observed {
        statefulset: own(caches.statefulsets.seen(namespace, name)),
        service: own(caches.services.seen(namespace, name)),
        config_map: own(caches.config_maps.seen(namespace, &names::rbac_proxy_config(name))),
        data_pvc,
        job,
        pods,
        neighbourhood: neighbourhood::cached(live, node),
        registry,
        silence: sidecars::silence(live, node),
        ..Observed::default()
    }
}

/// The pod of the StatefulSet and those of the Job, as the newest look or watch has shown them.
fn cached_pods(live: &Live, node: &SeiNode, job: Option<&Job>) -> Seen<Vec<Pod>> {
    let (namespace, cache) = (node.namespace(), &live.caches.pods);
    let mut wanted = BTreeSet::from([names::pod(node.name())]);
    if let Some(job) = job {
        // The bootstrap pod has a name that can't be told; few nodes have one at a time, so a search is fine.
        let of_job =
            |p: &Packed<Pod>| p.owner_references().iter().any(|o| Some(&o.uid) == job.metadata.uid.as_ref());
        let here = cache.all().into_iter().filter(|p| p.namespace().as_deref() == Some(namespace));
        wanted.extend(here.filter(|p| of_job(p)).map(|p| p.name_any()));
    }
    let mut pods = Vec::new();
    for name in wanted {
        match own(cache.seen(namespace, &name)) {
            Seen::Present(pod) => pods.push(pod),
            Seen::Absent => {}
            Seen::Unknown(blind) => return Seen::Unknown(blind),
        }
    }
    Seen::Present(pods)
}

/// What a list tells of the pods of a node stays known until the watch has caught up.
fn learn_pods(live: &Live, node: &SeiNode, near: &[Pod]) {
    let (namespace, cache) = (node.namespace(), &live.caches.pods);
    let own = names::pod(node.name());
    if !near.iter().any(|pod| pod.name_any() == own) {
        cache.clear(namespace, &own);
    }
    for pod in near {
        cache.refresh(pod);
    }
}

fn own<K: Clone>(seen: Seen<Arc<K>>) -> Seen<K> {
    match seen {
        Seen::Absent => Seen::Absent,
        Seen::Present(object) => Seen::Present(Arc::unwrap_or_clone(object)),
        Seen::Unknown(blind) => Seen::Unknown(blind),
    }
}

async fn registry(live: &Live, chain: &str) -> Registry {
    let text = match &live.registry {
        RegistrySource::Text(text) => text.clone(),
        RegistrySource::Shared(shared) => {
            match shared.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                Ok(text) => text,
                Err(error) => return Registry::Unreadable(error),
            }
        }
        RegistrySource::File(path) => match tokio::fs::read_to_string(path).await {
            Ok(text) => text,
            // A missing file is an empty registry (`platform-config.md` 1.5).
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Registry::Entries(Vec::new());
            }
            Err(error) => return Registry::Unreadable(error.to_string()),
        },
    };
    match platform::parse(&text) {
        Ok(file) => Registry::Entries(platform::witnesses(&file, chain)),
        Err(error) => Registry::Unreadable(error.to_string()),
    }
}

/// Reads one topic past the cache.
async fn look(
    live: &Live,
    node: &SeiNode,
    observed: &mut Observed,
    pods: &mut Option<Answer<Pod>>,
    topic: &Topic,
) {
    let (namespace, name) = (node.namespace(), node.name());
    let client = &live.client;
    let caches = &live.caches;
    match topic {
        Topic::Node => {}
        Topic::StatefulSet => {
            observed.statefulset = read(client, &caches.statefulsets, namespace, name).await;
        }
        Topic::Service => observed.service = read(client, &caches.services, namespace, name).await,
        Topic::ConfigMap => {
            observed.config_map =
                read(client, &caches.config_maps, namespace, &names::rbac_proxy_config(name)).await;
        }
        Topic::Job => observed.job = read(client, &caches.jobs, namespace, &names::bootstrap_job(name)).await,
        Topic::DataPvc => {
            let claim = mode::data_claim_name(name, &node.spec);
            observed.data_pvc = read(client, &caches.claims, namespace, &claim).await;
        }
        Topic::Volume => observed.volume = read_volume(live, observed.data_pvc.present()).await,
        Topic::Pods => {
            let all = live.lists.pods.list(client, namespace).await;
            observed.pods = match &all {
                Ok(all) => {
                    let near: Vec<Pod> = all.iter().filter(|p| is_near_pod(p, node)).cloned().collect();
                    learn_pods(live, node, &near);
                    Seen::Present(near)
                }
                Err(blind) => Seen::Unknown(blind.clone()),
            };
            *pods = Some(all);
        }
        Topic::Secret(secret) => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let read = asked(async { api.get_opt(secret).await }).await;
            observed.secrets.insert(secret.clone(), found(read, secret_data));
        }
        Topic::Health => observed.health = sidecars::health(live, node, observed).await,
        Topic::SidecarTasks => {
            observed.sidecar_tasks = sidecars::sidecar_tasks(live, node).await;
            observed.silence = sidecars::note(live, node, observed.sidecar_tasks.blind().is_none());
        }
        Topic::Neighbourhood => {
            observed.neighbourhood = neighbourhood::neighbourhood(live, node, pods.take()).await;
        }
        Topic::Turn => observed.turn = turn::ask(live, node).await,
        Topic::Workflows => observed.workflows = workflows::of(live, node).await,
        Topic::Peers => {
            let (nodes, instances) = tokio::join!(sidecars::peers(live, node), live.ec2.ask(node));
            observed.peers = Seen::Present(nodes);
            observed.ec2 = instances;
        }
    }
}

fn secret_data(secret: Secret) -> SecretData {
    SecretData {
        deleting: secret.metadata.deletion_timestamp.is_some(),
        data: secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect(),
    }
}

async fn read_volume(live: &Live, claim: Option<&PersistentVolumeClaim>) -> Seen<PersistentVolume> {
    let Some(name) = claim.and_then(|c| c.spec.as_ref()?.volume_name.clone()) else { return Seen::Absent };
    let api: Api<PersistentVolume> = Api::all(live.client.clone());
    found(asked(async { api.get_opt(&name).await }).await, |v| v)
}

/// A live read of one object, remembered where the watch shows objects of its kind.
async fn read<K: Child>(client: &kube::Client, cache: &Cache<K>, namespace: &str, name: &str) -> Seen<K> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let answer = asked(async { api.get_opt(name).await }).await;
    match &answer {
        Ok(Some(object)) if object.labels().contains_key("sei.io/node") => {
            cache.learn(object.clone());
        }
        Ok(Some(_)) => cache.clear(namespace, name),
        Ok(None) => cache.forget(namespace, name),
        Err(_) => {}
    }
    found(answer, |object| object)
}

fn found<A, B>(answer: Result<Option<A>, Blind>, map: impl FnOnce(A) -> B) -> Seen<B> {
    match answer {
        Ok(Some(object)) => Seen::Present(map(object)),
        Ok(None) => Seen::Absent,
        Err(blind) => Seen::Unknown(blind),
    }
}

/// A request with a time limit; what goes wrong becomes blindness.
async fn asked<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Blind> {
    limited(request).await.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 401 || status.code == 403 => Blind::Forbidden,
        kube::Error::Api(status) => Blind::Unreachable(format!("the API server answered {}", status.code)),
        _ => Blind::Unreachable("the API server gave no usable answer".to_owned()),
    })
}
