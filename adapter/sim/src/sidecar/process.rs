//! One process: which handlers run in it and when they end.
//!
//! Answers: whether it is ready, when something will happen next.
//! Refuses to know: HTTP.
//! Upholds: a run that lost its record writes nothing back; a new process starts unready and repeats what it
//! finds running.

use super::director::{Director, Entry, Event};
use super::kind::Kind;
use super::record::{Record, Status};
use super::script::Ending;
use super::surroundings::Surroundings;
use super::task::{self, Failure, Progress, Work};
use super::volume::{Disk, Volume};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A running sidecar. Dropping it is killing it.
#[derive(Debug)]
pub struct Sidecar {
    pub(super) volume: Volume,
    pub(super) around: Surroundings,
    pub(super) director: Director,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ready: bool,
    runs: BTreeMap<String, Run>,
}

#[derive(Debug)]
struct Run {
    kind: Kind,
    number: u64,
    sequence: u64,
    /// `None` never ends.
    due: Option<Timestamp>,
    /// When a waiting handler gives up.
    limit: Timestamp,
    is_waiting: bool,
    ending: Ending,
    doom: Option<String>,
}

impl Sidecar {
    /// Starts a process on a volume. Records found running run again from their beginning.
    pub fn start(volume: Volume, around: Surroundings, director: Director, now: Timestamp) -> Self {
        let process = Self { volume, around, director, state: Mutex::default() };
        process.resume(now);
        process
    }

    /// Whether a mark-ready ran in this process and no mark-not-ready since.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.advance(now);
        self.state().ready
    }

    /// When the next handler ends, if one is going to end by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        let state = self.state();
        let times =
            state.runs.values().filter_map(|run| if run.is_waiting { Some(run.limit) } else { run.due });
        times.min()
    }

    /// The volume it works on.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// The node program beside it.
    pub fn seid(&self) -> &super::surroundings::Seid {
        &self.around.seid
    }

    /// Ends every handler that is due, in order.
    pub fn advance(&self, now: Timestamp) {
        let mut state = self.state();
        for run in state.runs.values_mut() {
            run.is_waiting = false;
        }
        while let Some(id) = state.next_ended(now) {
            self.volume.with(|disk| self.end(&mut state, disk, &id, now));
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a handler for a record that says running.
    pub(super) fn begin(
        &self,
        state: &mut State,
        disk: &mut Disk,
        record: &Record,
        kind: Kind,
        now: Timestamp,
    ) {
        let (duration, ending) = self.director.next_run(kind);
        let run = Run {
            kind,
            number: record.run,
            sequence: record.sequence,
            due: if ending == Ending::Hang { None } else { Some(later(now, duration)) },
            limit: later(now, self.director.scaled(HANDLER_LIMIT)),
            is_waiting: false,
            doom: task::begin(kind, disk, &self.around, record.params.as_ref()),
            ending,
        };
        state.runs.insert(record.id.clone(), run);
    }

    /// Forgets the handler of a deleted record.
    pub(super) fn cancel(state: &mut State, id: &str) {
        state.runs.remove(id);
    }

    pub(super) fn note(&self, record: &Record, event: Event, at: Timestamp) {
        self.director.note(Entry {
            at,
            id: record.id.clone(),
            kind: record.kind.clone(),
            params: record.params.clone(),
            run: record.run,
            event,
        });
    }

    fn end(&self, state: &mut State, disk: &mut Disk, id: &str, now: Timestamp) {
        let Some(mut run) = state.runs.remove(id) else { return };
        let Some(record) = disk.records.get(id).filter(|record| record.run == run.number) else { return };
        if record.status != Status::Running {
            return;
        }
        let params = record.params.clone();
        let ended = self.carry_out(state, disk, &run, params.as_ref(), now);
        let (failure, result) = match ended {
            Ok(Progress::Waiting) => {
                run.is_waiting = true;
                state.runs.insert(id.to_owned(), run);
                return;
            }
            Ok(Progress::Done(result)) => (None, result),
            Err(failure) => (Some(failure.error), failure.result),
        };
        let event = if failure.is_some() { Event::Failed } else { Event::Completed };
        let at = run.due.unwrap_or(now);
        // The handler may have removed its own record.
        if let Some(record) = disk.records.get_mut(id) {
            record.end(failure, result, at);
            self.note(record, event, at);
        }
    }

    fn carry_out(
        &self,
        state: &mut State,
        disk: &mut Disk,
        run: &Run,
        params: Option<&Map<String, Value>>,
        now: Timestamp,
    ) -> Result<Progress, Failure> {
        match &run.ending {
            Ending::Natural | Ending::Hang => {
                let work = Work {
                    disk,
                    ready: &mut state.ready,
                    around: &self.around,
                    director: &self.director,
                    params,
                    doom: run.doom.as_deref(),
                    is_overdue: now >= run.limit,
                };
                task::perform(run.kind, work)
            }
            Ending::Succeed => Ok(Progress::Done(None)),
            Ending::Fail { error, result } => Err(Failure { error: error.clone(), result: result.clone() }),
            Ending::Panic => Err("task handler panicked: scripted".into()),
        }
    }

    /// What a process does before it listens: holds first and to their end, then everything else at once.
    fn resume(&self, now: Timestamp) {
        let mut state = self.state();
        self.volume.with(|disk| {
            disk.file("config.toml");
            for id in running(disk, |kind| kind == Kind::MarkNotReady.name()) {
                self.take_up(&mut state, disk, &id, now);
                if let Some(run) = state.runs.get_mut(&id) {
                    run.due = Some(now);
                    run.ending = Ending::Natural;
                }
                self.end(&mut state, disk, &id, now);
            }
            for id in running(disk, |_| true) {
                self.take_up(&mut state, disk, &id, now);
            }
        });
    }

    fn take_up(&self, state: &mut State, disk: &mut Disk, id: &str, now: Timestamp) {
        let hold = disk.newest_of(Kind::MarkNotReady.name());
        let Some(record) = disk.records.get_mut(id) else { return };
        let kind = Kind::parse(&record.kind);
        let refusal = match kind {
            None => Some("no handler registered for task type"),
            Some(Kind::MarkReady) if hold.is_some_and(|hold| record.submitted_at <= hold) => {
                Some("superseded by hold")
            }
            Some(_) => None,
        };
        if let Some(error) = refusal {
            record.end(Some(error.to_owned()), None, now);
            self.note(record, Event::Failed, now);
        } else if let Some(kind) = kind {
            let record = record.clone();
            self.note(&record, Event::Resumed, now);
            self.begin(state, disk, &record, kind, now);
        }
    }
}

impl State {
    fn next_ended(&self, now: Timestamp) -> Option<String> {
        let ended = self.runs.iter().filter_map(|(id, run)| {
            let due = run.due.filter(|due| *due <= now && !run.is_waiting)?;
            Some((due, run.sequence, id))
        });
        ended.min().map(|(_, _, id)| id.clone())
    }
}

/// Ids of running records whose type fits, oldest submission first.
fn running(disk: &Disk, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let found = disk.records.values().filter(|record| record.status == Status::Running && fits(&record.kind));
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|record| (record.submitted_at, record.sequence));
    found.into_iter().map(|record| record.id.clone()).collect()
}

fn later(now: Timestamp, duration: Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long restart-seid waits for the node program; no other handler has a limit.
const HANDLER_LIMIT: Duration = Duration::from_mins(5);
