//! What of a namespace concerns the keys and the claim of one node.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Exclusive, named};
use crate::api::{SeiNode, mode};
use crate::owner;
use crate::pod;

/// What surrounds a node in its namespace, as far as its keys and its claim go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbourhood {
    /// Every other node that names something of it.
    pub nodes: Vec<SeiNode>,
    /// What mounts something of it: StatefulSets, Jobs and pods, those of the node itself included.
    pub mounts: Vec<Mount>,
}

/// An object that mounts keys or claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// Kind and name, for people.
    pub object: String,
    /// Uid of the SeiNode it belongs to, through its StatefulSet or Job where it is a pod; none if it belongs to nobody.
    pub node: Option<String>,
    /// Whether it belongs to a StatefulSet or Job (or is one), whose template is what a node keeps.
    pub template: bool,
    /// What it mounts.
    pub what: BTreeSet<Exclusive>,
    /// Whether a pod may run of it now.
    pub live: bool,
}

impl Neighbourhood {
    /// What concerns a node, out of all that is in its namespace. At stake is what it names, and what its own StatefulSet and
    /// Job mount; nothing else has a say in how it stands.
    pub fn of<'a>(
        node: &SeiNode,
        nodes: impl Iterator<Item = &'a SeiNode>,
        statefulsets: impl Iterator<Item = &'a StatefulSet> + Clone,
        jobs: impl Iterator<Item = &'a Job> + Clone,
        pods: impl Iterator<Item = &'a Pod>,
    ) -> Self {
        let templates = statefulsets.map(Template::of_statefulset).chain(jobs.map(Template::of_job));
        let own = templates.clone().filter(|t| node_uid(t.meta) == Some(node.uid()));
        let mut stake = named(node.name(), &node.spec);
        stake.extend(own.filter_map(|t| t.spec).flat_map(mounted));

        let what = |spec: Option<&PodSpec>| spec.filter(|s| mounts_any(s, &stake)).map(mounted);
        let of_templates = templates.clone().filter_map(|t| {
            let node = node_uid(t.meta).map(str::to_owned);
            Some(Mount {
                object: shown(t.kind, t.meta),
                node,
                template: true,
                what: what(t.spec)?,
                live: t.live,
            })
        });
        let of_pods = pods.filter(|pod| !pod::has_succeeded(pod)).filter_map(|pod| {
            let what = what(pod.spec.as_ref())?;
            let uid = owner::controller(&pod.metadata).map(|c| c.uid.as_str());
            let parent = templates.clone().find(|t| uid.is_some() && t.meta.uid.as_deref() == uid);
            let node = parent.and_then(|t| node_uid(t.meta)).map(str::to_owned);
            Some(Mount { object: shown("Pod", &pod.metadata), node, template: false, what, live: true })
        });
        let mounts = of_templates.chain(of_pods).collect();
        let others = nodes.filter(|n| n.uid() != node.uid() && names_any(n, &stake));
        Self { nodes: others.cloned().collect(), mounts }
    }
}

/// What pods are made from.
#[derive(Clone, Copy)]
struct Template<'a> {
    kind: &'static str,
    meta: &'a ObjectMeta,
    spec: Option<&'a PodSpec>,
    /// Whether a pod may be made now.
    live: bool,
}

impl<'a> Template<'a> {
    fn of_statefulset(set: &'a StatefulSet) -> Self {
        let spec = set.spec.as_ref();
        let live = spec.is_none_or(|s| s.replicas.unwrap_or(1) > 0);
        let template = spec.and_then(|s| s.template.spec.as_ref());
        Self { kind: "StatefulSet", meta: &set.metadata, spec: template, live }
    }

    fn of_job(job: &'a Job) -> Self {
        let spec = job.spec.as_ref();
        let live = spec.is_none_or(|s| s.suspend != Some(true));
        Self { kind: "Job", meta: &job.metadata, spec: spec.and_then(|s| s.template.spec.as_ref()), live }
    }
}

fn shown(kind: &str, meta: &ObjectMeta) -> String {
    format!("{kind} {}", meta.name.as_deref().unwrap_or_default())
}

/// Uid of the SeiNode that controls an object.
pub fn node_uid(meta: &ObjectMeta) -> Option<&str> {
    owner::controller(meta).filter(|c| c.kind == crate::api::KIND).map(|c| c.uid.as_str())
}

/// Whether a node names any of these.
pub fn names_any(node: &SeiNode, things: &BTreeSet<Exclusive>) -> bool {
    let keys = [mode::signing_key_secret(&node.spec), mode::node_key_secret(&node.spec)];
    let claim = mode::data_claim_name(node.name(), &node.spec);
    things.iter().any(|thing| match thing {
        Exclusive::Key(name) => keys.contains(&Some(name.as_str())),
        Exclusive::Claim(name) => *name == claim,
    })
}

/// What a pod spec mounts: claims, and Secrets of any name (which of them are keys is told by the nodes).
pub fn mounted(spec: &PodSpec) -> BTreeSet<Exclusive> {
    let volumes = spec.volumes.iter().flatten();
    volumes
        .filter_map(|volume| match mount(volume)? {
            (true, claim) => Some(Exclusive::Claim(claim.to_owned())),
            (false, secret) => Some(Exclusive::Key(secret.to_owned())),
        })
        .collect()
}

/// Whether a pod spec mounts any of these; asked of every object of a namespace, so it makes no copies.
fn mounts_any(spec: &PodSpec, things: &BTreeSet<Exclusive>) -> bool {
    spec.volumes.iter().flatten().filter_map(mount).any(|(is_claim, name)| {
        things.iter().any(|thing| match thing {
            Exclusive::Claim(claim) => is_claim && claim == name,
            Exclusive::Key(secret) => !is_claim && secret == name,
        })
    })
}

/// Whether a volume is of a claim, and the name of the claim or of the Secret.
fn mount(volume: &Volume) -> Option<(bool, &str)> {
    match (&volume.persistent_volume_claim, &volume.secret) {
        (Some(claim), _) => Some((true, &claim.claim_name)),
        (None, Some(secret)) => secret.secret_name.as_deref().map(|name| (false, name)),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rivals::{Standing, standing};

    fn node(name: &str, age: u8, key: &str) -> SeiNode {
        let named = |n: &str| json!({"secret": {"secretName": n}});
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "ns", "uid": format!("uid-{name}"),
                "creationTimestamp": format!("2026-01-0{age}T00:00:00Z"),
            },
            "spec": {"chainId": "c", "image": "i", "validator": {"signingKey": named(key), "nodeKey": named("p2p")}},
        }))
        .expect("a node")
    }

    fn volumes(claim: &str, secret: &str) -> serde_json::Value {
        json!({"containers": [], "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "key", "secret": {"secretName": secret}},
            {"name": "tmp", "emptyDir": {}},
        ]})
    }

    fn set(of: &str, claim: &str, secret: &str) -> StatefulSet {
        let owner = json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "name": of, "uid": format!("uid-{of}"), "controller": true});
        serde_json::from_value(json!({
            "metadata": {"name": of, "uid": format!("set-{of}"), "ownerReferences": [owner]},
            "spec": {
                "replicas": 1, "serviceName": of, "selector": {},
                "template": {"spec": volumes(claim, secret)},
            },
        }))
        .expect("a StatefulSet")
    }

    fn pod(name: &str, of: Option<&str>, phase: &str, claim: &str, secret: &str) -> Pod {
        let owner = of.map(|of| {
            json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": of, "uid": format!("set-{of}"), "controller": true}])
        });
        serde_json::from_value(json!({
            "metadata": {"name": name, "ownerReferences": owner}, "spec": volumes(claim, secret),
            "status": {"phase": phase},
        }))
        .expect("a pod")
    }

    fn around(node: &SeiNode, nodes: &[SeiNode], sets: &[StatefulSet], pods: &[Pod]) -> Neighbourhood {
        Neighbourhood::of(node, nodes.iter(), sets.iter(), [].iter(), pods.iter())
    }

    #[test]
    fn what_concerns_nobody_here_is_left_out() {
        let me = node("a", 1, "k");
        let mut stranger = node("c", 1, "other");
        stranger.spec.validator = None;
        let nodes = [me.clone(), stranger, node("b", 2, "k")];
        let sets = [set("a", "data-a", "k"), set("c", "data-c", "other")];
        let pods = [
            pod("a-0", Some("a"), "Running", "data-a", "k"),
            pod("c-0", Some("c"), "Running", "data-c", "other"),
            pod("old", None, "Succeeded", "data-a", "k"),
            pod("stray", None, "Failed", "data-a", "x"),
        ];
        let near = around(&me, &nodes, &sets, &pods);
        assert_eq!(near.nodes.iter().map(SeiNode::name).collect::<Vec<_>>(), ["b"]);
        let mounts: Vec<_> = near.mounts.iter().map(|m| (m.object.as_str(), m.node.as_deref())).collect();
        assert_eq!(
            mounts,
            [("StatefulSet a", Some("uid-a")), ("Pod a-0", Some("uid-a")), ("Pod stray", None)]
        );
    }

    #[test]
    fn s03_a_key_that_only_the_live_statefulset_mounts_is_at_stake_too() {
        let me = node("a", 1, "new");
        let other = node("b", 2, "k");
        let sets = [set("a", "data-a", "k"), set("b", "data-b", "k")];
        let near = around(&me, &[other], &sets, &[]);
        assert_eq!(near.nodes.len(), 1);
        assert!(matches!(standing(&me, &near), Standing::Shared(_)), "{:?}", standing(&me, &near));
    }

    #[test]
    fn s03_a_secret_that_nobody_names_as_a_key_may_be_mounted_by_many() {
        let me = node("a", 1, "mine");
        let sets = [set("a", "data-a", "keyring"), set("b", "data-b", "keyring")];
        assert_eq!(standing(&me, &around(&me, &[], &sets, &[])), Standing::Clear);
    }
}
