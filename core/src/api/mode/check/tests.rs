use super::*;
use serde_json::{Value, json};

fn verdict(fields: &Value) -> String {
    let spec: SeiNodeSpec = serde_json::from_value(fields.clone()).expect("a spec reads leniently");
    match validate(&spec) {
        Ok(mode) => mode.field().to_owned(),
        Err(error) => format!("{}: {}", error.mode.map_or("", Mode::field), error.field),
    }
}

fn secret(name: &str) -> Value {
    json!({"secret": {"secretName": name}})
}

fn keyring(data: &str, passphrase: &str) -> Value {
    json!({"secret": {"secretName": data, "passphraseSecretRef": {"secretName": passphrase, "key": "k"}}})
}

#[test]
fn every_row_refuses() {
    let s3 = json!({"s3": {"targetHeight": 9}});
    let peers = json!([{"static": {"addresses": ["id@host:26656"]}}]);
    let rows = [
        (json!({}), ": spec"),
        (
            json!({"fullNode": {"snapshot": {"bootstrapImage": "i"}, "snapshotGeneration": {}}}),
            "fullNode: spec.fullNode.snapshot.bootstrapImage",
        ),
        (
            json!({"fullNode": {"snapshot": {"bootstrapImage": "i", "s3": {"targetHeight": 0}}}}),
            "fullNode: spec.fullNode.snapshot.bootstrapImage",
        ),
        (json!({"fullNode": {"snapshotGeneration": {}}}), "fullNode: spec.fullNode.snapshotGeneration"),
        (json!({"archive": {"snapshotGeneration": {}}}), "archive: spec.archive.snapshotGeneration"),
        (
            json!({"fullNode": {"snapshotGeneration": {"tendermint": {"keepRecent": 1, "publish": {}}}}}),
            "fullNode: spec.fullNode.snapshotGeneration.tendermint.keepRecent",
        ),
        (
            json!({"archive": {"snapshotGeneration": {"tendermint": {"keepRecent": 1, "publish": {}}}}}),
            "archive: spec.archive.snapshotGeneration.tendermint.keepRecent",
        ),
        (json!({"replayer": {"snapshot": {"stateSync": {}}}}), "replayer: spec.replayer.snapshot.s3"),
        (
            json!({"replayer": {"snapshot": {"s3": {"targetHeight": 0}}}}),
            "replayer: spec.replayer.snapshot.s3.targetHeight",
        ),
        (json!({"replayer": {"snapshot": s3, "resultExport": {}}}), "replayer: spec.peers"),
        (json!({"peers": [], "replayer": {"snapshot": s3}}), "replayer: spec.peers"),
        (
            json!({"peers": peers, "replayer": {"snapshot": s3, "resultExport": {}}}),
            "replayer: spec.replayer.resultExport",
        ),
        (
            json!({"validator": {"signingKey": {}, "genesisCeremony": {}}}),
            "validator: spec.validator.signingKey",
        ),
        (
            json!({"validator": {"signingKey": secret("")}}),
            "validator: spec.validator.signingKey.secret.secretName",
        ),
        (json!({"validator": {"signingKey": {}}}), "validator: spec.validator.signingKey.secret.secretName"),
        (
            json!({"validator": {"signingKey": secret("a")}}),
            "validator: spec.validator.nodeKey.secret.secretName",
        ),
        (
            json!({"validator": {"signingKey": secret("a"), "nodeKey": {}}}),
            "validator: spec.validator.nodeKey.secret.secretName",
        ),
        (
            json!({"validator": {"signingKey": secret("a"), "nodeKey": secret("a")}}),
            "validator: spec.validator.nodeKey.secret.secretName",
        ),
        (
            json!({"validator": {"nodeKey": secret("a"), "genesisCeremony": {}}}),
            "validator: spec.validator.nodeKey",
        ),
        (json!({"validator": {"genesisCeremony": {}}}), "validator: spec.validator.genesisCeremony.chainId"),
        (
            json!({"validator": {"genesisCeremony": {"chainId": "c"}}}),
            "validator: spec.validator.genesisCeremony.stakingAmount",
        ),
        (
            json!({"validator": {"snapshot": {"stateSync": {}, "bootstrapImage": "i"}}}),
            "validator: spec.validator.snapshot.bootstrapImage",
        ),
        (json!({"seed": {}}), "seed: spec.seed.nodeKey.secret.secretName"),
        (json!({"seed": {"nodeKey": secret("")}}), "seed: spec.seed.nodeKey.secret.secretName"),
    ];
    for (fields, expected) in rows {
        assert_eq!(verdict(&fields), expected, "{fields}");
    }
}

#[test]
fn the_five_pairs_of_the_keyring_in_order() {
    let rows = [
        ("s", "s", Some((PASSPHRASE, "keyring"))),
        ("n", "n", Some((PASSPHRASE, "keyring"))),
        ("s", "n", Some((DATA, "signing key"))),
        ("n", "s", Some((PASSPHRASE, "signing key"))),
        ("n", "p", Some((DATA, "node key"))),
        ("d", "n", Some((PASSPHRASE, "node key"))),
        ("d", "p", None),
        ("d", "", None),
    ];
    for (data, passphrase, expected) in rows {
        let fields = json!({"validator": {
            "signingKey": secret("s"),
            "nodeKey": secret("n"),
            "operatorKeyring": keyring(data, passphrase),
        }});
        let spec: SeiNodeSpec = serde_json::from_value(fields).expect("a spec reads leniently");
        let found = validate(&spec).err().map(|error| (error.field, error.problem));
        let expected = expected.map(|(field, whose)| {
            (format!("spec.validator.{field}"), format!("names the Secret of the {whose}"))
        });
        assert_eq!(
            found.map(|(field, problem)| (field, problem.to_owned())),
            expected,
            "{data} {passphrase}"
        );
    }
}

#[test]
fn what_makes_sense_passes() {
    let s3 = json!({"s3": {"targetHeight": 9}, "bootstrapImage": "i"});
    let generation = json!({"snapshotGeneration": {"tendermint": {"keepRecent": 2, "publish": {}}}});
    let ceremony = json!({"chainId": "c", "stakingAmount": "1usei"});
    let rows = [
        (json!({"fullNode": {}}), "fullNode"),
        (json!({"fullNode": {"snapshot": s3}}), "fullNode"),
        (json!({"fullNode": {"snapshot": {"stateSync": {}, "bootstrapImage": ""}}}), "fullNode"),
        (json!({"fullNode": generation}), "fullNode"),
        (json!({"archive": generation}), "archive"),
        (json!({"archive": {"snapshotGeneration": {"tendermint": {"keepRecent": 1}}}}), "archive"),
        (
            json!({"peers": [{}], "replayer": {"snapshot": s3, "resultExport": {"shadowResult": {}}}}),
            "replayer",
        ),
        (json!({"validator": {}}), "validator"),
        (json!({"validator": {"operatorKeyring": {}}}), "validator"),
        (json!({"validator": {"signingKey": secret("a"), "nodeKey": secret("b")}}), "validator"),
        (json!({"validator": {"operatorKeyring": keyring("a", "b")}}), "validator"),
        (
            json!({"validator": {"genesisCeremony": ceremony, "snapshot": {"bootstrapImage": "i"}}}),
            "validator",
        ),
        (json!({"seed": {"nodeKey": secret("a")}}), "seed"),
    ];
    for (fields, expected) in rows {
        assert_eq!(verdict(&fields), expected, "{fields}");
    }
}

#[test]
fn the_text_names_mode_field_and_remedy() {
    let spec: SeiNodeSpec = serde_json::from_value(json!({"seed": {}})).expect("a spec reads leniently");
    assert_eq!(
        validate(&spec).expect_err("no node key").to_string(),
        "seed: spec.seed.nodeKey.secret.secretName must not be empty, because the published node id must \
         outlive the pod; name the Secret of the node key"
    );
    assert_eq!(
        validate(&SeiNodeSpec::default()).expect_err("no mode").to_string(),
        "spec has no mode; set one of fullNode, archive, replayer, validator, seed"
    );
}
