//! Answers: which processes make a control plane, and in which order do they depend on each other?
//!
//! Refuses to know how they are started.

use std::fmt;

/// One process of the control plane. The order is the one to stop them in: each needs those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// kube-controller-manager: makes pods of StatefulSets and Jobs, collects garbage, binds volumes.
    ControllerManager,
    /// kube-apiserver.
    ApiServer,
    /// etcd, without fsync.
    Etcd,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ControllerManager, Self::ApiServer, Self::Etcd];

    /// The name of its binary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ControllerManager => "kube-controller-manager",
            Self::ApiServer => "kube-apiserver",
            Self::Etcd => "etcd",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
