//! Children of a node as the API server would hold them.

use std::collections::BTreeMap;

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{SeiNode, Stamp, mode};
use crate::platform::Platform;
use crate::render;
use crate::world::SecretData;

/// Parses an object out of its JSON.
pub fn parse<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("the JSON is written for this kind")
}

/// Gives an object uid, version and generation.
pub fn stored<T: Metadata<Ty = ObjectMeta>>(mut object: T, uid: &str, version: u64) -> T {
    let meta = object.metadata_mut();
    meta.uid = Some(uid.to_owned());
    meta.resource_version = Some(version.to_string());
    meta.generation = Some(1);
    object
}

/// Marks an object as being deleted.
pub fn deleting<T: Metadata<Ty = ObjectMeta>>(mut object: T, at: Timestamp) -> T {
    object.metadata_mut().deletion_timestamp = Some(parse(json!(Stamp::of(at))));
    object
}

/// Gives an object another controller: of the given kind, name and uid; none if `None`.
pub fn owned_by<T: Metadata<Ty = ObjectMeta>>(mut object: T, owner: Option<(&str, &str, &str, &str)>) -> T {
    let owners = owner.map(|(api_version, kind, name, uid)| {
        vec![parse(
            json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}),
        )]
    });
    object.metadata_mut().owner_references = owners;
    object
}

/// The StatefulSet as rendered, with a status that agrees; a bare one if the node can't be rendered.
pub fn statefulset(node: &SeiNode, platform: &Platform, replicas: i32) -> StatefulSet {
    let bare = || StatefulSet { metadata: owned_meta(node, node.name()), ..StatefulSet::default() };
    let mut out =
        stored(render::statefulset(node, platform, replicas).unwrap_or_else(|_| bare()), "uid-sts", 201);
    out.spec.get_or_insert_default().replicas = Some(replicas);
    let status = out.status.get_or_insert_default();
    status.observed_generation = Some(1);
    status.replicas = replicas;
    out
}

fn owned_meta(node: &SeiNode, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(node.namespace().to_owned()),
        owner_references: Some(vec![render::owner_reference(node)]),
        ..ObjectMeta::default()
    }
}

/// The bootstrap Job as rendered; none if the node can't be rendered or has none.
pub fn job(node: &SeiNode, platform: &Platform, suspended: bool) -> Option<Job> {
    render::bootstrap_job(node, platform, suspended).ok().map(|job| stored(job, "uid-job", 207))
}

/// A pod of the bootstrap Job.
pub fn job_pod(job: &Job, stage: PodStage) -> Pod {
    let template = job.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let spec = StatefulSetSpec { template, ..StatefulSetSpec::default() };
    let stand_in = StatefulSet { metadata: job.metadata.clone(), spec: Some(spec), ..StatefulSet::default() };
    let (name, uid) = (job.metadata.name.as_deref(), job.metadata.uid.as_deref());
    let owner = ("batch/v1", "Job", name.unwrap_or_default(), uid.unwrap_or_default());
    let mut pod = owned_by(pod(&stand_in, stage), Some(owner));
    pod.metadata.uid = Some("uid-job-pod".to_owned());
    pod
}

/// The headless Service as rendered.
pub fn service(node: &SeiNode) -> Service {
    stored(render::service(node), "uid-service", 202)
}

/// The ConfigMap as rendered.
pub fn config_map(node: &SeiNode) -> ConfigMap {
    stored(render::rbac_proxy_config(node), "uid-config", 203)
}

/// The data claim: Bound, of the size the node needs; ours if it was created, nobody's if it is imported.
pub fn claim(node: &SeiNode, platform: &Platform) -> PersistentVolumeClaim {
    let size = render::required_size(node, platform).map_or_else(|_| "1Gi".to_owned(), |q| q.to_api().0);
    let name = mode::data_claim_name(node.name(), &node.spec);
    let owners = mode::imported_claim_name(&node.spec).is_none().then(|| vec![render::owner_reference(node)]);
    stored(
        parse(json!({
            "metadata": {"name": name, "namespace": node.namespace(), "ownerReferences": owners},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "volumeName": "volume-1", "resources": {"requests": {"storage": size}},
            },
            "status": {"phase": "Bound", "capacity": {"storage": size}},
        })),
        "uid-claim",
        204,
    )
}

/// The volume behind the claim.
pub fn volume(node: &SeiNode, platform: &Platform) -> PersistentVolume {
    let size = render::required_size(node, platform).map_or_else(|_| "1Gi".to_owned(), |q| q.to_api().0);
    parse(json!({
        "metadata": {"name": "volume-1", "uid": "uid-volume", "resourceVersion": "205"},
        "spec": {"capacity": {"storage": size}}, "status": {"phase": "Bound"},
    }))
}

/// How far a pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodStage {
    /// Not scheduled.
    Pending,
    /// Its containers run; the sidecar was not told to let seid start.
    Sidecar,
    /// The sidecar lets seid start.
    Proxy,
    /// It serves.
    Ready,
}

/// The pod of a StatefulSet.
pub fn pod(sts: &StatefulSet, stage: PodStage) -> Pod {
    let template = sts.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let name = sts.metadata.name.as_deref().unwrap_or_default();
    let running = |container: &str, is_ready: bool| {
        json!({
            "name": container, "ready": is_ready, "image": "", "imageID": "", "restartCount": 0,
            "state": {"running": {}},
        })
    };
    let (sidecar, proxy, ready) = match stage {
        PodStage::Pending => (false, false, false),
        PodStage::Sidecar => (true, false, false),
        PodStage::Proxy => (true, true, false),
        PodStage::Ready => (true, true, true),
    };
    let inits = if sidecar {
        vec![running("sei-sidecar", true), running("kube-rbac-proxy", proxy)]
    } else {
        Vec::new()
    };
    let uid = sts.metadata.uid.as_deref().unwrap_or_default();
    let mut pod: Pod = parse(json!({
        "metadata": {
            "name": format!("{name}-0"), "namespace": sts.metadata.namespace, "uid": "uid-pod", "resourceVersion": "206",
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": uid, "controller": true,
            }],
        },
        "status": {
            "phase": if sidecar { "Running" } else { "Pending" },
            "initContainerStatuses": inits,
            "containerStatuses": if sidecar { vec![running("seid", ready)] } else { Vec::new() },
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    }));
    pod.spec = template.spec;
    pod
}

/// A Secret that is fit for every check of the node: signing key, node key, keyring and passphrase.
pub fn fit_secret(node: &SeiNode) -> SecretData {
    let keyring = mode::operator_keyring(&node.spec).cloned().unwrap_or_default();
    let key_name = keyring.key_name.filter(|k| !k.is_empty()).unwrap_or_else(|| "node_admin".to_owned());
    let key = json!({"type": "t", "value": "v"});
    let signing = json!({"address": "a", "pub_key": key, "priv_key": key});
    let data = BTreeMap::from([
        ("priv_validator_key.json".to_owned(), signing.to_string().into_bytes()),
        ("node_key.json".to_owned(), json!({"priv_key": key}).to_string().into_bytes()),
        ("abc.address".to_owned(), b"x".to_vec()),
        (keyring.passphrase_secret_ref.key, b"word".to_vec()),
        (format!("{key_name}.info"), b"x".to_vec()),
    ]);
    SecretData { deleting: false, data }
}

/// Names of the Secrets that the checks of a node ask for.
pub fn secret_names(node: &SeiNode) -> Vec<String> {
    let spec = &node.spec;
    let keyring = mode::operator_keyring(spec);
    let names = [
        mode::signing_key_secret(spec).map(str::to_owned),
        mode::node_key_secret(spec).map(str::to_owned),
        keyring.map(|k| k.secret_name.clone()),
        keyring.map(|k| k.passphrase_secret_ref.secret_name.clone()),
    ];
    names.into_iter().flatten().collect()
}
