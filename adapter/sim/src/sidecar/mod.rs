//! A pretend sidecar: a state machine over the time that is passed in.
//!
//! Answers: every request of the sidecar's HTTP contract, as the recorded server does.
//! Refuses to know: threads, sockets and the clock; `service` adds the clock for in-process clients.
//! Upholds: records and markers live as long as the volume, readiness as long as the process.
//!
//! ```text
//! Director (script, journal) ──┐
//! Volume (records, markers) ───┼──▶ Sidecar ──▶ routes ──▶ Handled
//! Surroundings (env, seid) ────┘      ▲
//!                                  advance(now)
//! ```

mod director;
mod kind;
mod process;
mod record;
mod routes;
mod script;
mod service;
mod surroundings;
mod switchboard;
mod task;
mod volume;

pub use director::{Director, Entry, Event};
pub use kind::Kind;
pub use process::Sidecar;
pub use record::{Record, Status};
pub use routes::{Answer, Call, Handled};
pub use script::{Ending, Fault, Mishap, Script, TaskScript};
pub use service::{ConnectError, SidecarService};
pub use surroundings::{Bucket, Seid, StartError, Surroundings};
pub use switchboard::{Line, Switchboard};
pub use volume::{Config, Disk, Genesis, Volume};

pub(crate) use script::scale;
