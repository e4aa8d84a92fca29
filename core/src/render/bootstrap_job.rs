//! The bootstrap Job: a one-shot pod that brings the data volume up to a height with an older image.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{RenderError, labels, metadata, names, pod, rbac_proxy, seid, sidecar};
use crate::api::SeiNode;
use crate::api::mode::{bootstrap_image, target_height};
use crate::platform::Platform;

/// The bootstrap Job of a node (`seinode.md` 19.5). A suspended Job runs no pod until somebody lifts the
/// suspension; of a running one the field is absent, as in the Job that was always meant to run.
pub fn bootstrap_job(node: &SeiNode, platform: &Platform, suspend: bool) -> Result<Job, RenderError> {
    Ok(Job {
        metadata: metadata(node, names::bootstrap_job(node.name()), labels::of_bootstrap(node)),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            suspend: suspend.then_some(true),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    annotations: Some(BTreeMap::from([(pod::DO_NOT_DISRUPT.to_owned(), "true".to_owned())])),
                    labels: Some(labels::of_bootstrap(node)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(node, platform)?),
            },
            ttl_seconds_after_finished: Some(3600),
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

/// The pod has no Secret of any kind, and nobody but dedicated nodes is avoided: it is gone soon.
fn pod_spec(node: &SeiNode, platform: &Platform) -> Result<PodSpec, RenderError> {
    let image = bootstrap_image(&node.spec).ok_or(RenderError::NoBootstrap)?;
    let height = target_height(&node.spec).ok_or(RenderError::NoBootstrap)?;
    let (tolerations, affinity) = pod::placement(node, platform, pod::Neighbours::Any)?;
    Ok(PodSpec {
        affinity: Some(affinity),
        containers: vec![seid::bootstrap(node, platform, image, height)],
        // With the Service of the node's name these two give the pod the DNS name of the final pod.
        hostname: Some(names::pod(node.name())),
        subdomain: Some(node.name().to_owned()),
        init_containers: Some(vec![
            seid::bootstrap_init(node, image),
            sidecar::bootstrap(node, platform)?,
            rbac_proxy::bootstrap(node, platform)?,
        ]),
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(platform.scheduling.service_account.clone()),
        share_process_namespace: Some(true),
        termination_grace_period_seconds: Some(120),
        tolerations: Some(tolerations),
        volumes: Some(vec![pod::data_volume(node), pod::proxy_config_volume(node)]),
        ..PodSpec::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn job(spec: &Value, suspend: bool) -> Result<Value, RenderError> {
        let node = serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).expect("a node");
        let job = bootstrap_job(&node, &Platform::builtin(), suspend)?;
        Ok(serde_json::to_value(job).expect("a Job is JSON"))
    }

    #[test]
    fn suspension_and_an_imported_claim() {
        let snapshot = json!({"s3": {"targetHeight": 5}, "bootstrapImage": "old"});
        let spec = json!({"fullNode": {"snapshot": snapshot}, "dataVolume": {"import": {"pvcName": "mine"}}});
        for suspend in [false, true] {
            let job = job(&spec, suspend).expect("renders");
            assert_eq!(job["spec"].get("suspend"), suspend.then_some(&json!(true)));
            // Deliberate difference (S11): the bootstrap pod works on the claim that the node will use.
            let claim = &job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
            assert_eq!(claim, "mine");
        }
    }

    /// Files of the bootstrap are given to the group of the node's own pod by the kubelet, when that pod first mounts the
    /// volume: it does so where the root of the volume is of another group, and no bootstrap pod changes that.
    #[test]
    fn s12_the_first_pod_that_sets_a_group_is_the_nodes_own() {
        let snapshot = json!({"s3": {"targetHeight": 5}, "bootstrapImage": "old"});
        let node = serde_json::from_value(json!({
            "metadata": {"name": "a"}, "spec": {"image": "new", "fullNode": {"snapshot": snapshot}},
        }));
        let node: SeiNode = node.expect("a node");
        let containers = |pod: &Value| -> Vec<Value> {
            let lists = ["initContainers", "containers"]
                .map(|list| pod[list].as_array().cloned().unwrap_or_default());
            lists.concat()
        };
        let mounts_data = |container: &Value| {
            container["volumeMounts"].as_array().is_some_and(|m| m.iter().any(|m| m["name"] == pod::DATA))
        };
        let job = bootstrap_job(&node, &Platform::builtin(), false).expect("renders");
        let job = serde_json::to_value(job).expect("a Job is JSON");
        let bootstrap = &job["spec"]["template"]["spec"];
        assert_eq!(bootstrap.get("securityContext"), None);
        assert!(containers(bootstrap).iter().all(|c| c.get("securityContext").is_none()));

        let sts = crate::render::statefulset(&node, &Platform::builtin(), 1).expect("renders");
        let sts = serde_json::to_value(sts).expect("a StatefulSet is JSON");
        let own = &sts["spec"]["template"]["spec"];
        assert_eq!(
            own["securityContext"],
            json!({"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"})
        );
        let writers: Vec<Value> = containers(own).into_iter().filter(mounts_data).collect();
        let names: Vec<&str> = writers.iter().filter_map(|c| c["name"].as_str()).collect();
        assert_eq!(names, ["seid-init", "sei-sidecar", "seid"]);
        for writer in &writers {
            let context = &writer["securityContext"];
            assert_eq!(
                (&context["runAsUser"], &context["runAsGroup"]),
                (&json!(65532), &json!(65532)),
                "{writer}"
            );
        }
    }

    #[test]
    fn nothing_to_bootstrap_from() {
        for spec in [
            json!({"fullNode": {}}),
            json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 5}}}}),
            json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 0}, "bootstrapImage": "old"}}}),
            json!({"archive": {}}),
        ] {
            assert_eq!(job(&spec, true), Err(RenderError::NoBootstrap), "{spec}");
        }
    }
}
