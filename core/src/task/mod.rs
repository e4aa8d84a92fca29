//! Tasks: one table of what each may cost, and one file per family of how each is told to be done.
//!
//! Answers: for the current task, from what is seen: done, do this, look at that, wait (why), try again, give up.
//! Refuses to know: the rest of the plan. Upholds law 7: from blindness follows no failure and no success.

pub(crate) mod child;
pub(crate) mod claim;
pub(crate) mod params;
pub(crate) mod secret;
pub(crate) mod sidecar;
pub(crate) mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::TaskType;
use crate::api::status::StoredTask;
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::effect::{Effect, Op};
use crate::explain::WaitingOn;
use crate::ident::{EffectId, TaskId};
use crate::retry;
use crate::world::{Topic, World};

/// One row of the table of tasks.
struct Rule {
    /// `maxRetries` as stored (`seinode.md` 3).
    stored: i64,
    /// Retries that this operator grants (contract: "Time limits", issue of the whole contract); at least `stored`.
    granted: i64,
}

const fn rule(stored: i64, granted: i64) -> Rule {
    Rule { stored, granted }
}

/// The table. A task that is not listed as retried fails its plan with the first failure.
fn table(task_type: &TaskType) -> Rule {
    match task_type {
        // Waits for the network's genesis file, which other nodes make.
        TaskType::ConfigureGenesis => rule(180, 180),
        // Wait for objects, peers or processes made by others.
        TaskType::ConfigureStateSync | TaskType::SetGenesisPeers | TaskType::UploadGenesisArtifacts => rule(0, 20),
        // Large downloads break.
        TaskType::SnapshotRestore => rule(0, 5),
        TaskType::ReplacePod => rule(3, 3),
        // Same input, same failure; and a genesis transaction must never be made twice.
        TaskType::ConfigApply
        | TaskType::ConfigPatch
        | TaskType::ConfigValidate
        | TaskType::GenerateIdentity
        | TaskType::GenerateGentx
        | TaskType::MarkReady => rule(0, 0),
        // These don't fail by an attempt: they wait, or end at once.
        TaskType::EnsureDataPvc
        | TaskType::ApplyRbacProxyConfig
        | TaskType::ApplyStatefulSet
        | TaskType::ApplyService
        | TaskType::ValidateSigningKey
        | TaskType::ValidateNodeKey
        | TaskType::ValidateOperatorKeyring
        | TaskType::DeployBootstrapService
        | TaskType::DeployBootstrapJob
        | TaskType::AwaitBootstrapComplete
        | TaskType::TeardownBootstrap
        | TaskType::ObserveImage
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

/// The current task and what surrounds it.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    /// The world.
    pub(crate) world: World<'a>,
    /// The task.
    pub(crate) task: &'a StoredTask,
    /// When its turn came.
    pub(crate) since: Timestamp,
}

/// What is to be done about the current task.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// It is complete.
    Done,
    /// Carry these out, then look again.
    Do(Vec<Effect>),
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
        match self.world.observed.fault(&effect.id) {
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

/// The rule of the current task.
pub(crate) fn step(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    match &turn.task.task_type {
        TaskType::EnsureDataPvc => claim::ensure(turn, draft),
        TaskType::ApplyRbacProxyConfig => child::rbac_proxy_config(turn),
        TaskType::ApplyStatefulSet => child::statefulset(turn, draft),
        TaskType::ApplyService => child::service(turn),
        TaskType::ValidateSigningKey => secret::signing_key(turn, draft),
        TaskType::ValidateNodeKey => secret::node_key(turn, draft),
        TaskType::ValidateOperatorKeyring => secret::operator_keyring(turn, draft),
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
        | TaskType::SetGenesisPeers => sidecar::step(turn),
        unknown @ (TaskType::DeployBootstrapService
        | TaskType::DeployBootstrapJob
        | TaskType::AwaitBootstrapComplete
        | TaskType::TeardownBootstrap
        | TaskType::ReplacePod
        | TaskType::ObserveImage) => Step::Wait(
            WaitingOn::Unsupported(format!("task {unknown} can't be carried out by this version of the operator")),
            Wake::OnChange,
        ),
        // P32: an unknown type fails the plan.
        TaskType::Other(text) => Step::Fail(format!("unknown task type {text:?}")),
    }
}
