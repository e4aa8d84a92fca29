//! Schemas of the places where keys come from.

use super::rule;
use super::schema::Schema;

/// A DNS label: what the operator accepts as the name of a Secret or a claim.
pub(super) const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// Longest name of a Kubernetes object.
pub(super) const LONGEST_NAME: u64 = 253;

/// A key with one variant, a Secret; `field` is its path below `spec`, `noun` what it holds.
pub(super) fn key_source(field: &str, noun: &str, file: &str) -> Schema {
    let name = secret_name(
        &format!("{field}.secret.secretName"),
        &format!("The name of the Secret that holds the {noun} under `{file}`, in the node's namespace."),
        "make a new node for another key",
    );
    let secret = Schema::object(
        &format!("The Secret that holds the {noun}; the operator checks it and never writes it."),
        [("secretName", name)],
    )
    .required(["secretName"]);
    let last = field.rsplit('.').next().unwrap_or(field);
    Schema::object(
        &format!("The source of the {noun}; a Secret is the only one there is."),
        [("secret", secret)],
    )
    .checked(rule::HAS_SECRET, &format!("{last} has no secret; set {field}.secret.secretName"))
}

/// The keyring of the operator account.
pub(super) fn operator_keyring() -> Schema {
    let secret = Schema::object(
        "The Secret that holds the keyring files, and how to open it.",
        [
            (
                "secretName",
                secret_name(
                    "validator.operatorKeyring.secret.secretName",
                    "The name of the Secret that holds the files of a `file` keyring, in the node's \
                     namespace.",
                    "keep the old name, or drop operatorKeyring first",
                ),
            ),
            (
                "keyName",
                Schema::text("The name of the operator's key inside the keyring.")
                    .default("node_admin")
                    .max_length(64)
                    .pattern("^[a-zA-Z0-9_-]+$"),
            ),
            ("passphraseSecretRef", passphrase()),
            (
                "seidMount",
                Schema::flag("The wish to let the node software see the keyring too, not only the sidecar."),
            ),
        ],
    )
    .required(["passphraseSecretRef", "secretName"]);
    Schema::object(
        "The keyring of the operator account, with which the sidecar signs transactions of the operator.",
        [("secret", secret)],
    )
}

fn passphrase() -> Schema {
    Schema::object(
        "The place of the keyring's passphrase; its Secret must differ from that of the keyring and of \
         either key.",
        [
            (
                "secretName",
                secret_name(
                    "validator.operatorKeyring.secret.passphraseSecretRef.secretName",
                    "The name of the Secret that holds the passphrase, in the node's namespace.",
                    "keep the old name, or drop operatorKeyring first",
                ),
            ),
            (
                "key",
                Schema::text("The key inside the Secret whose value is the passphrase.")
                    .min_length(1)
                    .max_length(LONGEST_NAME),
            ),
        ],
    )
    .required(["key", "secretName"])
}

fn secret_name(field: &str, description: &str, remedy: &str) -> Schema {
    Schema::text(description)
        .min_length(1)
        .max_length(LONGEST_NAME)
        .pattern(LABEL)
        .checked(rule::UNCHANGED, &format!("{field} cannot change; {remedy}"))
}
