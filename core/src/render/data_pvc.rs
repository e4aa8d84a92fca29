//! The claim of the data volume.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};

use super::{RenderError, labels, metadata, pod, required};
use crate::api::SeiNode;
use crate::platform::Platform;
use crate::quantity::Quantity;

/// The claim that the operator creates (`seinode.md` 19.3); a node that imports a claim has no use for it.
pub fn data_pvc(node: &SeiNode, platform: &Platform) -> Result<PersistentVolumeClaim, RenderError> {
    let class = required(platform.storage_class(pod::mode(node)))?;
    let size = required_size(node, platform)?.to_api();
    Ok(PersistentVolumeClaim {
        metadata: metadata(node, format!("data-{}", node.name()), labels::of_resources(node)),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: Some(class.to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}

/// Size of the claim; an imported claim must have at least as much.
pub fn required_size(node: &SeiNode, platform: &Platform) -> Result<Quantity, RenderError> {
    let (key, size) = platform.storage_size(pod::mode(node));
    if size.is_positive() { Ok(size) } else { Err(RenderError::Size { key }) }
}
