//! What a decision can be, with *store, then act* carried by types.
//!
//! Answers: write this, then do that; do this; look at that; rest, and why. Upholds laws 1 and 4: the effects of a
//! [`Commit`] come out only against the object that the API server answered to that very write.
//!
//! Acting first does not compile:
//!
//! ```compile_fail
//! use seinode_core::decision::{Commit, Decision};
//! fn act_first(commit: Commit) {
//!     let (effects, _) = commit.into_parts(); // only an `Act` has parts, and only `stored` makes one of a commit
//! }
//! ```
//!
//! ```compile_fail
//! use seinode_core::decision::{Act, Rest, Wake};
//! fn invent(rest: Rest) -> Act {
//!     Act { effects: Vec::new(), rest } // the fields are private: an act is decided, never made up
//! }
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{SeiNode, SeiNodeStatus};
use crate::effect::Effect;
use crate::explain::WaitingOn;
use crate::ident::{NodeKey, ResourceVersion, Uid};
use crate::world::Topic;

/// What to do about one node now.
#[derive(Debug)]
#[must_use = "a decision changes nothing until it is carried out"]
pub enum Decision {
    /// Carry out effects whose intent is stored already.
    Act(Act),
    /// Store, then act.
    Commit(Commit),
    /// Read these past the cache, then decide again.
    Look(BTreeSet<Topic>),
    /// Nothing to do now.
    Rest(Rest),
}

impl Decision {
    /// The decision as text for golden files, `plan` and traces: next plan, status patch, effects. Showing hands out
    /// text, never effects.
    pub fn show(&self) -> Value {
        match self {
            Self::Act(act) => json!({"act": act.show()}),
            Self::Commit(commit) => json!({
                "commit": {"plan": commit.write.status.plan, "patch": commit.write.patch, "then": commit.then.show()}
            }),
            Self::Look(topics) => json!({"look": topics}),
            Self::Rest(rest) => json!({"rest": rest.show()}),
        }
    }
}

/// Nothing to do now: when to come back, and what is waited for.
#[derive(Clone, Debug)]
pub struct Rest {
    /// When to come back.
    pub wake: Wake,
    /// What is waited for; empty when the node is as wanted.
    pub why: Vec<WaitingOn>,
    /// How far the active plan is, more than is stored of it.
    pub place: Option<Place>,
}

/// How far a plan is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Id of the plan.
    pub plan: String,
    /// How many of its tasks are complete.
    pub done: usize,
}

impl Rest {
    pub(crate) fn new(wake: Wake, why: Vec<WaitingOn>) -> Self {
        Self { wake, why, place: None }
    }

    pub(crate) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    fn show(&self) -> Value {
        let why: Vec<String> = self.why.iter().map(ToString::to_string).collect();
        json!({"wake": self.wake.show(), "why": why})
    }
}

/// When to decide again, if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// After this time.
    After(Duration),
    /// Only when something changes.
    OnChange,
}

impl Wake {
    /// The earlier of two.
    #[must_use]
    pub fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (Self::After(a), Self::OnChange) | (Self::OnChange, Self::After(a)) => Self::After(a),
            (Self::OnChange, Self::OnChange) => Self::OnChange,
        }
    }

    fn show(self) -> Value {
        match self {
            Self::After(delay) => json!(format!("after {} ms", delay.as_millis())),
            Self::OnChange => json!("on change"),
        }
    }
}

/// Effects whose intent is stored, and what to wait for after them.
#[derive(Debug)]
#[must_use = "effects do nothing until they are performed"]
pub struct Act {
    effects: Vec<Effect>,
    rest: Rest,
}

impl Act {
    pub(crate) fn new(effects: Vec<Effect>, rest: Rest) -> Self {
        Self { effects, rest }
    }

    /// The effects in order, and the rest after them.
    pub fn into_parts(self) -> (Vec<Effect>, Rest) {
        (self.effects, self.rest)
    }

    /// What to wait for after the effects.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    fn show(&self) -> Value {
        json!({"effects": self.effects, "rest": self.rest.show()})
    }
}

/// One guarded status write, and what may be done once it is stored.
#[derive(Debug)]
#[must_use = "a commit changes nothing until it is stored"]
pub struct Commit {
    write: StatusWrite,
    then: Act,
}

impl Commit {
    pub(crate) fn new(write: StatusWrite, then: Act) -> Self {
        Self { write, then }
    }

    /// The write.
    pub fn write(&self) -> &StatusWrite {
        &self.write
    }

    /// Opens the effects for the object that the API server answered to this very write.
    ///
    /// # Errors
    ///
    /// [`NotStored`] if the answer is of another uid or does not hold the plan that was written (an older
    /// CustomResourceDefinition pruned it, say).
    pub fn stored(self, answer: &SeiNode) -> Result<Act, NotStored> {
        if answer.uid() != self.write.uid.as_str() {
            return Err(NotStored::OtherObject { wrote: self.write.uid, answered: Uid::new(answer.uid()) });
        }
        let ids = |status: &SeiNodeStatus| {
            status.plan.as_ref().map(|plan| {
                (
                    plan.id.clone(),
                    plan.phase.clone(),
                    plan.tasks.iter().map(|t| (t.id.clone(), t.retry_count)).collect::<Vec<_>>(),
                )
            })
        };
        if ids(&answer.status) != ids(&self.write.status) {
            return Err(NotStored::OtherPlan);
        }
        Ok(self.then)
    }
}

/// A commit whose answer does not show that it was stored.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// The answer is another object.
    #[error("wrote the status of uid {wrote}, but the answer is of uid {answered}")]
    OtherObject {
        /// Uid that was written to.
        wrote: Uid,
        /// Uid in the answer.
        answered: Uid,
    },
    /// The answer does not hold the plan.
    #[error(
        "the answer does not hold the plan that was written; does the installed CustomResourceDefinition know all its fields?"
    )]
    OtherPlan,
}

/// A write of `status`, guarded by the version that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusWrite {
    /// The node.
    pub key: NodeKey,
    /// Its uid.
    pub uid: Uid,
    /// The version the decision was made on.
    pub version: ResourceVersion,
    /// Merge patch of `status`.
    pub patch: Value,
    /// The status that results.
    pub status: SeiNodeStatus,
}

impl StatusWrite {
    /// The request body: a merge patch for the status subresource that carries uid and resourceVersion.
    pub fn body(&self) -> Value {
        json!({"metadata": {"uid": self.uid, "resourceVersion": self.version}, "status": self.patch})
    }
}
