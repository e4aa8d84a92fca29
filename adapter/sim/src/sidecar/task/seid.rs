//! The tasks about the node program.
//!
//! Answers: whether it stops, comes back, reaches a height.
//! Refuses to know: who starts it; a kubelet does.
//! Upholds: data is never wiped under a running program.

use super::{Failure, Progress, Work, read};
use crate::sidecar::kind::Kind;
use serde::Deserialize;
use serde_json::json;

pub(super) fn stop(work: &Work<'_>) -> Progress {
    work.around.seid.stop();
    Progress::Done(None)
}

pub(super) fn restart(work: &Work<'_>) -> Result<Progress, Failure> {
    match work.around.seid.height() {
        Some(_) => Ok(Progress::Done(None)),
        None if work.is_overdue => Err("restart-seid: RPC did not answer in time".into()),
        None => Ok(Progress::Waiting),
    }
}

pub(super) fn reset_data(work: &mut Work<'_>) -> Result<Progress, Failure> {
    if work.around.seid.height().is_some() {
        let error = "reset-data: seid still answers".to_owned();
        return Err(Failure { error, result: Some(json!({"wipedBytes": 0})) });
    }
    let wiped = work.disk.data_bytes;
    work.disk.data_bytes = EMPTY_STATE;
    work.disk.snapshots.clear();
    if let Some(marker) = Kind::ConfigureStateSync.marker() {
        work.disk.markers.remove(marker);
    }
    Ok(Progress::Done(Some(json!({"wipedBytes": wiped}))))
}

/// Size of the zero `priv_validator_state.json` that a reset leaves behind.
const EMPTY_STATE: u64 = 34;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Await {
    condition: String,
    target_height: i64,
    action: String,
}

pub(super) fn await_condition(work: &Work<'_>) -> Result<Progress, Failure> {
    let wanted: Await = read(work.params)?;
    let target = match wanted.condition.as_str() {
        "" => return Err("condition is required".into()),
        "height" if wanted.target_height <= 0 => {
            return Err(format!("targetHeight must be > 0, got {}", wanted.target_height).into());
        }
        "height" => wanted.target_height.unsigned_abs(),
        "catchingUp" => CAUGHT_UP,
        other => return Err(format!("unknown condition {other:?}").into()),
    };
    if work.around.seid.height().is_none_or(|height| height < target) {
        return Ok(Progress::Waiting);
    }
    match wanted.action.as_str() {
        "" => {}
        "SIGTERM_SEID" => work.around.seid.stop(),
        other => return Err(format!("unknown action {other:?}").into()),
    }
    Ok(Progress::Done(None))
}

/// A pretend program is caught up as soon as it is past its first block.
const CAUGHT_UP: u64 = 2;
