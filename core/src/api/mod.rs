//! The wire: what a `SeiNode` looks like to the API server, spec and status.
//!
//! Answers: which fields exist and how they read and write. Refuses to know: what any of them means.
//! Wire types are lenient: unknown enum values, unknown task types and newer fields inside status, plan, tasks and
//! conditions are kept as they came (law 16).

pub mod admission;
pub mod condition;
pub mod crd;
pub mod mode;
pub mod node;
pub mod status;
mod wire;
pub mod workflow;

pub use condition::{Condition, ConditionStatus, ConditionType};
pub use node::{SeiNode, SeiNodeSpec};
pub use status::{NodePhase, PlanPhase, SeiNodeStatus, StoredPlan, StoredTask, TaskStatus, TaskType};
pub use wire::Stamp;

/// API group of the kind.
pub const GROUP: &str = "sei.io";
/// Version of the kind.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as `apiVersion` has them.
pub const API_VERSION: &str = "sei.io/v1alpha1";
/// The kind.
pub const KIND: &str = "SeiNode";
/// Plural, as URLs have it.
pub const PLURAL: &str = "seinodes";
/// The finalizer that must be on the node before anything else is created (P58).
pub const FINALIZER: &str = "sei.io/seinode-finalizer";
/// Field manager of server-side apply (`seinode.md` 1).
pub const FIELD_MANAGER: &str = "seinode-controller";
