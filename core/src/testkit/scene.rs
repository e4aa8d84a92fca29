//! A world that owns its parts, so that a test can keep it, change it and look at it again.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::SeiNode;
use crate::decision::{Decision, StatusWrite};
use crate::platform::Platform;
use crate::testkit::{law, object};
use crate::world::{Health, Observed, Seen, Settings, Topic, Turn, World};

/// Most looks of one pass before a decision must come; there are not more topics than this in any one plan step.
const LOOKS: usize = 16;

/// A world that owns its parts.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The node as read.
    pub node: SeiNode,
    /// What surrounds it.
    pub observed: Observed,
    /// What the operator was started with.
    pub settings: Settings,
    /// The time.
    pub now: Timestamp,
}

impl Scene {
    /// The node with nothing known around it, at [`noon`], with the built-in platform.
    pub fn of(node: SeiNode) -> Self {
        let settings = Settings { platform: Platform::builtin(), asks_ec2: false };
        let observed = Observed {
            neighbourhood: Seen::Absent,
            workflows: Seen::Absent,
            turn: Seen::Present(Turn::Own),
            looked: alone(),
            ..Observed::default()
        };
        Self { node, observed, settings, now: noon() }
    }

    /// The world by reference.
    pub fn world(&self) -> World<'_> {
        World { node: &self.node, observed: &self.observed, settings: &self.settings, now: self.now }
    }

    /// One decision.
    pub fn decide(&self) -> Decision {
        crate::decide(&self.world())
    }

    /// Decides, looks at what is asked for (which shows what is there anyway), and decides again until something else than
    /// a look comes; the laws judge each decision. `None`: the same look was asked for twice, so it would never end.
    pub fn settle(&mut self) -> Option<Decision> {
        for _ in 0..LOOKS {
            let decision = self.decide();
            if matches!(&decision, Decision::Look(topics) if topics.is_subset(&self.observed.looked)) {
                return None;
            }
            let broken = law::judge(self, &decision);
            assert!(broken.is_empty(), "a decision breaks {broken:#?}");
            match decision {
                Decision::Look(topics) => self.observed.looked.extend(topics),
                decision @ (Decision::Act(_) | Decision::Commit(_) | Decision::Rest(_)) => {
                    return Some(decision);
                }
            }
        }
        None
    }

    /// The topics that were looked at.
    #[must_use]
    pub fn looking(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.observed.looked = topics.into_iter().chain(alone()).collect();
        self
    }

    /// The world after a write was stored and a new pass began: nothing else is new.
    pub fn store(&mut self, write: &StatusWrite) {
        self.node = stored(&self.node, write);
        self.observed.outcomes = Vec::new();
        self.observed.looked = alone();
    }

    /// Looks, and stores the write that follows; says whether there was one.
    pub fn commit(&mut self) -> bool {
        let Some(Decision::Commit(commit)) = self.settle() else { return false };
        let write = commit.write().clone();
        self.store(&write);
        true
    }

    /// Somebody edits the node.
    pub fn edit(&mut self, change: impl FnOnce(&mut SeiNode)) {
        change(&mut self.node);
        self.node.metadata.generation = self.node.metadata.generation.map(|g| g + 1);
    }

    /// The sidecar has been restarted, and waits to be marked ready.
    pub fn restart_sidecar(&mut self) {
        if let Some(sts) = self.observed.statefulset.present() {
            self.observed.pods = Seen::Present(vec![object::pod(sts, object::PodStage::Sidecar)]);
        }
        self.observed.health = Seen::Present(Health::NotReady);
    }

    /// The same world a while later.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        self.now = self.now.checked_add(by).unwrap_or(self.now);
        self
    }
}

/// What every scene has looked at: a node without rivals and workflows whose turn it is, so that stories that are not about
/// them are not about them.
fn alone() -> BTreeSet<Topic> {
    BTreeSet::from([Topic::Node, Topic::Neighbourhood, Topic::Workflows, Topic::Turn])
}

/// The object that the API server answers to a status write.
pub fn stored(node: &SeiNode, write: &StatusWrite) -> SeiNode {
    let mut next = node.clone();
    next.status = write.status.clone();
    bump(&mut next);
    next
}

/// Gives the node the version after its own.
pub fn bump(node: &mut SeiNode) {
    let version = node.resource_version().parse::<u64>().unwrap_or_default() + 1;
    node.metadata.resource_version = Some(version.to_string());
}

/// When stories begin.
pub fn noon() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a valid time")
}
