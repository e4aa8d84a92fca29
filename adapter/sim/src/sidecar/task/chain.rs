//! The tasks that bring chain data: genesis, state sync, snapshots.
//!
//! Answers: which object or peer they wait for.
//! Refuses to know: the data itself.
//! Upholds: a marker is set only after the effect.

use super::{Failure, Progress, Work, read};
use crate::sidecar::kind::Kind;
use crate::sidecar::volume::{Genesis, hex};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConfigureGenesis {
    expected_genesis_hash: String,
}

pub(super) fn configure_genesis(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: ConfigureGenesis = read(work.params)?;
    if work.is_marked(Kind::ConfigureGenesis) {
        return Ok(Progress::Done(None));
    }
    if !EMBEDDED.contains(&work.around.chain.as_str()) {
        let file = work.download("configure-genesis", "genesis.json")?;
        let found = hash(&file);
        if !wanted.expected_genesis_hash.is_empty() && wanted.expected_genesis_hash != found {
            let expected = wanted.expected_genesis_hash;
            return Err(format!("configure-genesis: verify-hash: {found}, expected {expected}").into());
        }
    }
    work.disk.genesis = Some(Genesis::Network);
    work.mark(Kind::ConfigureGenesis);
    Ok(Progress::Done(None))
}

/// The hash of an object as configure-genesis and the assembly report it.
pub(super) fn hash(file: &Value) -> String {
    hex(file.to_string().as_bytes(), 32)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StateSync {
    rpc_servers: Vec<String>,
    use_local_snapshot: bool,
    trust_period: String,
    backfill_blocks: i64,
}

pub(super) fn configure_state_sync(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: StateSync = read(work.params)?;
    if work.is_marked(Kind::ConfigureStateSync) {
        return Ok(Progress::Done(None));
    }
    if work.disk.config.is_none() {
        return Err("configure-state-sync: config.toml was not written yet".into());
    }
    let named = if wanted.rpc_servers.is_empty() { peers(work) } else { wanted.rpc_servers };
    if named.is_empty() {
        return Err("configure-state-sync: no peers in config.toml".into());
    }
    let mut witnesses: Vec<_> = named.iter().filter(|one| !work.director.is_silent(one)).cloned().collect();
    match witnesses.as_slice() {
        [] => return Err(format!("configure-state-sync: no reachable RPC witness among {named:?}").into()),
        [only] => witnesses.push(only.clone()),
        _ => {}
    }
    let trusted = match (wanted.use_local_snapshot, work.disk.snapshots.last()) {
        (false, _) => PRETEND_TRUST_HEIGHT,
        (true, Some(height)) => *height,
        (true, None) => return Err("configure-state-sync: no local snapshot".into()),
    };
    let mut section = json!({
        "enable": true,
        "rpc-servers": witnesses.join(","),
        "trust-height": trusted,
        "trust-hash": hex(trusted.to_string().as_bytes(), 32),
        "use-local-snapshot": wanted.use_local_snapshot,
    });
    if !wanted.trust_period.is_empty() {
        section["trust-period"] = json!(wanted.trust_period);
    }
    if wanted.backfill_blocks != 0 {
        section["backfill-blocks"] = json!(wanted.backfill_blocks);
    }
    work.disk.file("config.toml")["statesync"] = section;
    work.mark(Kind::ConfigureStateSync);
    Ok(Progress::Done(None))
}

/// The first two hosts of `persistent-peers`, at the RPC port.
fn peers(work: &Work<'_>) -> Vec<String> {
    let file = work.disk.files.get("config.toml");
    let list = file.and_then(|file| file.pointer("/p2p/persistent-peers")).and_then(Value::as_str);
    let hosts = list.unwrap_or_default().split(',').filter_map(|peer| peer.split_once('@'));
    hosts.filter_map(|(_, at)| at.rsplit_once(':')).take(2).map(|(host, _)| format!("{host}:26657")).collect()
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Restore {
    target_height: i64,
}

pub(super) fn restore_snapshot(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: Restore = read(work.params)?;
    if work.is_marked(Kind::SnapshotRestore) {
        return Ok(Progress::Done(None));
    }
    let Ok(target) = u64::try_from(wanted.target_height) else {
        let given = wanted.target_height;
        return Err(format!("snapshot-restore: targetHeight must be >= 0, got {given}").into());
    };
    let limit = if target == 0 { u64::MAX } else { target };
    let prefix = format!("{}/state-sync/", work.around.chain);
    let stored = work.around.bucket.keys(&prefix);
    let heights =
        stored.iter().filter_map(|key| key.strip_prefix(&prefix)?.strip_suffix(".tar.gz")?.parse().ok());
    let found = match heights.filter(|height| *height <= limit).max() {
        None if !work.around.bucket.is_strict() => {
            Some(if target == 0 { PRETEND_TRUST_HEIGHT } else { target })
        }
        found => found,
    };
    let Some(height) = found else {
        return Err(format!("no snapshot found at or below height {limit} in s3://bucket/{prefix}").into());
    };
    work.disk.snapshots.insert(height);
    work.disk.data_bytes += SNAPSHOT_BYTES;
    work.disk.markers.insert(".sei-sidecar-snapshot-height".to_owned());
    work.mark(Kind::SnapshotRestore);
    Ok(Progress::Done(None))
}

pub(super) fn upload_snapshot(work: &Work<'_>) -> Progress {
    let Some(height) = work.disk.snapshots.iter().rev().nth(1) else {
        return Progress::Done(Some(json!({"outcome": "noop", "noopReason": "fewer-than-2-snapshots"})));
    };
    let key = format!("state-sync/{height}.tar.gz");
    let full = format!("{}/{key}", work.around.chain);
    if work.around.bucket.keys(&full).contains(&full) {
        return Progress::Done(Some(
            json!({"outcome": "noop", "noopReason": "already-uploaded", "height": height}),
        ));
    }
    work.upload(&key, json!(height));
    Progress::Done(Some(json!({"outcome": "uploaded", "height": height, "key": full})))
}

/// Chains whose genesis is built into the program.
const EMBEDDED: [&str; 3] = ["pacific-1", "atlantic-2", "arctic-1"];
/// What every pretend witness reports, and the newest snapshot of a generous store.
const PRETEND_TRUST_HEIGHT: u64 = 100_000;
/// Any size will do, as long as wiping it shows.
const SNAPSHOT_BYTES: u64 = 1_000_000;
