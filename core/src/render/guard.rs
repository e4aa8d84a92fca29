//! Last look at a finished pod: whoever edits the files beside this one can't let the keyring out or have a
//! slow node killed without noticing.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{RenderError, names, seid, sidecar};
use crate::api::SeiNode;
use crate::api::mode::operator_keyring;

/// Checks the probes of seid and who sees the operator keyring.
pub(super) fn check(node: &SeiNode, pod: &PodSpec) -> Result<(), RenderError> {
    for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
        if container.name == names::SEID {
            check_probes(container)?;
        }
        let may_see =
            container.name == names::SIDECAR || (container.name == names::SEID && seid::sees_keyring(node));
        if !may_see && sees_keyring(node, container) {
            return Err(RenderError::KeyringExposed { container: container.name.clone() });
        }
    }
    Ok(())
}

fn check_probes(container: &Container) -> Result<(), RenderError> {
    let fault = if container.liveness_probe.is_some() {
        "has a liveness probe; a node that catches up would be killed"
    } else if container.startup_probe.is_none() {
        "has no startup probe; a node that waits for its sidecar would count as started"
    } else if container.readiness_probe.is_none() {
        "has no readiness probe; a node that catches up would get traffic"
    } else {
        return Ok(());
    };
    Err(RenderError::Probe { container: names::SEID, fault })
}

/// By its volume, or by the Secret of its passphrase.
fn sees_keyring(node: &SeiNode, container: &Container) -> bool {
    let Some(keyring) = operator_keyring(&node.spec) else { return false };
    let passphrase = &keyring.passphrase_secret_ref.secret_name;
    let by_mount = container.volume_mounts.iter().flatten().any(|mount| mount.name == sidecar::KEYRING);
    let by_variable = container.env.iter().flatten().any(|variable| {
        let source = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        source.is_some_and(|secret| secret.name == *passphrase)
    });
    let by_all_variables = container
        .env_from
        .iter()
        .flatten()
        .any(|from| from.secret_ref.as_ref().is_some_and(|secret| secret.name == *passphrase));
    by_mount || by_variable || by_all_variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Platform;
    use serde_json::json;

    fn node(seid_mount: bool) -> SeiNode {
        serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": {"validator": {"operatorKeyring": {"secret": {
            "secretName": "k", "passphraseSecretRef": {"secretName": "p", "key": "x"}, "seidMount": seid_mount,
        }}}}}))
        .expect("a node")
    }

    fn pod(node: &SeiNode) -> PodSpec {
        let set = super::super::statefulset(node, &Platform::builtin(), 1).expect("renders");
        set.spec.and_then(|spec| spec.template.spec).expect("a pod")
    }

    #[test]
    fn seid_sees_the_keyring_only_when_the_spec_says_so() {
        for seid_mount in [false, true] {
            let node = node(seid_mount);
            let seid = pod(&node).containers.remove(0);
            assert_eq!(sees_keyring(&node, &seid), seid_mount);
        }
    }

    #[test]
    fn a_keyring_in_the_wrong_place_is_refused() {
        let closed = node(false);
        let mut leaking = pod(&closed);
        leaking.containers = pod(&node(true)).containers;
        assert_eq!(
            check(&closed, &leaking),
            Err(RenderError::KeyringExposed { container: names::SEID.to_owned() })
        );
    }

    #[test]
    fn wrong_probes_are_refused() {
        type Edit = fn(&mut Container);
        let node = node(false);
        let edits: [Edit; 3] = [
            |c| c.liveness_probe = c.startup_probe.clone(),
            |c| c.startup_probe = None,
            |c| c.readiness_probe = None,
        ];
        for edit in edits {
            let mut pod = pod(&node);
            edit(&mut pod.containers[0]);
            assert!(matches!(check(&node, &pod), Err(RenderError::Probe { .. })));
        }
    }
}
