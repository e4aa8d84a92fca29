//! One valid node per mode, as the API server stores it: finalizer present, version 100, generation 1.

use serde_json::{Value, json};

use crate::api::{self, SeiNode};

/// Name of every built node.
pub const NAME: &str = "alice";
/// Namespace of every built node.
pub const NAMESPACE: &str = "lab";
/// Uid of every built node.
pub const UID: &str = "11111111-aaaa-4bbb-8ccc-000000000001";

/// A node with the given fields of spec beside chain and image.
pub fn with_spec(fields: &Value) -> SeiNode {
    let mut spec = json!({"chainId": "atlantic-2", "image": "registry.example.net/seid:v6.3.0"});
    crate::patch::apply(&mut spec, fields);
    serde_json::from_value(json!({
        "metadata": {
            "name": NAME, "namespace": NAMESPACE, "uid": UID, "resourceVersion": "100", "generation": 1,
            "finalizers": [api::FINALIZER],
        },
        "spec": spec,
    }))
    .expect("the fields are those of a spec")
}

/// A full node that starts from genesis.
pub fn full() -> SeiNode {
    with_spec(&json!({"fullNode": {}}))
}

/// A full node that restores an archive.
pub fn full_s3() -> SeiNode {
    with_spec(&json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 1000}, "rpcServers": witnesses()}}}))
}

/// A full node that state-syncs.
pub fn full_state_sync() -> SeiNode {
    with_spec(&json!({"fullNode": {"snapshot": {
        "stateSync": {}, "trustPeriod": "168h0m0s", "backfillBlocks": 10, "rpcServers": witnesses(),
    }}}))
}

/// A full node that bootstraps.
pub fn bootstrap() -> SeiNode {
    with_spec(&json!({"fullNode": {"snapshot": {
        "s3": {"targetHeight": 1000}, "bootstrapImage": "registry.example.net/seid:v5.0.0", "rpcServers": witnesses(),
    }}}))
}

/// An archive that makes snapshots.
pub fn archive() -> SeiNode {
    with_spec(&json!({"archive": {"snapshotGeneration": {"tendermint": {"keepRecent": 3}}}}))
}

/// A replayer.
pub fn replayer() -> SeiNode {
    with_spec(&json!({
        "replayer": {"snapshot": {"s3": {"targetHeight": 1000}, "rpcServers": witnesses()}},
        "peers": [{"static": {"addresses": ["aa@peer.example.net:26656"]}}],
    }))
}

/// A validator without keys.
pub fn observer() -> SeiNode {
    with_spec(&json!({"validator": {}}))
}

/// A validator with signing key, node key and operator keyring.
pub fn validator() -> SeiNode {
    with_spec(&json!({"validator": {
        "signingKey": {"secret": {"secretName": "signing"}},
        "nodeKey": {"secret": {"secretName": "p2p"}},
        "operatorKeyring": {"secret": {
            "secretName": "keyring", "passphraseSecretRef": {"secretName": "passphrase", "key": "word"},
        }},
    }}))
}

/// A founding validator.
pub fn ceremony() -> SeiNode {
    with_spec(&json!({"validator": {"genesisCeremony": {
        "chainId": "alpha-1", "stakingAmount": "10usei", "accountBalance": "20usei", "index": 0,
    }}}))
}

/// A seed.
pub fn seed() -> SeiNode {
    with_spec(&json!({"seed": {"nodeKey": {"secret": {"secretName": "p2p"}}}}))
}

/// A full node on an imported claim.
pub fn importing() -> SeiNode {
    with_spec(&json!({"fullNode": {}, "dataVolume": {"import": {"pvcName": "old-data"}}}))
}

/// One node per mode and way to start, with a word for each.
pub fn each() -> Vec<(&'static str, SeiNode)> {
    vec![
        ("full", full()),
        ("full-s3", full_s3()),
        ("full-state-sync", full_state_sync()),
        ("archive", archive()),
        ("replayer", replayer()),
        ("observer", observer()),
        ("validator", validator()),
        ("ceremony", ceremony()),
        ("seed", seed()),
        ("importing", importing()),
        ("bootstrap", bootstrap()),
    ]
}

fn witnesses() -> Value {
    json!(["one.example.net:26657", "two.example.net:26657"])
}
