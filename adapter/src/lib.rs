//! The Kubernetes adapter of the SeiNode operator. It has no opinions: it fetches what the core looks at, stores what the
//! core decided, does what the core asked.

pub mod backlog;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod definition;
pub mod error;
pub mod events;
pub mod leader;
mod ledger;
pub mod live;
pub mod manifest;
mod observe;
mod perform;
pub mod plan;
pub mod ports;
mod prune;
pub mod reconcile;
pub mod render;
pub mod run;
pub mod server;
pub mod settings;
pub mod shard;
pub mod sidecar;
pub mod simulate;
pub mod telemetry;
mod unmanaged;
mod watches;

/// Most of what a fleet's start costs is many small allocations by several threads at once: JSON that comes and goes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
