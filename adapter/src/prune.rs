//! What is kept of what is read: the operator has every node of a cluster in its memory, so nothing that no decision asks for.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, PersistentVolumeClaim, Pod, PodSpec, PodTemplateSpec, Service,
};
use kube::ResourceExt;
use seinode_core::api::{SeiNode, SeiNodeStatus};
use serde::{Deserialize, Deserializer};

/// A kind that caches hold.
pub(crate) trait Prune: ResourceExt + Sized {
    /// Of a cached object: who wrote last and when is asked for; the fields themselves are the larger half of most objects.
    fn prune(&mut self) {
        without_fields(self);
    }
}

fn without_fields(object: &mut impl ResourceExt) {
    for entry in object.managed_fields_mut() {
        entry.fields_v1 = None;
    }
}

impl Prune for SeiNode {}
impl Prune for Service {}
impl Prune for ConfigMap {}
impl Prune for PersistentVolumeClaim {}

impl Prune for StatefulSet {
    fn prune(&mut self) {
        without_fields(self);
        of_template(self.spec.as_mut().map(|spec| &mut spec.template), fit);
    }
}

impl Prune for Job {
    fn prune(&mut self) {
        without_fields(self);
        of_template(self.spec.as_mut().map(|spec| &mut spec.template), fit);
    }
}

impl Prune for Pod {
    /// Which pod it is, what it mounts and runs, and how it is.
    fn prune(&mut self) {
        self.metadata.managed_fields = None;
        if let Some(spec) = &mut self.spec {
            bare(spec);
        }
    }
}

/// A kind that is listed to learn who mounts and wants what (`Neighbourhood` in core), and of pods also how they are.
pub(crate) trait Reduce {
    /// Keeps what a neighbour is asked for.
    fn reduce(&mut self);
}

/// A listed object, reduced as soon as it is read: whole objects are there one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Reduced<K>(pub(crate) K);

impl<'de, K: Reduce + Deserialize<'de>> Deserialize<'de> for Reduced<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::deserialize(deserializer)?;
        object.reduce();
        Ok(Self(object))
    }
}

impl Reduce for SeiNode {
    fn reduce(&mut self) {
        self.metadata.managed_fields = None;
        let conditions = std::mem::take(&mut self.status.conditions);
        self.status = SeiNodeStatus { conditions, ..SeiNodeStatus::default() };
    }
}

impl Reduce for StatefulSet {
    fn reduce(&mut self) {
        self.metadata.managed_fields = None;
        of_template(self.spec.as_mut().map(|spec| &mut spec.template), bare);
    }
}

impl Reduce for Job {
    fn reduce(&mut self) {
        self.metadata.managed_fields = None;
        of_template(self.spec.as_mut().map(|spec| &mut spec.template), bare);
    }
}

impl Reduce for Pod {
    fn reduce(&mut self) {
        self.prune();
    }
}

fn of_template(template: Option<&mut PodTemplateSpec>, change: fn(&mut PodSpec)) {
    if let Some(spec) = template.and_then(|template| template.spec.as_mut()) {
        change(spec);
    }
}

/// Of each container its name and its image; of the volumes those that can be of a node alone.
fn bare(spec: &mut PodSpec) {
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let (name, image) = (std::mem::take(&mut container.name), container.image.take());
        *container = Container { name, image, ..Container::default() };
    }
    if let Some(volumes) = &mut spec.volumes {
        volumes.retain(|volume| volume.persistent_volume_claim.is_some() || volume.secret.is_some());
    }
    fit(spec);
}

/// Lists take the room that they need: one that was read has room for up to twice as much.
fn fit(spec: &mut PodSpec) {
    fn tight<T>(list: &mut Option<Vec<T>>) {
        if let Some(list) = list {
            list.shrink_to_fit();
        }
    }
    tight(&mut spec.volumes);
    tight(&mut spec.init_containers);
    spec.containers.shrink_to_fit();
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        tight(&mut container.env);
        tight(&mut container.volume_mounts);
        tight(&mut container.ports);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set() -> StatefulSet {
        let mut volumes: Vec<Value> =
            (0..5).map(|n| json!({"name": format!("v{n}"), "emptyDir": {}})).collect();
        volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-a"}}));
        let container =
            json!({"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}], "args": ["x"]});
        serde_json::from_value(json!({
            "metadata": {"name": "a", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]},
            "spec": {
                "serviceName": "a", "selector": {},
                "template": {"spec": {"containers": [container], "volumes": volumes}},
            },
        }))
        .expect("a StatefulSet")
    }

    fn spec(set: &StatefulSet) -> &PodSpec {
        set.spec.as_ref().and_then(|s| s.template.spec.as_ref()).expect("a pod spec")
    }

    #[test]
    fn a_cached_statefulset_loses_nothing_but_who_owns_which_field_and_empty_room() {
        let (before, mut after) = (set(), set());
        after.prune();
        assert_eq!(spec(&after), spec(&before));
        let volumes = spec(&after).volumes.as_ref().expect("volumes");
        assert_eq!(volumes.capacity(), volumes.len());
        let entry = &after.metadata.managed_fields.as_ref().expect("who wrote")[0];
        assert_eq!((entry.manager.as_deref(), &entry.fields_v1), (Some("m"), &None));
    }

    #[test]
    fn of_a_listed_statefulset_is_kept_what_it_mounts() {
        let mut set = set();
        set.reduce();
        let kept = serde_json::to_value(spec(&set)).expect("JSON");
        let wanted = json!({
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-a"}}],
        });
        assert_eq!(kept, wanted);
        assert!(set.metadata.managed_fields.is_none());
    }
}
