//! Scripts: what happens to nodes on the pretend cluster, step by step, in a time that only the script moves.
//!
//! Answers: what an operator stores and does in a given story, as lines that are the same on every machine. Refuses to
//! know: whether that is right; `until`, `expect` and `quiet` of the script say so, and whoever reads the lines. Upholds: a
//! script with a mistake is refused before anything runs, with the step, the field and what to write instead.

mod book;
mod player;
mod read;
mod state;
mod step;
mod trouble;

pub(super) use player::play;
pub(super) use read::read;

use std::path::PathBuf;

use step::Step;

/// A script, read.
pub(super) struct Script {
    path: PathBuf,
    about: String,
    pace: f64,
    print_from: usize,
    /// Manifests that it names itself, beside those of the command line.
    pub(super) manifests: Vec<PathBuf>,
    steps: Vec<Scripted>,
}

/// A step, and how it is written.
#[derive(Clone)]
struct Scripted {
    text: String,
    step: Step,
}

/// A mistake in a script.
#[derive(Debug, thiserror::Error)]
#[error("{}: {text}", path.display())]
pub(super) struct ScriptError {
    path: PathBuf,
    text: String,
}

/// Why a script was not played to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlayError {
    /// The script does not fit the manifests.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// Nobody reads what is printed.
    #[error("can't print: {0}")]
    Output(#[from] std::io::Error),
}

/// What `--help` says.
pub(super) const HELP: &str = "\
Play this script instead of waiting until every node is Running.

A script is YAML: `about` (what it shows), `manifests` (files beside it, in addition to FILE), `pace` (how slow the cluster \
is; 1 is like real machines), `printFrom` (lines of earlier steps are left out) and `steps`, a list. Time moves only while a step waits, so the same script prints the same \
lines each time. Exit code: 0 played to its end, 1 a step did not come out as it says, 2 a mistake in the script.

Steps:
  create: NODE             put a node of the manifests, and the Secrets and claims that it names, into the cluster
  put: OBJECT              create any object, or merge into it; status too
  patch: {kind, name, patch}
  remove: {kind, name}     delete an object
  edit: {node, spec, annotations, labels}
  delete: NODE
  wait: SPAN               let time pass
  until: {STATE, within}   wait for a state
  expect: {STATE}          it has to be so now
  quiet: SPAN              let time pass; the operator must write nothing
  start: NAME, kill: NAME  operators; `operator` is there from the start
  evict, forceDelete, failPod, restartSidecar, crashSeid: POD
  sidecar: {node, what, method, path, times}   hang, refuse, loseAnswer, amnesia, locked, {status: N}
  task: {node, type, runs, lasts}              how its next runs end: succeed, hang, panic, {fail: {error: TEXT}}
  forget: NODE             its sidecar loses its records
  witnesses: {node, silent}
  api: {client, verb, kind, name, part, when, trouble, times}   hang, lose, {answer: N}, {delay: SPAN}
  lag: {client, kind, by}  watch events come later
  heal: api | sidecar | all
  registry: {text} | {unreadable}              the witness registry
  cluster: {missingImages, hosts, volumes, jobs}
  jump: SPAN               the operators' clock is wrong by this much; may be negative
  show: NODE               print its status

docs/scenarios.md tells more; tests/scenarios holds many.";
