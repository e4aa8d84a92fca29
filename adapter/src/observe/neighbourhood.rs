//! Rivals: the nodes of a namespace, and what mounts keys and claims there.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use seinode_core::api::SeiNode;
use seinode_core::rivals::{self, Exclusive, Mount, Neighbourhood};
use seinode_core::world::{Blind, Seen};

use super::{asked, own};
use crate::cache::Child;
use crate::live::Live;

/// Nodes of the namespace and what mounts keys and claims there, all read live.
pub(super) async fn neighbourhood(live: &Live, node: &SeiNode) -> Seen<Neighbourhood> {
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

async fn list<K: Child>(client: &kube::Client, namespace: &str) -> Result<Vec<K>, Blind> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    asked(async move { api.list(&ListParams::default()).await }).await.map(|list| list.items)
}

/// The same from the caches, for a node with keys: whether another one runs with them.
pub(super) fn cached(live: &Live, node: &SeiNode) -> Seen<Neighbourhood> {
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
