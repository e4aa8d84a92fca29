//! The proxy in front of the sidecar: it asks the API server who may call.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{RenderError, names, pod, required};
use crate::api::SeiNode;
use crate::api::mode::sidecar_port;
use crate::platform::Platform;

/// The proxy of the production pod, with probes and with paths that need no permission.
pub(super) fn production(node: &SeiNode, platform: &Platform) -> Result<Container, RenderError> {
    let bare = bootstrap(node, platform)?;
    let mut args = bare.args.unwrap_or_default();
    args.insert(OPEN_PATHS_PLACE, "--ignore-paths=/v0/healthz,/v0/startupz,/v0/livez,/v0/metrics".to_owned());
    Ok(Container {
        args: Some(args),
        liveness_probe: Some(Probe {
            failure_threshold: Some(3),
            http_get: Some(http_get("/v0/livez", names::API_PORT)),
            initial_delay_seconds: Some(5),
            period_seconds: Some(10),
            ..Probe::default()
        }),
        readiness_probe: Some(Probe {
            failure_threshold: Some(6),
            http_get: Some(http_get("/v0/healthz", names::API_PORT)),
            initial_delay_seconds: Some(2),
            period_seconds: Some(5),
            ..Probe::default()
        }),
        security_context: Some(pod::nonroot(true)),
        startup_probe: Some(Probe {
            failure_threshold: Some(60),
            initial_delay_seconds: Some(5),
            period_seconds: Some(5),
            tcp_socket: Some(tcp_socket(names::API_PORT)),
            ..Probe::default()
        }),
        ..bare
    })
}

/// The proxy of the bootstrap pod.
pub(super) fn bootstrap(node: &SeiNode, platform: &Platform) -> Result<Container, RenderError> {
    let image = required(("images.kubeRBACProxy", &platform.images.kube_rbac_proxy))?;
    Ok(Container {
        args: Some(vec![
            format!("--insecure-listen-address=0.0.0.0:{}", names::API_PORT),
            format!("--upstream=http://127.0.0.1:{}/", sidecar_port(&node.spec)),
            format!("--config-file={CONFIG_DIR}/config.yaml"),
            "--auth-header-fields-enabled=true".to_owned(),
            "--v=0".to_owned(),
        ]),
        image: Some(image.to_owned()),
        name: names::RBAC_PROXY.to_owned(),
        ports: Some(vec![pod::port("api", names::API_PORT)]),
        restart_policy: Some("Always".to_owned()),
        volume_mounts: Some(vec![pod::read_only_mount(pod::PROXY_CONFIG, CONFIG_DIR)]),
        ..Container::default()
    })
}

/// A question over HTTP.
pub(super) fn http_get(path: &str, port: i32) -> HTTPGetAction {
    HTTPGetAction { path: Some(path.to_owned()), port: IntOrString::Int(port), ..HTTPGetAction::default() }
}

/// A connection attempt.
pub(super) fn tcp_socket(port: i32) -> TCPSocketAction {
    TCPSocketAction { port: IntOrString::Int(port), ..TCPSocketAction::default() }
}

/// Folder of the proxy's configuration.
const CONFIG_DIR: &str = "/etc/kube-rbac-proxy";
/// The open paths stand between the configuration and the header flag; the order is part of the template.
const OPEN_PATHS_PLACE: usize = 3;
