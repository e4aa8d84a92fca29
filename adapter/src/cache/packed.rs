//! Objects as caches keep them.
//!
//! As types the children of a node take 110 KiB, most of it room for fields that are not set; as JSON a fraction of that. A
//! decision needs each child once and then lets go of it, so children are kept as JSON.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use seinode_core::api::SeiNode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::prune::Prune;

/// How objects of a kind are kept.
pub trait Kept<K>: Resource<DynamicType = ()> + Clone + Debug + 'static {
    /// The object; none if what is kept can't be read, so that it is read live.
    fn open(kept: &Arc<Self>) -> Option<Arc<K>>;

    /// Drops what nobody asks it for, where that was not done when it was read.
    fn tidy(&mut self) {}
}

/// Nodes are looked through by others, so they stay as they are.
impl Kept<SeiNode> for SeiNode {
    fn open(kept: &Arc<Self>) -> Option<Arc<SeiNode>> {
        Some(Arc::clone(kept))
    }

    fn tidy(&mut self) {
        self.prune();
    }
}

/// A pruned object as JSON, with what it is found by.
#[derive(Debug)]
pub struct Packed<K> {
    meta: ObjectMeta,
    json: Arc<[u8]>,
    kind: PhantomData<fn() -> K>,
}

// Not derived: that would ask for a `K` that can be cloned.
impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self { meta: self.meta.clone(), json: Arc::clone(&self.json), kind: PhantomData }
    }
}

impl<K: Resource<DynamicType = ()> + Serialize> Packed<K> {
    /// Packs an object as it is.
    pub(crate) fn of(object: &K) -> Result<Self, serde_json::Error> {
        let meta = object.meta();
        let meta = ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            labels: meta.labels.clone(),
            owner_references: meta.owner_references.clone(),
            deletion_timestamp: meta.deletion_timestamp.clone(),
            ..ObjectMeta::default()
        };
        Ok(Self { meta, json: serde_json::to_vec(object)?.into(), kind: PhantomData })
    }
}

impl<K> Kept<K> for Packed<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Debug + 'static,
{
    fn open(kept: &Arc<Self>) -> Option<Arc<K>> {
        serde_json::from_slice(&kept.json).ok().map(Arc::new)
    }
}

/// What a watch or a list shows is pruned and packed at once.
impl<'de, K> Deserialize<'de> for Packed<K>
where
    K: Prune + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::deserialize(deserializer)?;
        object.prune();
        Self::of(&object).map_err(de::Error::custom)
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Packed<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind(dt: &()) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &()) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &()) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &()) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_packed_is_found_by_its_metadata_and_comes_back_as_it_was() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"l": "x"},
                "annotations": {"note": "kept"}, "managedFields": [{"manager": "m", "fieldsV1": {"f:data": {}}}],
            },
            "data": {"k": "v"},
        });
        let packed: Packed<ConfigMap> = serde_json::from_value(object.clone()).expect("packed");
        assert_eq!(packed.meta().resource_version.as_deref(), Some("7"));
        assert_eq!(packed.meta().labels.as_ref().and_then(|l| l.get("l")).map(String::as_str), Some("x"));
        let opened = Kept::<ConfigMap>::open(&Arc::new(packed)).expect("opened");
        let mut wanted: ConfigMap = serde_json::from_value(object).expect("a ConfigMap");
        wanted.prune();
        assert_eq!(*opened, wanted);
    }
}
