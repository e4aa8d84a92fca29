//! The config intent: overrides of `config-apply` and files of `config-patch` (`seinode.md` 7).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::SeiNode;
use crate::api::mode::{self, Mode};

/// Override of the peers' list; always present.
pub(crate) const PEERS: &str = "network.p2p.persistent_peers";
/// Override of the published address.
pub(crate) const ADDRESS: &str = "network.p2p.external_address";

/// What the operator computes for every node (layer 1).
fn common(node: &SeiNode, peers: &[String]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([
        ("logging.level".to_owned(), "error".to_owned()),
        (PEERS.to_owned(), peers.join(",")),
    ]);
    if let Some(address) = node.spec.external_address.as_ref().filter(|a| !a.is_empty()) {
        out.insert(ADDRESS.to_owned(), address.clone());
    }
    out
}

/// What a mode adds (layer 2).
fn of_mode(node: &SeiNode) -> Vec<(&'static str, String)> {
    let snapshots = mode::tendermint_snapshots(&node.spec);
    match (Mode::of(&node.spec), snapshots) {
        (Some(Mode::FullNode), Some(snapshots)) => vec![
            ("storage.snapshot_interval", "2000".into()),
            ("storage.snapshot_keep_recent", snapshots.keep_recent.to_string()),
            ("storage.pruning_keep_recent", "50000".into()),
            ("storage.pruning_keep_every", "0".into()),
            ("chain.min_retain_blocks", "50000".into()),
            ("network.p2p.max_connections", "500".into()),
            ("network.p2p.send_rate", "20971520".into()),
            ("network.p2p.recv_rate", "20971520".into()),
        ],
        (Some(Mode::Archive), Some(snapshots)) => vec![
            ("storage.snapshot_interval", "2000".into()),
            ("storage.snapshot_keep_recent", snapshots.keep_recent.to_string()),
        ],
        (Some(Mode::Replayer), _) => vec![
            ("storage.state_commit.async_commit_buffer", "100".into()),
            ("storage.state_commit.memiavl.snapshot_keep_recent", "2".into()),
            ("storage.state_commit.memiavl.snapshot_min_time_interval", "3600".into()),
        ],
        (Some(Mode::FullNode | Mode::Archive | Mode::Validator | Mode::Seed) | None, _) => Vec::new(),
    }
}

/// Params of `config-apply`: later layers win, the user's last (hazards invariant 7).
pub(crate) fn config_apply(node: &SeiNode, peers: &[String]) -> Value {
    let mut overrides = common(node, peers);
    overrides.extend(of_mode(node).into_iter().map(|(k, v)| (k.to_owned(), v)));
    overrides.extend(node.spec.overrides.clone().unwrap_or_default());
    let mode = Mode::of(&node.spec).map_or("full", Mode::config_mode);
    json!({"mode": mode, "overrides": overrides})
}

/// Params of `config-patch`: the two p2p keys, user overrides of the same keys winning (W11).
pub(crate) fn config_patch(node: &SeiNode, peers: &[String]) -> Value {
    let user = |key: &str| node.spec.overrides.as_ref().and_then(|o| o.get(key)).cloned();
    let address = user(ADDRESS).or_else(|| node.spec.external_address.clone()).unwrap_or_default();
    let peers = user(PEERS).unwrap_or_else(|| peers.join(","));
    json!({"files": {"config.toml": {"p2p": {"external-address": address, "persistent-peers": peers}}}})
}

/// The peers in params of `config-patch`, stored or sent.
pub(crate) fn patched_peers(params: &Value) -> Option<&str> {
    params.pointer("/files/config.toml/p2p/persistent-peers").and_then(Value::as_str)
}

/// The published address in params of `config-patch`, stored or sent.
pub(crate) fn patched_address(params: &Value) -> Option<&str> {
    params.pointer("/files/config.toml/p2p/external-address").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w11_user_overrides_of_the_p2p_keys_win_in_every_config_write() {
        let mut node = SeiNode::default();
        node.spec.external_address = Some("spec:1".into());
        node.spec.overrides =
            Some(BTreeMap::from([(ADDRESS.into(), "mine:2".into()), (PEERS.into(), "p@h:1".into())]));
        let apply = config_apply(&node, &["other@h:1".into()]);
        assert_eq!(apply["overrides"][ADDRESS], "mine:2");
        assert_eq!(apply["overrides"][PEERS], "p@h:1");
        let patch = config_patch(&node, &["other@h:1".into()]);
        assert_eq!(
            patch,
            json!({"files": {"config.toml": {"p2p": {"external-address": "mine:2", "persistent-peers": "p@h:1"}}}})
        );
    }
}
