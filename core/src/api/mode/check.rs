//! Whether a spec that the schema let pass makes sense: the table of `seinode.md` 4, in its order.
//!
//! Answers: the first thing wrong, where, and what to do. Refuses to know: the cluster.

use std::fmt;

use super::super::node::{KeyringSecret, SeiNodeSpec, SnapshotGeneration, Validator};
use super::{Mode, operator_keyring, s3_height};

/// The first thing wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    /// The mode that was checked; `None` if no mode is set.
    pub mode: Option<Mode>,
    /// The field to change, from `spec` on.
    pub field: String,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = self.mode {
            write!(f, "{}: ", mode.field())?;
        }
        write!(f, "{} {}; {}", self.field, self.problem, self.remedy)
    }
}

/// The mode of a spec that makes sense, or the first reason why it does not.
pub fn validate(spec: &SeiNodeSpec) -> Result<Mode, SpecError> {
    let mode = Mode::of(spec).ok_or_else(|| SpecError {
        mode: None,
        field: "spec".to_owned(),
        problem: "has no mode",
        remedy: "set one of fullNode, archive, replayer, validator, seed",
    })?;
    match mode {
        Mode::FullNode => full_node(spec),
        Mode::Archive => generation(Mode::Archive, super::snapshot_generation(spec)),
        Mode::Replayer => replayer(spec),
        Mode::Validator => spec.validator.as_ref().map_or(Ok(()), |validator| of_validator(validator, spec)),
        Mode::Seed => seed(spec),
    }?;
    Ok(mode)
}

fn refuse(mode: Mode, field: &str, problem: &'static str, remedy: &'static str) -> Result<(), SpecError> {
    Err(SpecError { mode: Some(mode), field: format!("spec.{}.{field}", mode.field()), problem, remedy })
}

fn full_node(spec: &SeiNodeSpec) -> Result<(), SpecError> {
    bootstrap(Mode::FullNode, spec)?;
    generation(Mode::FullNode, super::snapshot_generation(spec))
}

fn bootstrap(mode: Mode, spec: &SeiNodeSpec) -> Result<(), SpecError> {
    if super::bootstrap_image(spec).is_some() && super::target_height(spec).is_none() {
        return refuse(
            mode,
            "snapshot.bootstrapImage",
            "needs an S3 snapshot with a positive target height",
            "set snapshot.s3.targetHeight above 0, or omit bootstrapImage",
        );
    }
    Ok(())
}

fn generation(mode: Mode, generation: Option<&SnapshotGeneration>) -> Result<(), SpecError> {
    let Some(generation) = generation else { return Ok(()) };
    let Some(tendermint) = &generation.tendermint else {
        return refuse(
            mode,
            "snapshotGeneration",
            "is empty",
            "set snapshotGeneration.tendermint, or omit snapshotGeneration to make no snapshots",
        );
    };
    if tendermint.publish.is_some() && tendermint.keep_recent < PUBLISHABLE {
        return refuse(
            mode,
            "snapshotGeneration.tendermint.keepRecent",
            "must be at least 2 with publish, because the uploader takes the second-newest snapshot",
            "raise keepRecent to 2 or more, or omit publish",
        );
    }
    Ok(())
}

/// The newest snapshot may still be in the making, so the uploader needs one more.
const PUBLISHABLE: i64 = 2;

fn replayer(spec: &SeiNodeSpec) -> Result<(), SpecError> {
    let Some(replayer) = &spec.replayer else { return Ok(()) };
    if replayer.snapshot.s3.is_none() {
        return refuse(
            Mode::Replayer,
            "snapshot.s3",
            "is missing: a replayer starts from an S3 snapshot only",
            "set snapshot.s3.targetHeight and omit snapshot.stateSync",
        );
    }
    if s3_height(&replayer.snapshot).is_none() {
        return refuse(
            Mode::Replayer,
            "snapshot.s3.targetHeight",
            "must be above 0",
            "set it to the height to restore",
        );
    }
    if spec.peers.as_ref().is_none_or(Vec::is_empty) {
        return Err(SpecError {
            mode: Some(Mode::Replayer),
            field: "spec.peers".to_owned(),
            problem: "is empty, and a replayer fetches its blocks from peers",
            remedy: "add at least one peer source",
        });
    }
    if replayer.result_export.as_ref().is_some_and(|export| export.shadow_result.is_none()) {
        return refuse(
            Mode::Replayer,
            "resultExport",
            "is empty",
            "set resultExport.shadowResult, or omit resultExport to export nothing",
        );
    }
    Ok(())
}

fn of_validator(validator: &Validator, spec: &SeiNodeSpec) -> Result<(), SpecError> {
    keys(validator, spec)?;
    if let Some(keyring) = operator_keyring(spec) {
        keyring_apart(keyring, super::signing_key_secret(spec), super::node_key_secret(spec))?;
    }
    let Some(ceremony) = &validator.genesis_ceremony else { return bootstrap(Mode::Validator, spec) };
    if ceremony.chain_id.is_empty() {
        return refuse(
            Mode::Validator,
            "genesisCeremony.chainId",
            "must not be empty",
            "name the chain to found",
        );
    }
    if ceremony.staking_amount.is_empty() {
        return refuse(
            Mode::Validator,
            "genesisCeremony.stakingAmount",
            "must not be empty",
            "set the coins that the validator bonds",
        );
    }
    Ok(())
}

fn keys(validator: &Validator, spec: &SeiNodeSpec) -> Result<(), SpecError> {
    let node_key = super::node_key_secret(spec);
    if validator.signing_key.is_none() {
        if validator.node_key.is_some() {
            return refuse(
                Mode::Validator,
                "nodeKey",
                "needs a signing key beside it",
                "set signingKey too, or omit nodeKey",
            );
        }
        return Ok(());
    }
    if validator.genesis_ceremony.is_some() {
        return refuse(
            Mode::Validator,
            "signingKey",
            "can't be combined with genesisCeremony, which makes the key itself",
            "omit one of the two",
        );
    }
    let Some(signing_key) = super::signing_key_secret(spec) else {
        return refuse(
            Mode::Validator,
            "signingKey.secret.secretName",
            "must not be empty",
            "name the Secret of the signing key",
        );
    };
    let Some(node_key) = node_key else {
        return refuse(
            Mode::Validator,
            "nodeKey.secret.secretName",
            "must not be empty beside signingKey",
            "name the Secret of the node key",
        );
    };
    if signing_key == node_key {
        return refuse(
            Mode::Validator,
            "nodeKey.secret.secretName",
            "names the Secret of the signing key",
            "put the node key into a Secret of its own",
        );
    }
    Ok(())
}

/// The keyring and its passphrase must be apart from each other and from both keys; five pairs, in this
/// order.
fn keyring_apart(
    keyring: &KeyringSecret,
    signing_key: Option<&str>,
    node_key: Option<&str>,
) -> Result<(), SpecError> {
    let data = Some(keyring.secret_name.as_str());
    let passphrase = Some(keyring.passphrase_secret_ref.secret_name.as_str()).filter(|name| !name.is_empty());
    let pairs = [
        (data, passphrase, PASSPHRASE, "names the Secret of the keyring", APART),
        (data, signing_key, DATA, "names the Secret of the signing key", OWN),
        (passphrase, signing_key, PASSPHRASE, "names the Secret of the signing key", APART),
        (data, node_key, DATA, "names the Secret of the node key", OWN),
        (passphrase, node_key, PASSPHRASE, "names the Secret of the node key", APART),
    ];
    match pairs.into_iter().find(|(one, other, ..)| one.is_some() && one == other) {
        Some((_, _, field, problem, remedy)) => refuse(Mode::Validator, field, problem, remedy),
        None => Ok(()),
    }
}

const DATA: &str = "operatorKeyring.secret.secretName";
const PASSPHRASE: &str = "operatorKeyring.secret.passphraseSecretRef.secretName";
const OWN: &str = "put the keyring into a Secret of its own";
const APART: &str = "put the passphrase into a Secret of its own";

fn seed(spec: &SeiNodeSpec) -> Result<(), SpecError> {
    if super::node_key_secret(spec).is_none() {
        return refuse(
            Mode::Seed,
            "nodeKey.secret.secretName",
            "must not be empty, because the published node id must outlive the pod",
            "name the Secret of the node key",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
