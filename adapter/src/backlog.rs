//! What waits for its turn and what is being worked on: for metrics, and to tell a loop that is stuck.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seinode_core::ident::NodeKey;
use tokio::time::Instant;

/// How long nothing may come to an end while something waits. Every request has a limit of seconds, so a loop that works
/// ends some pass far sooner, however bad the outside is.
const STILL: Duration = Duration::from_mins(5);
/// How long one pass may last: its rounds at the limit of their requests.
const LONGEST_PASS: Duration = Duration::from_mins(30);

/// The backlog of one operator.
#[derive(Debug)]
pub struct Backlog(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the next pass of a node is, or was, due.
    due: HashMap<NodeKey, Instant>,
    /// Since when a node is worked on.
    working: HashMap<NodeKey, Instant>,
    /// When a pass last ended.
    ended: Instant,
}

/// What of the backlog is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Nodes whose turn has come.
    pub waiting: usize,
    /// How long the first of them waits.
    pub oldest: Duration,
    /// Nodes that are worked on.
    pub working: usize,
}

impl Default for Backlog {
    fn default() -> Self {
        let state = State { due: HashMap::new(), working: HashMap::new(), ended: Instant::now() };
        Self(Mutex::new(state))
    }
}

impl Backlog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pass of the node is wanted at this time; an earlier one that is wanted already counts.
    pub(crate) fn wanted(&self, node: NodeKey, at: Instant) {
        let mut state = self.state();
        let due = state.due.entry(node).or_insert(at);
        *due = at.min(*due);
    }

    /// A pass begins; gives how long it was due.
    pub(crate) fn began(&self, node: &NodeKey) -> Duration {
        let mut state = self.state();
        let now = Instant::now();
        state.working.insert(node.clone(), now);
        state.due.remove(node).map_or(Duration::ZERO, |due| now.saturating_duration_since(due))
    }

    /// A pass has ended.
    pub(crate) fn ended(&self, node: &NodeKey) {
        let mut state = self.state();
        state.working.remove(node);
        state.ended = Instant::now();
    }

    /// The node is gone.
    pub(crate) fn left(&self, node: &NodeKey) {
        self.state().due.remove(node);
    }

    /// Only these nodes are still there.
    pub(crate) fn retain(&self, is_there: impl Fn(&NodeKey) -> bool) {
        self.state().due.retain(|node, _| is_there(node));
    }

    /// Work begins or ends as a whole.
    pub(crate) fn clear(&self) {
        *self.state() = State { due: HashMap::new(), working: HashMap::new(), ended: Instant::now() };
    }

    /// What is shown of it.
    pub fn figures(&self) -> Figures {
        let state = self.state();
        let now = Instant::now();
        let waits = state.due.values().filter(|due| **due <= now);
        Figures {
            waiting: waits.clone().count(),
            oldest: waits.map(|due| now.duration_since(*due)).max().unwrap_or_default(),
            working: state.working.len(),
        }
    }

    /// Why the loop is stuck, if it is: then only a restart helps.
    pub fn stuck(&self) -> Option<String> {
        let Figures { waiting, oldest, .. } = self.figures();
        let state = self.state();
        let still = state.ended.elapsed();
        if oldest > STILL && still > STILL {
            return Some(format!(
                "{waiting} nodes wait for their turn, and no pass has ended for {} s",
                still.as_secs()
            ));
        }
        let longest = state.working.iter().max_by_key(|(_, since)| since.elapsed());
        longest.filter(|(_, since)| since.elapsed() > LONGEST_PASS).map(|(node, since)| {
            format!("a pass of node {node} has not ended for {} s", since.elapsed().as_secs())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeKey {
        NodeKey { namespace: "ns".into(), name: name.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_waits_and_what_is_planned_does_not() {
        let backlog = Backlog::default();
        let now = Instant::now();
        backlog.wanted(node("a"), now);
        backlog.wanted(node("b"), now + Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(10)).await;
        let ten = Duration::from_secs(10);
        assert_eq!(backlog.figures(), Figures { waiting: 1, oldest: ten, working: 0 });
        // A trigger does not push an earlier turn back.
        backlog.wanted(node("a"), Instant::now());
        assert_eq!(backlog.began(&node("a")), ten);
        assert_eq!(backlog.figures(), Figures { waiting: 0, oldest: Duration::ZERO, working: 1 });
        backlog.ended(&node("a"));
        assert_eq!(backlog.figures(), Figures::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_stuck_when_something_waits_and_nothing_ends() {
        let backlog = Backlog::default();
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(backlog.stuck(), None, "an idle operator is not stuck");
        backlog.wanted(node("a"), Instant::now());
        tokio::time::advance(STILL).await;
        assert_eq!(backlog.stuck(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(backlog.stuck().is_some_and(|why| why.contains("1 nodes wait")));
        backlog.began(&node("b"));
        backlog.ended(&node("b"));
        assert_eq!(backlog.stuck(), None, "a loop that is only slow is not stuck");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_never_ends_is_told() {
        let backlog = Backlog::default();
        backlog.began(&node("a"));
        tokio::time::advance(LONGEST_PASS).await;
        assert_eq!(backlog.stuck(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(backlog.stuck().is_some_and(|why| why.contains("ns/a")));
        backlog.clear();
        assert_eq!(backlog.stuck(), None);
    }
}
