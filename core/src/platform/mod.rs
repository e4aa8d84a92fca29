//! The platform's settings: what the operator is told once for all nodes.
//!
//! Answers: how the text of the app-config file reads ([`parse`]), whether it is complete
//! ([`PlatformFile::check`]) and what a node of a mode gets from it. Refuses to know: where the text comes
//! from, and any node. Laws: same text, same settings; every refusal names the dotted key and what to do
//! about it.

mod error;
mod file;
mod key;
mod scalar;
mod yaml;

pub use error::PlatformError;
pub use file::{GATEWAY_VARIABLES, PlatformFile, REQUIRED, check_gateway, parse, witnesses};
pub use key::{KEYS, Key};
pub(crate) use scalar::reads_as_itself;

use crate::api::mode::{Mode, StorageMode};
use crate::quantity::Quantity;

/// Checked settings; every text that is required is there and every quantity is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    /// Machines and account of the pods.
    pub scheduling: Scheduling,
    /// Classes and sizes of the data claims.
    pub storage: Storage,
    /// CPU and memory of seid, by role.
    pub resources: Resources,
    /// Where snapshot archives are.
    pub snapshot: Bucket,
    /// Where genesis files are.
    pub genesis: Bucket,
    /// Where exported results go; demanded of the file, used by nothing here.
    pub result_export: ResultExport,
    /// Images of the containers next to seid.
    pub images: Images,
}

/// Machines and account of the pods (`scheduling`).
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduling {
    /// Pool of full nodes and replayers.
    pub nodepool_name: String,
    /// Pool of archives.
    pub nodepool_archive: String,
    /// Pool of validators.
    pub nodepool_validator: String,
    /// Pool of seeds.
    pub nodepool_seed: String,
    /// Key of the one toleration; its value is the pool.
    pub toleration_key: String,
    /// Service account of node pods and bootstrap pods.
    pub service_account: String,
}

/// Classes and sizes of the data claims (`storage`).
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Class of full nodes, replayers and validators.
    pub class_perf: String,
    /// Class of seeds.
    pub class_default: String,
    /// Class of archives.
    pub class_archive: String,
    /// Size for full nodes, replayers and validators.
    pub size_default: Quantity,
    /// Size for archives.
    pub size_archive: Quantity,
    /// Size for seeds.
    pub size_seed: Quantity,
}

/// CPU and memory of seid, by role (`resources`).
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// Of validators.
    pub validator: RoleResources,
    /// Of full nodes.
    pub node: RoleResources,
    /// Of replayers.
    pub replayer: RoleResources,
    /// Of archives.
    pub archive: RoleResources,
    /// Of seeds.
    pub seed: RoleResources,
}

/// CPU and memory of one role; there is no CPU limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoleResources {
    /// CPU request.
    pub cpu_request: Quantity,
    /// Memory request and limit, one value.
    pub memory: Quantity,
}

/// A bucket and its region.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Name.
    pub bucket: String,
    /// Region.
    pub region: String,
}

/// Where exported results go (`resultExport`).
#[derive(Clone, Debug, PartialEq)]
pub struct ResultExport {
    /// Bucket and region.
    pub target: Bucket,
    /// Prefix of the object names.
    pub prefix: String,
}

/// Images of the containers next to seid (`images`).
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// Sidecar, unless the node names its own.
    pub sidecar: String,
    /// Proxy in front of the sidecar.
    pub kube_rbac_proxy: String,
    /// Exporter of chain metrics; seeds have none.
    pub cosmos_exporter: String,
}

impl Platform {
    /// Lab settings that ship with the program, for simulated clusters; the text is [`BUILTIN`].
    ///
    /// # Panics
    ///
    /// Never: the text is part of the program, and a test of this module reads it.
    pub fn builtin() -> Self {
        parse(BUILTIN).and_then(|file| file.check()).expect("a test of this module reads the built-in text")
    }

    /// Node pool of a mode, and the dotted key it comes from.
    pub fn node_pool(&self, mode: Mode) -> (&'static str, &str) {
        let scheduling = &self.scheduling;
        match mode.storage_mode() {
            StorageMode::Full => ("scheduling.nodepoolName", &scheduling.nodepool_name),
            StorageMode::Archive => ("scheduling.nodepoolArchive", &scheduling.nodepool_archive),
            StorageMode::Validator => ("scheduling.nodepoolValidator", &scheduling.nodepool_validator),
            StorageMode::Seed => ("scheduling.nodepoolSeed", &scheduling.nodepool_seed),
        }
    }

    /// Storage class of the data claim of a mode, and the dotted key it comes from.
    pub fn storage_class(&self, mode: Mode) -> (&'static str, &str) {
        let storage = &self.storage;
        match mode.storage_mode() {
            StorageMode::Full | StorageMode::Validator => ("storage.classPerf", &storage.class_perf),
            StorageMode::Archive => ("storage.classArchive", &storage.class_archive),
            StorageMode::Seed => ("storage.classDefault", &storage.class_default),
        }
    }

    /// Size of the data claim of a mode, also the least an imported claim must have, and the dotted key it
    /// comes from.
    pub fn storage_size(&self, mode: Mode) -> (&'static str, Quantity) {
        let storage = &self.storage;
        match mode.storage_mode() {
            StorageMode::Full | StorageMode::Validator => ("storage.sizeDefault", storage.size_default),
            StorageMode::Archive => ("storage.sizeArchive", storage.size_archive),
            StorageMode::Seed => ("storage.sizeSeed", storage.size_seed),
        }
    }

    /// CPU and memory of seid in a mode.
    pub fn seid_resources(&self, mode: Mode) -> RoleResources {
        match mode {
            Mode::FullNode => self.resources.node,
            Mode::Archive => self.resources.archive,
            Mode::Replayer => self.resources.replayer,
            Mode::Validator => self.resources.validator,
            Mode::Seed => self.resources.seed,
        }
    }
}

/// The text behind [`Platform::builtin`]: one file to show and to start from.
pub const BUILTIN: &str = include_str!("builtin.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builtin_text_passes_and_knows_the_public_chains() {
        let platform = Platform::builtin();
        assert!(platform.storage_size(Mode::Archive).1 > platform.storage_size(Mode::Seed).1);
        let file = parse(BUILTIN).expect("checked above");
        for chain in ["pacific-1", "atlantic-2", "arctic-1"] {
            assert!(witnesses(&file, chain).len() >= 2, "{chain}");
        }
    }
}
