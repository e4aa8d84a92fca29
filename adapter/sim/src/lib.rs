//! A pretend cluster: an API server and sidecars behind two tower services, a kubelet, and the controllers that a
//! cluster runs by itself. It knows nothing of the operator. Time is the runtime's, ids are counted, so equal runs are
//! equal.

pub mod api;
mod apply;
pub mod cluster;
pub mod error;
pub mod kubelet;
mod patch;
pub mod sidecar;
pub mod store;
mod watch;
