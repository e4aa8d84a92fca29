//! The Service of the bootstrap pod: it has the name of the final one, so the sidecar answers at the same
//! URL.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{labels, metadata, names, service};
use crate::api::SeiNode;

/// The Service of the bootstrap pod (`seinode.md` 19.6).
pub fn bootstrap_service(node: &SeiNode) -> Service {
    Service {
        metadata: metadata(node, node.name().to_owned(), labels::of_bootstrap(node)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            ports: Some(vec![service::port("api", names::API_PORT)]),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::of_bootstrap(node)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
