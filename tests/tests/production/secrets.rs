//! What is secret is shown nowhere, at the noisiest level of logs too.

use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};
use seinode_core::api::condition::{self, ConditionType};
use seinode_tests::live::LiveError;
use seinode_tests::stage::{Stage, TOKEN};
use serde_json::{Value, json};

use crate::{ELECTED, page, sample};

pub(crate) async fn no_log_event_status_or_metric_shows_a_secret(stage: &mut Stage) -> Result<(), LiveError> {
    let space = "secrets";
    stage.namespace(space).await?;
    let key = json!({"type": "tendermint/PrivKeyEd25519", "value": "canary-of-a-good-key"});
    let good = json!({"address": "A", "pub_key": key, "priv_key": key}).to_string();
    // Texts that a parser's own message would quote.
    let broken = r#"{"address": "A", "priv_key": canary-of-a-broken-key"#;
    let wrong = json!({"priv_key": "canary-of-a-wrong-key", "canary-of-a-name": 7}).to_string();
    let secrets = Api::<Secret>::namespaced(stage.plane.client(), space);
    for (name, file, content) in [
        ("good", "priv_validator_key.json", good.as_str()),
        ("good-p2p", "node_key.json", &json!({"priv_key": key}).to_string()),
        ("broken", "priv_validator_key.json", broken),
        ("wrong-p2p", "node_key.json", &wrong),
    ] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {file: content},
        });
        secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    }
    let flags = [ELECTED[0], ELECTED[1], "--zap-encoder=json", "--zap-log-level=9"];
    let operator = stage.operator_with(space, &stage.plane.kubeconfig(), &flags, &[]).unwrap();
    let named = |name: &str| json!({"secret": {"secretName": name}});
    for (name, signing, p2p) in [("fine", "good", "good-p2p"), ("broken", "broken", "wrong-p2p")] {
        let mode = json!({"validator": {"signingKey": named(signing), "nodeKey": named(p2p)}});
        stage.create(space, &sample::node(name, &mode)).await.unwrap();
    }
    let fine =
        stage.until(space, "fine", "the node with good keys to be Running", sample::is_running).await?;
    let bad = |types: &ConditionType, node: &seinode_core::api::SeiNode| {
        condition::find(&node.status.conditions, types).is_some_and(|c| c.reason.ends_with("Invalid"))
    };
    let broken = stage
        .until(space, "broken", "the keys to be refused", |node| bad(&ConditionType::SigningKeyReady, node))
        .await?;

    let metrics = page(&operator, "metrics", "/metrics").await?.text;
    let log = operator.log();
    assert!(log.lines().count() > 20);
    for line in log.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line["level"].is_string()), "no JSON line: {line}");
    }
    let stored =
        log.lines().filter(|l| l.contains(r#""message":"stored""#) && l.contains("secrets/fine")).count();
    assert!(stored > 1, "a stored change has a line");
    let events =
        Api::<Event>::namespaced(stage.plane.client(), space).list(&ListParams::default()).await.unwrap();
    let shown = [
        ("log", log),
        ("metrics", metrics),
        ("events", serde_json::to_string(&events.items).unwrap()),
        ("status", serde_json::to_string(&[fine.status, broken.status]).unwrap()),
    ];
    let kubeconfig: Value =
        serde_json::from_str(&std::fs::read_to_string(stage.plane.kubeconfig()).unwrap()).unwrap();
    let admin = kubeconfig["users"][0]["user"]["token"].as_str().unwrap();
    for (place, text) in &shown {
        assert!(text.len() > 100, "nothing to look at in {place}");
        for canary in ["canary-of", TOKEN, admin] {
            let around = text.find(canary).map(|at| &text[at.saturating_sub(200)..(at + 60).min(text.len())]);
            assert_eq!(around, None, "{place} shows a secret");
        }
    }
    assert!(operator.stop().unwrap().success());
    Ok(())
}
