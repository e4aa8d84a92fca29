//! The node software: its init container and its main container, in both pods.

use k8s_openapi::api::core::v1::{Container, EnvVar, Probe, VolumeMount};

use super::names::{self, DATA_DIR, HOME};
use super::rbac_proxy::{http_get, tcp_socket};
use super::{pod, resources, scripts, sidecar};
use crate::api::SeiNode;
use crate::api::mode::{Mode, node_key_secret, operator_keyring, sidecar_port, signing_key_secret};
use crate::platform::Platform;

/// Volume of the consensus key.
pub(crate) const SIGNING_KEY: &str = "signing-key";
/// File of the consensus key, in the Secret and in the config folder alike.
pub(super) const SIGNING_KEY_FILE: &str = "priv_validator_key.json";
/// Volume of the P2P key.
pub(crate) const NODE_KEY: &str = "node-key";
/// File of the P2P key, in the Secret and in the config folder alike.
pub(super) const NODE_KEY_FILE: &str = "node_key.json";

/// `seid-init` of the production pod.
pub(super) fn production_init(node: &SeiNode) -> Container {
    let script = scripts::seid_init(&node.spec.chain_id, sidecar::keyring_backend(node));
    Container {
        security_context: Some(pod::nonroot(false)),
        volume_mounts: Some(vec![pod::mount(pod::DATA, DATA_DIR), pod::mount(pod::HOME, HOME)]),
        ..init(&node.spec.image, &script)
    }
}

/// `seid-init` of the bootstrap pod: no keyring, so no word about one.
pub(super) fn bootstrap_init(node: &SeiNode, image: &str) -> Container {
    init(image, &scripts::seid_init(&node.spec.chain_id, None))
}

fn init(image: &str, script: &str) -> Container {
    Container {
        command: Some(pod::words(&["/bin/sh", "-c", script])),
        env: Some(vec![pod::env("HOME", HOME)]),
        image: Some(image.to_owned()),
        name: names::SEID_INIT.to_owned(),
        volume_mounts: Some(vec![pod::mount(pod::DATA, DATA_DIR)]),
        ..Container::default()
    }
}

/// `seid` of the production pod. It never has a liveness probe: a node that lags must not be killed for it.
pub(super) fn production(node: &SeiNode, platform: &Platform) -> Container {
    let script = scripts::seid(sidecar_port(&node.spec));
    let mut env = base_env();
    if pod::mode(node) == Mode::Seed {
        let memory = platform.seid_resources(Mode::Seed).memory;
        env.push(pod::env("GOMEMLIMIT", resources::go_memory_limit(memory)));
    }
    if sees_keyring(node) {
        env.extend(sidecar::keyring_env(node));
    }
    Container {
        env: Some(env),
        ports: Some(names::SEID_PORTS.iter().map(|(name, number)| pod::port(name, *number)).collect()),
        readiness_probe: Some(readiness(pod::mode(node))),
        security_context: Some(pod::nonroot(false)),
        startup_probe: Some(Probe {
            // Five days of restores and replays at one question in five seconds.
            failure_threshold: Some(86_400),
            http_get: Some(http_get("/v0/healthz", names::API_PORT)),
            initial_delay_seconds: Some(5),
            period_seconds: Some(5),
            ..Probe::default()
        }),
        volume_mounts: Some(mounts(node)),
        ..main(node, platform, &node.spec.image, script)
    }
}

/// `seid` of the bootstrap pod: it runs up to a height and ends.
pub(super) fn bootstrap(node: &SeiNode, platform: &Platform, image: &str, height: i64) -> Container {
    main(node, platform, image, scripts::bootstrap_seid(sidecar_port(&node.spec), height))
}

fn main(node: &SeiNode, platform: &Platform, image: &str, script: String) -> Container {
    Container {
        args: Some(vec![script]),
        command: Some(pod::words(&["/bin/bash", "-c"])),
        env: Some(base_env()),
        image: Some(image.to_owned()),
        name: names::SEID.to_owned(),
        resources: Some(resources::of_seid(platform.seid_resources(pod::mode(node)))),
        volume_mounts: Some(vec![pod::mount(pod::DATA, DATA_DIR)]),
        ..Container::default()
    }
}

/// Whether the spec lets seid see the operator keyring.
pub(super) fn sees_keyring(node: &SeiNode) -> bool {
    operator_keyring(&node.spec).is_some_and(|keyring| keyring.seid_mount == Some(true))
}

fn base_env() -> Vec<EnvVar> {
    // Temporary files go to the data volume, the one place with room.
    vec![pod::env("HOME", HOME), pod::env("TMPDIR", format!("{DATA_DIR}/tmp"))]
}

fn mounts(node: &SeiNode) -> Vec<VolumeMount> {
    let key = |volume: &str, file: &str| VolumeMount {
        sub_path: Some(file.to_owned()),
        ..pod::read_only_mount(volume, &format!("{DATA_DIR}/config/{file}"))
    };
    let mut mounts = vec![pod::mount(pod::DATA, DATA_DIR), pod::mount(pod::HOME, HOME)];
    mounts.extend(signing_key_secret(&node.spec).map(|_| key(SIGNING_KEY, SIGNING_KEY_FILE)));
    mounts.extend(node_key_secret(&node.spec).map(|_| key(NODE_KEY, NODE_KEY_FILE)));
    mounts.extend(sees_keyring(node).then(sidecar::keyring_mount));
    mounts
}

/// A seed serves peers only, so its P2P port tells whether it serves; of the others the RPC port tells how
/// far they lag.
fn readiness(mode: Mode) -> Probe {
    let probe = Probe {
        failure_threshold: Some(3),
        initial_delay_seconds: Some(30),
        period_seconds: Some(10),
        timeout_seconds: Some(5),
        ..Probe::default()
    };
    match mode {
        Mode::Seed => Probe { tcp_socket: Some(tcp_socket(names::P2P_PORT)), ..probe },
        Mode::FullNode | Mode::Archive | Mode::Replayer | Mode::Validator => {
            Probe { http_get: Some(http_get("/lag_status", names::RPC_PORT)), ..probe }
        }
    }
}
