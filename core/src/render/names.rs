//! Names, ports and paths that child objects, tasks and people agree on (`seinode.md` 1).

/// Longest name of a node, in characters, that leaves room for the label with the revision of its pod (S30).
pub const LONGEST_NODE: usize = 52;

/// Name of the ConfigMap of the proxy in front of the sidecar.
pub fn rbac_proxy_config(node_name: &str) -> String {
    format!("{node_name}-rbac-proxy-config")
}

/// Name of the bootstrap Job.
pub fn bootstrap_job(node_name: &str) -> String {
    format!("{node_name}-bootstrap")
}

/// Name of the one pod, of the StatefulSet's and of the bootstrap Job's hostname alike: both answer at one
/// URL.
pub fn pod(node_name: &str) -> String {
    format!("{node_name}-0")
}

/// Container of the node software.
pub const SEID: &str = "seid";
/// Init container that prepares the data directory.
pub const SEID_INIT: &str = "seid-init";
/// Container of the sidecar.
pub const SIDECAR: &str = "sei-sidecar";
/// Container of the proxy in front of the sidecar.
pub const RBAC_PROXY: &str = "kube-rbac-proxy";
/// Container of the metrics exporter.
pub const EXPORTER: &str = "cosmos-exporter";

/// Home of the user in all containers.
pub const HOME: &str = "/home/nonroot";
/// Data directory of seid, where the data volume is mounted.
pub const DATA_DIR: &str = "/home/nonroot/.sei";

/// Port of the proxy in front of the sidecar.
pub const API_PORT: i32 = 8443;
/// Port of the metrics exporter.
pub const EXPORTER_PORT: i32 = 9300;
/// Port that gRPC clients and the exporter use.
pub const GRPC_PORT: i32 = 9090;
/// Port of peers.
pub const P2P_PORT: i32 = 26656;
/// Port of Tendermint RPC.
pub const RPC_PORT: i32 = 26657;

/// The seven ports of seid, in the order of containers and Services.
pub const SEID_PORTS: [(&str, i32); 7] = [
    ("evm-rpc", 8545),
    ("evm-ws", 8546),
    ("grpc", GRPC_PORT),
    ("rest", 1317),
    ("p2p", P2P_PORT),
    ("rpc", RPC_PORT),
    ("metrics", 26660),
];
