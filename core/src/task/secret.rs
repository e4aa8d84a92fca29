//! Key checks: the Secrets of signing key, node key and operator keyring (`seinode.md` 10.2).
//!
//! A Secret is read by its name, never listed and never watched. Nothing of its content reaches a message. A missing
//! Secret is waited for; a defect of its content is final.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::params::text;
use super::{Step, Turn, conclude};
use crate::api::condition::ConditionType;
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::explain::WaitingOn;
use crate::world::{SecretData, Seen, Topic};

/// How often a Secret that is not there is asked for again (`seinode.md` 10: "polled every 5 s"); Secrets are not
/// watched, so nothing else wakes the node.
const SECRET_POLL: Duration = Duration::from_secs(5);

/// A check: `Ok`, or what is wrong with the content.
type Check = fn(&SecretData) -> Result<(), String>;

/// `validate-signing-key`.
pub(super) fn signing_key(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    let fields: Check = |secret| {
        json_fields(
            secret,
            "priv_validator_key.json",
            &["address", "pub_key.type", "pub_key.value", "priv_key.type", "priv_key.value"],
        )
    };
    let step =
        text(&turn.task.params, "secretName").map_or_else(Step::Fail, |name| check(turn, &name, fields));
    conclude(draft, ConditionType::SigningKeyReady, "SigningKey", "the Secret is fit", step)
}

/// `validate-node-key`.
pub(super) fn node_key(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    let fields: Check = |secret| json_fields(secret, "node_key.json", &["priv_key.type", "priv_key.value"]);
    let step =
        text(&turn.task.params, "secretName").map_or_else(Step::Fail, |name| check(turn, &name, fields));
    conclude(draft, ConditionType::NodeKeyReady, "NodeKey", "the Secret is fit", step)
}

/// `validate-operator-keyring`. The keyring is never decrypted.
pub(super) fn operator_keyring(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    let step = keyring(turn).unwrap_or_else(Step::Fail);
    conclude(draft, ConditionType::OperatorKeyringReady, "OperatorKeyring", "the Secret is fit", step)
}

fn keyring(turn: &Turn<'_>) -> Result<Step, String> {
    let params = &turn.task.params;
    let key_name = text(params, "keyName")?;
    let files = check(turn, &text(params, "secretName")?, |secret| {
        let of = |suffix: &str| secret.data.iter().filter(|(k, _)| k.ends_with(suffix)).collect::<Vec<_>>();
        if let Some((key, _)) = of(".info").iter().find(|(_, v)| v.is_empty()) {
            return Err(format!("key {key} is empty"));
        }
        if of(".info").is_empty() {
            return Err("it has no key that ends in .info".to_owned());
        }
        if of(".address").is_empty() {
            return Err("it has no key that ends in .address".to_owned());
        }
        let wanted = format!("{key_name}.info");
        if !key_name.is_empty() && !secret.data.contains_key(&wanted) {
            return Err(format!("it has no key {wanted}"));
        }
        Ok(())
    });
    if files != Step::Done {
        return Ok(files);
    }
    let passphrase_key = text(params, "passphraseSecretKey")?;
    Ok(check(turn, &text(params, "passphraseSecretName")?, |secret| {
        filled(secret, &passphrase_key).map(|_| ())
    }))
}

fn check(turn: &Turn<'_>, name: &str, content: impl Fn(&SecretData) -> Result<(), String>) -> Step {
    if name.is_empty() {
        return Step::Fail("the name of the Secret is empty".to_owned());
    }
    let topic = Topic::Secret(name.to_owned());
    let wait = |text: String| Step::Wait(WaitingOn::Secret(text), Wake::After(SECRET_POLL));
    match turn.world.observed.secrets.get(name) {
        _ if !turn.world.observed.has_looked(&topic) => Step::Look(BTreeSet::from([topic])),
        None => wait(format!("Secret {name} could not be read")),
        Some(Seen::Unknown(blind)) => wait(format!("Secret {name} could not be read: {blind}")),
        Some(Seen::Absent) => {
            wait(format!("Secret {name} does not exist: create it in the node's namespace"))
        }
        Some(Seen::Present(secret)) if secret.deleting => wait(format!("Secret {name} is being deleted")),
        Some(Seen::Present(secret)) => match content(secret) {
            Ok(()) => Step::Done,
            Err(problem) => Step::Fail(format!("Secret {name}: {problem}")),
        },
    }
}

/// The value of a key that must be there and not empty.
fn filled<'a>(secret: &'a SecretData, key: &str) -> Result<&'a [u8], String> {
    match secret.data.get(key) {
        None => Err(format!("it has no key {key}")),
        Some(value) if value.is_empty() => Err(format!("key {key} is empty")),
        Some(value) => Ok(value),
    }
}

/// A JSON file with texts at the given dotted places.
fn json_fields(secret: &SecretData, key: &str, fields: &[&str]) -> Result<(), String> {
    // The parser's own error could quote the content, so it is not passed on.
    let json: Value =
        serde_json::from_slice(filled(secret, key)?).map_err(|_| format!("key {key} is not JSON"))?;
    for field in fields {
        let value = field.split('.').try_fold(&json, |v, part| v.get(part));
        if value.and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(format!("key {key} lacks {field}"));
        }
    }
    Ok(())
}
