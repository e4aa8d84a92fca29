//! Skeleton.

pub mod api;
mod apply;
pub mod cluster;
pub mod error;
mod patch;
pub mod kubelet;
pub mod sidecar;
pub mod store;
mod watch;
