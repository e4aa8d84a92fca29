//! The task types of the sidecar and their fixed properties.
//!
//! Answers: which types exist, how long a pretend one takes, which marker makes it a no-op.
//! Refuses to know: what a task does; that is in `task`.
//! Upholds: a type outside the table does not exist.

use std::time::Duration;

/// A task type that the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants spell the names on the wire")]
pub enum Kind {
    AssembleAndUploadGenesis,
    AwaitCondition,
    ConfigApply,
    ConfigPatch,
    ConfigReload,
    ConfigValidate,
    ConfigureGenesis,
    ConfigureStateSync,
    EvmLogicalDigest,
    GenerateGentx,
    GenerateIdentity,
    GovParamChange,
    GovSoftwareUpgrade,
    GovVote,
    MarkNotReady,
    MarkReady,
    ResetData,
    RestartSeid,
    ResultExport,
    SetGenesisPeers,
    SnapshotRestore,
    SnapshotUpload,
    SnapshotUploadOnce,
    StopSeid,
    UploadGenesisArtifacts,
}

struct Row {
    kind: Kind,
    name: &'static str,
    millis: u64,
    marker: Option<&'static str>,
}

const fn row(kind: Kind, name: &'static str, millis: u64) -> Row {
    Row { kind, name, millis, marker: None }
}

const fn marked(kind: Kind, name: &'static str, millis: u64, marker: &'static str) -> Row {
    Row { kind, name, millis, marker: Some(marker) }
}

/// Durations are guesses of the right order: files in milliseconds, the network in seconds, a snapshot in a minute.
const ROWS: [Row; 25] = [
    marked(Kind::AssembleAndUploadGenesis, "assemble-and-upload-genesis", 2000, ".sei-sidecar-assemble-done"),
    row(Kind::AwaitCondition, "await-condition", 100),
    row(Kind::ConfigApply, "config-apply", 20),
    row(Kind::ConfigPatch, "config-patch", 10),
    row(Kind::ConfigReload, "config-reload", 10),
    row(Kind::ConfigValidate, "config-validate", 10),
    marked(Kind::ConfigureGenesis, "configure-genesis", 500, ".sei-sidecar-genesis-done"),
    marked(Kind::ConfigureStateSync, "configure-state-sync", 1000, ".sei-sidecar-statesync-done"),
    row(Kind::EvmLogicalDigest, "evm-logical-digest", 5000),
    marked(Kind::GenerateGentx, "generate-gentx", 200, ".sei-sidecar-gentx-done"),
    marked(Kind::GenerateIdentity, "generate-identity", 100, ".sei-sidecar-identity-done"),
    row(Kind::GovParamChange, "gov-param-change", 3000),
    row(Kind::GovSoftwareUpgrade, "gov-software-upgrade", 3000),
    row(Kind::GovVote, "gov-vote", 3000),
    row(Kind::MarkNotReady, "mark-not-ready", 5),
    row(Kind::MarkReady, "mark-ready", 5),
    row(Kind::ResetData, "reset-data", 1000),
    row(Kind::RestartSeid, "restart-seid", 2000),
    row(Kind::ResultExport, "result-export", 1000),
    row(Kind::SetGenesisPeers, "set-genesis-peers", 500),
    marked(Kind::SnapshotRestore, "snapshot-restore", 60_000, ".sei-sidecar-snapshot-done"),
    row(Kind::SnapshotUpload, "snapshot-upload", 0),
    row(Kind::SnapshotUploadOnce, "snapshot-upload-once", 5000),
    row(Kind::StopSeid, "stop-seid", 2000),
    marked(
        Kind::UploadGenesisArtifacts,
        "upload-genesis-artifacts",
        1000,
        ".sei-sidecar-artifact-upload-done",
    ),
];

impl Kind {
    /// Reads the name on the wire.
    pub fn parse(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// How long a handler of this type takes unless the script says otherwise.
    pub fn usual_duration(self) -> Duration {
        Duration::from_millis(self.row().map_or(0, |row| row.millis))
    }

    /// The file that makes further tasks of this type complete without doing anything.
    pub fn marker(self) -> Option<&'static str> {
        self.row().and_then(|row| row.marker)
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.kind == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for row in &ROWS {
            assert_eq!(Kind::parse(row.name), Some(row.kind));
            assert_eq!(row.kind.name(), row.name);
        }
        assert_eq!(Kind::parse("no-such-task"), None);
    }
}
