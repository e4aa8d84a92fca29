//! Every test of decisions in one program, for mutation tests: each mutant builds one instead of two dozen.
//!
//! `.ci/nightly mutants` runs it; a normal run does not.

#[path = "corpus.rs"]
mod corpus;
#[path = "decide_active.rs"]
mod decide_active;
#[path = "decide_bootstrap.rs"]
mod decide_bootstrap;
#[path = "decide_children.rs"]
mod decide_children;
#[path = "decide_claim.rs"]
mod decide_claim;
#[path = "decide_conditions.rs"]
mod decide_conditions;
#[path = "decide_config.rs"]
mod decide_config;
#[path = "decide_deletion.rs"]
mod decide_deletion;
#[path = "decide_events.rs"]
mod decide_events;
#[path = "decide_gate.rs"]
mod decide_gate;
#[path = "decide_peers.rs"]
mod decide_peers;
#[path = "decide_plans.rs"]
mod decide_plans;
#[path = "decide_progress.rs"]
mod decide_progress;
#[path = "decide_rollout.rs"]
mod decide_rollout;
#[path = "decide_running.rs"]
mod decide_running;
#[path = "decide_scale.rs"]
mod decide_scale;
#[path = "decide_secret.rs"]
mod decide_secret;
#[path = "decide_sidecar.rs"]
mod decide_sidecar;
#[path = "decide_turn.rs"]
mod decide_turn;
#[path = "decide_workflow.rs"]
mod decide_workflow;
#[path = "golden.rs"]
mod golden;
#[path = "laws.rs"]
mod laws;
#[path = "rendered.rs"]
mod rendered;
#[path = "wire.rs"]
mod wire;
