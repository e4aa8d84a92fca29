//! The data volume: everything that outlives a sidecar process and its pod.
//!
//! Answers: which records, markers, files and keys there are.
//! Refuses to know: readiness, which lives and dies with a process.
//! Upholds: a new volume is empty; two processes on one volume see the same state.

use super::record::Record;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// What `config/genesis.json` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Genesis {
    /// Without module state, as generate-identity makes it.
    Bare,
    /// With module state, as the node program's own initialisation makes it.
    Initial,
    /// The network's genesis, built in or downloaded.
    Network,
}

/// The intent that the last successful config-apply left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `full`, `validator`, `archive` or `seed`.
    pub mode: String,
    /// Schema version as written, also when it is too new to be read.
    pub version: i64,
    /// Overrides merged over all applies since the last full one.
    pub overrides: BTreeMap<String, String>,
}

/// The contents of a volume. Plain data, open to tests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disk {
    /// Tells volumes apart; node ids derive from it.
    pub label: String,
    /// The task database by id.
    pub records: BTreeMap<String, Record>,
    /// Marker files.
    pub markers: BTreeSet<String>,
    /// TOML files under `config/` as values. Only keys that tasks wrote, not the defaults around them.
    pub files: BTreeMap<String, Value>,
    /// What config-apply wrote, in the dotted keys it was given.
    pub config: Option<Config>,
    /// The genesis file.
    pub genesis: Option<Genesis>,
    /// Accounts that an assembly wrote into the local genesis file.
    pub genesis_accounts: BTreeSet<String>,
    /// The P2P id of `config/node_key.json`.
    pub node_id: Option<String>,
    /// Names of keys in the keyring on the volume.
    pub keyring: BTreeSet<String>,
    /// Whether a genesis transaction was made.
    pub gentx: bool,
    /// Heights of the state-sync snapshots in `data/snapshots`.
    pub snapshots: BTreeSet<u64>,
    /// Size of `data`.
    pub data_bytes: u64,
    /// Submissions ever accepted.
    pub sequence: u64,
}

/// A handle on one volume; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Volume(Arc<Mutex<Disk>>);

impl Volume {
    /// An empty volume. The label should be unique, a claim's name and uid for example.
    pub fn new(label: &str) -> Self {
        Self(Arc::new(Mutex::new(Disk { label: label.to_owned(), ..Disk::default() })))
    }

    /// Looks at the contents, or changes them by hand as a test may wish to.
    pub fn with<R>(&self, look: impl FnOnce(&mut Disk) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loses the task database and nothing else.
    pub fn forget_records(&self) {
        self.with(|disk| disk.records.clear());
    }

    /// The `statesync` section of config.toml.
    pub fn state_sync(&self) -> Option<Value> {
        self.with(|disk| disk.files.get("config.toml")?.get("statesync").cloned())
    }

    /// The node program's first initialisation: genesis and node key, if there is no genesis yet.
    /// It writes config files too, but none that config-validate would take, so they are left out.
    pub fn initialise(&self) {
        self.with(|disk| {
            if disk.genesis.is_none() {
                disk.genesis = Some(Genesis::Initial);
                disk.make_node_key("initial");
            }
        });
    }
}

/// The newest config schema that the pretend library reads.
pub(super) const NEWEST_SCHEMA: i64 = 2;

impl Disk {
    /// The records as the list shows them: the 100 newest, newest submission first.
    pub fn newest_records(&self) -> Vec<&Record> {
        let mut records: Vec<_> = self.records.values().collect();
        records.sort_by_key(|record| std::cmp::Reverse((record.submitted_at, record.sequence)));
        records.truncate(LISTED);
        records
    }

    /// The newest submission of a type, whatever became of it.
    pub(super) fn newest_of(&self, kind: &str) -> Option<Timestamp> {
        self.records.values().filter(|record| record.kind == kind).map(|record| record.submitted_at).max()
    }

    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn make_node_key(&mut self, origin: &str) {
        self.node_id = Some(hex(format!("{}/{origin}", self.label).as_bytes(), 20));
    }

    /// A file under `config/`, made if it is missing.
    pub(super) fn file(&mut self, name: &str) -> &mut Value {
        self.files.entry(name.to_owned()).or_insert_with(|| json!({}))
    }

    /// Sets one key of a section of config.toml.
    pub(super) fn set_config_toml(&mut self, section: &str, key: &str, value: &Value) {
        let patch = json!({ section: { key: value } });
        merge(self.file("config.toml"), &patch);
    }
}

/// Recursive merge: objects merge, null deletes, everything else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The first `bytes` bytes of a SHA-256 in lower-case hex.
pub(super) fn hex(input: &[u8], bytes: usize) -> String {
    Sha256::digest(input).iter().take(bytes).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The server cuts its list at this length.
const LISTED: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_deletes_and_objects_merge() {
        let mut file = json!({"p2p": {"a": 1, "b": 2}, "x": 3});
        merge(&mut file, &json!({"p2p": {"a": null, "c": {"d": 4}}, "x": {"y": 5}}));
        assert_eq!(file, json!({"p2p": {"b": 2, "c": {"d": 4}}, "x": {"y": 5}}));
    }
}
