use super::*;
use serde_json::{Value, json};

fn spec(fields: &Value) -> SeiNodeSpec {
    serde_json::from_value(fields.clone()).expect("a spec reads leniently")
}

#[test]
fn the_words_of_each_mode() {
    let rows: Vec<_> = Mode::ALL.into_iter().map(|m| (m.field(), m.role(), m.config_mode())).collect();
    assert_eq!(
        rows,
        [
            ("fullNode", "node", "full"),
            ("archive", "archive", "archive"),
            ("replayer", "replayer", "full"),
            ("validator", "validator", "validator"),
            ("seed", "seed", "seed"),
        ]
    );
    for mode in Mode::ALL {
        assert_eq!(Mode::of(&spec(&json!({ mode.field(): {} }))), Some(mode));
    }
    assert_eq!(Mode::of(&SeiNodeSpec::default()), None);
    assert_eq!(Mode::of(&spec(&json!({"seed": {}, "archive": {}}))), Some(Mode::Archive));
}

#[test]
fn bootstrap_needs_image_and_height() {
    let rows = [
        (json!({"fullNode": {}}), false, false),
        (json!({"fullNode": {"snapshot": {"stateSync": {}}}}), true, false),
        (json!({"fullNode": {"snapshot": {"stateSync": {}, "bootstrapImage": "i"}}}), true, false),
        (json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 9}}}}), true, false),
        (json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 9}, "bootstrapImage": ""}}}), true, false),
        (json!({"fullNode": {"snapshot": {"s3": {"targetHeight": 9}, "bootstrapImage": "i"}}}), true, true),
        (json!({"validator": {"snapshot": {"s3": {"targetHeight": 9}, "bootstrapImage": "i"}}}), true, true),
        (json!({"replayer": {"snapshot": {"s3": {"targetHeight": 9}, "bootstrapImage": "i"}}}), true, true),
        (json!({"replayer": {}}), true, false),
        (json!({"archive": {}}), false, false),
        (json!({"seed": {}}), false, false),
        (json!({}), false, false),
    ];
    for (fields, witnesses, bootstrap) in rows {
        let spec = spec(&fields);
        assert_eq!((needs_witnesses(&spec), needs_bootstrap(&spec)), (witnesses, bootstrap), "{fields}");
    }
}

#[test]
fn startup_is_long_with_a_snapshot_and_for_archives() {
    for (fields, long) in [
        (json!({"fullNode": {}}), false),
        (json!({"fullNode": {"snapshot": {"stateSync": {}}}}), true),
        (json!({"validator": {}}), false),
        (json!({"archive": {}}), true),
        (json!({"replayer": {}}), true),
        (json!({"seed": {}}), false),
    ] {
        assert_eq!(has_long_startup(&spec(&fields)), long, "{fields}");
    }
}

#[test]
fn secrets_count_only_with_a_name() {
    let full = spec(&json!({"validator": {
        "signingKey": {"secret": {"secretName": "s"}},
        "nodeKey": {"secret": {"secretName": "n"}},
        "operatorKeyring": {"secret": {"secretName": "k", "passphraseSecretRef": {}}},
    }}));
    assert_eq!(signing_key_secret(&full), Some("s"));
    assert_eq!(node_key_secret(&full), Some("n"));
    assert_eq!(operator_keyring(&full).map(|k| k.secret_name.as_str()), Some("k"));
    let empty = spec(&json!({"validator": {
        "signingKey": {"secret": {"secretName": ""}},
        "nodeKey": {},
        "operatorKeyring": {"secret": {}},
    }}));
    assert_eq!((signing_key_secret(&empty), node_key_secret(&empty)), (None, None));
    assert_eq!(operator_keyring(&empty), None);
    let seed = spec(&json!({"seed": {"nodeKey": {"secret": {"secretName": "n"}}}}));
    assert_eq!(node_key_secret(&seed), Some("n"));
}

#[test]
fn defaults_of_claim_and_sidecar() {
    let bare = spec(&json!({"fullNode": {}}));
    assert_eq!(data_claim_name("a", &bare), "data-a");
    assert_eq!((sidecar_image(&bare, "p"), sidecar_port(&bare)), ("p", 7777));
    let zero = spec(&json!({"sidecar": {"image": "", "port": 0}, "dataVolume": {"import": {}}}));
    assert_eq!(data_claim_name("a", &zero), "data-a");
    assert_eq!((sidecar_image(&zero, "p"), sidecar_port(&zero)), ("p", 7777));
    let own = spec(&json!({
        "sidecar": {"image": "i", "port": 8000},
        "dataVolume": {"import": {"pvcName": "mine"}},
    }));
    assert_eq!(data_claim_name("a", &own), "mine");
    assert_eq!((sidecar_image(&own, "p"), sidecar_port(&own)), ("i", 8000));
}

#[test]
fn only_full_nodes_and_archives_publish() {
    let generation = json!({"snapshotGeneration": {"tendermint": {"keepRecent": 2, "publish": {}}}});
    for mode in Mode::ALL {
        let fields = json!({ mode.field(): generation });
        assert_eq!(
            publishes_snapshots(&spec(&fields)),
            matches!(mode, Mode::FullNode | Mode::Archive),
            "{fields}"
        );
    }
}
