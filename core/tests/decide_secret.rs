//! The key checks: waits and defects of each Secret (10.2).
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeMap;

use seinode_core::api::{ConditionType, SeiNode, TaskType};
use seinode_core::testkit::{Scene, digest, node, story};
use seinode_core::world::{Blind, SecretData, Seen};
use serde_json::{Value, json};

fn secret(files: &[(&str, &str)]) -> Seen<SecretData> {
    let data = files.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
    Seen::Present(SecretData { deleting: false, data })
}

/// A node at a check, with one Secret as given.
fn at(node: SeiNode, task_type: &TaskType, name: &str, seen: Option<Seen<SecretData>>) -> Scene {
    let mut scene = story::at_task(node, task_type);
    match seen {
        None => scene.observed.secrets.remove(name),
        Some(seen) => scene.observed.secrets.insert(name.to_owned(), seen),
    };
    scene
}

/// Done means that the plan goes on with the next Secret or with the sidecar.
fn outcome(scene: &Scene) -> &'static str {
    let line = digest::of(scene);
    if line.starts_with("commit Failed") {
        "final"
    } else if line.starts_with("rest 5000ms: Secret") {
        "waits"
    } else {
        "done"
    }
}

#[test]
fn every_secret_that_can_not_be_read_is_waited_for() {
    let tasks = [
        (node::validator(), TaskType::ValidateSigningKey, "signing"),
        (node::validator(), TaskType::ValidateNodeKey, "p2p"),
        (node::seed(), TaskType::ValidateNodeKey, "p2p"),
        (node::validator(), TaskType::ValidateOperatorKeyring, "keyring"),
        (node::validator(), TaskType::ValidateOperatorKeyring, "passphrase"),
    ];
    for (node, task_type, name) in tasks {
        let deleting = SecretData { deleting: true, data: BTreeMap::new() };
        let unreadable = [
            None,
            Some(Seen::Absent),
            Some(Seen::Unknown(Blind::Forbidden)),
            Some(Seen::Unknown(Blind::Unreachable("timeout".into()))),
            Some(Seen::Present(deleting)),
        ];
        for seen in unreadable {
            let scene = at(node.clone(), &task_type, name, seen.clone());
            assert_eq!(outcome(&scene), "waits", "{task_type} {name} {seen:?}: {}", digest::of(&scene));
        }
    }
}

fn signing(change: &Value) -> String {
    let mut key = json!({
        "address": "a", "pub_key": {"type": "t", "value": "v"}, "priv_key": {"type": "t", "value": "v"},
    });
    seinode_core::patch::apply(&mut key, change);
    key.to_string()
}

#[test]
fn each_defect_of_a_signing_key_is_final() {
    let file = "priv_validator_key.json";
    let rows = [
        (signing(&json!({})), "done"),
        (signing(&json!({"address": ""})), "final"),
        (signing(&json!({"pub_key": {"type": null}})), "final"),
        (signing(&json!({"pub_key": {"value": ""}})), "final"),
        (signing(&json!({"priv_key": {"type": 7}})), "final"),
        (signing(&json!({"priv_key": {"value": null}})), "final"),
        (signing(&json!({"priv_key": "text"})), "final"),
        ("not json".to_owned(), "final"),
        (String::new(), "final"),
    ];
    for (text, expected) in rows {
        let scene =
            at(node::validator(), &TaskType::ValidateSigningKey, "signing", Some(secret(&[(file, &text)])));
        assert_eq!(outcome(&scene), expected, "{text}");
    }
    let scene =
        at(node::validator(), &TaskType::ValidateSigningKey, "signing", Some(secret(&[("other", "x")])));
    assert_eq!(outcome(&scene), "final");
}

#[test]
fn each_defect_of_a_node_key_is_final() {
    let rows = [
        (r#"{"priv_key": {"type": "t", "value": "v"}}"#, "done"),
        (r#"{"priv_key": {"type": "t", "value": ""}}"#, "final"),
        (r#"{"priv_key": {"value": "v"}}"#, "final"),
        ("[]", "final"),
        ("", "final"),
    ];
    for (text, expected) in rows {
        for node in [node::validator(), node::seed()] {
            let scene = at(node, &TaskType::ValidateNodeKey, "p2p", Some(secret(&[("node_key.json", text)])));
            assert_eq!(outcome(&scene), expected, "{text}");
        }
    }
}

#[test]
fn each_defect_of_a_keyring_is_final() {
    let task = TaskType::ValidateOperatorKeyring;
    let rows: [(&[(&str, &str)], &str); 6] = [
        (&[("node_admin.info", "x"), ("ab.address", "x")], "done"),
        (&[("node_admin.info", "x"), ("ab.address", "")], "done"),
        (&[("node_admin.info", ""), ("ab.address", "x")], "final"),
        (&[("other.info", "x"), ("ab.address", "x")], "final"),
        (&[("node_admin.info", "x")], "final"),
        (&[], "final"),
    ];
    for (files, expected) in rows {
        let scene = at(node::validator(), &task, "keyring", Some(secret(files)));
        assert_eq!(outcome(&scene), expected, "{files:?}");
    }
    for (files, expected) in
        [(&[("word", "x")][..], "done"), (&[("word", "")], "final"), (&[("other", "x")], "final")]
    {
        let scene = at(node::validator(), &task, "passphrase", Some(secret(files)));
        assert_eq!(outcome(&scene), expected, "{files:?}");
    }
}

#[test]
fn results_show_as_conditions_and_no_content_leaks() {
    let secretive = "hunter2";
    let files = format!(r#"{{"address": "{secretive}"}}"#);
    let rows = [
        (
            TaskType::ValidateSigningKey,
            "signing",
            "priv_validator_key.json",
            ConditionType::SigningKeyReady,
            "SigningKeyInvalid",
        ),
        (TaskType::ValidateNodeKey, "p2p", "node_key.json", ConditionType::NodeKeyReady, "NodeKeyInvalid"),
        (
            TaskType::ValidateOperatorKeyring,
            "keyring",
            "x.info",
            ConditionType::OperatorKeyringReady,
            "OperatorKeyringInvalid",
        ),
    ];
    for (task_type, name, file, kind, reason) in rows {
        let scene = at(node::validator(), &task_type, name, Some(secret(&[(file, &files)])));
        let shown = digest::condition(&scene, &kind).expect("the condition");
        assert_eq!((shown.status.as_str(), shown.reason.as_str()), ("False", reason));
        let mut settled = scene;
        let whole = settled.settle().map(|d| d.show().to_string()).expect("a decision");
        assert!(!whole.contains(secretive), "{whole}");
    }
    let fit = story::at_task(node::validator(), &TaskType::ConfigureGenesis);
    assert_eq!(digest::of(&fit), "act, submit configure-genesis");
}

#[test]
fn an_empty_name_in_the_params_is_final() {
    let mut scene = story::running(node::full());
    let mut plan = story::mark_ready_plan(&scene.node);
    plan.tasks[0].task_type = TaskType::ValidateSigningKey;
    plan.tasks[0].params = json!({"secretName": "", "namespace": "lab"});
    scene.node.status.plan = Some(plan);
    assert_eq!(digest::of(&scene), "commit Failed Running");
}
