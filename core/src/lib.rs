//! The pure half of the SeiNode operator: (node spec, status, plan) in, (next plan, status patch, effects) out.
//!
//! Answers: what to do about one node now ([`decide()`]). Refuses to know: clocks, chance, networks, files, threads, async,
//! environment; `clippy.toml` bans them and a test asserts that no crate that brings them is among the dependencies.
//! The laws it upholds are listed in `docs/architecture.md`.

pub mod api;
mod config;
mod converge;
mod decide;
pub mod decision;
mod deletion;
mod differ;
mod draft;
mod drift;
pub mod effect;
pub mod explain;
mod failure;
mod gate;
pub mod ident;
mod notice;
mod owner;
pub mod patch;
mod peers;
pub mod plan;
pub mod platform;
mod pod;
pub mod quantity;
pub mod render;
mod retry;
pub mod rivals;
mod scale;
mod steady;
mod task;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod trace;
pub mod turn;
mod workflow;
pub mod world;

pub use decide::decide;
pub use decision::Decision;
pub use failure::RETRY as RETRY_ANNOTATION;
pub use gate::witnesses::needs_registry;
pub use peers::{Instance as Ec2Instance, selects as selects_peer};
pub use pod::is_near as is_near_pod;
pub use scale::PAUSED_GENERATION;
pub use steady::{HEALTH_POLL, HEALTH_RETRY};
pub use world::World;
