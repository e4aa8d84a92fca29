//! What the reconcile loop needs of the world; live, simulated and model-checked worlds implement it.

use std::collections::BTreeSet;
use std::future::Future;

use k8s_openapi::jiff::Timestamp;
use seinode_core::api::SeiNode;
use seinode_core::decision::{Rest, StatusWrite};
use seinode_core::effect::{Effect, Outcome};
use seinode_core::ident::NodeKey;
use seinode_core::world::{Observed, Settings, Topic};

use crate::error::PortError;

/// One node and what surrounds it, as observed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node.
    pub node: SeiNode,
    /// What surrounds it.
    pub observed: Observed,
}

/// How a guarded status write went.
#[derive(Debug)]
pub enum Stored {
    /// The API server answered with this object.
    At(Box<SeiNode>),
    /// The node has moved on since it was read.
    Conflict,
    /// No answer that can be trusted: it may have been stored.
    Ambiguous(String),
}

/// The world of one reconcile pass.
pub trait Ports: Sync {
    /// The time.
    fn now(&self) -> Timestamp;

    /// What the operator was started with.
    fn settings(&self) -> &Settings;

    /// Observes a node: from the caches, and past them what `looks` names. What `known` has looked at already is taken
    /// from there. `None`: there is no such node.
    fn observe(
        &self,
        key: &NodeKey,
        known: Option<Snapshot>,
        looks: &BTreeSet<Topic>,
    ) -> impl Future<Output = Result<Option<Snapshot>, PortError>> + Send;

    /// Carries effects out, in order, stopping at the first that goes wrong.
    fn perform(&self, node: &SeiNode, effects: Vec<Effect>) -> impl Future<Output = Vec<Outcome>> + Send;

    /// Stores a status, guarded by the version it was decided on.
    fn store(&self, write: &StatusWrite) -> impl Future<Output = Result<Stored, PortError>> + Send;

    /// Told when a pass has come to rest.
    fn rested(&self, _node: &SeiNode, _rest: &Rest) {}

    /// Told after each decision how far the node is; for displays.
    fn progress(&self, _node: &SeiNode, _rest: &Rest) {}
}
