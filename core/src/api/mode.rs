//! Which of the five modes a node has, and what follows from the spec alone.
//!
//! Answers: the mode, its words in labels and config, and the derived predicates (`seinode.md` 4).
//! Refuses to know: status, the cluster, the platform's settings. Whether the spec makes sense is asked in
//! [`validate`].

mod check;

pub use check::{SpecError, validate};

use super::node::{
    GenesisCeremony, KeySource, KeyringSecret, SeiNodeSpec, Snapshot, SnapshotGeneration, TendermintSnapshots,
};

/// What a node is for. The schema demands precisely one; the order here is the order of selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Serves RPC, prunes old state.
    FullNode,
    /// Keeps every state.
    Archive,
    /// Runs old blocks again and exports the results.
    Replayer,
    /// Signs blocks.
    Validator,
    /// Hands out peer addresses.
    Seed,
}

/// Kind of machine, disk and config that a mode needs; the full node and the replayer share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StorageMode {
    /// Fast disk of the default size.
    Full,
    /// Large disk.
    Archive,
    /// As full, on machines of its own.
    Validator,
    /// Small disk.
    Seed,
}

impl StorageMode {
    /// The word in the config intent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Archive => "archive",
            Self::Validator => "validator",
            Self::Seed => "seed",
        }
    }
}

impl Mode {
    /// Every mode, in the order of selection.
    pub const ALL: [Self; 5] = [Self::FullNode, Self::Archive, Self::Replayer, Self::Validator, Self::Seed];

    /// The mode of a spec: the first one set; `None` if the schema was bypassed and none is.
    pub fn of(spec: &SeiNodeSpec) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.is_set(spec))
    }

    fn is_set(self, spec: &SeiNodeSpec) -> bool {
        match self {
            Self::FullNode => spec.full_node.is_some(),
            Self::Archive => spec.archive.is_some(),
            Self::Replayer => spec.replayer.is_some(),
            Self::Validator => spec.validator.is_some(),
            Self::Seed => spec.seed.is_some(),
        }
    }

    /// The field of `spec` that selects the mode; errors about a mode begin with this word.
    pub fn field(self) -> &'static str {
        match self {
            Self::FullNode => "fullNode",
            Self::Archive => "archive",
            Self::Replayer => "replayer",
            Self::Validator => "validator",
            Self::Seed => "seed",
        }
    }

    /// Value of the label `sei.io/role`, and key of the platform's resources.
    pub fn role(self) -> &'static str {
        match self {
            Self::FullNode => "node",
            Self::Archive => "archive",
            Self::Replayer => "replayer",
            Self::Validator => "validator",
            Self::Seed => "seed",
        }
    }

    /// What decides on disk and node pool.
    pub fn storage_mode(self) -> StorageMode {
        match self {
            Self::FullNode | Self::Replayer => StorageMode::Full,
            Self::Archive => StorageMode::Archive,
            Self::Validator => StorageMode::Validator,
            Self::Seed => StorageMode::Seed,
        }
    }

    /// Mode of the config intent (`seinode.md` 7.1): `full`, `archive`, `validator` or `seed`.
    pub fn config_mode(self) -> &'static str {
        self.storage_mode().as_str()
    }
}

/// Where the first state comes from; `None` means genesis (archives and seeds always start there).
pub fn snapshot_source(spec: &SeiNodeSpec) -> Option<&Snapshot> {
    match Mode::of(spec)? {
        Mode::FullNode => spec.full_node.as_ref()?.snapshot.as_ref(),
        Mode::Replayer => Some(&spec.replayer.as_ref()?.snapshot),
        Mode::Validator => spec.validator.as_ref()?.snapshot.as_ref(),
        Mode::Archive | Mode::Seed => None,
    }
}

/// Height of the S3 snapshot if there is a usable one.
pub fn target_height(spec: &SeiNodeSpec) -> Option<i64> {
    s3_height(snapshot_source(spec)?)
}

fn s3_height(snapshot: &Snapshot) -> Option<i64> {
    snapshot.s3.as_ref().map(|s3| s3.target_height).filter(|height| *height > 0)
}

/// Image of the one-shot bootstrap Job, if the spec names one.
pub fn bootstrap_image(spec: &SeiNodeSpec) -> Option<&str> {
    non_empty(snapshot_source(spec)?.bootstrap_image.as_deref())
}

/// Whether a bootstrap Job comes before the StatefulSet.
pub fn needs_bootstrap(spec: &SeiNodeSpec) -> bool {
    bootstrap_image(spec).is_some() && target_height(spec).is_some()
}

/// Whether light-client witnesses must be known first; S3 and state sync both need them.
pub fn needs_witnesses(spec: &SeiNodeSpec) -> bool {
    snapshot_source(spec).is_some()
}

/// Whether seid may take very long until it answers.
pub fn has_long_startup(spec: &SeiNodeSpec) -> bool {
    snapshot_source(spec).is_some() || Mode::of(spec) == Some(Mode::Archive)
}

/// The validator's part in a genesis ceremony.
pub fn genesis_ceremony(spec: &SeiNodeSpec) -> Option<&GenesisCeremony> {
    spec.validator.as_ref()?.genesis_ceremony.as_ref()
}

/// Whether the node founds a new chain.
pub fn has_genesis_ceremony(spec: &SeiNodeSpec) -> bool {
    genesis_ceremony(spec).is_some()
}

/// Secret of the consensus key.
pub fn signing_key_secret(spec: &SeiNodeSpec) -> Option<&str> {
    secret_name(spec.validator.as_ref()?.signing_key.as_ref())
}

/// Secret of the P2P key: the validator's if it has the field, else the seed's.
pub fn node_key_secret(spec: &SeiNodeSpec) -> Option<&str> {
    let of_validator = spec.validator.as_ref().and_then(|validator| validator.node_key.as_ref());
    secret_name(of_validator.or_else(|| spec.seed.as_ref().map(|seed| &seed.node_key)))
}

/// Keyring of the operator account, if it names a Secret.
pub fn operator_keyring(spec: &SeiNodeSpec) -> Option<&KeyringSecret> {
    let secret = spec.validator.as_ref()?.operator_keyring.as_ref()?.secret.as_ref()?;
    (!secret.secret_name.is_empty()).then_some(secret)
}

fn secret_name(source: Option<&KeySource>) -> Option<&str> {
    non_empty(source?.secret.as_ref().map(|secret| secret.secret_name.as_str()))
}

fn non_empty(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// Snapshots the node makes itself: only full nodes and archives can.
pub fn snapshot_generation(spec: &SeiNodeSpec) -> Option<&SnapshotGeneration> {
    match Mode::of(spec)? {
        Mode::FullNode => spec.full_node.as_ref()?.snapshot_generation.as_ref(),
        Mode::Archive => spec.archive.as_ref()?.snapshot_generation.as_ref(),
        Mode::Replayer | Mode::Validator | Mode::Seed => None,
    }
}

/// Tendermint snapshots the node makes itself.
pub fn tendermint_snapshots(spec: &SeiNodeSpec) -> Option<&TendermintSnapshots> {
    snapshot_generation(spec)?.tendermint.as_ref()
}

/// Whether an outside job is to upload the snapshots (label `sei.io/snapshot-publish`).
pub fn publishes_snapshots(spec: &SeiNodeSpec) -> bool {
    tendermint_snapshots(spec).is_some_and(|snapshots| snapshots.publish.is_some())
}

/// Name of an existing claim to use instead of creating one.
pub fn imported_claim_name(spec: &SeiNodeSpec) -> Option<&str> {
    non_empty(Some(spec.data_volume.as_ref()?.import.as_ref()?.pvc_name.as_str()))
}

/// Name of the data claim, imported or ours.
pub fn data_claim_name(node_name: &str, spec: &SeiNodeSpec) -> String {
    imported_claim_name(spec).map_or_else(|| format!("data-{node_name}"), str::to_owned)
}

/// Image of the sidecar: the node's own, else the platform's.
pub fn sidecar_image<'a>(spec: &'a SeiNodeSpec, platform: &'a str) -> &'a str {
    let own = spec.sidecar.as_ref().and_then(|sidecar| sidecar.image.as_deref());
    non_empty(own).unwrap_or(platform)
}

/// Port of the sidecar on loopback; 0, absence and what no port can be mean the default.
pub fn sidecar_port(spec: &SeiNodeSpec) -> i32 {
    let own = spec.sidecar.as_ref().and_then(|sidecar| sidecar.port);
    own.and_then(|port| i32::try_from(port).ok()).filter(|port| *port != 0).unwrap_or(SIDECAR_PORT)
}

/// Port of the sidecar unless the spec says otherwise: the sidecar's own default.
pub const SIDECAR_PORT: i32 = 7777;

#[cfg(test)]
mod tests;
