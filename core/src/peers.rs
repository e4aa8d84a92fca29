//! Peers of a node, from its sources in order; sorted and unique (`seinode.md` 14).

mod ec2;

use std::collections::BTreeSet;

use crate::api::SeiNode;
use crate::api::node::LabelPeers;
pub use crate::peers::ec2::Instance;
pub(crate) use crate::peers::ec2::show as show_ec2;
use crate::world::{Observed, PeerNode, Seen, Topic, World};

/// Whether the peers of a node depend on anything but its spec.
fn needs_look(world: World<'_>) -> bool {
    let by_label = world.node.spec.peers.iter().flatten().any(|p| p.label.is_some());
    by_label || (world.settings.asks_ec2 && ec2::is_named(world.node))
}

/// Whether a label source of `node` selects the SeiNode of this namespace and these labels. The adapter uses it to find
/// the peers to look at.
pub fn selects(node: &SeiNode, namespace: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
    node.spec
        .peers
        .iter()
        .flatten()
        .filter_map(|p| p.label.as_ref())
        .any(|source| source_selects(source, node.namespace(), namespace, labels))
}

fn source_selects(
    source: &LabelPeers,
    own_namespace: &str,
    namespace: &str,
    labels: &std::collections::BTreeMap<String, String>,
) -> bool {
    let wanted = source.namespace.as_deref().filter(|n| !n.is_empty()).unwrap_or(own_namespace);
    namespace == wanted && source.selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// What has to be looked at before the peers of a node can be resolved, if anything.
pub(crate) fn unseen(world: World<'_>) -> Option<Topic> {
    (needs_look(world) && !world.observed.has_looked(&Topic::Peers)).then_some(Topic::Peers)
}

/// The resolved list. `prior` is what was resolved before: it fills in for peers that can't be asked now.
pub(crate) fn resolve(node: &SeiNode, observed: &Observed, prior: &[String]) -> Vec<String> {
    let (mut today, mut kept) = (BTreeSet::new(), BTreeSet::new());
    let mut told = observed.ec2.iter();
    for source in node.spec.peers.iter().flatten() {
        if let Some(fixed) = &source.fixed {
            today.extend(fixed.addresses.iter().cloned());
        }
        if source.ec2_tags.is_some() {
            match told.next() {
                Some(Seen::Present(instances)) => today.extend(instances.iter().filter_map(Instance::peer)),
                Some(Seen::Absent) => {}
                // What was resolved earlier stays, but for addresses inside the cluster, which the label sources answer
                // for (S26).
                Some(Seen::Unknown(_)) | None => {
                    kept.extend(prior.iter().filter(|p| !p.ends_with(CLUSTER_ADDRESS)).cloned());
                }
            }
        }
        if let Some(label) = &source.label {
            match &observed.peers {
                Seen::Present(nodes) => today.extend(by_label(node, label, nodes, prior)),
                // Nothing is known of other nodes: what was resolved earlier stays.
                Seen::Absent | Seen::Unknown(_) => kept.extend(prior.iter().cloned()),
            }
        }
    }
    // One node by two sources is one peer: the first address of an id counts (S25), one of today before one that was kept.
    let mut ids = BTreeSet::new();
    today
        .into_iter()
        .chain(kept)
        .filter(|entry| entry.split_once('@').is_none_or(|(id, _)| ids.insert(id.to_owned())))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// How an address inside the cluster ends.
const CLUSTER_ADDRESS: &str = ".svc.cluster.local:26656";

fn by_label(node: &SeiNode, source: &LabelPeers, nodes: &[PeerNode], prior: &[String]) -> Vec<String> {
    nodes
        .iter()
        .filter(|p| source_selects(source, node.namespace(), &p.namespace, &p.labels))
        .filter(|p| (p.namespace.as_str(), p.name.as_str()) != (node.namespace(), node.name()))
        .filter(|p| !p.deleting && p.chain_id == node.spec.chain_id)
        .filter_map(|p| {
            let address = p.external_address.clone().filter(|a| !a.is_empty()).unwrap_or_else(|| {
                format!("{name}-0.{name}.{ns}{CLUSTER_ADDRESS}", name = p.name, ns = p.namespace)
            });
            match &p.node_id {
                Seen::Present(id) => Some(format!("{id}@{address}")),
                Seen::Absent | Seen::Unknown(_) => {
                    prior.iter().find(|e| e.split_once('@').is_some_and(|(_, a)| a == address)).cloned()
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::world::Blind;

    fn peer(name: &str, chain: &str, id: Seen<String>) -> PeerNode {
        PeerNode {
            namespace: "ns".into(),
            name: name.into(),
            chain_id: chain.into(),
            labels: BTreeMap::from([("app".into(), "x".into())]),
            external_address: None,
            deleting: false,
            node_id: id,
        }
    }

    fn node(peers: &serde_json::Value) -> SeiNode {
        serde_json::from_value(json!({
            "metadata": {"name": "me", "namespace": "ns"}, "spec": {"chainId": "c", "image": "i", "peers": peers}
        }))
        .expect("a node")
    }

    #[test]
    fn sources_are_united_sorted_and_unique() {
        let node = node(
            &json!([{"static": {"addresses": ["z@h:1", "a@h:1", "z@h:1"]}}, {"label": {"selector": {"app": "x"}}}]),
        );
        let nodes = Seen::Present(vec![
            peer("me", "c", Seen::Present("self".into())),
            peer("b", "c", Seen::Present("bb".into())),
            peer("other-chain", "d", Seen::Present("dd".into())),
            peer("dark", "c", Seen::Unknown(Blind::NotAsked)),
            peer("known", "c", Seen::Unknown(Blind::NotAsked)),
        ]);
        let prior = ["kk@known-0.known.ns.svc.cluster.local:26656".to_owned()];
        assert_eq!(
            resolve(&node, &seeing(nodes), &prior),
            [
                "a@h:1",
                "bb@b-0.b.ns.svc.cluster.local:26656",
                "kk@known-0.known.ns.svc.cluster.local:26656",
                "z@h:1"
            ]
        );
    }

    #[test]
    fn s25_a_node_by_static_and_label_is_one_peer() {
        let node = node(
            &json!([{"static": {"addresses": ["bb@a.example.net:1"]}}, {"label": {"selector": {"app": "x"}}}]),
        );
        let nodes = Seen::Present(vec![peer("b", "c", Seen::Present("bb".into()))]);
        assert_eq!(resolve(&node, &seeing(nodes), &[]), ["bb@a.example.net:1"]);
    }

    #[test]
    fn s25_s26_an_address_of_today_comes_before_one_that_was_kept() {
        let prior = ["aa@1.2.3.4:1", "bb@1.2.3.4:2"].map(str::to_owned);
        let node = node(&json!([
            {"ec2Tags": {"region": "r", "tags": {"a": "b"}}}, {"static": {"addresses": ["aa@5.6.7.8:1"]}}
        ]));
        assert_eq!(resolve(&node, &Observed::default(), &prior), ["aa@5.6.7.8:1", "bb@1.2.3.4:2"]);
    }

    #[test]
    fn s26_cluster_addresses_do_not_stay_for_ever_when_ec2_is_silent() {
        let node = node(&json!([{"ec2Tags": {"region": "r", "tags": {"a": "b"}}}]));
        let prior = ["e@1.2.3.4:26656".to_owned(), "x@gone-0.gone.ns.svc.cluster.local:26656".to_owned()];
        assert_eq!(resolve(&node, &Observed::default(), &prior), ["e@1.2.3.4:26656"]);
        let failed = Seen::Unknown(Blind::Unreachable("throttled".into()));
        let silent = Observed { ec2: vec![failed], ..Observed::default() };
        assert_eq!(resolve(&node, &silent, &prior), ["e@1.2.3.4:26656"]);
        // What EC2 tells replaces what it told earlier.
        let id = "0123456789abcdef0123456789abcdef01234567";
        let fresh = Instance {
            tags: BTreeMap::from([("sei.io/node-id".into(), id.into())]),
            hosts: ["new.example.net".into(), String::new(), String::new(), String::new()],
        };
        let told =
            Observed { ec2: vec![Seen::Present(vec![fresh, Instance::default()])], ..Observed::default() };
        assert_eq!(resolve(&node, &told, &prior), [format!("{id}@new.example.net:26656")]);
        let told = Observed { ec2: vec![Seen::Present(Vec::new())], ..Observed::default() };
        assert_eq!(resolve(&node, &told, &prior), Vec::<String>::new(), "none is left");
    }

    fn seeing(nodes: Seen<Vec<PeerNode>>) -> Observed {
        Observed { peers: nodes, ..Observed::default() }
    }
}
