//! What goes over the wire to the sidecar for a stored task (`seinode.md` 9).

use serde_json::{Map, Value, json};

use super::params::{boolean, field, integer, required, text};
use crate::api::TaskType;

/// Wire params of a task: `None` where the type has none. An error means that the stored params can't be decoded.
pub(crate) fn params(task_type: &TaskType, stored: &Value) -> Result<Option<Value>, String> {
    match task_type {
        TaskType::SnapshotRestore => {
            let height = integer(stored, "TargetHeight")?;
            Ok((height > 0).then(|| json!({"targetHeight": height})))
        }
        TaskType::ConfigureGenesis => {
            let hash = text(stored, "ExpectedGenesisHash")?;
            Ok((!hash.is_empty()).then(|| json!({"expectedGenesisHash": hash})))
        }
        TaskType::ConfigApply => {
            let mut out = Map::new();
            let incremental = boolean(stored, "incremental")?;
            let mode = if incremental { text(stored, "mode")? } else { required(stored, "mode")? };
            out.insert("mode".into(), json!(mode));
            out.insert("incremental".into(), json!(incremental));
            out.insert("targetVersion".into(), json!(integer(stored, "targetVersion")?));
            match field(stored, "overrides") {
                None => {}
                Some(Value::Object(map)) if map.values().all(Value::is_string) => {
                    if !map.is_empty() {
                        out.insert("overrides".into(), Value::Object(map.clone()));
                    }
                }
                Some(_) => return Err("params.overrides is not a map of texts".into()),
            }
            Ok(Some(Value::Object(out)))
        }
        TaskType::ConfigureStateSync => {
            let mut out = Map::new();
            if boolean(stored, "UseLocalSnapshot")? {
                out.insert("useLocalSnapshot".into(), json!(true));
            }
            let trust_period = text(stored, "TrustPeriod")?;
            if !trust_period.is_empty() {
                out.insert("trustPeriod".into(), json!(trust_period));
            }
            let backfill = integer(stored, "BackfillBlocks")?;
            if backfill > 0 {
                out.insert("backfillBlocks".into(), json!(backfill));
            }
            match field(stored, "RpcServers") {
                None => {}
                Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                    if !list.is_empty() {
                        out.insert("rpcServers".into(), json!(list));
                    }
                }
                Some(_) => return Err("params.RpcServers is not a list of texts".into()),
            }
            Ok((!out.is_empty()).then_some(Value::Object(out)))
        }
        TaskType::ConfigPatch => match field(stored, "files") {
            Some(Value::Object(files)) if !files.is_empty() => Ok(Some(json!({"files": files}))),
            _ => Err("params.files is not a map with at least one file".into()),
        },
        TaskType::GenerateIdentity => Ok(Some(json!({
            "chainId": required(stored, "ChainID")?,
            "moniker": required(stored, "Moniker")?,
        }))),
        TaskType::GenerateGentx => Ok(Some(json!({
            "chainId": required(stored, "ChainID")?,
            "stakingAmount": required(stored, "StakingAmount")?,
            "accountBalance": required(stored, "AccountBalance")?,
        }))),
        TaskType::UploadGenesisArtifacts => Ok(Some(json!({"nodeName": required(stored, "NodeName")?}))),
        TaskType::ConfigValidate
        | TaskType::MarkReady
        | TaskType::SetGenesisPeers
        | TaskType::MarkNotReady
        | TaskType::StopSeid
        | TaskType::ResetData => Ok(None),
        other => Err(format!("{other} is not a task of the sidecar")),
    }
}

/// Whether a record holds what we would send: absent and empty params are the same, numbers compare by value.
pub(crate) fn same(ours: Option<&Value>, theirs: Option<&Value>) -> bool {
    let empty = |v: Option<&Value>| v.is_none_or(|v| v.is_null() || v.as_object().is_some_and(Map::is_empty));
    match (ours, theirs) {
        (Some(a), Some(b)) => equal(a, b),
        (a, b) => empty(a) && empty(b),
    }
}

/// Equality with numbers compared by value: the sidecar passes them through a double.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| equal(v, w)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_params_become_the_wire_params_of_the_contract() {
        let rows = [
            (TaskType::SnapshotRestore, json!({"TargetHeight": 7}), Some(json!({"targetHeight": 7}))),
            (TaskType::SnapshotRestore, json!({"targetheight": 7}), Some(json!({"targetHeight": 7}))),
            (TaskType::SnapshotRestore, json!({"TargetHeight": 0}), None),
            (TaskType::ConfigureGenesis, json!({"ExpectedGenesisHash": ""}), None),
            (
                TaskType::ConfigureGenesis,
                json!({"ExpectedGenesisHash": "ab"}),
                Some(json!({"expectedGenesisHash": "ab"})),
            ),
            (
                TaskType::ConfigApply,
                json!({"mode": "full", "overrides": {"a.b": "1"}}),
                Some(
                    json!({"mode": "full", "incremental": false, "targetVersion": 0, "overrides": {"a.b": "1"}}),
                ),
            ),
            (
                TaskType::ConfigureStateSync,
                json!({"UseLocalSnapshot": true, "TrustPeriod": "1h", "BackfillBlocks": 3, "RpcServers": ["a:1", "b:2"]}),
                Some(
                    json!({"useLocalSnapshot": true, "trustPeriod": "1h", "backfillBlocks": 3, "rpcServers": ["a:1", "b:2"]}),
                ),
            ),
            (
                TaskType::ConfigureStateSync,
                json!({"UseLocalSnapshot": false, "TrustPeriod": "", "BackfillBlocks": 0, "RpcServers": null}),
                None,
            ),
            (TaskType::ConfigValidate, json!({}), None),
            (TaskType::MarkReady, json!({}), None),
            (TaskType::SetGenesisPeers, json!({}), None),
            (
                TaskType::GenerateIdentity,
                json!({"ChainID": "c", "Moniker": "m"}),
                Some(json!({"chainId": "c", "moniker": "m"})),
            ),
            (TaskType::UploadGenesisArtifacts, json!({"NodeName": "n"}), Some(json!({"nodeName": "n"}))),
        ];
        for (task_type, stored, wire) in rows {
            assert_eq!(params(&task_type, &stored), Ok(wire), "{task_type} {stored}");
        }
        assert!(params(&TaskType::ConfigPatch, &json!({"files": {}})).is_err());
        assert!(params(&TaskType::GenerateGentx, &json!({"ChainID": "c"})).is_err());
        assert!(params(&TaskType::ConfigApply, &json!({"mode": "full", "overrides": {"a": 1}})).is_err());
    }

    #[test]
    fn records_are_ours_when_their_params_say_the_same() {
        assert!(same(None, Some(&json!({}))));
        assert!(same(Some(&json!({"h": 7})), Some(&json!({"h": 7.0}))));
        assert!(!same(Some(&json!({"h": 7})), None));
        assert!(!same(Some(&json!({"h": 7})), Some(&json!({"h": 8}))));
    }
}
