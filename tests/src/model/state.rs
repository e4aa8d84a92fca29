//! One moment of the model: the cluster, what each operator is at, the time, and what may still go wrong.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use seinode_core::api::SeiNode;
use seinode_core::decision::Wake;
use seinode_core::effect::{Effect, Fault, Kind, Manifest, Op, Outcome};
use seinode_core::world::Topic;

use super::cluster::{self, Mishap, Part};
use super::invariant;
use super::mind::{Deeds, Mind, Next};
use super::obj::Obj;
use super::site::Site;
use super::view::{Stale, View, time};
use seinode_core::trace::{Step, Trace};

/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

/// Longest time that the clock of a search runs, jumps aside: beyond the first back-off of a node that has failed. What comes
/// later is for fair runs.
const LONGEST_WAIT: u64 = 90_000;

/// As often as wanted.
pub(crate) const ANY: u8 = u8::MAX;

/// How often each thing may still go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    /// A pass that sees something old.
    pub(crate) stale: u8,
    /// A death of an operator.
    pub(crate) crash: u8,
    /// A write that happened and whose answer was lost.
    pub(crate) unanswered: u8,
    /// A write that did not happen and had no answer.
    pub(crate) unsent: u8,
    /// A look that had no answer.
    pub(crate) blind: u8,
    /// An eviction.
    pub(crate) evict: u8,
    /// A restart of the sidecar.
    pub(crate) restart: u8,
    /// A sidecar that loses its records.
    pub(crate) amnesia: u8,
    /// A task of the sidecar that fails.
    pub(crate) fail: u8,
    /// A Job that expires.
    pub(crate) expire: u8,
    /// A clock that jumps an hour ahead.
    pub(crate) jump: u8,
}

/// One operator at one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) site: usize,
    pub(crate) doing: Obj<Doing>,
}

/// What an operator is at. It may stall here for any time.
#[derive(Clone, Debug)]
pub(crate) enum Doing {
    /// About to look at the caches: at rest, or between two rounds of a pass.
    Between {
        outcomes: Obj<Vec<Outcome>>,
        /// After a conflict the node is read past the cache.
        reads_node: bool,
        /// Kinds that a write of this pass may have changed.
        doubt: BTreeSet<Kind>,
    },
    /// It has decided on a view, and the next call is what the decision asks for.
    Decided(Obj<View>),
    /// It carries out the effects of a decision.
    Performing { view: Obj<View>, outcomes: Vec<Outcome> },
}

impl Doing {
    /// At rest, with nothing in memory.
    pub(crate) fn rest() -> Obj<Self> {
        between(Vec::new(), false, BTreeSet::new())
    }
}

fn between(outcomes: Vec<Outcome>, reads_node: bool, doubt: BTreeSet<Kind>) -> Obj<Doing> {
    Obj::shown(Doing::Between { outcomes: Obj::shown(outcomes), reads_node, doubt })
}

/// One moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) sites: Vec<Site>,
    pub(crate) workers: Vec<Worker>,
    /// Milliseconds since noon.
    pub(crate) now: u64,
    pub(crate) left: Left,
    /// How many edits of the user's list were made.
    pub(crate) edits: usize,
    /// Whether a sidecar has forgotten what it ran.
    pub(crate) forgot: bool,
    /// Whether nothing was to happen that a plan fails of.
    pub(crate) strict: bool,
    /// Laws that were broken on the way here.
    pub(crate) broken: Vec<String>,
}

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It is answered.
    Answered,
    /// It is carried out, and the answer is lost.
    Unanswered,
    /// It is lost.
    Unsent,
    /// A look is not answered.
    Blind,
}

/// One step of one party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An operator looks at the caches and decides.
    #[allow(private_interfaces, reason = "it is shown, not taken apart")]
    Pass {
        /// Which operator.
        worker: usize,
        /// How old what it sees is.
        stale: Stale,
    },
    /// An operator's next call.
    #[allow(private_interfaces, reason = "it is shown, not taken apart")]
    Call {
        /// Which operator.
        worker: usize,
        /// How it goes.
        how: How,
    },
    /// An operator dies and starts again.
    Crash(usize),
    /// The cluster does something.
    #[allow(private_interfaces, reason = "it is shown, not taken apart")]
    Cluster(usize, Part),
    /// Something goes wrong.
    #[allow(private_interfaces, reason = "it is shown, not taken apart")]
    Mishap(usize, Mishap),
    /// The user's next edit.
    Edit,
    /// Nothing is to be done before a timer is due.
    Wait,
    /// The clock jumps an hour ahead.
    Jump,
}

/// How an operator's step ended.
pub(crate) struct Moved {
    pub(crate) state: State,
    /// It rests now, until then.
    pub(crate) rests: Option<Wake>,
    /// What it waits for then.
    pub(crate) why: String,
}

impl State {
    /// A digest, for tables of states.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether an operator is in the middle of a pass.
    pub(crate) fn is_busy(&self, worker: usize) -> bool {
        self.workers[worker].doing != Doing::rest()
    }

    fn set(mut self, worker: usize, doing: Obj<Doing>) -> Moved {
        self.workers[worker].doing = doing;
        Moved { state: self, rests: None, why: String::new() }
    }

    /// A pass begins, or its next round: look at the caches, decide. `None` if there is nothing to see.
    pub(crate) fn pass(&self, mind: &Mind, worker: usize, stale: Stale, fine: bool) -> Option<Moved> {
        let at = self.workers[worker].site;
        let Doing::Between { outcomes, reads_node, doubt } = &*self.workers[worker].doing else {
            return None;
        };
        let view = View::cached(&self.sites, at, stale, doubt, outcomes, self.now);
        let looked = view.and_then(|view| {
            if *reads_node { view.look(&self.sites, at, &[Topic::Node].into(), false) } else { Some(view) }
        });
        Some(match looked {
            Some(view) => self.clone().decide(mind, worker, view, fine),
            None => self.clone().gone(worker),
        })
    }

    /// The node is gone: the pass ends.
    fn gone(self, worker: usize) -> Moved {
        Moved { rests: Some(Wake::OnChange), ..self.set(worker, Doing::rest()) }
    }

    /// Decides on a view; looks are answered at once unless they are to be steps of their own.
    fn decide(mut self, mind: &Mind, worker: usize, view: View, fine: bool) -> Moved {
        let at = self.workers[worker].site;
        let mut view = view;
        loop {
            let seen = Obj::shown(view.clone());
            let thought = mind.of(&seen);
            self.broken.extend(thought.broken.iter().cloned());
            match &thought.next {
                Next::Rest(rest) => {
                    let why = rest.why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                    return Moved { rests: Some(rest.wake), why, ..self.set(worker, Doing::rest()) };
                }
                Next::Look(topics) if topics.is_subset(&view.looked) => {
                    self.broken.push("law 6: the same look is asked for again and again".to_owned());
                    return self.set(worker, Doing::rest());
                }
                Next::Look(topics) if !fine => match view.look(&self.sites, at, topics, false) {
                    Some(next) => view = next,
                    None => return self.gone(worker),
                },
                Next::Look(_) | Next::Store { .. } | Next::Act(_) => {
                    return self.set(worker, Obj::shown(Doing::Decided(seen)));
                }
            }
        }
    }

    /// The next call of an operator that has decided. `None` if it has none, or it can't go like this.
    pub(crate) fn call(&self, mind: &Mind, worker: usize, how: How, fine: bool) -> Option<Moved> {
        let doing = self.workers[worker].doing.clone();
        let (view, outcomes) = match &*doing {
            Doing::Between { .. } => return None,
            Doing::Decided(view) => (view, Vec::new()),
            Doing::Performing { view, outcomes } => (view, outcomes.clone()),
        };
        let thought = mind.of(view);
        let at = self.workers[worker].site;
        match &thought.next {
            Next::Rest(_) => None,
            Next::Look(topics) if matches!(how, How::Answered | How::Blind) => {
                // A look at the node alone that has no answer ends the pass; that is a crash.
                if how == How::Blind && topics.iter().all(|t| *t == Topic::Node) {
                    return None;
                }
                Some(match view.look(&self.sites, at, topics, how == How::Blind) {
                    Some(next) => self.clone().decide(mind, worker, next, fine),
                    None => self.clone().gone(worker),
                })
            }
            _ if how == How::Blind => None,
            Next::Look(_) => None,
            Next::Store { then: Some(deeds), answer, .. } if matches!(&*doing, Doing::Performing { .. }) => {
                Some(self.clone().perform(mind, worker, view, answer, deeds, outcomes, how))
            }
            Next::Act(deeds) => {
                Some(self.clone().perform(mind, worker, view, &view.node, deeds, outcomes, how))
            }
            Next::Store { write, answer, then } => {
                let mut next = self.clone();
                let live = next.sites[at].node.now();
                // A write without a version is guarded by nothing.
                let version = write.version.as_str();
                let fits = live.is_some_and(|n| {
                    n.uid() == write.uid.as_str() && (version.is_empty() || n.resource_version() == version)
                });
                let gone = live.is_none();
                if fits && how != How::Unsent {
                    next.sites[at].node.set(Some(answer.clone()));
                }
                Some(match (how, then) {
                    (How::Answered, _) if gone => next.gone(worker),
                    (How::Answered, Some(deeds)) if fits => next.begin(worker, view, deeds),
                    (How::Answered, None) if fits => next.gone(worker),
                    _ => next.set(worker, between(view.outcomes.to_vec(), true, BTreeSet::new())),
                })
            }
        }
    }

    /// After a write: the effects that it opened, if there are any.
    fn begin(self, worker: usize, view: &Obj<View>, deeds: &Deeds) -> Moved {
        if deeds.effects.is_empty() {
            let wake = deeds.rest.wake;
            // An operator goes on at once where it is told to.
            let rests = (wake != Wake::After(Duration::ZERO)).then_some(wake);
            return Moved { rests, ..self.set(worker, Doing::rest()) };
        }
        let doing = Doing::Performing { view: view.clone(), outcomes: Vec::new() };
        self.set(worker, Obj::shown(doing))
    }

    #[allow(clippy::too_many_arguments, reason = "each is another thing, and there is one caller")]
    fn perform(
        mut self,
        mind: &Mind,
        worker: usize,
        view: &Obj<View>,
        basis: &SeiNode,
        deeds: &Deeds,
        mut outcomes: Vec<Outcome>,
        how: How,
    ) -> Moved {
        let at = self.workers[worker].site;
        let Some(effect) = deeds.effects.get(outcomes.len()) else {
            return self.set(worker, Doing::rest());
        };
        let before = self.sites[at].clone();
        let result = match how {
            How::Unsent => Err(Fault::Ambiguous("no answer".to_owned())),
            How::Answered | How::Unanswered | How::Blind => {
                let result = self.sites[at].perform(effect, time(self.now));
                let changed = self.sites[at] != before;
                self.broken.extend(mind.told(&Trace {
                    steps: vec![
                        Step::Read(Box::new(basis.clone())),
                        Step::Performed { effect: Box::new(effect.clone()), changed },
                    ],
                }));
                if changed {
                    self.broken.extend(invariant::of_effect(&before, &self, at, &view.node, effect));
                }
                if how == How::Answered { result } else { Err(Fault::Ambiguous("no answer".to_owned())) }
            }
        };
        let failed = result.is_err();
        outcomes.push(Outcome { effect: effect.id.clone(), result });
        if !failed && outcomes.len() < deeds.effects.len() {
            let doing = Doing::Performing { view: view.clone(), outcomes };
            return self.set(worker, Obj::shown(doing));
        }
        let doubtful = |e: &&Effect| failed || matches!(e.op, Op::Delete { .. });
        let last = deeds.effects.get(outcomes.len() - 1);
        let doubt = last.filter(doubtful).and_then(kind).into_iter().collect();
        self.set(worker, between(outcomes, false, doubt))
    }

    /// An operator dies: what it remembers is lost.
    pub(crate) fn crash(&self, worker: usize) -> Self {
        self.clone().set(worker, Doing::rest()).state
    }

    /// A step of the cluster.
    pub(crate) fn cluster(&self, at: usize, part: Part) -> Option<Self> {
        let site = cluster::step(&self.sites[at], part, time(self.now))?;
        let mut next = self.clone();
        next.sites[at] = site;
        Some(next)
    }

    /// The first step that the cluster can do.
    pub(crate) fn any_cluster(&self) -> Option<(usize, Part, Self)> {
        (0..self.sites.len()).find_map(|at| {
            cluster::parts(&self.sites[at]).find_map(|part| self.cluster(at, part).map(|s| (at, part, s)))
        })
    }

    /// Something goes wrong.
    pub(crate) fn mishap(&self, at: usize, what: Mishap) -> Option<Self> {
        let site = cluster::mishap(&self.sites[at], what, time(self.now))?;
        let mut next = self.clone();
        next.forgot |= what == Mishap::Amnesia;
        next.sites[at] = site;
        Some(next)
    }

    /// Time passes, timer after timer, until somebody has something to do, if nobody has anything to do now.
    pub(crate) fn wait(&self, mind: &Mind) -> Option<Self> {
        if (0..self.workers.len()).any(|w| self.is_busy(w)) || self.any_cluster().is_some() {
            return None;
        }
        let mut next = self.clone();
        while next.now % HOUR < LONGEST_WAIT {
            let mut due: Option<Duration> = None;
            for worker in 0..self.workers.len() {
                match next.pass(mind, worker, Stale::FRESH, false)?.rests {
                    // Somebody has something to do; at the beginning that is no wait.
                    None => return (next.now > self.now).then_some(next),
                    Some(Wake::OnChange) => {}
                    Some(Wake::After(delay)) => due = Some(due.map_or(delay, |d| d.min(delay))),
                }
            }
            next.now += u64::try_from(due?.as_millis()).ok()?.max(1);
        }
        None
    }

    /// A clock that jumps.
    pub(crate) fn jump(&self) -> Self {
        let mut next = self.clone();
        next.now += HOUR;
        next
    }

    /// What an operator is at, in a few words.
    pub(crate) fn describe(&self, mind: &Mind, worker: usize) -> String {
        let verb =
            |e: &Effect| format!("{} {}", e.op.verb(), kind(e).map_or(String::new(), |k| format!("{k:?}")));
        match &*self.workers[worker].doing {
            Doing::Between { outcomes, .. } if outcomes.is_empty() => "rests".to_owned(),
            Doing::Between { outcomes, .. } => {
                let failed = outcomes.iter().find_map(|o| o.result.as_ref().err());
                failed.map_or_else(|| "done".to_owned(), |fault| format!("{fault:?}"))
            }
            Doing::Decided(view) => match &mind.of(view).next {
                Next::Look(topics) => format!("will look at {topics:?}"),
                Next::Store { write, .. } => {
                    format!("will store {} on {}", short(&write.patch), write.version)
                }
                Next::Act(deeds) => {
                    format!("will {}", deeds.effects.iter().map(verb).collect::<Vec<_>>().join(", "))
                }
                Next::Rest(_) => "rests".to_owned(),
            },
            Doing::Performing { view, outcomes } => match &mind.of(view).next {
                Next::Store { then: Some(deeds), .. } | Next::Act(deeds) => deeds
                    .effects
                    .get(outcomes.len())
                    .map_or_else(String::new, |e| format!("then {}", verb(e))),
                Next::Store { .. } | Next::Look(_) | Next::Rest(_) => String::new(),
            },
        }
    }

    /// The invariants, after a step.
    #[must_use]
    pub(crate) fn checked(mut self) -> Self {
        self.broken.extend(invariant::of_state(&self));
        // Old versions can't be seen any more.
        if self.left.stale == 0 {
            self.sites.iter_mut().for_each(Site::forget);
        }
        self
    }
}

/// What of a status changes.
fn short(patch: &serde_json::Value) -> String {
    let text = |key: &str| match &patch[key] {
        serde_json::Value::Null => None,
        serde_json::Value::Object(map) => {
            Some(format!("{key} {:?}", map.keys().map(String::as_str).collect::<Vec<_>>()))
        }
        other => Some(format!("{key} {}", if other.is_array() { "" } else { other.as_str().unwrap_or("") })),
    };
    ["phase", "plan", "conditions", "currentImage"]
        .into_iter()
        .filter_map(text)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The kind that an effect writes to.
fn kind(effect: &Effect) -> Option<Kind> {
    match &effect.op {
        Op::Apply { manifest, .. } => Some(match manifest.as_ref() {
            Manifest::StatefulSet(_) => Kind::StatefulSet,
            Manifest::Service(_) => Kind::Service,
            Manifest::DataPvc(_) => Kind::PersistentVolumeClaim,
            Manifest::ConfigMap(_) => Kind::ConfigMap,
            Manifest::Job(_) => Kind::Job,
        }),
        Op::Patch { target, .. } | Op::Delete { target, .. } => Some(target.kind),
        Op::Announce(_) | Op::Finalizer { .. } | Op::Workflow(_) | Op::Submit(_) | Op::Withdraw(_) => None,
    }
}
