//! Labels of the children (`seinode.md` 19).
//!
//! Answers: which labels an object carries and which select its pod. Laws: system labels win over the user's,
//! and the user can't bring in the two that move other pods or start an upload.

use std::collections::BTreeMap;

use crate::api::SeiNode;
use crate::api::mode::{self, Mode};

/// Name of the node.
pub const NODE: &str = "sei.io/node";
/// Chain id.
pub const CHAIN: &str = "sei.io/chain";
/// Role of the node.
pub const ROLE: &str = "sei.io/role";
/// Annotation on the node and label on its children: no other node on the same host.
pub const DEDICATED_NODE: &str = "sei.io/dedicated-node";
/// An outside job uploads the snapshots of this node.
pub const SNAPSHOT_PUBLISH: &str = "sei.io/snapshot-publish";
/// Tells bootstrap objects from the others.
pub const COMPONENT: &str = "sei.io/component";
/// Value of [`COMPONENT`] on what belongs to a bootstrap.
pub const BOOTSTRAP: &str = "bootstrap";

/// Labels of the StatefulSet, its pod, the Service, the claim and the ConfigMap.
pub fn of_resources(node: &SeiNode) -> BTreeMap<String, String> {
    let mut labels = node.spec.pod_labels.clone().unwrap_or_default();
    // Deliberate difference (S34): where these two do not apply, a user's label of that name does not count
    // either.
    labels.remove(DEDICATED_NODE);
    labels.remove(SNAPSHOT_PUBLISH);
    let mut put = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
    put(NODE, node.name());
    if !node.spec.chain_id.is_empty() {
        put(CHAIN, &node.spec.chain_id);
    }
    put(ROLE, Mode::of(&node.spec).unwrap_or(Mode::FullNode).role());
    if is_dedicated(node) {
        put(DEDICATED_NODE, "true");
    }
    if mode::publishes_snapshots(&node.spec) {
        put(SNAPSHOT_PUBLISH, "true");
    }
    labels
}

/// Labels of the bootstrap Job, its pod and its Service, and the selector of that Service.
pub fn of_bootstrap(node: &SeiNode) -> BTreeMap<String, String> {
    let mut labels = selector(node);
    labels.insert(COMPONENT.to_owned(), BOOTSTRAP.to_owned());
    labels
}

/// What selects the pod of a node.
pub fn selector(node: &SeiNode) -> BTreeMap<String, String> {
    BTreeMap::from([(NODE.to_owned(), node.name().to_owned())])
}

/// Whether the node wants a host of its own; only the exact text counts.
pub fn is_dedicated(node: &SeiNode) -> bool {
    let annotations = node.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DEDICATED_NODE)).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(fields: Value) -> SeiNode {
        serde_json::from_value(fields).expect("a node reads leniently")
    }

    fn labels<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
        entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn system_labels_win_and_two_can_not_be_brought_in() {
        let plain = node(
            json!({"metadata": {"name": "a"}, "spec": {"chainId": "c", "seed": {}, "podLabels": {
                "team": "t", NODE: "x", CHAIN: "x", ROLE: "x", DEDICATED_NODE: "true", SNAPSHOT_PUBLISH: "true",
            }}}),
        );
        assert_eq!(of_resources(&plain), labels([("team", "t"), (NODE, "a"), (CHAIN, "c"), (ROLE, "seed")]));
        let special = node(json!({
            "metadata": {"name": "a", "annotations": {DEDICATED_NODE: "true"}},
            "spec": {
                "podLabels": {DEDICATED_NODE: "no", SNAPSHOT_PUBLISH: "no"},
                "archive": {"snapshotGeneration": {"tendermint": {"keepRecent": 2, "publish": {}}}},
            },
        }));
        assert_eq!(
            of_resources(&special),
            labels([(NODE, "a"), (ROLE, "archive"), (DEDICATED_NODE, "true"), (SNAPSHOT_PUBLISH, "true")])
        );
    }

    #[test]
    fn only_the_exact_text_dedicates() {
        for (value, dedicated) in [("true", true), ("True", false), ("", false), ("1", false)] {
            let node = node(json!({"metadata": {"annotations": {DEDICATED_NODE: value}}}));
            assert_eq!(is_dedicated(&node), dedicated, "{value}");
        }
    }
}
