//! Specs: valid ones of every mode, and odd ones that a schema would not let pass.

use std::collections::BTreeMap;

use proptest::option::weighted;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::mode;
use crate::api::node::{
    Archive, DataVolume, Ec2Tags, FullNode, GenesisCeremony, ImportVolume, KeySource, KeyringSecret,
    LabelPeers, OperatorKeyring, PassphraseRef, PeerSource, Publish, Replayer, ResultExport, S3Snapshot,
    SecretName, Seed, SeiNodeSpec, ShadowResult, SidecarSpec, Snapshot, SnapshotGeneration, StateSync,
    StaticPeers, TendermintSnapshots, Validator,
};

/// A spec that passes the checks of the operator.
pub fn valid_spec() -> BoxedStrategy<SeiNodeSpec> {
    any_spec().prop_map(mended).prop_filter("still not valid", |spec| mode::validate(spec).is_ok()).boxed()
}

/// A spec of any mode, several or none, with odd values.
pub fn any_spec() -> BoxedStrategy<SeiNodeSpec> {
    let common = (
        prop_oneof![5 => Just("atlantic-2".to_owned()), 1 => odd_text()],
        prop_oneof![5 => Just("registry.example.net/seid:v6".to_owned()), 1 => odd_text()],
        weighted(0.1, any::<bool>()),
        weighted(0.2, odd_text()),
        weighted(0.2, overrides()),
        weighted(0.3, prop::collection::vec(peer_source(), 0..3)),
        weighted(0.2, sidecar()),
        weighted(0.15, data_volume()),
    );
    (common, modes())
        .prop_map(
            |((chain_id, image, paused, external_address, overrides, peers, sidecar, volume), modes)| {
                SeiNodeSpec {
                    chain_id,
                    image,
                    paused,
                    external_address,
                    pod_labels: overrides.clone(),
                    overrides,
                    peers,
                    sidecar,
                    data_volume: volume,
                    ..modes
                }
            },
        )
        .boxed()
}

/// Repairs what the schema or the checks would refuse, as far as that is easy.
fn mended(mut spec: SeiNodeSpec) -> SeiNodeSpec {
    if spec.replayer.is_some() && spec.peers.as_ref().is_none_or(Vec::is_empty) {
        let fixed = StaticPeers { addresses: vec!["aa@peer.example.net:26656".to_owned()] };
        spec.peers = Some(vec![PeerSource { fixed: Some(fixed), ..PeerSource::default() }]);
    }
    let raised = |snapshot: &mut Snapshot| {
        if let Some(s3) = &mut snapshot.s3 {
            s3.target_height = s3.target_height.clamp(1, 1 << 40);
            snapshot.state_sync = None;
        } else {
            snapshot.state_sync = Some(StateSync {});
            snapshot.bootstrap_image = None;
        }
        snapshot.backfill_blocks = snapshot.backfill_blocks.map(|b| b.clamp(0, 1 << 40));
    };
    spec.full_node.iter_mut().filter_map(|n| n.snapshot.as_mut()).for_each(raised);
    spec.validator.iter_mut().filter_map(|v| v.snapshot.as_mut()).for_each(raised);
    spec.replayer.iter_mut().for_each(|r| {
        r.snapshot.s3.get_or_insert_default();
        raised(&mut r.snapshot);
    });
    if let Some(ceremony) = spec.validator.as_mut().and_then(|v| v.genesis_ceremony.as_mut()) {
        for text in [&mut ceremony.chain_id, &mut ceremony.staking_amount, &mut ceremony.account_balance] {
            if text.is_empty() {
                "some".clone_into(text);
            }
        }
    }
    if spec.chain_id.is_empty() {
        "atlantic-2".clone_into(&mut spec.chain_id);
    }
    if let Some(sidecar) = &mut spec.sidecar {
        sidecar.resources = None;
        sidecar.port = sidecar.port.map(|p| p.clamp(0, 65535));
    }
    spec
}

fn odd_text() -> BoxedStrategy<String> {
    prop_oneof![
        Just(String::new()),
        Just("x".to_owned()),
        Just("a b\u{0}ä@:,/".to_owned()),
        "[a-z.:0-9]{1,12}"
    ]
    .boxed()
}

fn overrides() -> BoxedStrategy<BTreeMap<String, String>> {
    let key = prop_oneof![
        Just("network.p2p.external_address".to_owned()),
        Just("network.p2p.persistent_peers".to_owned()),
        Just("sei.io/dedicated-node".to_owned()),
        odd_text(),
    ];
    prop::collection::btree_map(key, odd_text(), 0..3).boxed()
}

fn peer_source() -> BoxedStrategy<PeerSource> {
    let address = prop_oneof![Just("aa@h:1".to_owned()), Just("bb@h:2".to_owned()), odd_text()];
    let tags = BTreeMap::from([("app".to_owned(), "sei".to_owned())]);
    let label = LabelPeers { selector: tags.clone(), namespace: None };
    let ec2 = Ec2Tags { region: "r".into(), tags };
    prop_oneof![
        prop::collection::vec(address, 0..3).prop_map(|addresses| PeerSource {
            fixed: Some(StaticPeers { addresses }),
            ..PeerSource::default()
        }),
        Just(PeerSource { label: Some(label), ..PeerSource::default() }),
        Just(PeerSource { ec2_tags: Some(ec2), ..PeerSource::default() }),
    ]
    .boxed()
}

fn sidecar() -> BoxedStrategy<SidecarSpec> {
    let resources = prop_oneof![
        Just(json!({"requests": {"cpu": "1"}})),
        Just(json!({"requests": {"cpu": 1.5}, "limits": null})),
        Just(json!({"requests": {"cpu": "much"}})),
        Just(Value::from(7)),
    ];
    let port = prop_oneof![Just(0_i64), Just(7000), any::<i64>()];
    (weighted(0.5, odd_text()), weighted(0.5, port), weighted(0.3, resources))
        .prop_map(|(image, port, resources)| SidecarSpec { image, port, resources })
        .boxed()
}

fn data_volume() -> BoxedStrategy<DataVolume> {
    weighted(
        0.8,
        prop_oneof![Just("old-data".to_owned()), Just("data-alice".to_owned()), Just(String::new())],
    )
    .prop_map(|name| DataVolume { import: name.map(|pvc_name| ImportVolume { pvc_name }) })
    .boxed()
}

fn modes() -> BoxedStrategy<SeiNodeSpec> {
    let none = SeiNodeSpec::default;
    prop_oneof![
        4 => full_node().prop_map(move |n| SeiNodeSpec { full_node: Some(n), ..none() }),
        2 => generation().prop_map(move |snapshot_generation| {
            SeiNodeSpec { archive: Some(Archive { snapshot_generation }), ..none() }
        }),
        2 => replayer().prop_map(move |n| SeiNodeSpec { replayer: Some(n), ..none() }),
        4 => validator().prop_map(move |n| SeiNodeSpec { validator: Some(n), ..none() }),
        2 => key().prop_map(move |node_key| SeiNodeSpec { seed: Some(Seed { node_key }), ..none() }),
        1 => Just(none()),
        1 => (full_node(), validator()).prop_map(move |(a, b)| {
            SeiNodeSpec { full_node: Some(a), validator: Some(b), ..none() }
        }),
    ]
    .boxed()
}

fn full_node() -> BoxedStrategy<FullNode> {
    (weighted(0.5, snapshot()), generation())
        .prop_map(|(snapshot, snapshot_generation)| FullNode { snapshot, snapshot_generation })
        .boxed()
}

fn generation() -> BoxedStrategy<Option<SnapshotGeneration>> {
    let tendermint = (prop_oneof![Just(2_i64), any::<i64>()], any::<bool>())
        .prop_map(|(keep_recent, p)| TendermintSnapshots { keep_recent, publish: p.then_some(Publish {}) });
    weighted(0.3, weighted(0.8, tendermint).prop_map(|tendermint| SnapshotGeneration { tendermint })).boxed()
}

fn snapshot() -> BoxedStrategy<Snapshot> {
    let height = prop_oneof![4 => Just(1000_i64), 1 => Just(0_i64), 1 => any::<i64>()];
    let servers = prop_oneof![
        2 => Just(vec!["one:1".to_owned(), "two:2".to_owned()]),
        1 => prop::collection::vec(odd_text(), 0..3),
    ];
    (
        weighted(0.6, height.prop_map(|target_height| S3Snapshot { target_height })),
        any::<bool>(),
        weighted(0.25, odd_text()),
        weighted(0.3, odd_text()),
        weighted(0.3, any::<i64>()),
        weighted(0.6, servers),
    )
        .prop_map(|(s3, sync, bootstrap_image, trust_period, backfill_blocks, rpc_servers)| Snapshot {
            s3,
            state_sync: sync.then_some(StateSync {}),
            bootstrap_image,
            trust_period,
            backfill_blocks,
            rpc_servers,
        })
        .boxed()
}

fn replayer() -> BoxedStrategy<Replayer> {
    let export = weighted(0.7, odd_text()).prop_map(|rpc| ResultExport {
        shadow_result: rpc.map(|canonical_rpc| ShadowResult { canonical_rpc }),
    });
    (snapshot(), weighted(0.3, export))
        .prop_map(|(snapshot, result_export)| Replayer { snapshot, result_export })
        .boxed()
}

fn key() -> BoxedStrategy<KeySource> {
    let name =
        prop_oneof![4 => Just("p2p".to_owned()), 1 => Just("signing".to_owned()), 1 => Just(String::new())];
    weighted(0.9, name)
        .prop_map(|name| KeySource { secret: name.map(|secret_name| SecretName { secret_name }) })
        .boxed()
}

fn validator() -> BoxedStrategy<Validator> {
    let signing = Just(KeySource { secret: Some(SecretName { secret_name: "signing".into() }) });
    let keyring = (Just("keyring".to_owned()), weighted(0.3, odd_text()), weighted(0.3, any::<bool>()))
        .prop_map(|(secret_name, key_name, seid_mount)| OperatorKeyring {
            secret: Some(KeyringSecret {
                secret_name,
                key_name,
                passphrase_secret_ref: PassphraseRef { secret_name: "passphrase".into(), key: "word".into() },
                seid_mount,
            }),
        });
    let ceremony = (odd_text(), odd_text(), odd_text(), any::<i64>()).prop_map(|(a, b, c, index)| {
        GenesisCeremony { chain_id: a, staking_amount: b, account_balance: c, index }
    });
    let keys = weighted(0.5, (signing, weighted(0.9, key())));
    (weighted(0.2, snapshot()), keys, weighted(0.3, keyring), weighted(0.3, ceremony))
        .prop_map(|(snapshot, keys, operator_keyring, genesis_ceremony)| {
            let (signing_key, node_key) = keys.map_or((None, None), |(s, n)| (Some(s), n));
            Validator { snapshot, signing_key, node_key, operator_keyring, genesis_ceremony }
        })
        .boxed()
}
