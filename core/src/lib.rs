//! The pure half of the SeiNode operator.

pub mod api;
