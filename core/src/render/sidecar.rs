//! The sidecar: it prepares config and data, and tells seid when to start.

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, SecretKeySelector, VolumeMount};

use super::names::{self, DATA_DIR, HOME};
use super::{RenderError, pod, resources};
use crate::api::SeiNode;
use crate::api::mode::{Mode, operator_keyring, sidecar_image, sidecar_port};
use crate::api::node::KeyringSecret;
use crate::platform::Platform;

/// Volume of the operator keyring.
pub(crate) const KEYRING: &str = "operator-keyring";

/// The sidecar of the production pod.
pub(super) fn production(node: &SeiNode, platform: &Platform) -> Result<Container, RenderError> {
    let bare = bootstrap(node, platform)?;
    let mut env = bare.env.unwrap_or_default();
    env.insert(HOME_PLACE, pod::env("HOME", HOME));
    env.extend(keyring_env(node));
    let mut mounts =
        vec![pod::mount(pod::HOME, HOME), pod::mount(pod::DATA, DATA_DIR), pod::mount(pod::TMP, "/tmp")];
    mounts.extend(operator_keyring(&node.spec).map(|_| keyring_mount()));
    Ok(Container {
        env: Some(env),
        ports: Some(vec![pod::port("sidecar", sidecar_port(&node.spec))]),
        security_context: Some(pod::nonroot(true)),
        volume_mounts: Some(mounts),
        ..bare
    })
}

/// The sidecar of the bootstrap pod: no keys, no home, the image's own user.
pub(super) fn bootstrap(node: &SeiNode, platform: &Platform) -> Result<Container, RenderError> {
    let image = sidecar_image(&node.spec, &platform.images.sidecar);
    Ok(Container {
        command: Some(pod::words(&["seictl", "serve"])),
        env: Some(vec![
            pod::env("SEI_CHAIN_ID", &node.spec.chain_id),
            pod::env("SEI_SIDECAR_PORT", sidecar_port(&node.spec).to_string()),
            pod::env("SEI_HOME", DATA_DIR),
            pod::env("SEI_GENESIS_BUCKET", &platform.genesis.bucket),
            pod::env("SEI_GENESIS_REGION", &platform.genesis.region),
            pod::env("SEI_SNAPSHOT_BUCKET", &platform.snapshot.bucket),
            pod::env("SEI_SNAPSHOT_REGION", &platform.snapshot.region),
            // The proxy authenticates; the sidecar listens on loopback and trusts its headers.
            pod::env("SEI_SIDECAR_AUTHN_MODE", "trusted-header"),
        ]),
        image: Some(super::required(("images.sidecar", image))?.to_owned()),
        name: names::SIDECAR.to_owned(),
        resources: resources::of_sidecar(&node.spec)?,
        restart_policy: Some("Always".to_owned()),
        volume_mounts: Some(vec![pod::mount(pod::DATA, DATA_DIR)]),
        ..Container::default()
    })
}

/// Backend of the keyring: `file` with a Secret, else `test`; only validators have one.
pub(super) fn keyring_backend(node: &SeiNode) -> Option<&'static str> {
    let is_validator = pod::mode(node) == Mode::Validator;
    is_validator.then(|| if operator_keyring(&node.spec).is_some() { "file" } else { "test" })
}

/// Variables that make a program use the operator keyring.
pub(super) fn keyring_env(node: &SeiNode) -> Vec<EnvVar> {
    let Some(backend) = keyring_backend(node) else { return Vec::new() };
    let mut env = vec![pod::env("SEI_KEYRING_BACKEND", backend), pod::env("SEI_KEYRING_DIR", DATA_DIR)];
    env.extend(operator_keyring(&node.spec).map(passphrase));
    env
}

fn passphrase(keyring: &KeyringSecret) -> EnvVar {
    let reference = &keyring.passphrase_secret_ref;
    EnvVar {
        name: "SEI_KEYRING_PASSPHRASE".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                key: reference.key.clone(),
                name: reference.secret_name.clone(),
                ..SecretKeySelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// Where the keyring is mounted: the folder that a keyring of kind `file` has in the data directory.
pub(super) fn keyring_mount() -> VolumeMount {
    pod::read_only_mount(KEYRING, &format!("{DATA_DIR}/keyring-file"))
}

/// `HOME` stands after `SEI_HOME`; the order is part of the template.
const HOME_PLACE: usize = 3;
