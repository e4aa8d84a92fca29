//! The headless Service: the name under which the pod is found, ready or not.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{labels, metadata, names};
use crate::api::SeiNode;

/// The Service of a node (`seinode.md` 19.2), the same for all modes.
pub fn service(node: &SeiNode) -> Service {
    let mut ports: Vec<_> = names::SEID_PORTS.iter().map(|(name, number)| port(name, *number)).collect();
    for port in &mut ports {
        // gRPC is HTTP/2 without TLS; gateways only know when told.
        port.app_protocol = (port.port == names::GRPC_PORT).then(|| "kubernetes.io/h2c".to_owned());
    }
    ports.push(port("api", names::API_PORT));
    Service {
        metadata: metadata(node, node.name().to_owned(), labels::of_resources(node)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            ports: Some(ports),
            publish_not_ready_addresses: Some(true),
            selector: Some(labels::selector(node)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A TCP port under its own number.
pub(super) fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(number)),
        ..ServicePort::default()
    }
}
