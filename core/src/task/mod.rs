//! Tasks: one table of what each may cost, and one file per family of how each is told to be done.
//!
//! Answers: for the current task, from what is seen: done, do this, look at that, wait (why), try again, give up.
//! Refuses to know: the rest of the plan. Upholds law 7: from blindness follows no failure and no success.

pub(crate) mod bootstrap;
pub(crate) mod child;
pub(crate) mod claim;
pub(crate) mod params;
pub(crate) mod rollout;
pub(crate) mod secret;
pub(crate) mod sidecar;
pub(crate) mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::TaskType;
use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::status::StoredTask;
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, TaskId};
use crate::plan;
use crate::retry;
use crate::world::{Topic, World};

/// One row of the table of tasks.
struct Rule {
    /// `maxRetries` as stored (`seinode.md` 3).
    stored: i64,
    /// Retries that this operator grants; at least `stored`.
    granted: i64,
    /// Longest time the task may be current, time in which nothing could be told aside; then it fails.
    limit: Option<Duration>,
    /// From when on a wait is called slow, where there is no limit.
    slow: Option<Duration>,
}

const fn rule(stored: i64, granted: i64) -> Rule {
    Rule { stored, granted, limit: None, slow: None }
}

const fn limited(limit: Duration) -> Rule {
    Rule { stored: 0, granted: 0, limit: Some(limit), slow: None }
}

const fn slow(granted: i64, slow: Duration) -> Rule {
    Rule { stored: 0, granted, limit: None, slow: Some(slow) }
}

/// A config task takes seconds.
const CONFIG_LIMIT: Duration = Duration::from_mins(10);
/// How long a sidecar may refuse a task before the plan fails.
pub(crate) const REFUSAL_LIMIT: Duration = Duration::from_mins(10);
/// A pod is pulled, scheduled and started in this time, or a person has to look.
const ROLLOUT_LIMIT: Duration = Duration::from_mins(30);
/// Large snapshots and long replays take hours.
const SLOW_DATA: Duration = Duration::from_hours(24);

/// The table. A task that is not listed as retried fails its plan with the first failure.
fn table(task_type: &TaskType) -> Rule {
    match task_type {
        // Waits for the network's genesis file, which other nodes make.
        TaskType::ConfigureGenesis => rule(180, 180),
        // Wait for objects, peers or processes made by others.
        TaskType::ConfigureStateSync
        | TaskType::SetGenesisPeers
        | TaskType::UploadGenesisArtifacts
        | TaskType::MarkNotReady
        | TaskType::StopSeid
        | TaskType::ResetData => rule(0, 20),
        // Large downloads break.
        TaskType::SnapshotRestore => slow(5, SLOW_DATA),
        TaskType::ReplacePod => Rule { stored: 3, granted: 3, limit: Some(ROLLOUT_LIMIT), slow: None },
        TaskType::ObserveImage | TaskType::MarkReady => limited(ROLLOUT_LIMIT),
        // Same input, same failure.
        TaskType::ConfigApply
        | TaskType::ConfigPatch
        | TaskType::ConfigValidate
        | TaskType::GenerateIdentity => limited(CONFIG_LIMIT),
        // A genesis transaction must never be made twice.
        TaskType::GenerateGentx => slow(0, CONFIG_LIMIT),
        TaskType::AwaitBootstrapComplete => slow(0, SLOW_DATA),
        TaskType::TeardownBootstrap => slow(0, CONFIG_LIMIT),
        // These wait, and say so, or end at once.
        TaskType::EnsureDataPvc
        | TaskType::ApplyRbacProxyConfig
        | TaskType::ApplyStatefulSet
        | TaskType::ApplyService
        | TaskType::ValidateSigningKey
        | TaskType::ValidateNodeKey
        | TaskType::ValidateOperatorKeyring
        | TaskType::DeployBootstrapService
        | TaskType::DeployBootstrapJob
        | TaskType::Other(_) => rule(0, 0),
    }
}

/// `maxRetries` of a new task.
pub(crate) fn stored_retries(task_type: &TaskType) -> i64 {
    table(task_type).stored
}

/// How many retries a task really has: what is stored, or what our table grants.
pub(crate) fn retries(task: &StoredTask) -> i64 {
    task.max_retries.max(table(&task.task_type).granted)
}

/// How long a task may be current.
pub(crate) fn time_limit(task_type: &TaskType) -> Option<Duration> {
    table(task_type).limit
}

/// Whether a wait of this length is called slow.
pub(crate) fn is_slow(task_type: &TaskType, waited: Duration) -> bool {
    table(task_type).slow.is_some_and(|from| waited >= from)
}

/// Whether the sidecar carries out tasks of this type.
pub(crate) fn is_of_sidecar(task_type: &TaskType) -> bool {
    matches!(
        task_type,
        TaskType::SnapshotRestore
            | TaskType::ConfigureGenesis
            | TaskType::ConfigApply
            | TaskType::ConfigPatch
            | TaskType::ConfigureStateSync
            | TaskType::ConfigValidate
            | TaskType::MarkReady
            | TaskType::GenerateIdentity
            | TaskType::GenerateGentx
            | TaskType::UploadGenesisArtifacts
            | TaskType::SetGenesisPeers
            | TaskType::MarkNotReady
            | TaskType::StopSeid
            | TaskType::ResetData
    )
}

/// The current task and what surrounds it.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    /// The world.
    pub(crate) world: World<'a>,
    /// The task.
    pub(crate) task: &'a StoredTask,
    /// When its turn came.
    pub(crate) since: Timestamp,
    /// Whether the sidecar of the bootstrap pod is the one that is meant.
    pub(crate) bootstrapping: bool,
    /// Whether the node is held: then no child is applied.
    pub(crate) held: bool,
}

/// What is to be done about the current task.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// It is complete.
    Done,
    /// Carry these out, then look again.
    Do(Vec<Effect>),
    /// Store what is drafted, then carry these out: they can't be taken back.
    StoreThenDo(Vec<Effect>),
    /// The bootstrap is lost, not failed: a new one may follow.
    Lost(String),
    /// Read these past the cache, then ask again.
    Look(BTreeSet<Topic>),
    /// Nothing to do now.
    Wait(WaitingOn, Wake),
    /// An attempt has failed: count it, and wait for the next.
    Retry {
        /// The count to store.
        count: i64,
        /// Why.
        why: WaitingOn,
        /// When the next attempt is due.
        wake: Wake,
    },
    /// It has failed for good.
    Fail(String),
    /// What stands under its id is not ours: the plan is replaced.
    NotOurs(String),
}

impl Turn<'_> {
    /// How long the task has been current.
    pub(crate) fn waited(&self) -> Duration {
        retry::elapsed(self.since, self.world.now)
    }

    /// An effect of this task at this attempt.
    pub(crate) fn effect(&self, op: Op) -> Effect {
        let id = EffectId::new(format!("{}/{}/{}", self.task.id, self.task.retry_count, op.verb()));
        Effect { id, task: Some(TaskId::new(&self.task.id)), op }
    }

    /// `Do` the operation, unless it has just gone wrong: then look again, or wait and say so. `topic` is what the
    /// operation was decided on.
    pub(crate) fn perform(&self, op: Op, topic: &Topic) -> Step {
        use crate::effect::Fault;
        let effect = self.effect(op);
        let done = self.world.observed.outcomes.iter().any(|o| o.effect == effect.id && o.result.is_ok());
        match self.world.observed.fault(&effect.id) {
            // It was carried out just now and is still to be done: seen too early, or set back by somebody else.
            None if done && !self.world.observed.has_looked(topic) => {
                Step::Look(BTreeSet::from([topic.clone()]))
            }
            // A repair is not fought over: the next comparison finds what was set back, and shows it.
            None if done && self.world.node.status.plan.as_ref().is_some_and(plan::is_convergence) => {
                Step::Done
            }
            None if done => {
                let text = "it was applied, and somebody else has set it back".to_owned();
                let wake = Wake::After(retry::poll(self.waited(), Duration::from_secs(1), MOST_BACKOFF));
                Step::Wait(WaitingOn::WriteFailed(self.task.task_type.clone(), text), wake)
            }
            None => Step::Do(vec![effect]),
            Some(Fault::Conflict(_) | Fault::Ambiguous(_)) if !self.world.observed.has_looked(topic) => {
                Step::Look(BTreeSet::from([topic.clone()]))
            }
            // It was looked at again, and it is still to be done.
            Some(Fault::Conflict(_)) => Step::Do(vec![effect]),
            Some(fault @ (Fault::Ambiguous(_) | Fault::Terminal(_) | Fault::Transient(_))) => {
                let wake = Wake::After(retry::poll(self.waited(), Duration::from_secs(1), MOST_BACKOFF));
                Step::Wait(WaitingOn::WriteFailed(self.task.task_type.clone(), fault.text().to_owned()), wake)
            }
        }
    }

    /// Asks for a topic once; if it stays dark, waits.
    pub(crate) fn look(&self, topic: Topic, blind: &crate::world::Blind) -> Step {
        if self.world.observed.has_looked(&topic) {
            let wake = Wake::After(retry::poll(self.waited(), Duration::from_secs(1), MOST_BACKOFF));
            Step::Wait(WaitingOn::Blind(topic, blind.clone()), wake)
        } else {
            Step::Look(BTreeSet::from([topic]))
        }
    }
}

/// Longest wait between two attempts of a write (contract: "back-off to 60 s").
const MOST_BACKOFF: Duration = Duration::from_mins(1);

/// Shows the result of a check as a condition; its reasons are `word` with Validated, NotReady or Invalid.
fn conclude(draft: &mut StatusDraft<'_>, kind: ConditionType, word: &str, fit: &str, step: Step) -> Step {
    let (status, suffix, message) = match &step {
        Step::Done => (ConditionStatus::True, "Validated", fit.to_owned()),
        Step::Fail(error) => (ConditionStatus::False, "Invalid", error.clone()),
        Step::Wait(why, _) => (ConditionStatus::False, "NotReady", why.to_string()),
        Step::Do(_)
        | Step::StoreThenDo(_)
        | Step::Look(_)
        | Step::Retry { .. }
        | Step::NotOurs(_)
        | Step::Lost(_) => return step,
    };
    draft.condition(kind, status, &format!("{word}{suffix}"), &message);
    step
}

/// The rule of the current task.
pub(crate) fn step(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    match &turn.task.task_type {
        TaskType::EnsureDataPvc => claim::ensure(turn, draft),
        TaskType::ApplyRbacProxyConfig => child::rbac_proxy_config(turn),
        TaskType::ApplyStatefulSet => child::statefulset(turn, draft),
        TaskType::ApplyService if turn.held => Step::Done,
        TaskType::ApplyService => child::service(turn),
        TaskType::ValidateSigningKey => secret::signing_key(turn, draft),
        TaskType::ValidateNodeKey => secret::node_key(turn, draft),
        TaskType::ValidateOperatorKeyring => secret::operator_keyring(turn, draft),
        sidecar_task if is_of_sidecar(sidecar_task) => sidecar::step(turn),
        TaskType::DeployBootstrapService => bootstrap::service(turn),
        TaskType::DeployBootstrapJob => bootstrap::job(turn),
        TaskType::AwaitBootstrapComplete => bootstrap::completion(turn),
        TaskType::TeardownBootstrap => bootstrap::teardown(turn),
        TaskType::ReplacePod => rollout::replace_pod(turn),
        TaskType::ObserveImage => rollout::observe_image(turn, draft),
        // P32: an unknown type fails the plan.
        unknown => Step::Fail(format!("unknown task type {:?}", unknown.as_str())),
    }
}
