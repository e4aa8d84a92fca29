//! The child objects of a node, one file per object.
//!
//! Answers: what each child must look like, exact to the field (`seinode.md` 19). Refuses to know: what is in
//! the cluster, whether now is the time to apply it, status. Laws: same node, same settings, same object;
//! every child carries the node as its controller; what can't be rendered is an error that names the missing
//! setting.

mod bootstrap_job;
mod bootstrap_service;
#[cfg(feature = "testkit")]
pub mod compare;
mod data_pvc;
mod exporter;
mod guard;
pub mod labels;
pub mod names;
mod pod;
mod rbac_proxy;
mod rbac_proxy_config;
mod resources;
pub mod scripts;
mod seid;
mod service;
mod sidecar;
mod statefulset;

pub(crate) use pod::DATA as DATA_VOLUME;
pub(crate) use seid::{NODE_KEY as NODE_KEY_VOLUME, SIGNING_KEY as SIGNING_KEY_VOLUME};
pub(crate) use sidecar::KEYRING as KEYRING_VOLUME;

pub use bootstrap_job::bootstrap_job;
pub use bootstrap_service::bootstrap_service;
pub use data_pvc::{data_pvc, required_size};
pub use rbac_proxy_config::rbac_proxy_config;
pub use service::service;
pub use statefulset::statefulset;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{self, SeiNode};
use crate::quantity::QuantityError;

/// Why an object can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A setting that the object needs is blank.
    #[error("platform setting {key} is blank; set it in the app-config file")]
    Setting {
        /// Dotted key in the app-config file.
        key: &'static str,
    },
    /// A size that no claim can have.
    #[error("platform setting {key} is not above zero; set it in the app-config file")]
    Size {
        /// Dotted key in the app-config file.
        key: &'static str,
    },
    /// The node has nothing to bootstrap from.
    #[error("no bootstrap: the snapshot needs a bootstrapImage and an s3 part with a positive targetHeight")]
    NoBootstrap,
    /// `spec.sidecar.resources` holds a value of the wrong shape.
    #[error("{path} is not {wanted}")]
    SidecarShape {
        /// Where, from `spec` on.
        path: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// `spec.sidecar.resources` holds a value that is no quantity.
    #[error("{path} is {value:?}, which is no quantity: {source}")]
    SidecarQuantity {
        /// Where, from `spec` on.
        path: String,
        /// The value as it stands.
        value: String,
        /// What is wrong with it.
        source: QuantityError,
    },
    /// A container that must not would see the operator keyring or its passphrase.
    #[error("container {container} would see the operator keyring")]
    KeyringExposed {
        /// Name of the container.
        container: String,
    },
    /// A probe that must be there is not, or one that must not be there is.
    #[error("container {container} {fault}")]
    Probe {
        /// Name of the container.
        container: &'static str,
        /// What is wrong with its probes.
        fault: &'static str,
    },
}

/// The setting, unless it is blank.
fn required<'a>((key, value): (&'static str, &'a str)) -> Result<&'a str, RenderError> {
    if value.trim().is_empty() { Err(RenderError::Setting { key }) } else { Ok(value) }
}

/// Name, namespace, labels and owner of a child.
fn metadata(node: &SeiNode, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        labels: Some(labels),
        name: Some(name),
        namespace: node.metadata.namespace.clone(),
        owner_references: Some(vec![owner_reference(node)]),
        ..ObjectMeta::default()
    }
}

/// The node as controller: its children go with it, and its deletion waits for theirs when asked to.
pub fn owner_reference(node: &SeiNode) -> OwnerReference {
    OwnerReference {
        api_version: api::API_VERSION.to_owned(),
        block_owner_deletion: Some(true),
        controller: Some(true),
        kind: api::KIND.to_owned(),
        name: node.name().to_owned(),
        uid: node.uid().to_owned(),
    }
}
