//! What can hold a node before any plan is looked at; one file per gate.

pub(crate) mod held;
pub(crate) mod witnesses;
