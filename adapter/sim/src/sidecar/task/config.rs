//! The tasks that write and check config files.
//!
//! Answers: which intents and patches the pretend library takes.
//! Refuses to know: real defaults; a file holds only what tasks wrote into it.
//! Upholds: a full apply replaces everything before it, a failed one changes nothing.

use super::{Failure, Progress, Work, read};
use crate::sidecar::volume::{Config, NEWEST_SCHEMA, merge};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Intent {
    mode: String,
    incremental: bool,
    target_version: i64,
    overrides: BTreeMap<String, String>,
}

pub(super) fn apply(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let intent: Intent = read(work.params)?;
    if intent.mode.is_empty() && !intent.incremental {
        return Err("config-apply: mode is required for non-incremental config resolution".into());
    }
    if !intent.mode.is_empty() && !MODES.contains(&intent.mode.as_str()) {
        return Err(format!("config-apply: invalid mode {:?}", intent.mode).into());
    }
    let mut config = match (&work.disk.config, intent.incremental) {
        (Some(config), true) => config.clone(),
        (None, true) => return Err("config-apply incremental: reading current config: no app.toml".into()),
        (_, false) => Config::default(),
    };
    for (key, value) in &intent.overrides {
        check_override(key, value).map_err(|why| format!("config-apply: applying overrides: {why}"))?;
    }
    if !intent.mode.is_empty() {
        config.mode = intent.mode;
    }
    config.version = if intent.target_version == 0 { NEWEST_SCHEMA } else { intent.target_version };
    config.overrides.extend(intent.overrides);
    check_outcome(&config)?;
    write(work, &config, !intent.incremental);
    work.disk.config = Some(config);
    Ok(Progress::Done(None))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Patch {
    files: BTreeMap<String, Map<String, Value>>,
}

pub(super) fn patch(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let patch: Patch = read(work.params)?;
    if patch.files.is_empty() {
        return Err("config-patch: at least one file is required".into());
    }
    for (name, change) in &patch.files {
        let file = work.disk.file(name);
        if file.is_string() {
            return Err(format!("config-patch {name}: reading {name}: not TOML").into());
        }
        merge(file, &Value::Object(change.clone()));
    }
    Ok(Progress::Done(None))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Reload {
    fields: BTreeMap<String, String>,
}

pub(super) fn reload(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let reload: Reload = read(work.params)?;
    if reload.fields.is_empty() {
        return Err("config-reload: at least one field is required".into());
    }
    for (key, value) in &reload.fields {
        check_override(key, value).map_err(|why| format!("config-reload: {why}"))?;
        if !HOT.contains(&key.as_str()) {
            return Err(format!("config-reload: fields [{key}] are not hot-reloadable").into());
        }
    }
    let Some(mut config) = work.disk.config.clone() else {
        return Err("config-reload: reading config: no app.toml".into());
    };
    config.overrides.extend(reload.fields);
    check_outcome(&config)?;
    write(work, &config, false);
    work.disk.config = Some(config);
    Ok(Progress::Done(None))
}

pub(super) fn validate(work: &Work<'_>) -> Result<Progress, Failure> {
    let Some(config) = &work.disk.config else {
        return Err("config-validate: reading config: no such file or directory: app.toml".into());
    };
    if let Some((name, _)) = work.disk.files.iter().find(|(_, file)| file.is_string()) {
        return Err(format!("config-validate: reading config: {name}: not TOML").into());
    }
    if config.version > NEWEST_SCHEMA {
        let report = json!({
            "valid": false, "version": config.version, "mode": config.mode,
            "diagnostics": [{"severity": "ERROR", "field": "version", "message": "config version is too new"}],
        });
        return Err(format!("config validation failed: {report}").into());
    }
    Ok(Progress::Done(None))
}

/// Puts the two peer keys where the node program reads them; a full write starts from empty files.
fn write(work: &mut Work<'_>, config: &Config, afresh: bool) {
    if afresh {
        work.disk.files.insert("config.toml".to_owned(), json!({}));
        work.disk.files.insert("app.toml".to_owned(), json!({}));
    }
    for (key, in_file) in PEER_KEYS {
        if let Some(value) = config.overrides.get(key) {
            work.disk.set_config_toml("p2p", in_file, &json!(value));
        }
    }
}

fn check_override(key: &str, value: &str) -> Result<(), String> {
    let mut parts = key.split('.');
    let is_known = parts.next().is_some_and(|section| SECTIONS.contains(&section)) && parts.next().is_some();
    if !is_known {
        return Err(format!("unknown override key {key:?}"));
    }
    let last = key.rsplit('.').next().unwrap_or_default();
    if NUMBERS.contains(&last) && value.parse::<i64>().is_err() {
        return Err(format!("applying override {key:?}={value:?}: expected integer"));
    }
    Ok(())
}

fn check_outcome(config: &Config) -> Result<(), Failure> {
    let value = |key: &str| config.overrides.get(key).map_or("", String::as_str);
    let pruning = value("storage.pruning");
    let diagnostic = if !["", "default", "nothing", "everything", "custom"].contains(&pruning) {
        ("storage.pruning", "unknown pruning strategy")
    } else if pruning == "everything" && !["", "0"].contains(&value("storage.snapshot_interval")) {
        ("storage", "cannot enable snapshots with 'everything' pruning strategy")
    } else if config.mode == "seed" && value("network.p2p.pex") == "false" {
        ("network.p2p.pex", "a seed needs peer exchange")
    } else {
        return Ok(());
    };
    let report = json!([{"severity": "ERROR", "field": diagnostic.0, "message": diagnostic.1}]);
    Err(format!("config validation failed: {report}").into())
}

const MODES: [&str; 4] = ["full", "validator", "archive", "seed"];

/// First segments of the unified schema's keys, as far as they are known.
const SECTIONS: [&str; 14] = [
    "admin",
    "api",
    "chain",
    "consensus",
    "evm",
    "giga_executor",
    "grpc",
    "light_invariance",
    "logging",
    "mempool",
    "metrics",
    "network",
    "self_remediation",
    "storage",
];

/// Last segments whose value must be an integer.
const NUMBERS: [&str; 11] = [
    "http_port",
    "ws_port",
    "snapshot_interval",
    "snapshot_keep_recent",
    "pruning_keep_recent",
    "pruning_keep_every",
    "min_retain_blocks",
    "max_connections",
    "send_rate",
    "recv_rate",
    "async_commit_buffer",
];

const HOT: [&str; 9] = [
    "logging.level",
    "network.p2p.persistent_peers",
    "network.rpc.listen_address",
    "network.rpc.cors_allowed_origins",
    "network.rpc.max_open_connections",
    "network.rpc.lag_threshold",
    "mempool.size",
    "evm.cors_origins",
    "evm.deny_list",
];

const PEER_KEYS: [(&str, &str); 2] = [
    ("network.p2p.persistent_peers", "persistent-peers"),
    ("network.p2p.external_address", "external-address"),
];
