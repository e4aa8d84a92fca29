//! One pass of the operator over a node in a world that stands still: what it would store and do. Nothing is done.

use k8s_openapi::jiff::Timestamp;
use seinode_core::api::{SeiNode, SeiNodeStatus};
use seinode_core::decision::{Act, Decision, NotStored, Place, Rest};
use seinode_core::effect::Effect;
use seinode_core::explain::WaitingOn;
use seinode_core::platform::Platform;
use seinode_core::world::{Settings, World};

use super::surroundings::Surroundings;

/// Most looks of a pass: there are not more topics than this, and a look that changes nothing ends it anyway.
const LOOKS: usize = 64;

/// What a pass comes to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The status after the pass: as written, or as it was.
    pub status: SeiNodeStatus,
    /// What would be done next.
    pub effects: Vec<Effect>,
    /// What is waited for.
    pub why: Vec<WaitingOn>,
    /// How far the active plan is, if it was walked.
    pub place: Option<Place>,
}

impl Outcome {
    fn resting(status: SeiNodeStatus, effects: Vec<Effect>, rest: Rest) -> Self {
        Self { status, effects, why: rest.why, place: rest.place }
    }
}

/// A pass that comes to no end: a bug.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A status that does not hold what was written.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// The same look is asked for again and again.
    #[error("the decision asks to look again and again: {0}")]
    Restless(String),
}

/// Decides until something else than a look comes.
pub fn pass(
    node: &SeiNode,
    platform: &Platform,
    surroundings: &mut Surroundings,
    now: Timestamp,
) -> Result<Outcome, PassError> {
    let settings = Settings { platform: platform.clone(), asks_ec2: false };
    let mut topics = None;
    for _ in 0..LOOKS {
        let world = World { node, observed: surroundings.seen(), settings: &settings, now };
        match seinode_core::decide(&world) {
            Decision::Look(wanted) if wanted.is_subset(&surroundings.seen().looked) => {
                return Err(PassError::Restless(format!("{wanted:?}")));
            }
            Decision::Look(wanted) => {
                topics = Some(wanted.clone());
                surroundings.look(wanted);
            }
            Decision::Act(act) => {
                let (effects, rest) = Act::into_parts(act);
                return Ok(Outcome::resting(node.status.clone(), effects, rest));
            }
            Decision::Commit(commit) => {
                let mut answer = node.clone();
                answer.status = commit.write().status.clone();
                let (effects, rest) = commit.stored(&answer)?.into_parts();
                return Ok(Outcome::resting(answer.status, effects, rest));
            }
            Decision::Rest(rest) => return Ok(Outcome::resting(node.status.clone(), Vec::new(), rest)),
        }
    }
    Err(PassError::Restless(format!("{topics:?}")))
}
