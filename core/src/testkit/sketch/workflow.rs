//! A workflow that has a node, in each state that it may be found in.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::object;
use crate::api::SeiNode;
use crate::api::workflow::{FINALIZER, FORCE, Workflow};
use crate::world::{Blind, Seen};

/// A workflow in few words.
#[derive(Clone, Copy, Debug)]
pub enum WorkflowSketch {
    /// It can't be told about.
    Dark,
    /// Its kind is not installed.
    NoKind,
    /// It is gone.
    Gone,
    /// It is there, with or without a plan of this phase whose first tasks are complete.
    There {
        /// Phase of its plan.
        plan: Option<&'static str>,
        /// How many tasks are complete.
        done: usize,
        /// Whether it is being deleted, and whether by force.
        deletion: Option<bool>,
        /// Whether it carries the finalizer.
        marked: bool,
    },
}

/// Now and then one.
pub(super) fn any_workflow() -> BoxedStrategy<Option<WorkflowSketch>> {
    let plan = prop_oneof![
        1 => Just(None),
        6 => Just(Some("Active")),
        1 => Just(Some("Complete")),
        1 => Just(Some("Failed")),
        1 => Just(Some("Odd")),
    ];
    let deletion = prop_oneof![5 => Just(None), 1 => Just(Some(false)), 1 => Just(Some(true))];
    let there = (plan, 0..6_usize, deletion, prop::bool::weighted(0.8))
        .prop_map(|(plan, done, deletion, marked)| WorkflowSketch::There { plan, done, deletion, marked });
    let one = prop_oneof![
        1 => Just(WorkflowSketch::Dark),
        1 => Just(WorkflowSketch::NoKind),
        1 => Just(WorkflowSketch::Gone),
        8 => there,
    ];
    prop_oneof![6 => Just(None), 1 => one.prop_map(Some)].boxed()
}

/// How the node names it.
pub(super) fn pointer() -> Value {
    json!({"name": "flow", "uid": "uid-flow", "adoptedAt": "2026-01-02T03:04:05Z"})
}

const TASKS: [&str; 5] = ["mark-not-ready", "stop-seid", "reset-data", "configure-state-sync", "mark-ready"];

impl WorkflowSketch {
    pub(super) fn seen(self, node: &SeiNode) -> Seen<Vec<Workflow>> {
        match self {
            Self::Dark => Seen::Unknown(Blind::Forbidden),
            Self::NoKind => Seen::Absent,
            Self::Gone => Seen::Present(Vec::new()),
            Self::There { plan, done, deletion, marked } => {
                Seen::Present(vec![there(node, plan, done, deletion, marked)])
            }
        }
    }
}

fn there(node: &SeiNode, plan: Option<&str>, done: usize, deletion: Option<bool>, marked: bool) -> Workflow {
    let mut workflow = json!({
        "metadata": {"name": "flow", "namespace": node.namespace(), "uid": "uid-flow", "resourceVersion": "9"},
        "spec": {"kind": "StateSync", "target": {"nodeRef": {"name": node.name()}}, "stateSync": {}},
        "status": {"phase": "Running"},
    });
    if let Some(phase) = plan {
        let task = |(at, kind): (usize, &&str)| {
            let status = if at < done { "Complete" } else { "Pending" };
            json!({"type": kind, "id": format!("flow-{at}"), "status": status, "params": {}})
        };
        let tasks: Vec<Value> = TASKS.iter().enumerate().map(task).collect();
        workflow["status"]["plan"] = json!({"id": "flow", "phase": phase, "tasks": tasks});
    }
    if marked {
        workflow["metadata"]["finalizers"] = json!([FINALIZER]);
    }
    if let Some(forced) = deletion {
        workflow["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        if forced {
            workflow["metadata"]["annotations"] = json!({FORCE: "yes"});
        }
    }
    object::parse(workflow)
}
