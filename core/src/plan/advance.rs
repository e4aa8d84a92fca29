//! The active plan: walk its tasks in order from what is seen.
//!
//! Answers: which tasks are complete by now, what the current one asks for, whether the plan ends. Upholds laws 3 (one
//! door), 8 (forward only) and P28 (never out of order). Several tasks may finish between two stores: each is told to be
//! done by observing, so a crash only makes the walk longer.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::condition::{self, Condition, ConditionStatus, ConditionType};
use crate::api::status::{StoredPlan, StoredTask};
use crate::api::{SeiNodeStatus, Stamp, TaskStatus, TaskType};
use crate::decision::Wake;
use crate::draft::{StatusDraft, Verdict};
use crate::effect::Effect;
use crate::explain::{self, WaitingOn};
use crate::ident::TaskId;
use crate::plan::fresh_peers::{self, Patch};
use crate::plan::{cursor, is_bootstrapping};
use crate::retry;
use crate::task::{self, Step, Turn};
use crate::world::{Seen, Topic, World};

/// What walking a plan came to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Carry these out.
    pub(crate) effects: Vec<Effect>,
    /// Read these past the cache first.
    pub(crate) looks: BTreeSet<Topic>,
    /// What is waited for.
    pub(crate) why: Vec<WaitingOn>,
    /// When to come back.
    pub(crate) wake: Option<Wake>,
    /// The plan has ended, in the draft.
    pub(crate) ended: bool,
    /// The plan can't go on as it is: why it has to be replaced.
    pub(crate) broken: Option<Broken>,
}

/// Why a plan has to be replaced.
#[derive(Debug)]
pub(crate) enum Broken {
    /// What stands under its ids in the sidecar is not ours.
    NotOurs(String),
    /// It no longer says what is wanted.
    Outdated(String),
    /// Its bootstrap, deployed by the task at this index, is lost.
    Lost(usize, String),
}

impl Progress {
    fn wait(&mut self, why: WaitingOn, wake: Wake) {
        self.why.push(why);
        self.wake = Some(self.wake.map_or(wake, |w| w.sooner(wake)));
    }
}

/// Walks the plan in the draft.
pub(crate) fn advance(world: World<'_>, draft: &mut StatusDraft<'_>, held: bool) -> Progress {
    let mut progress = Progress::default();
    while let Some((index, task)) = current(draft.status()) {
        if task.status == TaskStatus::Failed {
            // An active plan with a failed task: the one who failed it died before the end.
            let error = task.error.clone().unwrap_or_else(|| "the task was found failed".to_owned());
            draft.close(&Verdict::Failed { index, error });
            progress.ended = true;
            return progress;
        }
        match fresh_peers::before(world, draft, index, &task) {
            Patch::NotNeeded => {}
            Patch::Look(topics) => {
                progress.looks = topics;
                return progress;
            }
            Patch::Insert(patch, resolved) => {
                // Stored before it is sent.
                draft.insert(index, patch);
                draft.fields().resolved_peers(resolved);
                progress.wait(WaitingOn::Applied(TaskType::ConfigPatch), Wake::After(Duration::ZERO));
                return progress;
            }
        }
        let since = turn_since(world, draft.status(), &task);
        draft.turn(index, since);
        let bootstrapping = draft.status().plan.as_ref().is_some_and(is_bootstrapping);
        match task::step(&Turn { world, task: &task, since, bootstrapping, held }, draft) {
            Step::Done => {
                draft.complete(index);
                if task.task_type == TaskType::TeardownBootstrap {
                    // From here on the volume is the StatefulSet's: that is stored at once.
                    draft.insist();
                }
            }
            Step::StoreThenDo(effects) => {
                draft.insist();
                progress.effects = effects;
                progress.wait(WaitingOn::Applied(task.task_type), Wake::After(Duration::ZERO));
                return progress;
            }
            Step::Lost(text) => {
                let plan = draft.status().plan.as_ref();
                let deployed = plan
                    .and_then(|p| p.tasks.iter().position(|t| t.task_type == TaskType::DeployBootstrapJob));
                match deployed {
                    Some(at) => progress.broken = Some(Broken::Lost(at, text)),
                    None => {
                        draft.close(&Verdict::Failed { index, error: text });
                        progress.ended = true;
                    }
                }
                return progress;
            }
            Step::Do(effects) => {
                progress.effects = effects;
                progress.wait(WaitingOn::Applied(task.task_type), Wake::After(Duration::ZERO));
                return progress;
            }
            Step::Look(topics) => {
                progress.looks = topics;
                return progress;
            }
            Step::Wait(why, wake) => {
                if let Some(error) = timed_out(world, draft, &task, &why, since) {
                    draft.close(&Verdict::Failed { index, error });
                    progress.ended = true;
                    return progress;
                }
                note_progress(world, draft, &why, since);
                progress.wait(why, wake);
                return progress;
            }
            Step::Retry { count, why, wake } => {
                draft.retry(index, count);
                progress.wait(why, wake);
                return progress;
            }
            Step::Fail(error) => {
                draft.close(&Verdict::Failed { index, error });
                progress.ended = true;
                return progress;
            }
            Step::NotOurs(text) => {
                progress.broken = Some(Broken::NotOurs(text));
                return progress;
            }
        }
    }
    draft.close(&Verdict::Complete);
    progress.ended = true;
    progress
}

fn current(status: &SeiNodeStatus) -> Option<(usize, StoredTask)> {
    let plan = status.plan.as_ref()?;
    let index = cursor(plan)?;
    plan.tasks.get(index).cloned().map(|task| (index, task))
}

/// Whether every task of the type is complete in a plan; `None` if the plan has none.
pub(crate) fn is_complete(plan: &StoredPlan, task_type: &TaskType) -> Option<bool> {
    let mut of_type = plan.tasks.iter().filter(|t| t.task_type == *task_type).peekable();
    of_type.peek()?;
    Some(of_type.all(|t| t.status == TaskStatus::Complete))
}

/// When the turn of the current task came: as stored, else the latest moment that can be told: the last one in status,
/// the end of the sidecar tasks before it.
fn turn_since(world: World<'_>, status: &SeiNodeStatus, task: &StoredTask) -> Timestamp {
    let stored = |stamp: &Option<Stamp>| stamp.as_ref().and_then(Stamp::at);
    if let Some(at) = stored(&task.submitted_at) {
        return at.min(world.now);
    }
    let is_new = |plan: &StoredPlan| world.node.status.plan.as_ref().is_none_or(|known| known.id != plan.id);
    if status.plan.as_ref().is_some_and(is_new) {
        return world.now;
    }
    let mut moments = vec![stored(&status.phase_transition_time)];
    moments.extend(world.node.status.conditions.iter().map(Condition::since));
    if let Some(plan) = &status.plan {
        moments.extend(world.node.status.plan.iter().flat_map(|p| &p.tasks).map(|t| stored(&t.submitted_at)));
        if let Seen::Present(records) = &world.observed.sidecar_tasks {
            let of_plan = plan.tasks.iter().filter_map(|t| records.get(&TaskId::new(&t.id)));
            // A sidecar whose clock is ahead has ended its task by now.
            moments.extend(of_plan.map(|r| stored(&r.completed_at).map(|at| at.min(world.now))));
        }
    }
    let latest = moments.into_iter().flatten().filter(|at| *at <= world.now).max().unwrap_or(world.now);
    if world.observed.sidecar_tasks.present().is_some() && !follows_unstored(world, status, task) {
        return latest;
    }
    // An earlier task may have ended just now: no time limit starts from longer ago than the first mark.
    let recent = world.now.checked_sub(retry::FIRST_MARK).unwrap_or(world.now);
    latest.max(recent)
}

/// Whether the task before this one is the operator's own and its end is not stored yet: nobody else has noted when it ended.
fn follows_unstored(world: World<'_>, status: &SeiNodeStatus, task: &StoredTask) -> bool {
    let tasks = status.plan.as_ref().map_or(&[][..], |p| &p.tasks);
    let Some(before) = tasks.iter().take_while(|t| t.id != task.id).last() else { return false };
    let stored = world.node.status.plan.iter().flat_map(|p| &p.tasks).find(|t| t.id == before.id);
    !task::is_of_sidecar(&before.task_type) && stored.is_none_or(|t| t.status != TaskStatus::Complete)
}

/// Whether a task has been current for longer than it may: since its turn, its pod's start, or the last resume. Time in
/// which nothing could be told does not count.
fn timed_out(
    world: World<'_>,
    draft: &StatusDraft<'_>,
    task: &StoredTask,
    why: &WaitingOn,
    since: Timestamp,
) -> Option<String> {
    let limit = match why {
        // Seen at more than one mark, so it is no passing trouble of the sidecar's disk.
        WaitingOn::Refused(..) if was_refused(world) => task::REFUSAL_LIMIT,
        WaitingOn::Refused(..) => return None,
        _ => task::time_limit(&task.task_type)?,
    };
    if matches!(why, WaitingOn::Blind(..) | WaitingOn::Sidecar(_)) {
        return None;
    }
    let stamp = |s: Option<&Stamp>| s.and_then(Stamp::at);
    let resumed = draft.find(&ConditionType::Paused).and_then(Condition::since);
    let pod = world.observed.pods.present().into_iter().flatten();
    let started = pod.filter_map(|p| p.status.as_ref()?.start_time.as_ref().map(|t| t.0)).max();
    // What the sidecar could not be told before, because it was away, it has had no time for.
    let records = world.observed.sidecar_tasks.present();
    let run = records.and_then(|r| stamp(r.get(&TaskId::new(&task.id))?.submitted_at.as_ref()));
    let from =
        [Some(since), resumed, started, run].into_iter().flatten().filter(|at| *at <= world.now).max()?;
    let waited = retry::elapsed(from, world.now);
    (waited > limit)
        .then(|| format!("not done within {}: {}", retry::human(limit), crate::draft::cut(&why.to_string())))
}

/// Whether the sidecar's refusal is what is shown already.
fn was_refused(world: World<'_>) -> bool {
    condition::find(&world.node.status.conditions, &ConditionType::Ready)
        .is_some_and(|c| c.reason == explain::REFUSED || c.message.contains(explain::REFUSAL))
}

/// Shows a long wait on the object: at 10 s, then at doubled distance. The message carries the mark, so the same mark is
/// never written twice.
fn note_progress(world: World<'_>, draft: &mut StatusDraft<'_>, why: &WaitingOn, since: Timestamp) {
    note(world, draft, why, since, false);
}

/// Shows what the replacement of a plan waits for: as a wait of its current task, and at once where a node that does not
/// serve tells of the task.
pub(crate) fn note_replacing(world: World<'_>, draft: &mut StatusDraft<'_>, why: &WaitingOn) {
    if let Some((index, task)) = current(draft.status()) {
        let since = turn_since(world, draft.status(), &task);
        draft.turn(index, since);
        let shown = condition::find(&world.node.status.conditions, &ConditionType::Ready);
        let known = [why.reason(), "ReplacingPlan", "Bootstrapping", "NotObserved"];
        note(world, draft, why, since, shown.is_none_or(|ready| !known.contains(&ready.reason.as_str())));
    }
}

/// Before a plan is replaced something is done: what was shown of the wait for it stays.
pub(crate) fn keep_shown(world: World<'_>, draft: &mut StatusDraft<'_>) {
    let stored = condition::find(&world.node.status.conditions, &ConditionType::Ready);
    let status = draft.find(&ConditionType::Ready).map(|c| c.status.clone());
    if let Some(shown) = stored.filter(|c| Some(&c.status) == status.as_ref()) {
        draft.condition(ConditionType::Ready, shown.status.clone(), &shown.reason, &shown.message);
    }
}

/// `anew`: also where this mark was shown already, of something else.
fn note(world: World<'_>, draft: &mut StatusDraft<'_>, why: &WaitingOn, since: Timestamp, anew: bool) {
    let Some(mark) = retry::progress_mark(retry::elapsed(since, world.now)) else { return };
    let suffix = format!(" (for over {})", retry::human(mark));
    let stored = condition::find(&world.node.status.conditions, &ConditionType::Ready);
    // While the turn of the task is not stored it moves with the clock, and so the mark would stay the first one for ever.
    let current = |p: &StoredPlan| cursor(p).and_then(|i| p.tasks.get(i).map(|t| t.id.clone()));
    let turn = draft.status().plan.as_ref().and_then(current);
    let known = world.node.status.plan.iter().flat_map(|p| &p.tasks).find(|t| Some(&t.id) == turn.as_ref());
    let is_stored = known.is_some_and(|t| t.submitted_at.is_some());
    let serving = draft.find(&ConditionType::Ready).filter(|c| c.status == ConditionStatus::True);
    let is_shown = |c: &Condition| c.message.ends_with(&suffix) && (serving.is_some() || !anew);
    if is_stored && stored.is_some_and(is_shown) {
        // It stays as it is, also where another rule has said something else of it in this pass.
        keep_shown(world, draft);
        return;
    }
    let (status, reason) = match serving {
        // A node that serves stays Ready while a plan waits; the message tells.
        Some(ready) => (ConditionStatus::True, ready.reason.clone()),
        None => (ConditionStatus::False, why.reason().to_owned()),
    };
    let slow = draft.status().plan.as_ref().and_then(|p| cursor(p).and_then(|i| p.tasks.get(i)));
    let slow = slow.is_some_and(|t| task::is_slow(&t.task_type, retry::elapsed(since, world.now)));
    let reason = if slow && status == ConditionStatus::False { "Slow".to_owned() } else { reason };
    let message = crate::draft::cut(&why.to_string()) + &suffix;
    draft.condition(ConditionType::Ready, status, &reason, &message);
    draft.insist();
}
