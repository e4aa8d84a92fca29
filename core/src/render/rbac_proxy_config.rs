//! The ConfigMap of the proxy in front of the sidecar: which right a caller needs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{labels, metadata, names};
use crate::api::SeiNode;
use crate::platform::reads_as_itself;

/// The ConfigMap of the proxy (`seinode.md` 19.4).
pub fn rbac_proxy_config(node: &SeiNode) -> ConfigMap {
    let config = format!(
        "authorization:\n  resourceAttributes:\n    apiGroup: sei.io\n    resource: seinodetasks\n    \
         namespace: {}\n    name: {}\n",
        yaml_text(node.namespace()),
        yaml_text(node.name()),
    );
    ConfigMap {
        data: Some(BTreeMap::from([("config.yaml".to_owned(), config)])),
        metadata: metadata(node, names::rbac_proxy_config(node.name()), labels::of_resources(node)),
        ..ConfigMap::default()
    }
}

/// A name as YAML text: bare, unless a reader would take it for a number, a boolean or null and write it
/// otherwise.
fn yaml_text(name: &str) -> String {
    if reads_as_itself(name) { name.to_owned() } else { format!("\"{name}\"") }
}

#[cfg(test)]
mod tests {
    use super::yaml_text;

    #[test]
    fn names_stay_text() {
        for (name, text) in [("a-1", "a-1"), ("1a", "1a"), ("8", "8"), ("1e3", "\"1e3\""), ("on", "\"on\"")] {
            assert_eq!(yaml_text(name), text);
        }
    }
}
