//! The StatefulSet: the node's one pod.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, KeyToPath, PodSecurityContext, PodSpec, PodTemplateSpec,
    SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{RenderError, exporter, guard, labels, metadata, pod, rbac_proxy, seid, sidecar};
use crate::api::SeiNode;
use crate::api::mode::{Mode, node_key_secret, operator_keyring, signing_key_secret};
use crate::platform::Platform;

/// The StatefulSet of a node (`seinode.md` 19.1). How many replicas is the caller's decision: nothing here
/// starts a pod on its own.
pub fn statefulset(node: &SeiNode, platform: &Platform, replicas: i32) -> Result<StatefulSet, RenderError> {
    let pod_spec = pod_spec(node, platform)?;
    guard::check(node, &pod_spec)?;
    Ok(StatefulSet {
        metadata: metadata(node, node.name().to_owned(), labels::of_resources(node)),
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some(labels::selector(node)),
                ..LabelSelector::default()
            },
            service_name: Some(node.name().to_owned()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    annotations: Some(BTreeMap::from([(pod::DO_NOT_DISRUPT.to_owned(), "true".to_owned())])),
                    labels: Some(labels::of_resources(node)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec),
            },
            // A new template reaches the pod only when a plan replaces it.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    })
}

fn pod_spec(node: &SeiNode, platform: &Platform) -> Result<PodSpec, RenderError> {
    let neighbours = if labels::is_dedicated(node) { pod::Neighbours::None } else { pod::Neighbours::Any };
    let (tolerations, affinity) = pod::placement(node, platform, neighbours)?;
    Ok(PodSpec {
        affinity: Some(affinity),
        automount_service_account_token: Some(true),
        containers: main_containers(node, platform)?,
        init_containers: Some(vec![
            seid::production_init(node),
            sidecar::production(node, platform)?,
            rbac_proxy::production(node, platform)?,
        ]),
        security_context: Some(PodSecurityContext {
            fs_group: Some(pod::NONROOT),
            // A volume of terabytes is not walked on each start.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(platform.scheduling.service_account.clone()),
        share_process_namespace: Some(true),
        tolerations: Some(tolerations),
        volumes: Some(volumes(node)),
        ..PodSpec::default()
    })
}

fn main_containers(node: &SeiNode, platform: &Platform) -> Result<Vec<Container>, RenderError> {
    let mut containers = vec![seid::production(node, platform)];
    if pod::mode(node) != Mode::Seed {
        containers.push(exporter::exporter(platform)?);
    }
    Ok(containers)
}

fn volumes(node: &SeiNode) -> Vec<Volume> {
    let mut volumes =
        vec![pod::data_volume(node), scratch(pod::TMP), scratch(pod::HOME), pod::proxy_config_volume(node)];
    let spec = &node.spec;
    volumes
        .extend(signing_key_secret(spec).map(|s| secret(seid::SIGNING_KEY, s, Some(seid::SIGNING_KEY_FILE))));
    volumes.extend(node_key_secret(spec).map(|s| secret(seid::NODE_KEY, s, Some(seid::NODE_KEY_FILE))));
    volumes.extend(operator_keyring(spec).map(|k| secret(sidecar::KEYRING, &k.secret_name, None)));
    volumes
}

fn scratch(name: &str) -> Volume {
    Volume { empty_dir: Some(EmptyDirVolumeSource::default()), name: name.to_owned(), ..Volume::default() }
}

/// A Secret for the owner's eyes only: one file of it, or all.
fn secret(volume: &str, secret_name: &str, file: Option<&str>) -> Volume {
    let item = |file: &str| KeyToPath { key: file.to_owned(), path: file.to_owned(), ..KeyToPath::default() };
    Volume {
        name: volume.to_owned(),
        secret: Some(SecretVolumeSource {
            default_mode: Some(0o400),
            items: file.map(|file| vec![item(file)]),
            secret_name: Some(secret_name.to_owned()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A blank setting, the modes that miss it, and the key that the error names.
    #[test]
    fn blank_settings_are_named() {
        type Blank = fn(&mut Platform);
        let rows: [(&str, &[Mode], Blank); 5] = [
            ("images.kubeRBACProxy", &Mode::ALL, |p| p.images.kube_rbac_proxy.clear()),
            ("images.sidecar", &Mode::ALL, |p| p.images.sidecar = " ".to_owned()),
            ("images.cosmosExporter", &Mode::ALL[..4], |p| p.images.cosmos_exporter.clear()),
            ("scheduling.nodepoolSeed", &[Mode::Seed], |p| p.scheduling.nodepool_seed.clear()),
            ("scheduling.nodepoolName", &[Mode::FullNode, Mode::Replayer], |p| {
                p.scheduling.nodepool_name.clear();
            }),
        ];
        for (key, modes, blank) in rows {
            let mut platform = Platform::builtin();
            blank(&mut platform);
            for mode in Mode::ALL {
                let node = serde_json::from_value(json!({"spec": {mode.field(): {}}})).expect("a node");
                let expected = modes.contains(&mode).then_some(RenderError::Setting { key });
                assert_eq!(statefulset(&node, &platform, 1).err(), expected, "{key} {mode:?}");
            }
        }
    }
}
