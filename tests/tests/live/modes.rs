//! One node of each mode that needs no bootstrap.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;
use serde_json::{Value, json};

use crate::sample;

pub(crate) async fn every_mode_without_bootstrap_reaches_running(stage: &Stage) -> Result<(), LiveError> {
    let space = "modes";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let key = json!({"type": "tendermint/PrivKeyEd25519", "value": "made-up"});
    let secrets = [
        (
            "signing",
            json!({"priv_validator_key.json": json!({"address": "A", "pub_key": key, "priv_key": key}).to_string()}),
        ),
        ("p2p", json!({"node_key.json": json!({"priv_key": key}).to_string()})),
        ("seed-p2p", json!({"node_key.json": json!({"priv_key": key}).to_string()})),
        ("ring", json!({"node_admin.info": "x", "00aa.address": "y"})),
        ("pass", json!({"passphrase": "made-up"})),
    ];
    let api = Api::<Secret>::namespaced(stage.plane.client(), space);
    for (name, data) in secrets {
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        api.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    }
    let named = |name: &str| json!({"secret": {"secretName": name}});
    let ring = json!({"secret": {"secretName": "ring", "passphraseSecretRef": {"secretName": "pass", "key": "passphrase"}}});
    let s3 = json!({"s3": {"targetHeight": 5}, "rpcServers": ["a.example.net:26657", "b.example.net:26657"]});
    let peers =
        json!([{"static": {"addresses": ["9c1de50b8a2f4437b6a5e0c1d2f38897a4b6cd10@a.example.net:26656"]}}]);
    let modes: [(&str, Value); 6] = [
        ("genesis", json!({"fullNode": {}})),
        ("restored", json!({"fullNode": {"snapshot": s3}})),
        ("archive", json!({"archive": {}})),
        ("replayer", json!({"peers": peers, "replayer": {"snapshot": s3}})),
        (
            "validator",
            json!({"validator": {"signingKey": named("signing"), "nodeKey": named("p2p"), "operatorKeyring": ring}}),
        ),
        ("seed", json!({"seed": {"nodeKey": named("seed-p2p")}})),
    ];
    for (name, fields) in &modes {
        stage.create(space, &sample::node(name, fields)).await.unwrap();
    }
    for (name, _) in &modes {
        let node = stage.until(space, name, "the node to be Running", sample::is_running).await?;
        sample::ended_well_without_repeats(stage, &node);
    }
    Ok(())
}
