//! What the handlers of the task types do to a volume.
//!
//! Answers: how a run ends when the script leaves it to the handler.
//! Refuses to know: records, ids and HTTP; `process` keeps those.
//! Upholds: params of a wrong JSON type fail first; a marker makes the rest a no-op.

mod chain;
mod config;
mod genesis;
mod other;
mod seid;

use super::director::Director;
use super::kind::Kind;
use super::surroundings::Surroundings;
use super::volume::Disk;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What a handler works with.
pub(super) struct Work<'a> {
    pub(super) disk: &'a mut Disk,
    pub(super) ready: &'a mut bool,
    pub(super) around: &'a Surroundings,
    pub(super) director: &'a Director,
    pub(super) params: Option<&'a Map<String, Value>>,
    /// A failure that was decided when the run began.
    pub(super) doom: Option<&'a str>,
    /// The run has lasted as long as its handler waits at most.
    pub(super) is_overdue: bool,
}

/// How far a handler got.
pub(super) enum Progress {
    Done(Option<Value>),
    /// It waits for the node program and looks again later.
    Waiting,
}

/// A failed run.
pub(super) struct Failure {
    pub(super) error: String,
    pub(super) result: Option<Value>,
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self { error, result: None }
    }
}

impl From<&str> for Failure {
    fn from(error: &str) -> Self {
        error.to_owned().into()
    }
}

/// Runs a handler to its end.
pub(super) fn perform(kind: Kind, mut work: Work<'_>) -> Result<Progress, Failure> {
    match kind {
        Kind::MarkReady => {
            *work.ready = true;
            Ok(Progress::Done(None))
        }
        Kind::MarkNotReady => {
            work.disk.records.retain(|_, record| record.kind != Kind::MarkReady.name());
            *work.ready = false;
            Ok(Progress::Done(None))
        }
        Kind::ConfigApply => config::apply(&mut work),
        Kind::ConfigPatch => config::patch(&mut work),
        Kind::ConfigReload => config::reload(&mut work),
        Kind::ConfigValidate => config::validate(&work),
        Kind::ConfigureGenesis => chain::configure_genesis(&mut work),
        Kind::ConfigureStateSync => chain::configure_state_sync(&mut work),
        Kind::SnapshotRestore => chain::restore_snapshot(&mut work),
        Kind::SnapshotUpload => Ok(Progress::Waiting),
        Kind::SnapshotUploadOnce => Ok(chain::upload_snapshot(&work)),
        Kind::GenerateIdentity => genesis::make_identity(&mut work),
        Kind::GenerateGentx => genesis::make_gentx(&mut work),
        Kind::UploadGenesisArtifacts => genesis::upload_artifacts(&mut work),
        Kind::AssembleAndUploadGenesis => genesis::assemble(&mut work),
        Kind::SetGenesisPeers => genesis::set_peers(&mut work),
        Kind::StopSeid => Ok(seid::stop(&work)),
        Kind::RestartSeid => seid::restart(&work),
        Kind::ResetData => seid::reset_data(&mut work),
        Kind::AwaitCondition => seid::await_condition(&work),
        Kind::GovVote | Kind::GovSoftwareUpgrade | Kind::GovParamChange => other::govern(kind, &work),
        Kind::ResultExport => other::export(&work),
        Kind::EvmLogicalDigest => other::digest(&work),
    }
}

/// What a handler does the moment it starts and what therefore survives a crash half way. The answer dooms the run.
pub(super) fn begin(
    kind: Kind,
    disk: &mut Disk,
    around: &Surroundings,
    params: Option<&Map<String, Value>>,
) -> Option<String> {
    match kind {
        Kind::GenerateGentx => genesis::begin_gentx(disk, params),
        Kind::RestartSeid => {
            around.seid.stop();
            None
        }
        _ => None,
    }
}

/// Reads params; absent and null keys are their zero values.
fn read<T: DeserializeOwned>(params: Option<&Map<String, Value>>) -> Result<T, Failure> {
    let kept = params.into_iter().flatten().filter(|(_, value)| !value.is_null());
    let object = Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
    serde_json::from_value(object).map_err(|error| format!("parsing params: {error}").into())
}

/// Fails when a required text is empty.
fn require(task: &str, key: &str, value: &str) -> Result<(), Failure> {
    if value.is_empty() {
        return Err(format!("{task}: missing required param '{key}'").into());
    }
    Ok(())
}

impl Work<'_> {
    fn is_marked(&self, kind: Kind) -> bool {
        kind.marker().is_some_and(|marker| self.disk.markers.contains(marker))
    }

    fn mark(&mut self, kind: Kind) {
        if let Some(marker) = kind.marker() {
            self.disk.markers.insert(marker.to_owned());
        }
    }

    /// An object of the store below the chain's prefix.
    fn download(&self, task: &str, key: &str) -> Result<Value, Failure> {
        let key = format!("{}/{key}", self.around.chain);
        let missing = || format!("{task}: S3: object {key:?} not found in s3://bucket").into();
        self.around.bucket.read(&key).ok_or_else(missing)
    }

    fn upload(&self, key: &str, object: Value) {
        self.around.bucket.put(&format!("{}/{key}", self.around.chain), object);
    }
}
