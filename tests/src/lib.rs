//! The laws, the scenarios, and the real control plane that they run against.

pub mod campaign;
pub mod laws;
pub mod live;
pub mod model;
pub mod model_campaigns;
pub mod stage;
pub mod validation_cases;
