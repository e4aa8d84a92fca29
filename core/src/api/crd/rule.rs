//! The CEL rules of the schema, each next to its twin in Rust.
//!
//! Answers: what a rule says to the API server, and whether it would hold here. Refuses to know: where a rule
//! stands and what the refusal reads like; that is in the schema.

use crate::render::names;
use serde_json::Value;

/// A rule in Rust.
pub(crate) struct Twin {
    rule: &'static str,
    /// Whether the rule holds for a value, given the old one if there was one.
    pub(crate) holds: fn(&Value, Option<&Value>) -> bool,
}

/// A StatefulSet labels its pods with its name and a hash, 11 characters more; a label takes 63.
pub(super) const SHORT_NAME: &str = "oldSelf.hasValue() || self.metadata.name.size() <= 52";
pub(super) const ONE_MODE: &str = "\
    (has(self.fullNode) ? 1 : 0) + (has(self.archive) ? 1 : 0) + (has(self.replayer) ? 1 : 0) + \
    (has(self.validator) ? 1 : 0) + (has(self.seed) ? 1 : 0) == 1";
pub(super) const REPLAYER_HAS_PEERS: &str = "\
    !has(self.replayer) || (has(self.peers) && size(self.peers) > 0)";
pub(super) const ONE_PEER_SOURCE: &str = "\
    (has(self.ec2Tags) ? 1 : 0) + (has(self.static) ? 1 : 0) + (has(self.label) ? 1 : 0) == 1";
pub(super) const ONE_SNAPSHOT_SOURCE: &str = "has(self.s3) != has(self.stateSync)";
pub(super) const HAS_SECRET: &str = "has(self.secret)";
/// `import` is a word of CEL itself, hence the underscores.
pub(super) const IMPORT_STAYS: &str = "!has(oldSelf.__import__) || has(self.__import__)";
pub(super) const UNCHANGED: &str = "self == oldSelf";
pub(super) const KEYS_TOGETHER: &str = "has(self.signingKey) == has(self.nodeKey)";
pub(super) const KEYS_APART: &str = "\
    !has(self.signingKey) || !has(self.signingKey.secret) || !has(self.nodeKey) || \
    !has(self.nodeKey.secret) || self.signingKey.secret.secretName != self.nodeKey.secret.secretName";
pub(super) const KEYRING_APART_FROM_SIGNING_KEY: &str = "\
    !has(self.operatorKeyring) || !has(self.operatorKeyring.secret) || !has(self.signingKey) || \
    !has(self.signingKey.secret) || self.operatorKeyring.secret.secretName != \
    self.signingKey.secret.secretName";
pub(super) const KEYRING_APART_FROM_NODE_KEY: &str = "\
    !has(self.operatorKeyring) || !has(self.operatorKeyring.secret) || !has(self.nodeKey) || \
    !has(self.nodeKey.secret) || self.operatorKeyring.secret.secretName != \
    self.nodeKey.secret.secretName";
/// The one rule that also refuses a keyring without a Secret, so that the others need not repeat it.
pub(super) const PASSPHRASE_APART_FROM_KEYRING: &str = "\
    !has(self.operatorKeyring) || (has(self.operatorKeyring.secret) && \
    self.operatorKeyring.secret.secretName != \
    self.operatorKeyring.secret.passphraseSecretRef.secretName)";
pub(super) const PASSPHRASE_APART_FROM_SIGNING_KEY: &str = "\
    !has(self.operatorKeyring) || !has(self.operatorKeyring.secret) || !has(self.signingKey) || \
    !has(self.signingKey.secret) || self.operatorKeyring.secret.passphraseSecretRef.secretName != \
    self.signingKey.secret.secretName";
pub(super) const PASSPHRASE_APART_FROM_NODE_KEY: &str = "\
    !has(self.operatorKeyring) || !has(self.operatorKeyring.secret) || !has(self.nodeKey) || \
    !has(self.nodeKey.secret) || self.operatorKeyring.secret.passphraseSecretRef.secretName != \
    self.nodeKey.secret.secretName";

/// The twin of a rule, by its text.
pub(crate) fn twin(rule: &str) -> Option<&'static Twin> {
    TWINS.iter().find(|twin| twin.rule == rule)
}

static TWINS: [Twin; 15] = [
    Twin {
        rule: SHORT_NAME,
        holds: |new, old| {
            let name = new.pointer("/metadata/name").and_then(Value::as_str);
            old.is_some() || name.is_none_or(|name| name.chars().count() <= names::LONGEST_NODE)
        },
    },
    Twin {
        rule: ONE_MODE,
        holds: |new, _| count(new, &["fullNode", "archive", "replayer", "validator", "seed"]) == 1,
    },
    Twin {
        rule: REPLAYER_HAS_PEERS,
        holds: |new, _| {
            let peers = new.get("peers").and_then(Value::as_array);
            new.get("replayer").is_none() || peers.is_some_and(|peers| !peers.is_empty())
        },
    },
    Twin { rule: ONE_PEER_SOURCE, holds: |new, _| count(new, &["ec2Tags", "static", "label"]) == 1 },
    Twin { rule: ONE_SNAPSHOT_SOURCE, holds: |new, _| count(new, &["s3", "stateSync"]) == 1 },
    Twin { rule: HAS_SECRET, holds: |new, _| new.get("secret").is_some() },
    Twin {
        rule: IMPORT_STAYS,
        holds: |new, old| old.is_none_or(|old| old.get("import").is_none()) || new.get("import").is_some(),
    },
    Twin { rule: UNCHANGED, holds: |new, old| old.is_none_or(|old| new == old) },
    Twin { rule: KEYS_TOGETHER, holds: |new, _| count(new, &["signingKey", "nodeKey"]) != 1 },
    Twin { rule: KEYS_APART, holds: |new, _| apart(new, SIGNING_KEY, NODE_KEY) },
    Twin { rule: KEYRING_APART_FROM_SIGNING_KEY, holds: |new, _| apart(new, KEYRING, SIGNING_KEY) },
    Twin { rule: KEYRING_APART_FROM_NODE_KEY, holds: |new, _| apart(new, KEYRING, NODE_KEY) },
    Twin {
        rule: PASSPHRASE_APART_FROM_KEYRING,
        holds: |new, _| {
            new.get("operatorKeyring").is_none_or(|keyring| keyring.get("secret").is_some())
                && apart(new, KEYRING, PASSPHRASE)
        },
    },
    Twin { rule: PASSPHRASE_APART_FROM_SIGNING_KEY, holds: |new, _| apart(new, PASSPHRASE, SIGNING_KEY) },
    Twin { rule: PASSPHRASE_APART_FROM_NODE_KEY, holds: |new, _| apart(new, PASSPHRASE, NODE_KEY) },
];

const SIGNING_KEY: &str = "/signingKey/secret/secretName";
const NODE_KEY: &str = "/nodeKey/secret/secretName";
const KEYRING: &str = "/operatorKeyring/secret/secretName";
const PASSPHRASE: &str = "/operatorKeyring/secret/passphraseSecretRef/secretName";

fn count(object: &Value, fields: &[&str]) -> usize {
    fields.iter().filter(|field| object.get(**field).is_some()).count()
}

fn apart(validator: &Value, one: &str, other: &str) -> bool {
    let one = validator.pointer(one);
    one.is_none() || one != validator.pointer(other)
}
