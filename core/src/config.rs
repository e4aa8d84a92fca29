//! Whether the config of a Running node is what its spec asks for (S19).
//!
//! Config files are written when a node starts; an update brings the two p2p keys only, because a whole new config would
//! wipe what state sync wrote. What the files have is told by the sidecar's records, so nothing of it is stored. It is
//! compared when a plan that wrote config has ended, and once for each generation of the spec; an idle node asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::{SeiNode, TaskType, mode};
use crate::draft::{self, StatusDraft};
use crate::gate::witnesses;
use crate::plan::intent::{self, ADDRESS, PEERS};
use crate::plan::recipe::Inputs;
use crate::task::{params, wire};
use crate::world::{SidecarTask, SidecarTaskStatus};

/// Reason before the first comparison.
const NOT_COMPARED: &str = "NotCompared";

/// The condition is there from the first pass on.
pub(crate) fn seed(draft: &mut StatusDraft<'_>) {
    let text = "the config is compared with the spec once the node runs";
    draft.seed(ConditionType::ConfigOutdated, ConditionStatus::Unknown, NOT_COMPARED, text);
}

/// Whether the spec was not compared with the config since it changed.
pub(crate) fn is_due(draft: &StatusDraft<'_>) -> bool {
    let today = draft.node().generation();
    draft
        .find(&ConditionType::ConfigOutdated)
        .is_none_or(|c| c.reason == NOT_COMPARED || c.observed_generation != Some(today))
}

/// Compares, and shows the result. `peers` are those that the node should have.
pub(crate) fn compare<'a>(
    draft: &mut StatusDraft<'_>,
    records: impl IntoIterator<Item = &'a SidecarTask>,
    peers: &[String],
) {
    let kind = ConditionType::ConfigOutdated;
    let Some(written) = Written::read(records) else {
        let text = "the sidecar has no record of the config that it wrote, so nothing can be compared";
        draft.condition(kind, ConditionStatus::Unknown, "NotRecorded", text);
        return;
    };
    let keys = differing(draft.node(), peers, &written);
    if keys.is_empty() {
        draft.condition(kind, ConditionStatus::False, "UpToDate", "the config has what the spec asks for");
        return;
    }
    let text = format!(
        "the running node does not have: {}. {PEERS} and {ADDRESS} come with the next update of an image; anything else \
         only when the node is made anew: delete it, or import its volume into a new node",
        keys.join(", ")
    );
    draft.condition(kind, ConditionStatus::True, "SpecChanged", &draft::cut(&text));
}

/// What the sidecar has written, from its records.
#[derive(Debug, Default, PartialEq)]
struct Written {
    overrides: BTreeMap<String, String>,
    /// The network's own list of peers was written last; no record says what it holds.
    has_network_peers: bool,
    restored: Option<Value>,
    synced: Option<Value>,
}

impl Written {
    /// `None` if no whole config is among the records: the sidecar shows the newest hundred.
    fn read<'a>(records: impl IntoIterator<Item = &'a SidecarTask>) -> Option<Self> {
        let mut done: Vec<_> =
            records.into_iter().filter(|r| r.status == SidecarTaskStatus::Completed).collect();
        done.sort_by_key(|r| r.completed_at.as_ref().and_then(crate::api::Stamp::at));
        let mut out = Self::default();
        let mut whole = false;
        for record in done {
            let sent = record.params.clone().unwrap_or(Value::Null);
            match TaskType::from(record.task_type.clone()) {
                TaskType::ConfigApply => {
                    out.has_network_peers = false;
                    if params::boolean(&sent, "incremental") != Ok(true) {
                        whole = true;
                        out.overrides.clear();
                    }
                    let overrides = params::field(&sent, "overrides").and_then(Value::as_object);
                    let texts = overrides.into_iter().flatten();
                    out.overrides
                        .extend(texts.filter_map(|(key, v)| Some((key.clone(), v.as_str()?.to_owned()))));
                }
                TaskType::SetGenesisPeers => out.has_network_peers = true,
                TaskType::ConfigPatch => {
                    out.has_network_peers &= intent::patched_peers(&sent).is_none();
                    let patched =
                        [(PEERS, intent::patched_peers(&sent)), (ADDRESS, intent::patched_address(&sent))];
                    let set =
                        patched.into_iter().filter_map(|(key, v)| Some((key.to_owned(), v?.to_owned())));
                    out.overrides.extend(set);
                }
                TaskType::SnapshotRestore => out.restored = Some(sent),
                // Its marker makes each later run do nothing.
                TaskType::ConfigureStateSync => {
                    out.synced.get_or_insert(sent);
                }
                _ => {}
            }
        }
        whole.then_some(out)
    }
}

/// Keys that the spec asks for and the config does not have, or has with another value, or has and should not.
fn differing(node: &SeiNode, peers: &[String], written: &Written) -> Vec<String> {
    let intent = intent::config_apply(node, peers);
    let wanted: BTreeMap<String, String> = intent
        .get("overrides")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, v)| (key.clone(), v.as_str().unwrap_or_default().to_owned()))
        .collect();
    let keys: BTreeSet<&String> = wanted.keys().chain(written.overrides.keys()).collect();
    let is_same = |key: &String| match (wanted.get(key), written.overrides.get(key)) {
        _ if key == PEERS && written.has_network_peers => true,
        // An empty list of peers and no list are the same, and so are addresses.
        (a, b) if key == PEERS || key == ADDRESS => {
            a.map_or("", String::as_str) == b.map_or("", String::as_str)
        }
        (a, b) => a == b,
    };
    let mut out: Vec<String> = keys.into_iter().filter(|key| !is_same(key)).cloned().collect();
    out.extend(snapshot(node, written).into_iter().map(str::to_owned));
    out
}

/// Fields of the snapshot that were edited since the node started from it. Witnesses count where the spec names them: those
/// of the registry change by themselves.
fn snapshot(node: &SeiNode, written: &Written) -> Vec<&'static str> {
    let spec = &node.spec;
    if mode::has_genesis_ceremony(spec) {
        return Vec::new();
    }
    let source = mode::snapshot_source(spec);
    let Some(source) = source else {
        return if written.synced.is_some() { vec!["snapshot"] } else { Vec::new() };
    };
    let Some(synced) = &written.synced else { return vec!["snapshot"] };
    let witnesses = witnesses::declared(node);
    let inputs = Inputs { node, peers: &[], witnesses: &witnesses };
    let sent = |kind: TaskType| {
        let (kind, stored) = inputs.task(kind);
        wire::params(&kind, &stored).ok().flatten().unwrap_or(Value::Null)
    };
    let wanted = sent(TaskType::ConfigureStateSync);
    let mut fields = vec![
        ("useLocalSnapshot", "snapshot.s3"),
        ("trustPeriod", "snapshot.trustPeriod"),
        ("backfillBlocks", "snapshot.backfillBlocks"),
    ];
    if witnesses.len() >= witnesses::FEWEST {
        fields.push(("rpcServers", "snapshot.rpcServers"));
    }
    let mut out: Vec<_> = fields
        .into_iter()
        .filter(|(key, _)| params::field(&wanted, key) != params::field(synced, key))
        .map(|(_, field)| field)
        .collect();
    if source.s3.is_some()
        && let Some(restored) = &written.restored
        && params::integer(restored, "targetHeight")
            != params::integer(&sent(TaskType::SnapshotRestore), "targetHeight")
    {
        out.push("snapshot.s3.targetHeight");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Stamp;

    fn record(second: u32, kind: &TaskType, params: Value) -> SidecarTask {
        let at = format!("2026-11-24T12:00:{second:02}Z").parse().expect("a time");
        SidecarTask {
            id: second.to_string(),
            task_type: kind.to_string(),
            status: SidecarTaskStatus::Completed,
            run: 1,
            params: Some(params),
            error: None,
            submitted_at: Some(Stamp::of(at)),
            completed_at: Some(Stamp::of(at)),
        }
    }

    fn apply(second: u32, incremental: bool, overrides: &Value) -> SidecarTask {
        let params = json!({"mode": "full", "incremental": incremental, "overrides": overrides});
        record(second, &TaskType::ConfigApply, params)
    }

    fn overrides(records: &[SidecarTask]) -> Option<BTreeMap<String, String>> {
        Written::read(records).map(|w| w.overrides)
    }

    #[test]
    fn records_are_folded_in_the_order_of_their_ends() {
        let (a, b) = (json!({"a": "1", "b": "1"}), json!({"a": "2"}));
        let map = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>())
        };
        assert_eq!(overrides(&[]), None);
        assert_eq!(overrides(&[apply(1, true, &a)]), None, "what the whole config was is not known");
        assert_eq!(
            overrides(&[apply(2, false, &b), apply(1, false, &a)]),
            map(&[("a", "2")]),
            "a whole one wipes"
        );
        // An incremental one leaves what it does not name: a removed override stays in the config.
        assert_eq!(overrides(&[apply(2, true, &b), apply(1, false, &a)]), map(&[("a", "2"), ("b", "1")]));
        let patch =
            json!({"files": {"config.toml": {"p2p": {"external-address": "x", "persistent-peers": "p"}}}});
        assert_eq!(
            overrides(&[apply(1, false, &b), record(2, &TaskType::ConfigPatch, patch)]),
            map(&[("a", "2"), (ADDRESS, "x"), (PEERS, "p")])
        );
    }

    #[test]
    fn the_first_state_sync_counts_because_its_marker_stays() {
        let sync = |second, period: &str| {
            record(second, &TaskType::ConfigureStateSync, json!({"trustPeriod": period}))
        };
        let records = [apply(1, false, &json!({})), sync(3, "2h"), sync(2, "1h")];
        assert_eq!(Written::read(&records).and_then(|w| w.synced), Some(json!({"trustPeriod": "1h"})));
    }

    #[test]
    fn the_list_of_a_network_is_not_compared() {
        let node = SeiNode::default();
        let list = record(2, &TaskType::SetGenesisPeers, Value::Null);
        let written =
            Written::read(&[apply(1, false, &json!({"logging.level": "error"})), list]).expect("a config");
        assert_eq!(differing(&node, &["a@b:1".to_owned()], &written), Vec::<String>::new());
    }
}
