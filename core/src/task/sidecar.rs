//! Tasks that the sidecar carries out: look before each submit, count each failed run exactly once.
//!
//! Attempt k = `retryCount` expects the record's `run` to be k + 1:
//!
//! | record | what happens |
//! |---|---|
//! | absent, or failed with run <= k | submit |
//! | running, completed | adopt, never submit |
//! | failed with run = k + 1 | store the retry or the failure first |
//! | failed with run > k + 1 | someone else ran it: adopt that count |
//! | another type or other params | not ours: the plan is replaced |

use std::time::Duration;

use super::{Step, Turn, retries, wire};
use crate::api::TaskType;
use crate::api::status::StoredPlan;
use crate::decision::Wake;
use crate::draft::cut;
use crate::effect::{Fault, Op, Submit};
use crate::explain::WaitingOn;
use crate::ident::TaskId;
use crate::pod;
use crate::retry;
use crate::world::{Blind, Seen, SidecarTask, SidecarTaskStatus, Topic, World};

/// A running task is polled soon and then ever more slowly.
const FIRST_POLL: Duration = Duration::from_millis(100);
/// Longest distance of two polls (`seinode.md` 8.2: 5 s).
const LAST_POLL: Duration = Duration::from_secs(5);

/// The rule of a sidecar task.
pub(super) fn step(turn: &Turn<'_>) -> Step {
    let params = match wire::params(&turn.task.task_type, &turn.task.params) {
        Ok(params) => params,
        // P32: params that do not decode fail the plan.
        Err(error) => return Step::Fail(error),
    };
    let poll = Wake::After(retry::poll(turn.waited(), FIRST_POLL, LAST_POLL));
    if turn.bootstrapping
        && let Some(step) = super::bootstrap::told_by_job(turn)
    {
        return step;
    }
    if let Some(why) = unreachable_by_sight(turn) {
        return Step::Wait(WaitingOn::Pod(why), Wake::After(LAST_POLL));
    }
    let observed = turn.world.observed;
    if !observed.has_looked(&Topic::SidecarTasks) {
        return Step::Look([Topic::SidecarTasks].into());
    }
    let records = match &observed.sidecar_tasks {
        Seen::Present(records) => records,
        Seen::Absent => {
            return Step::Wait(WaitingOn::Sidecar("the sidecar gave no list of its tasks".into()), poll);
        }
        Seen::Unknown(blind) => return Step::Wait(WaitingOn::Sidecar(sidecar_text(blind)), poll),
    };
    let submit = Op::Submit(Submit {
        id: TaskId::new(&turn.task.id),
        task_type: turn.task.task_type.to_string(),
        params: params.clone(),
    });
    let Some(record) = records.get(&TaskId::new(&turn.task.id)) else {
        return match stray(turn, records) {
            Some(step) => step,
            None => send(turn, submit, poll),
        };
    };
    if record.task_type != turn.task.task_type.as_str()
        || !wire::same(params.as_ref(), record.params.as_ref())
    {
        return Step::NotOurs(format!(
            "the sidecar has task {} with another type or other params",
            record.id
        ));
    }
    match record.status {
        SidecarTaskStatus::Completed => Step::Done,
        SidecarTaskStatus::Running | SidecarTaskStatus::Unknown => {
            let started = record.submitted_at.as_ref().and_then(crate::api::Stamp::at).unwrap_or(turn.since);
            let age = retry::elapsed(started, turn.world.now);
            Step::Wait(
                WaitingOn::TaskRunning(turn.task.task_type.clone()),
                Wake::After(retry::poll(age, FIRST_POLL, LAST_POLL)),
            )
        }
        SidecarTaskStatus::Failed if record.run <= turn.task.retry_count => again(turn, record, submit, poll),
        SidecarTaskStatus::Failed => failed(turn, record),
    }
}

/// Before anything new is submitted: a task of a plan that is running but not in this plan is brought to an end first. A
/// genesis transaction is waited for, and a mark-ready harms nothing.
fn stray(turn: &Turn<'_>, records: &std::collections::BTreeMap<TaskId, SidecarTask>) -> Option<Step> {
    let plan = turn.world.node.status.plan.as_ref()?;
    if let Some(later) = intruder(plan, records) {
        let text =
            format!("task {} of another plan was sent to the sidecar while this plan ran", later.task_type);
        return Some(Step::NotOurs(text));
    }
    let other = records.values().find(|r| {
        let kind = TaskType::from(r.task_type.clone());
        r.status == SidecarTaskStatus::Running
            && super::is_of_sidecar(&kind)
            && kind != TaskType::MarkReady
            && plan.tasks.iter().all(|t| t.id != r.id)
    })?;
    let why =
        WaitingOn::Sidecar(format!("task {} of another plan still runs in the sidecar", other.task_type));
    if other.task_type == TaskType::GenerateGentx.as_str() {
        return Some(Step::Wait(why, Wake::After(LAST_POLL)));
    }
    let effect = turn.effect(Op::Withdraw(TaskId::new(&other.id)));
    Some(match turn.world.observed.fault(&effect.id) {
        None => Step::Do(vec![effect]),
        Some(_) => Step::Wait(why, Wake::After(LAST_POLL)),
    })
}

/// A record of a plan type, mark-ready aside, that is not of this plan and was sent after its first task: a second operator
/// has worked on the node, and what this plan has done may be undone.
fn intruder<'a>(
    plan: &StoredPlan,
    records: &'a std::collections::BTreeMap<TaskId, SidecarTask>,
) -> Option<&'a SidecarTask> {
    let sent = |r: &SidecarTask| r.submitted_at.as_ref().and_then(crate::api::Stamp::at);
    let of_plan = |r: &SidecarTask| plan.tasks.iter().any(|t| t.id == r.id);
    let first = records.values().filter(|r| of_plan(r)).filter_map(sent).min()?;
    records.values().find(|r| {
        let kind = TaskType::from(r.task_type.clone());
        super::is_of_sidecar(&kind)
            && kind != TaskType::MarkReady
            && !of_plan(r)
            && sent(r).is_some_and(|at| at > first)
    })
}

/// A failed run that is not counted yet: store the retry, or give up.
fn failed(turn: &Turn<'_>, record: &SidecarTask) -> Step {
    let error = cut(record.error.as_deref().unwrap_or("the sidecar gave no reason"));
    if record.run > retries(turn.task) {
        return Step::Fail(error);
    }
    let wake = Wake::After(due(turn, record, record.run));
    Step::Retry {
        count: record.run,
        why: WaitingOn::Retry(turn.task.task_type.clone(), record.run, error),
        wake,
    }
}

/// A failed run that is counted: the next attempt, once its back-off is over.
fn again(turn: &Turn<'_>, record: &SidecarTask, submit: Op, poll: Wake) -> Step {
    let left = due(turn, record, turn.task.retry_count);
    if left.is_zero() {
        return send(turn, submit, poll);
    }
    let error = cut(record.error.as_deref().unwrap_or("the sidecar gave no reason"));
    Step::Wait(WaitingOn::Retry(turn.task.task_type.clone(), turn.task.retry_count, error), Wake::After(left))
}

/// How long until retry `count` of a failed record may start. What ended in the far future has a clock that says
/// nothing, so it may start now; every retry is stored before it runs, so that does not run away.
fn due(turn: &Turn<'_>, record: &SidecarTask, count: i64) -> Duration {
    let Some(ended) = record.completed_at.as_ref().and_then(crate::api::Stamp::at) else {
        return Duration::ZERO;
    };
    let now = turn.world.now;
    if retry::elapsed(now, ended) > retry::CLOCK_SKEW {
        return Duration::ZERO;
    }
    let since = retry::elapsed(ended, now);
    (retry::backoff(count) + retry::elapsed(now, ended)).saturating_sub(since)
}

fn send(turn: &Turn<'_>, submit: Op, poll: Wake) -> Step {
    let effect = turn.effect(submit);
    match turn.world.observed.fault(&effect.id) {
        None => Step::Do(vec![effect]),
        // A database that can't be written is refused like a task that is unknown: neither is final at once (S17).
        Some(Fault::Terminal(text)) => {
            Step::Wait(WaitingOn::Refused(turn.task.task_type.clone(), text.clone()), poll)
        }
        // It may have arrived: the next look at the records tells.
        Some(Fault::Ambiguous(text) | Fault::Conflict(text) | Fault::Transient(text)) => {
            Step::Wait(WaitingOn::Sidecar(text.clone()), poll)
        }
    }
}

/// What the pods alone tell: there is nobody to ask. A pod that can't be told about is asked.
fn unreachable_by_sight(turn: &Turn<'_>) -> Option<String> {
    nobody_to_ask(turn.world, turn.bootstrapping)
}

/// Why no sidecar can answer, if the pods tell. `bootstrap`: the one of the bootstrap Job is meant.
pub(crate) fn nobody_to_ask(world: World<'_>, bootstrap: bool) -> Option<String> {
    let observed = world.observed;
    let pod = if bootstrap {
        pod::of_job(&observed.pods, observed.job.present()?)
    } else {
        match &observed.statefulset {
            Seen::Unknown(_) => return None,
            Seen::Absent => return Some("the StatefulSet does not exist".to_owned()),
            Seen::Present(sts) => pod::of_statefulset(&observed.pods, sts),
        }
    };
    match pod {
        Seen::Unknown(_) => None,
        Seen::Absent => Some("the pod does not exist yet".to_owned()),
        Seen::Present(pod) if pod.metadata.deletion_timestamp.is_some() => {
            Some(format!("pod {} is being deleted", pod::name(pod)))
        }
        Seen::Present(pod) if pod::is_running(pod, pod::SIDECAR) => None,
        Seen::Present(pod) => Some(pod::why_not_running(pod, pod::SIDECAR)),
    }
}

fn sidecar_text(blind: &Blind) -> String {
    match blind {
        Blind::Unreachable(text) => text.clone(),
        Blind::NotAsked | Blind::NotSynced | Blind::Forbidden => {
            format!("the sidecar could not be asked: {blind}")
        }
    }
}
