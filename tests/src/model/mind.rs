//! What an operator makes of a view: the real `decide`, judged once for each view there is.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use seinode_core::Decision;
use seinode_core::api::SeiNode;
use seinode_core::decision::{Rest, StatusWrite};
use seinode_core::effect::{Effect, Op};
use seinode_core::patch;
use seinode_core::testkit::{law, scene};
use seinode_core::world::Topic;

use super::obj::Obj;
use super::view::View;
use seinode_core::trace::{self, Step, Trace};

/// What comes of a view.
#[derive(Debug)]
pub(crate) struct Thought {
    /// The decision.
    pub(crate) next: Next,
    /// Which laws it breaks.
    pub(crate) broken: Vec<String>,
}

/// A decision that can be kept: its effects are those that the stored answer opens.
#[derive(Debug)]
pub(crate) enum Next {
    /// Read these past the cache.
    Look(BTreeSet<Topic>),
    /// Store this, then act.
    Store {
        /// The write.
        write: Box<StatusWrite>,
        /// What the server answers if it stores the write.
        answer: Obj<SeiNode>,
        /// What the answer opens; an answer without the plan opens nothing.
        then: Option<Deeds>,
    },
    /// Act.
    Act(Deeds),
    /// Rest.
    Rest(Rest),
}

/// Effects, announcements aside, and the rest after them.
#[derive(Debug)]
pub(crate) struct Deeds {
    pub(crate) effects: Vec<Effect>,
    pub(crate) rest: Rest,
}

impl Deeds {
    fn of((effects, rest): (Vec<Effect>, Rest)) -> Self {
        let effects = effects.into_iter().filter(|e| !matches!(e.op, Op::Announce(_))).collect();
        Self { effects, rest }
    }
}

/// Every thought so far, by the digest of its view. The core is a function, so none has to be had twice.
#[derive(Debug, Default)]
pub(crate) struct Mind {
    known: Mutex<HashMap<u128, Arc<Thought>>>,
    /// Whether single decisions are judged, or only what becomes of them.
    judges: bool,
}

impl Mind {
    pub(crate) fn new(judges: bool) -> Self {
        Self { judges, ..Self::default() }
    }

    pub(crate) fn of(&self, view: &Obj<View>) -> Arc<Thought> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&view.digest()).cloned();
        known.unwrap_or_else(|| {
            let thought = Arc::new(self.think(view));
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(view.digest()).or_insert(thought))
        })
    }

    /// How many decisions were taken.
    pub(crate) fn decisions(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The laws over traces, on a piece of one.
    pub(crate) fn told(&self, trace: &Trace) -> Vec<String> {
        if !self.judges {
            return Vec::new();
        }
        trace::broken(trace).into_iter().map(|b| format!("law {}: {}", b.law, b.text)).collect()
    }

    fn think(&self, view: &View) -> Thought {
        let scene = view.scene();
        let decision = scene.decide();
        let mut broken = if self.judges { law::judge(&scene, &decision) } else { Vec::new() };
        let next = match decision {
            Decision::Look(topics) => Next::Look(topics),
            Decision::Rest(rest) => {
                let steps = vec![
                    Step::Read(Box::new(SeiNode::clone(&view.node))),
                    Step::Rested(rest.why.iter().map(ToString::to_string).collect()),
                ];
                broken.extend(self.told(&Trace { steps }));
                Next::Rest(rest)
            }
            Decision::Act(act) => Next::Act(Deeds::of(act.into_parts())),
            Decision::Commit(commit) => {
                let write = commit.write().clone();
                let answer = answer(&view.node, &write);
                broken.extend(self.told(&Trace {
                    steps: vec![Step::Stored {
                        before: Box::new(SeiNode::clone(&view.node)),
                        write: Box::new(write.clone()),
                        answer: Box::new(answer.clone()),
                    }],
                }));
                let then = commit.stored(&answer).ok().map(|act| Deeds::of(act.into_parts()));
                Next::Store { write: Box::new(write), answer: Obj::of(answer), then }
            }
        };
        Thought { next, broken }
    }
}

/// What the API server answers to a write that it stores on this version of the node: the patch decides, not the status
/// that the write says will come of it.
fn answer(node: &SeiNode, write: &StatusWrite) -> SeiNode {
    let mut status = serde_json::to_value(&node.status).expect("a status is JSON");
    patch::apply(&mut status, &write.patch);
    let mut next = node.clone();
    next.status = serde_json::from_value(status).expect("a status reads as it was written");
    scene::bump(&mut next);
    next
}
