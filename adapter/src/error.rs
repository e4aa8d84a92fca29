//! Errors of the adapter.

use seinode_core::decision::NotStored;
use seinode_core::ident::NodeKey;

/// A read or write that did not work out; the node is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The API server refused or did not answer.
    #[error("{what} of SeiNode {node}")]
    Api {
        /// What was attempted.
        what: &'static str,
        /// On which node.
        node: NodeKey,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// Somebody else may act by now.
    #[error("{what} of SeiNode {node}: this operator does not lead any more")]
    NotLeading {
        /// What was attempted.
        what: &'static str,
        /// On which node.
        node: NodeKey,
    },
}

/// A reconcile pass that came to no rest.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A status write whose answer does not show that it was stored.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// The node kept changing under the pass.
    #[error("the node changed {0} times under one pass")]
    Contended(u32),
    /// The pass used up its rounds.
    #[error("no rest after {0} rounds")]
    Restless(usize),
    /// The pass panicked: a bug. It is counted, and the node is tried again.
    #[error("the reconcile pass panicked: {0}")]
    Panicked(String),
}
