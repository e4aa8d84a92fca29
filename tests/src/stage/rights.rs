//! An account with the rights of `deploy/kustomize/base/operator.yaml`, which a test may take away one resource at a time.

use std::path::PathBuf;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};

use super::SOON;
use crate::live::{ControlPlane, LiveError, wait_until};

/// What the operator is granted on a cluster.
const ROLES: &str = include_str!("../../../deploy/kustomize/base/operator.yaml");

/// The rights of one account.
pub struct Rights {
    client: Client,
    user: String,
    kubeconfig: PathBuf,
}

impl Rights {
    /// Grants an account everything that the operator's role holds, and nothing else.
    pub(super) async fn grant(plane: &ControlPlane, user: &str) -> Result<Self, LiveError> {
        let client = plane.client_named("test");
        let this =
            Self { client: client.clone(), user: user.to_owned(), kubeconfig: plane.kubeconfig_as(user)? };
        let roles = Api::<ClusterRole>::all(client);
        for (group, resource, verbs) in granted() {
            let name = this.role(&resource);
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
                "rules": [{"apiGroups": [group], "resources": [resource], "verbs": verbs}],
            });
            let role: ClusterRole =
                serde_json::from_value(role).map_err(|_| LiveError::Manifest("a ClusterRole"))?;
            roles.create(&PostParams::default(), &role).await.map_err(LiveError::kube("create a role"))?;
            this.bind(&resource).await?;
        }
        this.effective("sei.io", "seinodes/status", "patch", true).await?;
        Ok(this)
    }

    /// The kubeconfig of the account.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    /// Takes away the right to `verb` (and all other verbs on) a resource, such as `seinodes/status`.
    pub async fn deny(&self, group: &str, resource: &str, verb: &str) -> Result<(), LiveError> {
        let bindings = Api::<ClusterRoleBinding>::all(self.client.clone());
        let gone = bindings.delete(&self.role(resource), &DeleteParams::default()).await;
        gone.map_err(LiveError::kube("take a right away"))?;
        self.effective(group, resource, verb, false).await
    }

    /// Gives it back.
    pub async fn allow(&self, group: &str, resource: &str, verb: &str) -> Result<(), LiveError> {
        self.bind(resource).await?;
        self.effective(group, resource, verb, true).await
    }

    async fn bind(&self, resource: &str) -> Result<(), LiveError> {
        let name = self.role(resource);
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.user}],
        });
        let binding: ClusterRoleBinding =
            serde_json::from_value(binding).map_err(|_| LiveError::Manifest("a ClusterRoleBinding"))?;
        let bindings = Api::<ClusterRoleBinding>::all(self.client.clone());
        let made = bindings.create(&PostParams::default(), &binding).await;
        made.map(|_| ()).map_err(LiveError::kube("grant a right"))
    }

    /// The server learns of rights by watches of its own.
    async fn effective(
        &self,
        group: &str,
        resource: &str,
        verb: &str,
        wanted: bool,
    ) -> Result<(), LiveError> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
            "spec": {"user": self.user, "resourceAttributes":
                {"group": group, "resource": resource, "subresource": subresource, "verb": verb, "namespace": "default"}},
        });
        let review: SubjectAccessReview =
            serde_json::from_value(review).map_err(|_| LiveError::Manifest("a SubjectAccessReview"))?;
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        wait_until("the server to know the rights", SOON, async || {
            let answer = reviews.create(&PostParams::default(), &review).await.map_err(|e| e.to_string())?;
            match answer.status.map(|s| s.allowed) {
                Some(allowed) if allowed == wanted => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    fn role(&self, resource: &str) -> String {
        format!("{}-{}", self.user, resource.replace('/', "-"))
    }
}

/// Each rule of the operator's ClusterRole, one resource at a time: group, resource, verbs.
fn granted() -> Vec<(String, String, Value)> {
    let documents = serde_yaml_ng::Deserializer::from_str(ROLES)
        .filter_map(|document| Value::deserialize(document).ok())
        .filter(|document| document["kind"] == "ClusterRole");
    let mut out = Vec::new();
    for role in documents {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let words = |key: &str| rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
            for group in words("apiGroups") {
                for resource in words("resources") {
                    out.push((group.to_owned(), resource.to_owned(), rule["verbs"].clone()));
                }
            }
        }
    }
    out
}
