//! Builders, generators and judges shared by tests and fuzz targets (feature `testkit`).
//!
//! Answers: how a world looks at a telling moment, what any world can look like, whether one decision keeps the laws that
//! can be told from it alone, whether a whole life of a node ends well. Refuses to know: the adapter and the pretend
//! cluster. Asserts laws 1 to 12 and 16 to 18 as far as one node and one operator can show them.
#![allow(
    clippy::large_stack_arrays,
    clippy::needless_for_each,
    clippy::type_complexity,
    clippy::ref_option_ref,
    reason = "it serves tests, where short beats fast"
)]
#![allow(clippy::missing_panics_doc, reason = "a testkit panics where a test is wrong, and says why")]

pub mod digest;
pub mod fuzz;
pub mod law;
pub mod node;
pub mod object;
pub mod scene;
pub mod sketch;
pub mod story;
pub mod toy;

pub use scene::Scene;
pub use sketch::Sketch;
