//! What nodes mention and a simulation has to make up: Secrets with keys, and claims that were filled beforehand.

use std::collections::BTreeMap;

use anyhow::Context;
use seinode_core::api::{SeiNode, mode};
use seinode_core::ident::NodeKey;
use seinode_sim::store::{Kind, Store};
use serde_json::{Value, json};

/// Puts into the cluster what a node mentions and what is not there yet; answers a line for each thing.
pub(super) fn surroundings(store: &Store, node: &SeiNode) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    for (name, data) in secrets_of(node) {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": node.namespace()}, "data": data,
        });
        if store.get(Kind::Secret, node.namespace(), &name).is_err() {
            notes.push(format!("made up a Secret {name} for {}", NodeKey::of(node)));
            store.create(Kind::Secret, object).with_context(|| format!("can't create Secret {name}"))?;
        }
    }
    if let Some(claim) = mode::imported_claim_name(&node.spec)
        && store.get(Kind::PersistentVolumeClaim, node.namespace(), claim).is_err()
    {
        notes.push(format!("made up a bound claim {claim} for {}", NodeKey::of(node)));
        bound_claim(store, node.namespace(), claim).with_context(|| format!("can't create claim {claim}"))?;
    }
    Ok(notes)
}

/// A claim bound to a volume large enough for any mode.
fn bound_claim(store: &Store, namespace: &str, claim: &str) -> anyhow::Result<()> {
    let (volume, capacity) = (format!("imported-{claim}"), json!({"storage": "100Ti"}));
    let pvc = store.create(
        Kind::PersistentVolumeClaim,
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": capacity}, "volumeName": volume},
        }),
    )?;
    let uid = pvc.pointer("/metadata/uid").cloned().unwrap_or(Value::Null);
    store.create(
        Kind::PersistentVolume,
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {
                "capacity": capacity, "accessModes": ["ReadWriteOnce"],
                "claimRef": {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim, "uid": uid},
            },
        }),
    )?;
    store.update_status(Kind::PersistentVolume, "", &volume, &json!({"status": {"phase": "Bound"}}))?;
    let status = json!({"phase": "Bound", "capacity": capacity, "accessModes": ["ReadWriteOnce"]});
    store.update_status(Kind::PersistentVolumeClaim, namespace, claim, &json!({"status": status}))?;
    Ok(())
}

/// Made-up contents for each Secret that a node mentions, base64 as the API has it.
fn secrets_of(node: &SeiNode) -> BTreeMap<String, Value> {
    use k8s_openapi::ByteString;
    let mut out: BTreeMap<String, BTreeMap<String, ByteString>> = BTreeMap::new();
    let mut put = |secret: &str, key: &str, value: &str| {
        let data = out.entry(secret.to_owned()).or_default();
        data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    };
    let key = json!({"type": "tendermint/PrivKeyEd25519", "value": "made-up"});
    if let Some(secret) = mode::signing_key_secret(&node.spec) {
        let file = json!({"address": "MADEUP", "pub_key": key, "priv_key": key});
        put(secret, "priv_validator_key.json", &file.to_string());
    }
    if let Some(secret) = mode::node_key_secret(&node.spec) {
        put(secret, "node_key.json", &json!({"priv_key": key}).to_string());
    }
    if let Some(keyring) = mode::operator_keyring(&node.spec) {
        let name = keyring.key_name.clone().unwrap_or_else(|| "node_admin".to_owned());
        put(&keyring.secret_name, &format!("{name}.info"), "made-up");
        put(&keyring.secret_name, "00aa.address", "made-up");
        put(&keyring.passphrase_secret_ref.secret_name, &keyring.passphrase_secret_ref.key, "made-up");
    }
    out.into_iter().map(|(name, data)| (name, json!(data))).collect()
}
