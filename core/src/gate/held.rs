//! Spec edits that can't be carried out on a node that lives: chain, mode, data volume, key Secrets.
//!
//! Judged against the live StatefulSet (or bootstrap Job), so that removing and adding again is caught too (S4, S5). A held
//! node keeps running as it is: nothing is applied to it until the edit is taken back.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::mode;
use crate::api::{NodePhase, TaskStatus, TaskType};
use crate::draft::StatusDraft;
use crate::owner::{self, Owner};
use crate::plan::recipe::Inputs;
use crate::plan::supersede;
use crate::pod;
use crate::render::{self, labels};
use crate::world::World;

/// What of a pod template may never change under a node.
#[derive(Debug, Default, PartialEq)]
struct Identity {
    chain: Option<String>,
    role: Option<String>,
    claim: Option<String>,
    signing_key: Option<String>,
    node_key: Option<String>,
    keyring: Option<String>,
    passphrase: Option<String>,
}

/// Shows whether the node is held, and says why, if it is.
pub(crate) fn gate(world: World<'_>, draft: &mut StatusDraft<'_>) -> Option<String> {
    if let Some(text) = ceremony(world) {
        draft.condition(ConditionType::SpecHeld, ConditionStatus::True, "SpecChanged", &text);
        return Some(text);
    }
    let fields = changed(world);
    if fields.is_empty() {
        if let (Some(NodePhase::Running), Err(error)) =
            (&world.node.status.phase, mode::validate(&world.node.spec))
        {
            // It runs on as it is; only a restarted sidecar is marked ready (V3, S21).
            let text =
                crate::draft::cut(&format!("no edit is carried out until the spec is mended: {error}"));
            draft.condition(ConditionType::SpecHeld, ConditionStatus::True, "InvalidSpec", &text);
            return None;
        }
        let text = "the spec asks for nothing that a live node can't do";
        draft.condition(ConditionType::SpecHeld, ConditionStatus::False, "NotHeld", text);
        return None;
    }
    let text = format!(
        "{} can't change on a live node: take the edit back, or recreate the node and import its volume",
        fields.join(", ")
    );
    draft.condition(ConditionType::SpecHeld, ConditionStatus::True, "SpecChanged", &text);
    Some(text)
}

/// A ceremony whose genesis transaction may have been made keeps its values: the sidecar's markers keep the old ones, and a
/// second transaction of one validator spoils the genesis of the network.
fn ceremony(world: World<'_>) -> Option<String> {
    if matches!(world.node.status.phase, Some(NodePhase::Running | NodePhase::Terminating)) {
        return None;
    }
    let plan = world.node.status.plan.as_ref()?;
    let at = plan.tasks.iter().position(|t| t.task_type == TaskType::GenerateGentx)?;
    let before = plan.tasks.get(..at)?;
    // From the moment on that its turn has come.
    if before.iter().any(|t| t.status != TaskStatus::Complete) {
        return None;
    }
    let inputs = Inputs { node: world.node, peers: &[], witnesses: &[] };
    let kept = |kind: TaskType| {
        let (kind, wanted) = inputs.task(kind);
        plan.tasks.iter().filter(|t| t.task_type == kind).all(|t| supersede::same(t, &wanted))
    };
    let same = mode::has_genesis_ceremony(&world.node.spec)
        && kept(TaskType::GenerateIdentity)
        && kept(TaskType::GenerateGentx);
    (!same).then(|| {
        "spec.validator.genesisCeremony can't change once the genesis transaction may have been made: take the edit back, \
         or delete the node, so that its volume goes too, and create it anew"
            .to_owned()
    })
}

/// The fields of the spec that ask for another identity than the live node has.
fn changed(world: World<'_>) -> Vec<&'static str> {
    let observed = world.observed;
    let ours = |meta| owner::of(meta, world.node) == Owner::Ours;
    if let Some(live) = observed.statefulset.present().filter(|s| ours(&s.metadata)) {
        let Ok(rendered) = render::statefulset(world.node, &world.settings.platform, 1) else {
            return Vec::new();
        };
        let template =
            |s: &k8s_openapi::api::apps::v1::StatefulSet| s.spec.as_ref().map(|s| identity(&s.template));
        let (Some(live), Some(wanted)) = (template(live), template(&rendered)) else { return Vec::new() };
        return differing(&live, &wanted);
    }
    if let Some(live) = observed.job.present().filter(|j| ours(&j.metadata)) {
        let live = live.spec.as_ref().map(|s| identity(&s.template)).unwrap_or_default();
        let mut wanted = Identity { chain: Some(world.node.spec.chain_id.clone()), ..Identity::default() };
        // The Go operator's Job ignores an import (S11), so an import can't be judged by it.
        if mode::imported_claim_name(&world.node.spec).is_none() {
            wanted.claim = Some(mode::data_claim_name(world.node.name(), &world.node.spec));
        }
        let live = Identity {
            chain: live.chain,
            claim: wanted.claim.as_ref().and(live.claim),
            ..Identity::default()
        };
        return differing(&live, &wanted);
    }
    Vec::new()
}

fn differing(live: &Identity, wanted: &Identity) -> Vec<&'static str> {
    [
        ("spec.chainId", live.chain == wanted.chain),
        ("the mode in spec", live.role == wanted.role),
        ("spec.dataVolume.import", live.claim == wanted.claim),
        ("the Secret of the signing key", live.signing_key == wanted.signing_key),
        ("the Secret of the node key", live.node_key == wanted.node_key),
        ("the Secret of the operator keyring", live.keyring == wanted.keyring),
        ("the Secret of the keyring's passphrase", live.passphrase == wanted.passphrase),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

fn identity(template: &PodTemplateSpec) -> Identity {
    let Some(spec) = &template.spec else { return Identity::default() };
    Identity {
        chain: sidecar_env(spec, "SEI_CHAIN_ID").and_then(|e| e.value.clone()),
        role: template.metadata.as_ref().and_then(|m| m.labels.as_ref()?.get(labels::ROLE).cloned()),
        claim: volume(spec, render::DATA_VOLUME)
            .and_then(|v| Some(v.persistent_volume_claim.as_ref()?.claim_name.clone())),
        signing_key: secret(spec, render::SIGNING_KEY_VOLUME),
        node_key: secret(spec, render::NODE_KEY_VOLUME),
        keyring: secret(spec, render::KEYRING_VOLUME),
        passphrase: sidecar_env(spec, "SEI_KEYRING_PASSPHRASE")
            .and_then(|e| Some(e.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone())),
    }
}

fn sidecar_env<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a k8s_openapi::api::core::v1::EnvVar> {
    let sidecar = spec.init_containers.iter().flatten().find(|c| c.name == pod::SIDECAR)?;
    sidecar.env.iter().flatten().find(|e| e.name == name)
}

fn volume<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a k8s_openapi::api::core::v1::Volume> {
    spec.volumes.iter().flatten().find(|v| v.name == name)
}

fn secret(spec: &PodSpec, name: &str) -> Option<String> {
    volume(spec, name)?.secret.as_ref()?.secret_name.clone()
}
