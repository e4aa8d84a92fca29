//! A way out: from a state, once nothing goes wrong any more, the wanted state is reached within a bound and kept.
//!
//! A safety check, not a liveness property: the run is one, its order is fixed, and a cycle is a run that is too long. The
//! first operator works alone at first; what the others were stalled at comes late, when all is done, and changes nothing
//! that it should not. Operators are woken as the real ones are: by a change of what is watched, or by their timer.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use seinode_core::decision::Wake;

use super::mind::Mind;
use super::site::Site;
use super::state::{How, Left, State};
use super::view::Stale;

/// Longest fair run. A first start of the longest plan takes some two hundred steps of one operator.
const BOUND: usize = 1500;

/// Fair runs, and where they have been.
#[derive(Debug, Default)]
pub(crate) struct Fair {
    good: Mutex<HashSet<u64>>,
}

/// What is wrong with a state that is not as its spec wants it.
pub(crate) type Wanted = fn(&State) -> Result<(), String>;

/// One moment of a fair run.
#[derive(Clone, Debug, Hash)]
struct Run {
    state: State,
    /// When each operator wakes by itself.
    due: Vec<Option<u64>>,
    /// Whether each operator was woken.
    woken: Vec<bool>,
    /// Whether all but the first operator stand still.
    alone: bool,
}

impl Fair {
    /// Why there is no way out of a state, with the last steps that were tried; whichever operator works alone first.
    pub(crate) fn stuck(&self, mind: &Mind, state: &State, wanted: Wanted) -> Option<String> {
        let is_shared = state.workers.iter().all(|w| w.site == state.workers[0].site);
        let firsts = if is_shared { state.workers.len() } else { 1 };
        (0..firsts).find_map(|first| {
            let mut state = state.clone();
            state.workers.swap(0, first);
            let mut run = Run::of(state, is_shared);
            self.play(mind, &mut run, wanted)
        })
    }

    /// Where a fair run ends.
    pub(crate) fn settle(&self, mind: &Mind, state: State, wanted: Wanted) -> Result<State, String> {
        let mut run = Run::of(state, true);
        match self.play(mind, &mut run, wanted) {
            None => Ok(run.state),
            Some(why) => Err(why),
        }
    }

    fn play(&self, mind: &Mind, run: &mut Run, wanted: Wanted) -> Option<String> {
        let mut been = Vec::new();
        let mut told: Vec<String> = Vec::new();
        for _ in 0..BOUND {
            let digest = run.digest();
            if self.good.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
                self.remember(been);
                return None;
            }
            been.push(digest);
            if let Some(why) = run.state.broken.first() {
                return Some(format!("a fair run breaks {why}\n{}", last(&told)));
            }
            if let Some(step) = run.step(mind) {
                told.push(step);
                continue;
            }
            match wanted(&run.state) {
                // Late comers.
                Ok(()) if run.alone => {
                    told.push("the others wake up".to_owned());
                    run.alone = false;
                    run.woken.fill(true);
                }
                Ok(()) => {
                    if let Err(why) = run.is_still(mind) {
                        return Some(format!("{why}\n{}", last(&told)));
                    }
                    self.remember(been);
                    return None;
                }
                Err(why) => match run.wait() {
                    Some(()) => told.push(format!("time passes, to {} ms", run.state.now)),
                    None => return Some(format!("nothing will ever happen: {why}\n{}", last(&told))),
                },
            }
        }
        let why = wanted(&run.state).err().unwrap_or_else(|| "the wanted state is not kept".to_owned());
        Some(format!("no end after {BOUND} steps: {why}\n{}", last(&told)))
    }

    fn remember(&self, been: Vec<u64>) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).extend(been);
    }
}

fn last(told: &[String]) -> String {
    told[told.len().saturating_sub(40)..].join("\n")
}

impl Run {
    fn of(mut state: State, is_shared: bool) -> Self {
        state.left = Left::default();
        state.sites.iter_mut().for_each(Site::forget);
        let count = state.workers.len();
        Self { state, due: vec![None; count], woken: vec![true; count], alone: is_shared && count > 1 }
    }

    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn active(&self) -> usize {
        if self.alone { 1 } else { self.state.workers.len() }
    }

    /// One step, if anybody has one: calls first, then the cluster, then who was woken. What was done.
    fn step(&mut self, mind: &Mind) -> Option<String> {
        for worker in 0..self.active() {
            if self.state.is_busy(worker)
                && let Some(step) = self.work(mind, worker)
            {
                return Some(step);
            }
        }
        if let Some((at, part, next)) = self.state.any_cluster() {
            self.go(next);
            return Some(format!("site {at}: {part:?}"));
        }
        let woken = (0..self.active()).find(|w| self.woken[*w])?;
        self.work(mind, woken)
    }

    /// An operator's next call, or its next look.
    fn work(&mut self, mind: &Mind, worker: usize) -> Option<String> {
        // What changes in the middle of a pass wakes it once more.
        if !self.state.is_busy(worker) {
            self.woken[worker] = false;
        }
        let moved = self
            .state
            .call(mind, worker, How::Answered, false)
            .or_else(|| self.state.pass(mind, worker, Stale::FRESH, false))?;
        self.due[worker] = match moved.rests {
            Some(Wake::After(delay)) => {
                Some(self.state.now + u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
            }
            Some(Wake::OnChange) => None,
            // In the middle of a pass, or told to go on at once.
            None => Some(self.state.now),
        };
        if moved.rests.is_none() && !moved.state.is_busy(worker) {
            self.woken[worker] = true;
        }
        let doing = moved.state.describe(mind, worker);
        self.go(moved.state);
        let why = if moved.why.is_empty() { String::new() } else { format!(": {}", moved.why) };
        Some(format!("operator {worker}: {doing}{why}"))
    }

    /// The next state; whoever watches what has changed is woken.
    fn go(&mut self, next: State) {
        for (worker, woken) in next.workers.iter().zip(&mut self.woken) {
            let (a, b) = (&self.state.sites[worker.site], &next.sites[worker.site]);
            // Nobody watches a sidecar.
            *woken |= a.node != b.node
                || a.statefulset != b.statefulset
                || a.service != b.service
                || a.config_map != b.config_map
                || a.claim != b.claim
                || a.job != b.job
                || a.pods != b.pods;
        }
        self.state = next;
        self.state.sites.iter_mut().for_each(Site::forget);
        self.state = self.state.clone().checked();
    }

    /// Time passes to the next timer.
    fn wait(&mut self) -> Option<()> {
        let next = self.due.iter().flatten().min().copied()?;
        self.state.now = self.state.now.max(next);
        for (due, woken) in self.due.iter_mut().zip(&mut self.woken) {
            if due.is_some_and(|due| due <= self.state.now) {
                (*due, *woken) = (None, true);
            }
        }
        Some(())
    }

    /// Law 5: later, at each timer and after an hour, every operator looks again, and nothing is written.
    fn is_still(&self, mind: &Mind) -> Result<(), String> {
        let mut later = self.state.clone();
        for wait in [1_000, 60_000, 600_000, 3_600_000] {
            later.now += wait;
            for worker in 0..later.workers.len() {
                let moved = later.pass(mind, worker, Stale::FRESH, false);
                let quiet = moved.as_ref().is_some_and(|m| m.rests.is_some() && m.state.broken.is_empty());
                if !quiet {
                    let doing = moved.map(|m| m.state.describe(mind, worker)).unwrap_or_default();
                    return Err(format!("law 5: all is as wanted, and operator {worker} goes on: {doing}"));
                }
            }
        }
        Ok(())
    }
}
