//! Answers: what went wrong with the control plane, and what does its log say about it?

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use std::{fmt, fs, io, iter};

use super::Component;

/// Why the control plane is not what a test asked for.
#[derive(thiserror::Error)]
pub enum LiveError {
    /// `KUBEBUILDER_ASSETS` points to a folder that lacks a component.
    #[error("no {missing} in KUBEBUILDER_ASSETS={}; unset it to have it built instead", folder.display())]
    Assets {
        /// What the variable says.
        folder: PathBuf,
        /// The component that is not there.
        missing: &'static str,
    },

    /// A line of the audit log is not an audit event.
    #[error("cannot read the audit line {line:?}")]
    Audit {
        /// The line, as it is in the file.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// The components could not be built.
    #[error("cannot build {what}:\n{output}")]
    Build {
        /// What was being built.
        what: &'static str,
        /// What the compiler said last.
        output: String,
    },

    /// No folder to build the components in.
    #[error("no place to keep the control plane: set SEINODE_TEST_CACHE, XDG_CACHE_HOME or HOME")]
    Cache,

    /// A component stopped before it was ready.
    #[error("{component} stopped with {status}; its log ends with:\n{log}")]
    Exited {
        /// The component.
        component: Component,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },

    /// A fleet did not start.
    #[error("the fleet did not start: {0}")]
    Load(String),

    /// The machine did not do what it was asked to.
    #[error("cannot {what}")]
    Io {
        /// What was attempted.
        what: String,
        /// What the system answered.
        source: io::Error,
    },

    /// A request to the control plane failed.
    #[error("cannot {what}")]
    Kube {
        /// What was attempted.
        what: String,
        /// What the server or the connection answered.
        source: Box<kube::Error>,
    },

    /// A kubeconfig that the harness wrote is not accepted.
    #[error("cannot use the kubeconfig for {component}")]
    Kubeconfig {
        /// The server that it is for.
        component: Component,
        /// What is wrong with it.
        source: Box<kube::config::KubeconfigError>,
    },

    /// A manifest lacks what the harness needs to know.
    #[error("the manifest has no {0}")]
    Manifest(&'static str),

    /// The components have to be built, and there is no Go.
    #[error(
        "the tests need a real control plane, and there is no `go` to build it: install Go {go} or later \
         (https://go.dev/dl), or point KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and \
         kube-controller-manager"
    )]
    NoGo {
        /// The least version that builds the components.
        go: &'static str,
    },

    /// A component runs but does not become ready.
    #[error("{component} is not ready; its log ends with:\n{log}")]
    NotReady {
        /// The component.
        component: Component,
        /// How long it was waited for, and its last answer.
        source: Box<LiveError>,
        /// The end of its log.
        log: String,
    },

    /// Something that a test waits for did not come.
    #[error("waited {limit:?} for {what}; at last: {last}")]
    NotYet {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// Why it was not there the last time.
        last: String,
    },
}

/// A test that returns the error shows it this way: for people, with the lines of the logs as lines.
impl fmt::Debug for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

impl LiveError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn kube(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kube { what, source: Box::new(source) }
    }

    /// Whether a component found its port in use, which another start cures: ports are chosen before they are
    /// taken.
    pub(super) fn is_taken_port(&self) -> bool {
        matches!(self, Self::Exited { log, .. } if log.contains("address already in use"))
    }
}

/// The error with all its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The last lines of a log, or why there are none.
pub(super) fn log_tail(log: &Path) -> String {
    match fs::read(log) {
        Ok(bytes) => tail(&bytes),
        Err(error) => format!("({error})"),
    }
}

/// The last lines of some output.
pub(super) fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let skipped = text.lines().count().saturating_sub(TAIL_LINES);
    text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}

/// Components say why they stop in their last few lines; a stack trace would fill a screen.
const TAIL_LINES: usize = 25;
