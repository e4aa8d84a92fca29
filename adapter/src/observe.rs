//! Stores, live reads and sidecar answers into [`Observed`]. It never lies about age: what may be behind is `Unknown`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, PodSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use seinode_core::api::{SeiNode, mode};
use seinode_core::ident::NodeKey;
use seinode_core::platform;
use seinode_core::render::names;
use seinode_core::rivals::{self, Exclusive, Mount, Neighbourhood};
use seinode_core::world::{Blind, Health, Observed, PeerNode, Registry, SecretData, Seen, Topic};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::error::PortError;
use crate::live::{API_LIMIT, Live, RegistrySource, RememberedHealth, RememberedId};
use crate::ports::Snapshot;

/// How long a peer's node id is believed before it is asked for again.
const NODE_ID_AGE: Duration = Duration::from_mins(10);
/// How long a peer that gave no id is left alone.
const NODE_ID_RETRY: Duration = Duration::from_secs(5);
/// How many peers are asked at once.
const PEERS_AT_ONCE: usize = 16;

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
    for topic in wanted {
        look(live, &node, &mut observed, &topic).await;
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
    let read = tokio::time::timeout(API_LIMIT, api.get_opt(&key.name)).await;
    let fail = |source| PortError::Api { what: "read", node: key.clone(), source: Box::new(source) };
    let read = read.map_err(|_| PortError::Timeout { what: "read", node: key.clone() })?.map_err(fail)?;
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
    let mut pods: Vec<Pod> = caches
        .pods
        .get(&ObjectRef::new(&names::pod(name)).within(namespace))
        .map(Arc::unwrap_or_clone)
        .into_iter()
        .collect();
    let job = own(caches.jobs.seen(namespace, &names::bootstrap_job(name)));
    if let Seen::Present(job) = &job {
        // The bootstrap pod has a name that can't be told; few nodes have one at a time, so a search is fine.
        let of_job = |p: &Arc<Pod>| {
            p.namespace().as_deref() == Some(namespace)
                && p.owner_references().iter().any(|o| Some(&o.uid) == job.metadata.uid.as_ref())
        };
        pods.extend(caches.pods.state().into_iter().filter(of_job).map(Arc::unwrap_or_clone));
    }
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
        pods: Seen::Present(pods),
        neighbourhood: cached_neighbourhood(live, node),
        registry,
        ..Observed::default()
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
async fn look(live: &Live, node: &SeiNode, observed: &mut Observed, topic: &Topic) {
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
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let all = limited(async move { api.list(&ListParams::default()).await }).await;
            observed.pods = all.map_or_else(Seen::Unknown, |list| Seen::Present(list.items));
        }
        Topic::Secret(secret) => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let read = limited(async { api.get_opt(secret).await }).await;
            observed.secrets.insert(secret.clone(), found(read, secret_data));
        }
        Topic::Health => observed.health = health(live, node, observed).await,
        Topic::SidecarTasks => observed.sidecar_tasks = sidecar_tasks(live, node).await,
        Topic::Neighbourhood => observed.neighbourhood = neighbourhood(live, node).await,
        Topic::Peers => observed.peers = Seen::Present(peers(live, node).await),
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
    found(limited(async { api.get_opt(&name).await }).await, |v| v)
}

/// A live read of one object, remembered where the watch shows objects of its kind.
async fn read<K>(client: &kube::Client, cache: &Cache<K>, namespace: &str, name: &str) -> Seen<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let answer = limited(async { api.get_opt(name).await }).await;
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
async fn limited<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Blind> {
    match tokio::time::timeout(API_LIMIT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 401 || status.code == 403 => {
            Err(Blind::Forbidden)
        }
        Ok(Err(kube::Error::Api(status))) => {
            Err(Blind::Unreachable(format!("the API server answered {}", status.code)))
        }
        Ok(Err(_)) => Err(Blind::Unreachable("the API server could not be asked".to_owned())),
        Err(_) => Err(Blind::Unreachable("the API server gave no answer in time".to_owned())),
    }
}

/// The sidecar's readiness: asked when the pod has changed, and at most once a minute.
async fn health(live: &Live, node: &SeiNode, observed: &Observed) -> Seen<Health> {
    let fingerprint = fingerprint(observed);
    {
        let remembered = live.health.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered.get(node.uid())
            && known.fingerprint == fingerprint
            && known.at.elapsed() < seinode_core::HEALTH_POLL
        {
            return known.health.clone();
        }
    }
    let health = live.sidecars.health(&NodeKey::of(node)).await;
    live.metrics.health_probe(node.namespace(), &health);
    let entry = RememberedHealth { at: Instant::now(), health: health.clone(), fingerprint };
    live.health.lock().unwrap_or_else(PoisonError::into_inner).insert(node.uid().to_owned(), entry);
    health
}

/// What of the pods makes an older answer of the sidecar worthless.
fn fingerprint(observed: &Observed) -> String {
    let uid =
        observed.statefulset.present().and_then(|s: &StatefulSet| s.metadata.uid.clone()).unwrap_or_default();
    let pods = observed.pods.present().into_iter().flatten();
    let job = observed.job.present().and_then(|j| j.metadata.uid.clone()).unwrap_or_default();
    let of_node = pods.filter(|p| p.owner_references().iter().any(|o| o.uid == uid || o.uid == job));
    let mut parts: Vec<String> = of_node
        .flat_map(|p| {
            let pod = p.metadata.uid.clone().unwrap_or_default();
            let status = p.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
            status
                .map(move |c| format!("{pod}/{}/{}/{}/{:?}", c.name, c.restart_count, c.ready, c.started))
                .collect::<Vec<_>>()
        })
        .collect();
    parts.sort();
    parts.join(",")
}

/// The sidecar's records; what a plan names and the list of the newest hundred does not show is asked for by id.
async fn sidecar_tasks(
    live: &Live,
    node: &SeiNode,
) -> Seen<BTreeMap<seinode_core::ident::TaskId, seinode_core::world::SidecarTask>> {
    const SHOWN: usize = 100;
    let key = NodeKey::of(node);
    let mut seen = live.sidecars.tasks(&key).await;
    if let Seen::Present(records) = &mut seen
        && records.len() >= SHOWN
        && let Some(plan) = &node.status.plan
    {
        for task in &plan.tasks {
            let id = seinode_core::ident::TaskId::new(&task.id);
            if records.contains_key(&id) {
                continue;
            }
            match live.sidecars.task(&key, &task.id).await {
                Seen::Present(record) => {
                    records.insert(id, record);
                }
                Seen::Absent => {}
                Seen::Unknown(blind) => return Seen::Unknown(blind),
            }
        }
    }
    seen
}

/// Nodes of the namespace and what mounts keys and claims there, all read live.
async fn neighbourhood(live: &Live, node: &SeiNode) -> Seen<Neighbourhood> {
    let (client, space) = (&live.client, node.namespace());
    let (nodes, sets, jobs, pods) = tokio::join!(
        list::<SeiNode>(client, space),
        list::<StatefulSet>(client, space),
        list::<Job>(client, space),
        list::<Pod>(client, space),
    );
    match (nodes, sets, jobs, pods) {
        (Ok(nodes), Ok(sets), Ok(jobs), Ok(pods)) => Seen::Present(gather(node, nodes, &sets, &jobs, &pods)),
        (Err(blind), ..) | (_, Err(blind), ..) | (_, _, Err(blind), _) | (.., Err(blind)) => {
            Seen::Unknown(blind)
        }
    }
}

async fn list<K>(client: &kube::Client, namespace: &str) -> Result<Vec<K>, Blind>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    limited(async move { api.list(&ListParams::default()).await }).await.map(|list| list.items)
}

/// The same from the caches, for a node with keys: whether another one runs with them.
fn cached_neighbourhood(live: &Live, node: &SeiNode) -> Seen<Neighbourhood> {
    let keys: Vec<_> = rivals::named(node.name(), &node.spec)
        .into_iter()
        .filter(|e| matches!(e, Exclusive::Key(_)))
        .collect();
    if keys.is_empty() {
        return Seen::default();
    }
    let space = node.namespace();
    let near =
        live.caches.nodes.all().into_iter().filter(|n| n.namespace() == space && n.uid() != node.uid());
    let nodes: Vec<SeiNode> = near
        .filter(|n| rivals::named(n.name(), &n.spec).iter().any(|e| keys.contains(e)))
        .map(Arc::unwrap_or_clone)
        .collect();
    let names = nodes.iter().map(SeiNode::name).chain([node.name()]);
    let sets: Vec<StatefulSet> =
        names.filter_map(|n| own(live.caches.statefulsets.seen(space, n)).present().cloned()).collect();
    Seen::Present(gather(node, nodes, &sets, &[], &[]))
}

fn gather(
    node: &SeiNode,
    nodes: Vec<SeiNode>,
    sets: &[StatefulSet],
    jobs: &[Job],
    pods: &[Pod],
) -> Neighbourhood {
    let mut mounts = Vec::new();
    let mut owners = std::collections::HashMap::new();
    let mut add = |kind: &str,
                   meta: &ObjectMeta,
                   spec: Option<&PodSpec>,
                   owner: Option<String>,
                   template: bool,
                   live: bool| {
        let what = spec.map(rivals::mounted).unwrap_or_default();
        if !what.is_empty() {
            let object = format!("{kind} {}", meta.name.as_deref().unwrap_or_default());
            mounts.push(Mount { object, node: owner, template, what, live });
        }
    };
    for set in sets {
        let owner = rivals::node_uid(&set.metadata);
        owners.insert(set.metadata.uid.clone().unwrap_or_default(), owner.clone());
        let spec = set.spec.as_ref();
        let live = spec.is_none_or(|s| s.replicas.unwrap_or(1) > 0);
        add("StatefulSet", &set.metadata, spec.and_then(|s| s.template.spec.as_ref()), owner, true, live);
    }
    for job in jobs {
        let owner = rivals::node_uid(&job.metadata);
        owners.insert(job.metadata.uid.clone().unwrap_or_default(), owner.clone());
        let spec = job.spec.as_ref();
        let live = spec.is_none_or(|s| s.suspend != Some(true));
        add("Job", &job.metadata, spec.and_then(|s| s.template.spec.as_ref()), owner, true, live);
    }
    for pod in pods {
        if pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Succeeded")) {
            continue;
        }
        let through =
            pod.owner_references().iter().find(|o| o.controller == Some(true)).map(|o| o.uid.clone());
        let owner = through.and_then(|uid| owners.get(&uid).cloned().flatten());
        add("Pod", &pod.metadata, pod.spec.as_ref(), owner, false, true);
    }
    let nodes = nodes.into_iter().filter(|n| n.uid() != node.uid()).collect();
    Neighbourhood { nodes, mounts }
}

/// Other SeiNodes that label sources select, with their node ids: asked at once, within limits, and remembered.
async fn peers(live: &Live, node: &SeiNode) -> Vec<PeerNode> {
    let all = live.caches.nodes.all();
    let selected = all
        .into_iter()
        .filter(|p| p.uid() != node.uid() && seinode_core::selects_peer(node, p.namespace(), p.labels()));
    let mut found: Vec<PeerNode> = futures::stream::iter(selected)
        .map(|peer| async move {
            let node_id = node_id(live, &peer).await;
            PeerNode {
                namespace: peer.namespace().to_owned(),
                name: peer.name().to_owned(),
                chain_id: peer.spec.chain_id.clone(),
                labels: peer.labels().clone(),
                external_address: peer.spec.external_address.clone(),
                deleting: peer.is_deleting(),
                node_id,
            }
        })
        .buffer_unordered(PEERS_AT_ONCE)
        .collect()
        .await;
    found.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    found
}

async fn node_id(live: &Live, peer: &SeiNode) -> Seen<String> {
    {
        let remembered = live.node_ids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered.get(peer.uid()) {
            let age = if known.id.present().is_some() { NODE_ID_AGE } else { NODE_ID_RETRY };
            if known.at.elapsed() < age {
                return known.id.clone();
            }
        }
    }
    let id = live.sidecars.node_id(&NodeKey::of(peer)).await;
    let mut remembered = live.node_ids.lock().unwrap_or_else(PoisonError::into_inner);
    let earlier = remembered.get(peer.uid()).and_then(|k| k.id.present().cloned());
    // A peer that does not answer now keeps the id it had.
    let id = match (id, earlier) {
        (Seen::Unknown(_), Some(earlier)) => Seen::Present(earlier),
        (id, _) => id,
    };
    remembered.insert(peer.uid().to_owned(), RememberedId { at: Instant::now(), id: id.clone() });
    id
}
