//! Workflows as the Go operator leaves them when it is stopped: it has given them a node, and nobody works on them.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use seinode_core::api::SeiNode;
use seinode_core::api::workflow::{FINALIZER, KIND, PLURAL};
use serde_json::{Value, json};

use super::Stage;
use crate::live::{LiveError, wait_until};

/// As much of the kind as the API server has to know: any fields, and a status of its own.
fn definition() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{PLURAL}.sei.io")},
        "spec": {
            "group": "sei.io",
            "scope": "Namespaced",
            "names": {"kind": KIND, "plural": PLURAL, "singular": "seinodetaskworkflow"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
            }],
        },
    })
}

impl Stage {
    /// The workflows of a namespace.
    pub fn workflows(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("sei.io", "v1alpha1", KIND);
        Api::namespaced_with(
            self.plane.client(),
            namespace,
            &ApiResource::from_gvk_with_plural(&kind, PLURAL),
        )
    }

    /// Makes a workflow that has been given the node and has no plan yet; installs the kind where it is missing.
    pub async fn occupy(&self, node: &SeiNode, name: &str) -> Result<(), LiveError> {
        self.plane.install_crd(&definition()).await?;
        let workflow = json!({
            "apiVersion": "sei.io/v1alpha1",
            "kind": KIND,
            "metadata": {"name": name, "finalizers": [FINALIZER]},
            "spec": {
                "kind": "StateSync",
                "target": {"nodeRef": {"name": node.name()}},
                "stateSync": {"rpcServers": ["a.example.net:26657", "b.example.net:26657"]},
            },
        });
        let workflow = serde_json::from_value(workflow).map_err(|_| LiveError::Manifest("a workflow"))?;
        let api = self.workflows(node.namespace());
        let made = api.create(&PostParams::default(), &workflow).await;
        let made = made.map_err(LiveError::kube("create a workflow"))?;
        let status = json!({"status": {"adoptedWorkflow": {
            "name": name, "uid": made.metadata.uid, "adoptedAt": "2026-01-02T03:04:05Z",
        }}});
        let nodes = self.nodes(node.namespace());
        let how = PatchParams::default();
        let patched = nodes.patch_status(node.name(), &how, &Patch::Merge(status)).await;
        patched.map_err(LiveError::kube("give the node to the workflow"))?;
        Ok(())
    }

    /// Waits until a workflow is as wanted.
    pub async fn until_workflow(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, LiveError> {
        let api = self.workflows(namespace);
        wait_until(what, super::SOON, async || {
            let read = api.get(name).await.map_err(|e| e.to_string())?;
            let read = serde_json::to_value(read).map_err(|e| e.to_string())?;
            if wanted(&read) { Ok(read) } else { Err(read["status"].to_string()) }
        })
        .await
    }
}
