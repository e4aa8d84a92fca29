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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn class_and_size_follow_the_mode_and_are_named_when_unfit() {
        for (mode, class, size, class_key, size_key) in [
            ("fullNode", "lab-fast", "100Gi", "storage.classPerf", "storage.sizeDefault"),
            ("replayer", "lab-fast", "100Gi", "storage.classPerf", "storage.sizeDefault"),
            ("validator", "lab-fast", "100Gi", "storage.classPerf", "storage.sizeDefault"),
            ("archive", "lab-bulk", "1Ti", "storage.classArchive", "storage.sizeArchive"),
            ("seed", "lab-standard", "5Gi", "storage.classDefault", "storage.sizeSeed"),
        ] {
            let node: SeiNode = serde_json::from_value(json!({"spec": {mode: {}}})).expect("a node");
            let mut platform = Platform::builtin();
            let claim = serde_json::to_value(data_pvc(&node, &platform).expect("renders")).expect("JSON");
            assert_eq!(claim["spec"]["storageClassName"], class);
            assert_eq!(claim["spec"]["resources"]["requests"]["storage"], size);
            let zero = Quantity::parse("0").expect("a quantity");
            let storage = &mut platform.storage;
            (storage.size_default, storage.size_archive, storage.size_seed) = (zero, zero, zero);
            assert_eq!(data_pvc(&node, &platform), Err(RenderError::Size { key: size_key }));
            let storage = &mut platform.storage;
            for class in [&mut storage.class_perf, &mut storage.class_archive, &mut storage.class_default] {
                class.clear();
            }
            assert_eq!(data_pvc(&node, &platform), Err(RenderError::Setting { key: class_key }));
        }
    }
}
