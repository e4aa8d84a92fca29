//! The lists and maps of the built-in kinds that are not merged the default way.
//!
//! Answers: nothing; it is the table that `shape` reads, in its notation. Upholds: the rows are those of
//! the schema that the real server publishes, for the parts of it that an operator's objects use.

use serde_json::{Value, json};

use crate::store::Kind;

/// Metadata, of objects and of pod templates.
pub(super) const METADATA: &[(&str, &str)] =
    &[("finalizers", "set"), ("ownerReferences", "by uid"), ("ownerReferences[]", "whole")];

/// The spec of a pod or of a pod template.
#[rustfmt::skip]
pub(super) const POD_SPEC: &[(&str, &str)] = &[
    ("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution", "whole"),
    ("containers", "by name"),
    ("containers[].env", "by name"),
    ("containers[].env[].valueFrom.configMapKeyRef", "whole"),
    ("containers[].env[].valueFrom.fieldRef", "whole"),
    ("containers[].env[].valueFrom.resourceFieldRef", "whole"),
    ("containers[].env[].valueFrom.secretKeyRef", "whole"),
    ("containers[].ports", "by containerPort protocol=TCP"),
    ("containers[].resources.claims", "by name"),
    ("containers[].volumeDevices", "by devicePath"),
    ("containers[].volumeMounts", "by mountPath"),
    ("ephemeralContainers", "by name"),
    ("hostAliases", "by ip"),
    ("imagePullSecrets", "by name"),
    ("imagePullSecrets[]", "whole"),
    ("initContainers", "by name"),
    ("initContainers[].env", "by name"),
    ("initContainers[].env[].valueFrom.configMapKeyRef", "whole"),
    ("initContainers[].env[].valueFrom.fieldRef", "whole"),
    ("initContainers[].env[].valueFrom.resourceFieldRef", "whole"),
    ("initContainers[].env[].valueFrom.secretKeyRef", "whole"),
    ("initContainers[].ports", "by containerPort protocol=TCP"),
    ("initContainers[].resources.claims", "by name"),
    ("initContainers[].volumeDevices", "by devicePath"),
    ("initContainers[].volumeMounts", "by mountPath"),
    ("nodeSelector", "whole"),
    ("resourceClaims", "by name"),
    ("schedulingGates", "by name"),
    ("topologySpreadConstraints", "by topologyKey whenUnsatisfiable"),
    ("topologySpreadConstraints[].labelSelector", "whole"),
    ("volumes", "by name"),
    ("volumes[].csi.nodePublishSecretRef", "whole"),
    ("volumes[].ephemeral.volumeClaimTemplate.spec.dataSource", "whole"),
    ("volumes[].ephemeral.volumeClaimTemplate.spec.selector", "whole"),
];

/// The rows of one kind, pod specs apart.
pub(super) fn of(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::ControllerRevision => &[("data", "whole")],
        Kind::CoreEvent => &[("involvedObject", "whole"), ("related", "whole")],
        Kind::Event => &[("regarding", "whole"), ("related", "whole")],
        Kind::Job => &[
            ("spec.selector", "whole"),
            ("status.conditions", "whole"),
            ("status.uncountedTerminatedPods.failed", "set"),
            ("status.uncountedTerminatedPods.succeeded", "set"),
        ],
        Kind::Namespace => &[("status.conditions", "by type")],
        Kind::Node => {
            &[("spec.podCIDRs", "set"), ("status.addresses", "by type"), ("status.conditions", "by type")]
        }
        Kind::PersistentVolume => {
            &[("spec.csi.nodePublishSecretRef", "whole"), ("spec.nodeAffinity.required", "whole")]
        }
        Kind::PersistentVolumeClaim => {
            &[("spec.dataSource", "whole"), ("spec.selector", "whole"), ("status.conditions", "by type")]
        }
        Kind::Pod => &[("status.conditions", "by type"), ("status.podIPs", "by ip")],
        Kind::Service => &[
            ("spec.ports", "by port protocol=TCP"),
            ("spec.selector", "whole"),
            ("status.conditions", "by type"),
        ],
        Kind::ServiceAccount => {
            &[("imagePullSecrets", "whole"), ("secrets", "by name"), ("secrets[]", "whole")]
        }
        Kind::StatefulSet => &[("spec.selector", "whole"), ("status.conditions", "by type")],
        Kind::ConfigMap
        | Kind::Lease
        | Kind::Secret
        | Kind::SeiNetwork
        | Kind::SeiNode
        | Kind::SeiNodeTask
        | Kind::SeiNodeTaskWorkflow => &[],
    }
}

/// What an object of a kind is before it has anything: the structures that the real server always writes,
/// which therefore nobody is recorded to have added.
pub(crate) fn blank(kind: Kind) -> Value {
    let pod_spec = json!({ "containers": null });
    match kind {
        Kind::Pod => json!({ "metadata": {}, "spec": pod_spec, "status": {} }),
        Kind::Job => {
            json!({ "metadata": {}, "spec": { "template": { "metadata": {}, "spec": pod_spec } } })
        }
        Kind::StatefulSet => json!({
            "metadata": {},
            "spec": { "template": { "metadata": {}, "spec": pod_spec }, "updateStrategy": {} },
        }),
        Kind::PersistentVolumeClaim => json!({ "metadata": {}, "spec": { "resources": {} } }),
        Kind::Service => json!({ "metadata": {}, "spec": {}, "status": { "loadBalancer": {} } }),
        Kind::Lease | Kind::Namespace | Kind::Node | Kind::PersistentVolume => {
            json!({ "metadata": {}, "spec": {} })
        }
        Kind::ConfigMap
        | Kind::ControllerRevision
        | Kind::CoreEvent
        | Kind::Event
        | Kind::Secret
        | Kind::ServiceAccount => json!({ "metadata": {} }),
        Kind::SeiNetwork | Kind::SeiNode | Kind::SeiNodeTask | Kind::SeiNodeTaskWorkflow => {
            json!({})
        }
    }
}

/// Where a kind keeps the spec of a pod.
pub(super) fn pod_spec_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Pod => Some("spec"),
        Kind::Job | Kind::StatefulSet => Some("spec.template.spec"),
        _ => None,
    }
}
