//! A real API server takes what is rendered, in a namespace that enforces the strictest profile for pods.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use seinode_core::api::crd;
use seinode_tests::live::{ControlPlane, LiveError};
use serde_json::{Value, json};

use crate::{FULL_VALUES, SYSTEM, documents, helm_template, id, read, text};

/// Enough of a definition for the server to take objects of the kind.
fn stub(kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

async fn plane() -> Result<Arc<ControlPlane>, LiveError> {
    let plane = ControlPlane::shared().await?;
    plane.install_crd(&crd::custom_resource_definition()).await?;
    plane.install_crd(&stub("ServiceMonitor", "servicemonitors")).await?;
    plane.install_crd(&stub("PrometheusRule", "prometheusrules")).await?;
    restricted(&plane, SYSTEM).await?;
    Ok(plane)
}

/// A namespace that takes only pods of the profile `restricted`.
async fn restricted(plane: &ControlPlane, name: &str) -> Result<(), LiveError> {
    plane.prepare_namespace(name, &["seinode-operator"]).await?;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces = Api::<Namespace>::all(plane.client());
    namespaces.patch(name, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    Ok(())
}

async fn dry_run(plane: &ControlPlane, file: &Path) -> Result<Output, LiveError> {
    let file = file.to_str().unwrap();
    plane
        .kubectl(&["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename", file])
        .await
}

async fn takes_all(plane: &ControlPlane, yaml: &str) -> Result<(), LiveError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = dry_run(plane, &file).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.is_empty(), "the server has something to say: {said}");
    let answered = text(&output);
    assert_eq!(answered.lines().count(), documents(yaml).len(), "{answered}");
    Ok(())
}

#[tokio::test]
async fn the_server_takes_every_object() -> Result<(), LiveError> {
    let plane = plane().await?;
    takes_all(&plane, &read("deploy/kustomize/base/operator.yaml")).await?;
    takes_all(&plane, &read("deploy/kustomize/base/crd.yaml")).await?;
    takes_all(&plane, &read("deploy/kustomize/base/namespace.yaml")).await?;
    takes_all(&plane, &read("deploy/kustomize/monitoring/monitoring.yaml")).await?;
    plane.prepare_namespace("nodes", &[]).await?;
    takes_all(&plane, &read("deploy/kustomize/example/node-account.yaml")).await?;
    plane.prepare_namespace("chart-nodes", &[]).await?;
    plane.prepare_namespace("chart-more-nodes", &[]).await?;
    takes_all(&plane, &text(&helm_template(&[FULL_VALUES], &[]).await?)).await
}

/// The same check does refuse: a field that does not exist.
#[tokio::test]
async fn the_server_refuses_an_unknown_field() -> Result<(), LiveError> {
    let plane = plane().await?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("objects.yaml");
    let yaml =
        read("deploy/kustomize/base/operator.yaml").replace("terminationGracePeriodSeconds", "graceSeconds");
    std::fs::write(&file, yaml).unwrap();
    let output = dry_run(&plane, &file).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("graceSeconds"), "{said}");
    Ok(())
}

async fn try_pod(plane: &ControlPlane, spec: &Value) -> Result<Pod, kube::Error> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": spec});
    let how = PostParams { dry_run: true, ..PostParams::default() };
    Api::<Pod>::namespaced(plane.client(), SYSTEM).create(&how, &serde_json::from_value(pod).unwrap()).await
}

#[tokio::test]
async fn the_pods_pass_the_profile_restricted() -> Result<(), LiveError> {
    let plane = plane().await?;
    let full = text(&helm_template(&[FULL_VALUES, "tests/fixtures/chart/default-account.yaml"], &[]).await?);
    for yaml in [read("deploy/kustomize/base/operator.yaml"), full] {
        let deployment = documents(&yaml).into_iter().find(|o| id(o).0 == "Deployment").unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        try_pod(&plane, pod).await.unwrap();

        // Each line of the security context is needed: without it the server refuses.
        let cuts = [
            "/securityContext/runAsNonRoot",
            "/securityContext/seccompProfile",
            "/containers/0/securityContext/allowPrivilegeEscalation",
            "/containers/0/securityContext/capabilities",
        ];
        for cut in cuts {
            let mut less = pod.clone();
            let (parent, key) = cut.rsplit_once('/').unwrap();
            less.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
            let Err(kube::Error::Api(status)) = try_pod(&plane, &less).await else {
                panic!("taken without {cut}")
            };
            assert!(
                status.code == 403 && status.message.contains("PodSecurity"),
                "{cut}: {}",
                status.message
            );
        }
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], json!(true));
    }
    Ok(())
}
