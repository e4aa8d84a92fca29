//! Walks by chance to the end of a scope: what a search breadth first, which stops at its bounds, does not come to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use stateright::Model;

use super::state::{Action, How, State};
use super::view::Stale;
use super::{Bounds, Found, Scope, Search};

/// A walk that is longer than this goes in circles: time passes, and nothing else does.
const LONGEST: usize = 600;

/// One step in so many is a mishap or an edit, as long as any is left: they are to be spread over the whole walk.
const RARELY: u8 = 12;

/// Walks through a scope, each from its beginning until nothing is left to do, and asks of every state what a search asks.
/// The seed decides each walk, whoever takes it; how many there are is decided by the bounds.
///
/// # Errors
///
/// The scope has no beginning: a node does not come up by itself.
pub fn walk(scope: &Scope, seed: u64, bounds: Bounds) -> Result<Found, String> {
    let walks = Walks {
        search: Search::begin(scope, bounds.judges)?,
        bounds,
        seed,
        next: AtomicU64::new(0),
        seen: Mutex::default(),
        started: Instant::now(),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| walks.go());
        }
    });
    let seen = walks.seen();
    Ok(Found {
        states: seen.states.len(),
        depth: seen.depth,
        decisions: walks.search.mind.decisions(),
        complete: false,
        took: walks.started.elapsed(),
        failure: seen.failure.clone(),
    })
}

struct Walks {
    search: Search,
    bounds: Bounds,
    seed: u64,
    /// The number of the next walk.
    next: AtomicU64,
    seen: Mutex<Seen>,
    started: Instant,
}

/// What all walks have seen.
#[derive(Default)]
struct Seen {
    states: HashSet<u64>,
    depth: usize,
    failure: Option<String>,
}

impl Walks {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        let seen = self.seen();
        seen.failure.is_some()
            || seen.states.len() >= self.bounds.states
            || self.started.elapsed() >= self.bounds.time
    }

    /// Takes one walk after the other.
    fn go(&self) {
        while !self.is_over() {
            let seed = self.seed.wrapping_add(self.next.fetch_add(1, Ordering::Relaxed));
            self.once(seed);
        }
    }

    fn once(&self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let mut state = self.search.begin.clone();
        let mut been = HashSet::new();
        let mut way: Vec<(State, Action)> = Vec::new();
        while way.len() < LONGEST && been.insert(state.digest()) && !self.is_over() {
            let is_new = self.seen().states.insert(state.digest());
            let wrong = if is_new { self.wrong(&state) } else { None };
            if let Some(why) = wrong {
                self.seen()
                    .failure
                    .get_or_insert(format!("walk {seed}: {why} after {}", self.search.story(&way)));
                return;
            }
            let Some((action, next)) = self.step(&mut rng, &state) else { break };
            way.push((state, action));
            state = next;
        }
        let mut seen = self.seen();
        seen.depth = seen.depth.max(way.len());
    }

    fn wrong(&self, state: &State) -> Option<String> {
        state.broken.first().cloned().or_else(|| self.search.stuck(state))
    }

    /// A step that leads somewhere; `None` at the end of a walk.
    fn step(&self, rng: &mut Rng, state: &State) -> Option<(Action, State)> {
        let mut actions = Vec::new();
        self.search.actions(state, &mut actions);
        rng.shuffle(&mut actions);
        let (mut first, mut then): (Vec<_>, Vec<_>) = actions.into_iter().partition(goes_on);
        if rng.u8(0..RARELY) == 0 {
            std::mem::swap(&mut first, &mut then);
        }
        first
            .into_iter()
            .chain(then)
            .find_map(|action| Some((action.clone(), self.search.next_state(state, action)?)))
    }
}

/// Whether an action is one that happens where nothing goes wrong and nobody edits.
fn goes_on(action: &Action) -> bool {
    match action {
        Action::Pass { stale, .. } => *stale == Stale::FRESH,
        Action::Call { how, .. } => *how == How::Answered,
        Action::Cluster(..) | Action::Wait => true,
        Action::Crash(_) | Action::Mishap(..) | Action::Edit | Action::Jump => false,
    }
}
