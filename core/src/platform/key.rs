//! Every key of the app-config file, for people: what it is for, and what is taken where it may be left out.
//!
//! Upholds: the built-in values are here and nowhere else; a test holds the keys against the schema.

/// A key of the app-config file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// With its section: `storage.sizeSeed`.
    pub name: &'static str,
    /// What is taken without it; empty if there is nothing, or if it is required.
    pub built_in: &'static str,
    /// What it is for, in a few words.
    pub meaning: &'static str,
}

const fn key(name: &'static str, built_in: &'static str, meaning: &'static str) -> Key {
    Key { name, built_in, meaning }
}

/// Every key, in the order of the file.
pub const KEYS: &[Key] = &[
    key("scheduling.nodepoolName", "", "Karpenter node pool of full nodes and replayers"),
    key("scheduling.nodepoolArchive", "", "node pool of archives"),
    key("scheduling.nodepoolValidator", "", "node pool of validators"),
    key("scheduling.nodepoolSeed", "", "node pool of seeds; required also where no seed runs"),
    key("scheduling.tolerationKey", "", "key of the one toleration of node pods; its value is the node pool"),
    key("scheduling.serviceAccount", "", "service account of node pods, in the namespace of each node"),
    key("storage.classPerf", "", "storage class of full nodes, replayers and validators"),
    key("storage.classDefault", "", "storage class of seeds"),
    key("storage.classArchive", "", "storage class of archives"),
    key(
        "storage.sizeDefault",
        "",
        "size of the claims of full nodes, replayers and validators; least size of an imported one",
    ),
    key("storage.sizeArchive", "", "the same for archives"),
    key("storage.sizeSeed", "20Gi", "the same for seeds"),
    key("resources.validator.cpuRequest", "16", "CPU request of seid in validators; there is no CPU limit"),
    key("resources.validator.memory", "128Gi", "memory request and limit of seid in validators"),
    key("resources.node.cpuRequest", "32", "CPU request of seid in full nodes"),
    key("resources.node.memory", "256Gi", "memory request and limit of seid in full nodes"),
    key("resources.replayer.cpuRequest", "32", "CPU request of seid in replayers"),
    key("resources.replayer.memory", "256Gi", "memory request and limit of seid in replayers"),
    key("resources.archive.cpuRequest", "64", "CPU request of seid in archives"),
    key("resources.archive.memory", "512Gi", "memory request and limit of seid in archives"),
    key("resources.seed.cpuRequest", "1", "CPU request of seid in seeds"),
    key("resources.seed.memory", "2Gi", "memory request and limit of seid in seeds"),
    key("snapshot.bucket", "", "bucket of the snapshots that nodes start from"),
    key("snapshot.region", "", "its region"),
    key("genesis.bucket", "", "bucket of the genesis files"),
    key("genesis.region", "", "its region"),
    key("resultExport.bucket", "", "required, because the Go operator requires it; used by nothing here"),
    key("resultExport.region", "", "the same"),
    key("resultExport.prefix", "", "the same"),
    key("images.sidecar", "", "image of the sidecar, unless a node names its own"),
    key("images.kubeRBACProxy", "", "image of the proxy in front of the sidecar"),
    key("images.cosmosExporter", "", "image of the exporter of chain metrics; seeds have none"),
    key(
        "stateSync.syncers",
        "",
        "light-client witnesses by chain id, lists of `host:port`: for nodes that name fewer than two",
    ),
];

/// What is taken without the key.
pub(super) fn built_in(name: &str) -> &'static str {
    KEYS.iter().find(|key| key.name == name).map_or("", |key| key.built_in)
}
