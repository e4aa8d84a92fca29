//! Rivals: the nodes of a namespace, and what mounts keys and claims there.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use seinode_core::api::SeiNode;
use seinode_core::rivals::{self, Exclusive, Neighbourhood};
use seinode_core::world::Seen;

use super::own;
use super::together::Answer;
use crate::live::Live;

/// The nodes of the namespace and what mounts keys and claims there, all read live, as far as they concern a node. `pods`: a
/// list of the same look.
pub(super) async fn neighbourhood(
    live: &Live,
    node: &SeiNode,
    pods: Option<Answer<Pod>>,
) -> Seen<Neighbourhood> {
    let (lists, client, space) = (&live.lists, &live.client, node.namespace());
    let pods = async {
        match pods {
            Some(pods) => pods,
            None => lists.pods.list(client, space).await,
        }
    };
    let all = tokio::join!(
        lists.nodes.list(client, space),
        lists.statefulsets.list(client, space),
        lists.jobs.list(client, space),
        pods,
    );
    match all {
        (Ok(nodes), Ok(sets), Ok(jobs), Ok(pods)) => {
            Seen::Present(Neighbourhood::of(node, nodes.iter(), sets.iter(), jobs.iter(), pods.iter()))
        }
        (Err(blind), ..) | (_, Err(blind), ..) | (_, _, Err(blind), _) | (.., Err(blind)) => {
            Seen::Unknown(blind)
        }
    }
}

/// The same from the caches, for a node with keys: whether another one runs with them.
pub(super) fn cached(live: &Live, node: &SeiNode) -> Seen<Neighbourhood> {
    let mut keys = rivals::named(node.name(), &node.spec);
    keys.retain(|thing| matches!(thing, Exclusive::Key(_)));
    if keys.is_empty() {
        return Seen::default();
    }
    let space = node.namespace();
    let near =
        live.caches.nodes.all().into_iter().filter(|n| n.namespace() == space && n.uid() != node.uid());
    let nodes: Vec<_> = near.filter(|n| rivals::names_any(n, &keys)).collect();
    let names = nodes.iter().map(|n| n.name()).chain([node.name()]);
    let sets: Vec<StatefulSet> =
        names.filter_map(|n| own(live.caches.statefulsets.seen(space, n)).present().cloned()).collect();
    let nodes = nodes.iter().map(AsRef::as_ref);
    Seen::Present(Neighbourhood::of(node, nodes, sets.iter(), [].iter(), [].iter()))
}
