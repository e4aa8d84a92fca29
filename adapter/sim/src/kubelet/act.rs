//! The writes of the pretend node side.
//!
//! Answers: binding, volumes, status and removal, over the API.
//! Refuses to know: when to do them.
//! Upholds: every write to a pod names its uid; an object that is gone or changed is not an error.

use super::cache::Name;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Error, ResourceExt};
use serde_json::{Value, json};

/// Binds a pod to a host, as a scheduler does; a server without that subresource is patched instead.
pub(super) async fn bind(client: &Client, pod: &Name, uid: &str, host: &str) -> Result<(), Error> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": host},
    });
    let path = format!("/api/v1/namespaces/{}/pods/{}/binding", pod.namespace, pod.name);
    let request = http::Request::post(path).header(http::header::CONTENT_TYPE, "application/json");
    let request = request.body(body.to_string().into_bytes()).map_err(Error::HttpError)?;
    match client.request::<Value>(request).await {
        Err(Error::Api(status)) if [404, 405].contains(&status.code) => {
            let bound = Patch::Merge(json!({"metadata": {"uid": uid}, "spec": {"nodeName": host}}));
            let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
            unless_gone(pods.patch(&pod.name, &PatchParams::default(), &bound).await)
        }
        done => unless_gone(done),
    }
}

/// Writes a pod's status.
pub(super) async fn write_status(
    client: &Client,
    pod: &Name,
    uid: &str,
    status: &Value,
) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": status}));
    unless_gone(pods.patch_status(&pod.name, &PatchParams::default(), &patch).await)
}

/// Removes a pod whose containers have ended.
pub(super) async fn remove(client: &Client, pod: &Name, uid: &str) -> Result<(), Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let how = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    unless_gone(pods.delete(&pod.name, &how).await)
}

/// Makes the volume that a claim asks for, already promised to it.
pub(super) async fn provision(client: &Client, claim: &PersistentVolumeClaim) -> Result<(), Error> {
    let (uid, spec) = (claim.uid().unwrap_or_default(), claim.spec.clone().unwrap_or_default());
    let size =
        spec.resources.and_then(|resources| resources.requests).and_then(|mut all| all.remove("storage"));
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": format!("pvc-{uid}"),
            "annotations": {PROVISIONED_BY: PROVISIONER},
        },
        "spec": {
            "accessModes": spec.access_modes.unwrap_or_default(),
            "capacity": {"storage": size},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace().unwrap_or_default(),
                "name": claim.name_any(),
                "uid": uid,
            },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.storage_class_name.unwrap_or_default(),
            "volumeMode": "Filesystem",
            // A kind of volume that nobody attaches or deletes but its provisioner.
            "nfs": {"server": "pretend", "path": format!("/{uid}")},
        },
    });
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume = serde_json::from_value(volume).map_err(Error::SerdeError)?;
    unless_gone(volumes.create(&PostParams::default(), &volume).await)
}

/// Deletes a volume that this provisioner made, once its claim is gone.
pub(super) async fn reclaim(client: &Client, volume: &PersistentVolume) -> Result<(), Error> {
    let is_ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|by| by == PROVISIONER);
    let is_free = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released");
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    if !is_ours || !is_free || policy != Some("Delete") || volume.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    unless_gone(volumes.delete(&volume.name_any(), &DeleteParams::default()).await)
}

/// The first Secret or ConfigMap that a pod needs and that is not there.
pub(super) async fn missing(client: &Client, pod: &Pod) -> Result<Option<String>, Error> {
    let namespace = pod.namespace().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        if let Some(source) = volume.secret.as_ref().filter(|source| source.optional != Some(true))
            && let Some(name) = &source.secret_name
            && secrets.get_opt(name).await?.is_none()
        {
            return Ok(Some(format!("secret {name} not found")));
        }
        if let Some(source) = volume.config_map.as_ref().filter(|source| source.optional != Some(true))
            && maps.get_opt(&source.name).await?.is_none()
        {
            return Ok(Some(format!("configmap {} not found", source.name)));
        }
    }
    Ok(None)
}

/// Somebody else was faster: the object is gone, changed, or there already.
fn unless_gone<T>(done: Result<T, Error>) -> Result<(), Error> {
    match done {
        Err(Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        done => done.map(|_| ()),
    }
}

const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const PROVISIONER: &str = "pretend.sei.io/volumes";
