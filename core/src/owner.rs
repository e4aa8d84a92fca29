//! Whose object it is.
//!
//! Answers: ours, an earlier node's of the same name, somebody else's. Upholds: an object that is not controlled by this
//! node's uid is never changed or deleted (hazards, invariant 4; W7, S23).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{self, SeiNode};
use crate::effect::Base;
use crate::ident::{ResourceVersion, Uid};

/// Whose object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Its controller is this node, by uid.
    Ours,
    /// Its controller is a node of this name that is gone; the garbage collector is about to take it.
    Previous,
    /// Anything else, no controller included.
    Foreign,
}

/// Whose object it is, by its controller.
pub(crate) fn of(meta: &ObjectMeta, node: &SeiNode) -> Owner {
    match controller(meta) {
        Some(c) if !c.uid.is_empty() && c.uid == node.uid() => Owner::Ours,
        Some(c) if c.kind == api::KIND && c.name == node.name() && c.api_version.starts_with("sei.io/") => {
            Owner::Previous
        }
        Some(_) | None => Owner::Foreign,
    }
}

/// The controller of an object.
pub(crate) fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// What an apply on a seen object is decided on.
pub(crate) fn base(meta: &ObjectMeta) -> Base {
    Base::At { uid: uid(meta), version: version(meta) }
}

/// The uid of an object.
pub(crate) fn uid(meta: &ObjectMeta) -> Uid {
    Uid::new(meta.uid.as_deref().unwrap_or_default())
}

/// The version of an object.
pub(crate) fn version(meta: &ObjectMeta) -> ResourceVersion {
    ResourceVersion::new(meta.resource_version.as_deref().unwrap_or_default())
}
