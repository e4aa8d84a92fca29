//! Model checking of the real `decide`: every order of events within a scope.
//!
//! A state is the cluster of one or two nodes, what each operator is at, and what may still go wrong. A step is one call of
//! one operator, one step of a controller, one mishap, one edit. The search (stateright, breadth first) asks of every state
//! whether a law is broken and whether there is a way out. There is no model of the operator: what it does between two
//! calls is `seinode_core::decide`, and the way its answers are carried out is that of `adapter/src/reconcile.rs`.
//!
//! What makes it small: time stands still while anybody can do anything; versions count per object; an operator stalls only
//! where it has made up its mind; two operators of one node are interchangeable.

mod cluster;
mod fair;
mod invariant;
mod mind;
pub mod mutations;
mod obj;
mod pod;
mod scope;
mod site;
mod state;
mod view;
mod walk;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stateright::{Checker, HasDiscoveries, Model, Property};

pub use scope::{ALL, Scope};
pub use state::Action;
pub use walk::walk;

use cluster::Mishap;
use fair::Fair;
use mind::Mind;
use state::{ANY, How, State};
use view::Stale;

/// The search of one scope.
struct Search {
    scope: Scope,
    mind: Mind,
    fair: Fair,
    begin: State,
}

/// What a search came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Longest shortest way to a state, in steps.
    pub depth: usize,
    /// Distinct decisions that were taken.
    pub decisions: usize,
    /// Whether every state of the scope was seen.
    pub complete: bool,
    /// How long it took.
    pub took: Duration,
    /// What is broken, and the way there.
    pub failure: Option<String>,
}

impl Found {
    /// What was broken before a search could begin: a node did not come up.
    #[must_use]
    pub fn before(why: &str) -> Self {
        let failure = Some(format!("before the search: {why}"));
        Self { states: 1, depth: 0, decisions: 0, complete: false, took: Duration::ZERO, failure }
    }
}

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Stop after about this many states.
    pub states: usize,
    /// Go no deeper than so many steps.
    pub depth: Option<usize>,
    /// Stop after this time.
    pub time: Duration,
    /// Whether single decisions and writes are judged too, or only what becomes of them.
    pub judges: bool,
}

/// The law that a search checks by the way.
const SAFE: &str = "no law is broken";
/// The law that it checks of states.
const OPEN: &str = "there is a way out";

impl Model for Search {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin.clone()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.broken.is_empty() {
            return;
        }
        let left = &state.left;
        for worker in 0..state.workers.len() {
            let at = state.workers[worker].site;
            actions.push(Action::Pass { worker, stale: Stale::FRESH });
            if left.stale > 0 {
                let ways = Stale::ways(&state.sites[at]);
                actions.extend(ways.into_iter().map(|stale| Action::Pass { worker, stale }));
            }
            if !state.is_busy(worker) {
                continue;
            }
            actions.push(Action::Call { worker, how: How::Answered });
            for (how, left) in
                [(How::Unanswered, left.unanswered), (How::Unsent, left.unsent), (How::Blind, left.blind)]
            {
                if left > 0 {
                    actions.push(Action::Call { worker, how });
                }
            }
            if left.crash > 0 {
                actions.push(Action::Crash(worker));
            }
        }
        for at in 0..state.sites.len() {
            actions.extend(cluster::parts(&state.sites[at]).map(|part| Action::Cluster(at, part)));
            let pods = (0..state.sites[at].pod_states().len()).map(Mishap::Evict);
            let mishaps = [Mishap::Restart, Mishap::Amnesia, Mishap::Fail, Mishap::Expire];
            let mishaps = mishaps.into_iter().chain(pods).filter(|m| *budget(&mut left.clone(), *m) > 0);
            actions.extend(mishaps.map(|mishap| Action::Mishap(at, mishap)));
        }
        if state.edits < self.scope.edits.len() {
            actions.push(Action::Edit);
        }
        actions.push(Action::Wait);
        if left.jump > 0 {
            actions.push(Action::Jump);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let (mind, fine) = (&self.mind, self.scope.fine);
        let mut next = match action {
            Action::Pass { worker, stale } if stale == Stale::FRESH => {
                state.pass(mind, worker, stale, fine)?.state
            }
            Action::Pass { worker, stale } => {
                let mut next = state.pass(mind, worker, stale, fine)?.state;
                // An old version that makes no difference is no mishap.
                if next == *state || next == state.pass(mind, worker, Stale::FRESH, fine)?.state {
                    return None;
                }
                spend(&mut next.left.stale);
                next
            }
            Action::Call { worker, how } => {
                let mut next = state.call(mind, worker, how, fine)?.state;
                match how {
                    How::Answered => {}
                    How::Unanswered => spend(&mut next.left.unanswered),
                    How::Unsent => spend(&mut next.left.unsent),
                    How::Blind => spend(&mut next.left.blind),
                }
                next
            }
            Action::Crash(worker) => {
                let mut next = state.crash(worker);
                spend(&mut next.left.crash);
                next
            }
            Action::Cluster(at, part) => state.cluster(at, part)?,
            Action::Mishap(at, mishap) => {
                let mut next = state.mishap(at, mishap)?;
                spend(budget(&mut next.left, mishap));
                next
            }
            Action::Edit => self.scope.edit(state)?,
            Action::Wait => state.wait(mind)?,
            Action::Jump => {
                let mut next = state.jump();
                spend(&mut next.left.jump);
                next
            }
        };
        if next.sites.len() == 1 {
            next.workers.sort_by_key(|w| w.doing.digest());
        }
        let next = next.checked();
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, state: &State| state.broken.is_empty()),
            Property::always(OPEN, |search: &Self, state: &State| search.stuck(state).is_none()),
        ]
    }
}

fn spend(left: &mut u8) {
    if *left != ANY {
        *left = left.saturating_sub(1);
    }
}

fn budget(left: &mut state::Left, mishap: Mishap) -> &mut u8 {
    match mishap {
        Mishap::Evict(_) => &mut left.evict,
        Mishap::Restart => &mut left.restart,
        Mishap::Amnesia => &mut left.amnesia,
        Mishap::Fail => &mut left.fail,
        Mishap::Expire => &mut left.expire,
    }
}

impl Search {
    fn begin(scope: &Scope, judges: bool) -> Result<Self, String> {
        obj::sweep();
        let mind = Mind::new(judges);
        let begin = scope.begin(&mind)?;
        Ok(Self { scope: *scope, mind, fair: Fair::default(), begin })
    }

    fn stuck(&self, state: &State) -> Option<String> {
        if !state.broken.is_empty() || !state.digest().is_multiple_of(self.scope.every) {
            return None;
        }
        self.fair.stuck(&self.mind, state, self.scope.wanted)
    }

    /// A way as a story.
    fn tell(&self, path: stateright::Path<State, Action>) -> String {
        let (mut way, mut last) = (Vec::new(), None);
        for (state, action) in path.into_vec() {
            match action {
                Some(action) => way.push((state, action)),
                None => last = Some(state),
            }
        }
        let why = last.and_then(|s| s.broken.first().cloned().or_else(|| self.stuck(&s)));
        format!("{} after {}", why.unwrap_or_default(), self.story(&way))
    }

    /// The steps of a way, one a line.
    fn story(&self, way: &[(State, Action)]) -> String {
        let line = |(state, action): &(State, Action)| {
            let doing: Vec<_> = (0..state.workers.len()).map(|w| state.describe(&self.mind, w)).collect();
            format!("[{}] {action:?}", doing.join("] ["))
        };
        let lines: Vec<_> = way.iter().map(line).collect();
        format!("{} steps:\n{}", lines.len(), lines.join("\n"))
    }
}

/// Searches a scope.
///
/// # Errors
///
/// The scope has no beginning: a node does not come up by itself.
pub fn search(scope: &Scope, bounds: Bounds) -> Result<Found, String> {
    let search = Search::begin(scope, bounds.judges)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let started = Instant::now();
    let checker = search
        .checker()
        .threads(threads)
        .target_state_count(bounds.states)
        .target_max_depth(bounds.depth.unwrap_or(0))
        .timeout(bounds.time)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let took = started.elapsed();
    let model = checker.model();
    let failure = checker.discoveries().into_iter().next().map(|(_, path)| model.tell(path));
    let stopped = bounds.depth.is_some() || checker.state_count() >= bounds.states || took >= bounds.time;
    Ok(Found {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        decisions: model.mind.decisions(),
        complete: failure.is_none() && !stopped,
        took,
        failure,
    })
}
