//! What the production pod and the bootstrap pod share: where they run, and small pieces of containers.

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, ContainerPort, EnvVar, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, PersistentVolumeClaimVolumeSource, PodAffinityTerm,
    PodAntiAffinity, SeccompProfile, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{RenderError, labels, names, required};
use crate::api::SeiNode;
use crate::api::mode::{Mode, data_claim_name};
use crate::platform::Platform;

/// Volume of the data claim.
pub(crate) const DATA: &str = "data";
/// Volume of the user's home.
pub(super) const HOME: &str = "home";
/// Volume for `/tmp` of containers whose root is read-only.
pub(super) const TMP: &str = "sidecar-tmp";
/// Volume of the proxy's configuration.
pub(super) const PROXY_CONFIG: &str = "rbac-proxy-config";
/// User, group and owner of files in all containers: the `nonroot` user of the images.
pub(super) const NONROOT: i64 = 65532;
/// Keeps the machine's autoscaler from moving the pod.
pub(super) const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";

/// Mode of a node; a node that slipped past the schema without one is taken for a full node, as its label
/// says.
pub(super) fn mode(node: &SeiNode) -> Mode {
    Mode::of(&node.spec).unwrap_or(Mode::FullNode)
}

/// Who the neighbours may be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Neighbours {
    /// Anyone but a dedicated node.
    Any,
    /// No pod of any Sei node.
    None,
}

/// Tolerations and affinity: the mode's node pool, away from dedicated nodes and, if wanted, from all others.
pub(super) fn placement(
    node: &SeiNode,
    platform: &Platform,
    neighbours: Neighbours,
) -> Result<(Vec<Toleration>, Affinity), RenderError> {
    let pool = required(platform.node_pool(mode(node)))?.to_owned();
    let toleration = Toleration {
        effect: Some("NoSchedule".to_owned()),
        key: Some(platform.scheduling.toleration_key.clone()),
        value: Some(pool.clone()),
        ..Toleration::default()
    };
    let in_pool = NodeSelectorRequirement {
        key: "karpenter.sh/nodepool".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![pool]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![in_pool]), ..NodeSelectorTerm::default() };
    let mut avoided = vec![away_from(labels::DEDICATED_NODE, "In", Some("true"))];
    if neighbours == Neighbours::None {
        avoided.push(away_from(labels::NODE, "Exists", None));
    }
    let affinity = Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![term],
            }),
            ..NodeAffinity::default()
        }),
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(avoided),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    };
    Ok((vec![toleration], affinity))
}

/// No pod with this label on the same host, whatever its namespace.
fn away_from(key: &str, operator: &str, value: Option<&str>) -> PodAffinityTerm {
    let expression = LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: value.map(|value| vec![value.to_owned()]),
    };
    PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_expressions: Some(vec![expression]),
            ..LabelSelector::default()
        }),
        // Empty, not absent: all namespaces.
        namespace_selector: Some(LabelSelector::default()),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    }
}

/// The data claim, imported or the node's own. Deliberate difference (S11): the bootstrap pod mounts an
/// imported claim too.
pub(super) fn data_volume(node: &SeiNode) -> Volume {
    Volume {
        name: DATA.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: data_claim_name(node.name(), &node.spec),
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The proxy's configuration.
pub(super) fn proxy_config_volume(node: &SeiNode) -> Volume {
    Volume {
        config_map: Some(ConfigMapVolumeSource {
            name: names::rbac_proxy_config(node.name()),
            ..ConfigMapVolumeSource::default()
        }),
        name: PROXY_CONFIG.to_owned(),
        ..Volume::default()
    }
}

/// A volume mounted for writing.
pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { mount_path: path.to_owned(), name: volume.to_owned(), ..VolumeMount::default() }
}

/// A volume mounted for reading.
pub(super) fn read_only_mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(volume, path) }
}

/// A variable with its value.
pub(super) fn env(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), ..EnvVar::default() }
}

/// A named TCP port.
pub(super) fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        container_port: number,
        name: Some(name.to_owned()),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Words of a command line.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The user of the images, without privileges; what writes beside its volumes can't have a read-only root.
pub(super) fn nonroot(read_only_root: bool) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(words(&["ALL"])), ..Capabilities::default() }),
        read_only_root_filesystem: read_only_root.then_some(true),
        run_as_group: Some(NONROOT),
        run_as_non_root: Some(true),
        run_as_user: Some(NONROOT),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}
