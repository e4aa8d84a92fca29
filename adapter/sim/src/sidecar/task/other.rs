//! Governance, export and digest: tasks that a node's plans do not use.
//!
//! Answers: required params, and a plausible good end.
//! Refuses to know: chains, transactions and pages.
//! Upholds: without a keyring nothing is signed.

use super::{Failure, Progress, Work, read, require};
use crate::sidecar::kind::Kind;
use crate::sidecar::volume::hex;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Govern {
    chain_id: String,
    fees: String,
    gas: u64,
    proposal_id: u64,
    option: String,
    title: String,
}

pub(super) fn govern(kind: Kind, work: &Work<'_>) -> Result<Progress, Failure> {
    let wanted: Govern = read(work.params)?;
    if kind == Kind::GovVote {
        if wanted.proposal_id == 0 {
            return Err("proposalId required (must be > 0)".into());
        }
        let option = wanted.option.to_ascii_lowercase();
        if !["yes", "no", "abstain", "no_with_veto", "no-with-veto"].contains(&option.as_str()) {
            return Err(format!("invalid vote option {option:?}").into());
        }
    }
    if !work.around.has_keyring {
        return Err("keyring not configured: set SEI_KEYRING_BACKEND on the sidecar".into());
    }
    if wanted.chain_id != work.around.chain {
        return Err(format!("chain mismatch: params.chainId={:?}", wanted.chain_id).into());
    }
    if wanted.fees.is_empty() || wanted.gas == 0 {
        return Err("fees and gas required".into());
    }
    if kind != Kind::GovVote && wanted.title.is_empty() {
        return Err("title required".into());
    }
    let Some(height) = work.around.seid.height() else {
        return Err("seid is not reachable".into());
    };
    let bytes = json!([kind.name(), work.params]).to_string();
    let mut result = json!({
        "txHash": hex(bytes.as_bytes(), 32).to_ascii_uppercase(),
        "height": height,
        "inclusionStatus": "committed_ok",
    });
    if kind != Kind::GovVote {
        result["proposalId"] = json!(1);
    }
    Ok(Progress::Done(Some(result)))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Export {
    bucket: String,
    region: String,
    canonical_rpc: String,
}

pub(super) fn export(work: &Work<'_>) -> Result<Progress, Failure> {
    let wanted: Export = read(work.params)?;
    require("result-export", "bucket", &wanted.bucket)?;
    require("result-export", "region", &wanted.region)?;
    Ok(if wanted.canonical_rpc.is_empty() { Progress::Done(None) } else { Progress::Waiting })
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Digest {
    bucket: String,
    region: String,
    height: i64,
    flatkv_dir: String,
    memiavl_dir: String,
    normalizations: Vec<Value>,
}

pub(super) fn digest(work: &Work<'_>) -> Result<Progress, Failure> {
    let wanted: Digest = read(work.params)?;
    let task = "evm-logical-digest";
    require(task, "bucket", &wanted.bucket)?;
    require(task, "region", &wanted.region)?;
    if wanted.height <= 0 {
        return Err(format!("{task}: 'height' must be a positive block height, got {}", wanted.height).into());
    }
    require(task, "flatkvDir", &wanted.flatkv_dir)?;
    require(task, "memiavlDir", &wanted.memiavl_dir)?;
    let known = [json!("semantic"), json!("translator")];
    match wanted.normalizations.iter().find(|one| !known.contains(one)) {
        Some(unknown) => Err(format!("{task}: unknown normalization {unknown}").into()),
        None => Err(format!("{task}: seidb: executable file not found").into()),
    }
}
