//! The exporter of chain metrics, next to every seid but a seed's.

use k8s_openapi::api::core::v1::{Container, Probe};

use super::rbac_proxy::tcp_socket;
use super::{RenderError, names, pod, required, resources, scripts};
use crate::platform::Platform;

/// The exporter's container.
pub(super) fn exporter(platform: &Platform) -> Result<Container, RenderError> {
    let image = required(("images.cosmosExporter", &platform.images.cosmos_exporter))?;
    Ok(Container {
        args: Some(vec![scripts::cosmos_exporter()]),
        command: Some(pod::words(&["/bin/bash", "-c"])),
        image: Some(image.to_owned()),
        liveness_probe: Some(Probe {
            failure_threshold: Some(3),
            initial_delay_seconds: Some(600),
            period_seconds: Some(10),
            tcp_socket: Some(tcp_socket(names::EXPORTER_PORT)),
            ..Probe::default()
        }),
        name: names::EXPORTER.to_owned(),
        ports: Some(vec![pod::port("cosmos-metrics", names::EXPORTER_PORT)]),
        readiness_probe: Some(Probe {
            failure_threshold: Some(6),
            period_seconds: Some(10),
            tcp_socket: Some(tcp_socket(names::EXPORTER_PORT)),
            ..Probe::default()
        }),
        resources: Some(resources::of_exporter()),
        security_context: Some(pod::nonroot(true)),
        volume_mounts: Some(vec![pod::mount(pod::TMP, "/tmp")]),
        ..Container::default()
    })
}
