//! The laws, the scenarios, and the real control plane that they run against.

pub mod campaign;
pub mod deploy_tools;
pub mod live;
pub mod load;
pub mod model;
pub mod model_campaigns;
pub mod stage;
pub mod validation_cases;
