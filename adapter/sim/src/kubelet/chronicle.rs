//! What tests may ask afterwards: which pods lived when, and which claims were mounted twice.
//!
//! Answers: creation, start and end of every pod; violations.
//! Refuses to know: why.
//! Upholds: it only grows; a pod that was replaced stays in it.

use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;

/// The life of one pod as the kubelet saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLife {
    /// Namespace.
    pub namespace: String,
    /// Name; a replaced pod shares it with its successor.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Label `sei.io/node`, else empty.
    pub node: String,
    /// The host it was bound to.
    pub host: String,
    /// First seen.
    pub created: Timestamp,
    /// Volumes mounted, first container started.
    pub started: Option<Timestamp>,
    /// First time ready.
    pub ready: Option<Timestamp>,
    /// Last container ended, volumes free again.
    pub stopped: Option<Timestamp>,
    /// Gone from the API server.
    pub deleted: Option<Timestamp>,
    /// Images of init and main containers when it was created, by container name.
    pub images: BTreeMap<String, String>,
}

/// Two pods with one claim mounted read-write at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When the second one mounted it.
    pub at: Timestamp,
    /// Namespace and name of the claim.
    pub claim: (String, String),
    /// Names and uids: first the one that had it.
    pub pods: [(String, String); 2],
}

/// All lives and violations.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    pub(super) lives: Vec<PodLife>,
    pub(super) violations: Vec<Violation>,
}

impl Chronicle {
    pub(super) fn of(&mut self, uid: &str) -> Option<&mut PodLife> {
        self.lives.iter_mut().rev().find(|life| life.uid == uid)
    }
}
