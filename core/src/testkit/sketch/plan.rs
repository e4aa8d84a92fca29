//! Stored plans: those that this operator builds, at any place and with any scars; and any garbage that decodes.

use proptest::option::weighted;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::story;
use crate::api::status::{FailedTaskDetail, StoredPlan};
use crate::api::{NodePhase, PlanPhase, SeiNode, Stamp, StoredTask, TaskStatus, TaskType};

/// A stored plan in few words.
#[derive(Clone, Debug)]
pub enum PlanSketch {
    /// There is none.
    None,
    /// One that this operator builds for the node.
    Built {
        /// Which one.
        kind: Built,
        /// How many tasks are complete.
        done: usize,
        /// Where it stands.
        phase: PlanPhase,
        /// The scars of the current task: status, retries, when its turn came, error.
        scar: Scar,
    },
    /// Anything that decodes.
    Garbage(Box<StoredPlan>),
}

/// Which plan of the node.
#[derive(Clone, Copy, Debug)]
pub enum Built {
    /// Its init plan.
    First,
    /// The mark-ready plan.
    MarkReady,
    /// What follows a bootstrap that has completed.
    AfterBootstrap,
    /// The update plan.
    Update,
    /// The update plan that replaces the pod first (S9).
    PodFirst,
    /// A repair of children.
    Repair,
}

/// The scars of a current task.
#[derive(Clone, Debug)]
pub struct Scar {
    /// Status.
    pub status: TaskStatus,
    /// Retries so far.
    pub retries: i64,
    /// When its turn came.
    pub turn: Option<Stamp>,
    /// Error.
    pub error: Option<String>,
}

/// Any stored plan.
pub(super) fn any_plan() -> BoxedStrategy<PlanSketch> {
    let kind = prop_oneof![
        4 => Just(Built::First),
        1 => Just(Built::MarkReady),
        1 => Just(Built::AfterBootstrap),
        1 => Just(Built::Update),
        1 => Just(Built::PodFirst),
        1 => Just(Built::Repair),
    ];
    let built = (kind, 0_usize..15, plan_phase(), scar())
        .prop_map(|(kind, done, phase, scar)| PlanSketch::Built { kind, done, phase, scar });
    prop_oneof![
        2 => Just(PlanSketch::None),
        5 => built,
        2 => garbage().prop_map(|plan| PlanSketch::Garbage(Box::new(plan))),
    ]
    .boxed()
}

impl PlanSketch {
    /// The plan as stored on the node; its version when the plan was built was another one.
    pub fn plan(&self, node: &SeiNode) -> Option<StoredPlan> {
        match self {
            Self::None => None,
            Self::Garbage(plan) => Some(plan.as_ref().clone()),
            Self::Built { kind, done, phase, scar } => {
                let mut earlier = node.clone();
                earlier.metadata.resource_version = Some("50".to_owned());
                let mut plan = match kind {
                    Built::First => story::first_plan(&earlier),
                    Built::MarkReady => story::mark_ready_plan(&earlier),
                    Built::AfterBootstrap => story::plan_after(&earlier),
                    Built::Update => story::update_plan(&earlier, true),
                    Built::PodFirst => story::update_plan(&earlier, false),
                    Built::Repair => story::repair_plan(&earlier),
                };
                mark(&mut plan, *done, phase, scar);
                Some(plan)
            }
        }
    }
}

fn mark(plan: &mut StoredPlan, done: usize, phase: &PlanPhase, scar: &Scar) {
    let done = if *phase == PlanPhase::Complete { plan.tasks.len() } else { done };
    plan.phase = phase.clone();
    plan.tasks.iter_mut().take(done).for_each(|task| task.status = TaskStatus::Complete);
    let Some((index, task)) = plan.tasks.iter_mut().enumerate().nth(done) else {
        return;
    };
    task.retry_count = scar.retries;
    task.submitted_at.clone_from(&scar.turn);
    task.status = scar.status.clone();
    task.error.clone_from(&scar.error);
    if *phase == PlanPhase::Failed {
        task.status = TaskStatus::Failed;
        plan.failed_task_index = i64::try_from(index).ok();
        plan.failed_task_detail = Some(FailedTaskDetail {
            task_type: task.task_type.to_string(),
            id: task.id.clone(),
            ..FailedTaskDetail::default()
        });
    }
}

fn plan_phase() -> BoxedStrategy<PlanPhase> {
    prop_oneof![
        6 => Just(PlanPhase::Active),
        1 => Just(PlanPhase::Complete),
        1 => Just(PlanPhase::Failed),
        1 => Just(PlanPhase::Other("Suspended".to_owned())),
    ]
    .boxed()
}

fn scar() -> BoxedStrategy<Scar> {
    let status = prop_oneof![
        8 => Just(TaskStatus::Pending),
        1 => Just(TaskStatus::Running),
        1 => Just(TaskStatus::Failed),
        1 => Just(TaskStatus::Other("Skipped".to_owned())),
    ];
    (status, retries(), weighted(0.4, stamp()), weighted(0.1, Just("disk full".to_owned())))
        .prop_map(|(status, retries, turn, error)| Scar { status, retries, turn, error })
        .boxed()
}

fn retries() -> BoxedStrategy<i64> {
    prop_oneof![6 => Just(0_i64), 3 => 0..6_i64, 1 => Just(180_i64), 1 => any::<i64>()].boxed()
}

/// A time as stored, or what stands in its place.
pub(super) fn stamp() -> BoxedStrategy<Stamp> {
    let text = prop_oneof![
        4 => (0..3600_i64).prop_map(|s| format!("2026-11-24T11:{:02}:{:02}Z", s / 60, s % 60)),
        1 => Just("2026-11-24T12:00:00Z".to_owned()),
        1 => Just("2199-01-01T00:00:00.123456789Z".to_owned()),
        1 => Just("0001-01-01T00:00:00Z".to_owned()),
        1 => Just("yesterday".to_owned()),
    ];
    text.prop_map(|text| serde_json::from_value(json!(text)).expect("a stamp is any text")).boxed()
}

fn garbage() -> BoxedStrategy<StoredPlan> {
    let phases = || {
        prop_oneof![
            Just(NodePhase::Running),
            Just(NodePhase::Failed),
            Just(NodePhase::Terminating),
            Just(NodePhase::Other(String::new())),
            Just(NodePhase::Other("Weird".to_owned())),
        ]
    };
    let tasks = prop::collection::vec(task(), 0..5);
    (plan_phase(), weighted(0.7, phases()), weighted(0.7, phases()), tasks, 0..3_usize)
        .prop_map(|(phase, target_phase, failed_phase, mut tasks, place)| {
            let failed = (phase == PlanPhase::Failed).then(FailedTaskDetail::default);
            if phase == PlanPhase::Complete {
                for task in &mut tasks {
                    task.status = TaskStatus::Complete;
                }
            }
            StoredPlan {
                id: ["", "any text may be an id", "11111111-2222-4333-8444-555555555555"][place].to_owned(),
                phase,
                target_phase,
                failed_phase,
                tasks,
                failed_task_index: failed.as_ref().map(|_| -1),
                failed_task_detail: failed,
                extra: Map::from_iter([("newField".to_owned(), json!({"kept": [1, null]}))]),
            }
        })
        .boxed()
}

fn task() -> BoxedStrategy<StoredTask> {
    let known = prop::sample::select(TaskType::KNOWN.to_vec());
    let task_type = prop_oneof![8 => known, 1 => Just(TaskType::Other("dance".to_owned()))];
    let status = prop_oneof![
        3 => Just(TaskStatus::Pending),
        3 => Just(TaskStatus::Complete),
        1 => Just(TaskStatus::Failed),
        1 => Just(TaskStatus::Other(String::new())),
    ];
    (task_type, status, params(), retries(), retries(), weighted(0.3, stamp()), 0..3_usize)
        .prop_map(|(task_type, status, params, max_retries, retry_count, submitted_at, id)| StoredTask {
            task_type,
            id: ["", "t", "859d8a92-8a4f-5ce6-a0b0-ace7c5793bc4"][id].to_owned(),
            status,
            params,
            submitted_at,
            error: None,
            max_retries,
            retry_count,
            extra: Map::new(),
        })
        .boxed()
}

/// Parameters: those of some task, or any JSON.
fn params() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => Just(json!({})),
        1 => Just(json!({"mode": "full", "overrides": {"a": "b"}})),
        1 => Just(json!({"secretName": "p2p", "keyName": null, "passphraseSecretName": "passphrase"})),
        1 => Just(json!({"TARGETHEIGHT": 7, "targetHeight": "no"})),
        1 => Just(json!({"TargetHeight": -1, "ExpectedGenesisHash": "ab", "RpcServers": [1]})),
        1 => any_json(),
    ]
    .boxed()
}

/// Any JSON, small.
pub(super) fn any_json() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(1e300)),
        "[a-zA-Z. ]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{0,2}", inner, 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
    .boxed()
}
