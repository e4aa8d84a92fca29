//! Manifests from files: YAML or JSON, several documents, checked as the API server would check them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use seinode_core::api::{self, SeiNode, admission, mode};
use serde::Deserialize;
use serde_json::{Value, json};

/// A manifest that can't be used; every line of the text names a field and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("{}: can't be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no YAML.
    #[error("{}: document {index} is no YAML: {source}; check indentation and quotes there", path.display())]
    Yaml {
        /// Which file.
        path: PathBuf,
        /// Which document, from 1.
        index: usize,
        /// Where and why.
        source: serde_yaml_ng::Error,
    },
    /// A document is not what is expected.
    #[error("{}: {text}", path.display())]
    Refused {
        /// Which file.
        path: PathBuf,
        /// What is wrong, a line each.
        text: String,
    },
}

/// Every document of a file.
pub fn documents(path: &Path) -> Result<Vec<Value>, ManifestError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ManifestError::Unreadable { path: path.to_owned(), source })?;
    let mut out = Vec::new();
    for (i, document) in serde_yaml_ng::Deserializer::from_str(&text).enumerate() {
        let value = Value::deserialize(document).map_err(|source| ManifestError::Yaml {
            path: path.to_owned(),
            index: i + 1,
            source,
        })?;
        if !value.is_null() {
            out.push(value);
        }
    }
    Ok(out)
}

/// The SeiNodes of a file, as the API server would store them, in namespace `default` where they name none.
pub fn nodes(path: &Path) -> Result<Vec<SeiNode>, ManifestError> {
    let refuse = |text: String| ManifestError::Refused { path: path.to_owned(), text };
    let documents = documents(path)?;
    if documents.is_empty() {
        return Err(refuse("the file holds no object; put a SeiNode manifest into it".to_owned()));
    }
    documents.into_iter().map(|document| node(document).map_err(refuse)).collect()
}

fn node(mut document: Value) -> Result<SeiNode, String> {
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text(&document, "apiVersion"), text(&document, "kind"));
    if (version.as_str(), kind.as_str()) != (api::API_VERSION, api::KIND) {
        return Err(format!(
            "apiVersion: {version:?} with kind: {kind:?} is not handled here; write apiVersion: {} and kind: {}",
            api::API_VERSION,
            api::KIND
        ));
    }
    let Some(meta) = document.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err("metadata: is missing; give the node a metadata.name".to_owned());
    };
    if meta.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("metadata.name: is missing; give the node a name".to_owned());
    }
    meta.entry("namespace").or_insert(json!("default"));
    let stored = admission::check(&document).map_err(|errors| {
        errors.iter().fold(String::new(), |mut all, error| {
            let _ = write!(all, "{}{error}", if all.is_empty() { "" } else { "\n" });
            all
        })
    })?;
    let node: SeiNode = serde_json::from_value(stored).map_err(|error| format!("metadata: {error}"))?;
    if let Some(text) = &node.unreadable {
        return Err(text.clone());
    }
    mode::validate(&node.spec).map_err(|error| error.to_string())?;
    for key in node.spec.overrides.iter().flatten().map(|(key, _)| key) {
        if !is_override_key(key) {
            return Err(format!(
                "spec.overrides[{key}]: is no key of the config schema; write dotted lower-case keys such as \
                 network.p2p.max_connections"
            ));
        }
    }
    Ok(node)
}

/// Whether a text can be a key of the config schema: at least two lower-case words with dots between.
fn is_override_key(key: &str) -> bool {
    let word = |w: &str| {
        !w.is_empty()
            && w.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
    };
    key.contains('.') && key.split('.').all(word)
}
