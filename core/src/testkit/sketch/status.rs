//! Stored statuses: any phase, any conditions, any plan.

use proptest::option::weighted;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::plan::{self, Built, PlanSketch};
use crate::api::condition::{Condition, ConditionStatus, ConditionType};
use crate::api::{NodePhase, PlanPhase, SeiNode, SeiNodeStatus, Stamp, TaskStatus, mode};
use crate::platform::Platform;

/// Stands for the image that is wanted today.
const WANTED: &str = "as wanted";

/// A stored status in few words.
#[derive(Clone, Debug)]
pub struct StatusSketch {
    /// Phase.
    pub phase: Option<NodePhase>,
    /// When it was last set.
    pub phase_time: Option<Stamp>,
    /// Plan.
    pub plan: PlanSketch,
    /// Conditions.
    pub conditions: Vec<ConditionSketch>,
    /// Peers resolved earlier.
    pub peers: Vec<String>,
    /// Images that are recorded: of the node, of the sidecar.
    pub images: [Option<&'static str>; 2],
    /// Witnesses resolved earlier.
    pub witnesses: Vec<String>,
    /// Whether a newer version has left a field that this one does not know.
    pub newer: bool,
}

/// A stored condition in few words.
#[derive(Clone, Debug)]
pub struct ConditionSketch {
    /// Type.
    pub kind: ConditionType,
    /// Status.
    pub status: ConditionStatus,
    /// Reason.
    pub reason: &'static str,
    /// When the status changed.
    pub at: Option<Stamp>,
    /// Generation.
    pub generation: Option<i64>,
}

/// Any stored status.
pub(super) fn any_status() -> BoxedStrategy<StatusSketch> {
    let peers = prop_oneof![3 => Just(Vec::new()), 1 => Just(vec!["zz@gone.example.net:1".to_owned()])];
    let images = || prop_oneof![2 => Just(None), 2 => Just(Some(WANTED)), 1 => Just(Some("registry.example.net/seid:old"))];
    let witnesses = prop_oneof![3 => Just(Vec::new()), 1 => Just(vec!["a:1".to_owned(), "b:1".to_owned()])];
    let known = ([images(), images()], witnesses);
    let newer = prop::bool::weighted(0.1);
    (phase(), weighted(0.7, plan::stamp()), plan::any_plan(), conditions(), peers, known, newer)
        .prop_map(|(phase, phase_time, plan, conditions, peers, (images, witnesses), newer)| StatusSketch {
            phase,
            phase_time,
            plan,
            conditions,
            peers,
            images,
            witnesses,
            newer,
        })
        .boxed()
}

fn phase() -> BoxedStrategy<Option<NodePhase>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(NodePhase::Other(String::new()))),
        1 => Just(Some(NodePhase::Pending)),
        4 => Just(Some(NodePhase::Initializing)),
        4 => Just(Some(NodePhase::Running)),
        2 => Just(Some(NodePhase::Failed)),
        1 => Just(Some(NodePhase::Terminating)),
        1 => Just(Some(NodePhase::Other("Weird".to_owned()))),
    ]
    .boxed()
}

fn conditions() -> BoxedStrategy<Vec<ConditionSketch>> {
    let mut types = ConditionType::KNOWN.to_vec();
    types.push(ConditionType::Other("FromTheFuture".to_owned()));
    let chosen = prop::sample::subsequence(types, 0..8);
    let status = || {
        prop_oneof![
            3 => Just(ConditionStatus::True),
            3 => Just(ConditionStatus::False),
            1 => Just(ConditionStatus::Unknown),
            1 => Just(ConditionStatus::Other("Maybe".to_owned())),
        ]
    };
    let reason = || {
        prop::sample::select(vec![
            "NotReady",
            "Ready",
            "NotApplicable",
            "Unreachable",
            "Paused",
            "NotObserved",
        ])
    };
    let row = (status(), reason(), weighted(0.9, plan::stamp()), weighted(0.9, 0..4_i64));
    (chosen, prop::collection::vec(row, 8))
        .prop_map(|(types, rows)| {
            types
                .into_iter()
                .zip(rows)
                .map(|(kind, (status, reason, at, generation))| ConditionSketch {
                    kind,
                    status,
                    reason,
                    at,
                    generation,
                })
                .collect()
        })
        .boxed()
}

impl StatusSketch {
    /// A plan that is under way, in the phase that it is for.
    pub(super) fn calm(&mut self) {
        self.phase = Some(NodePhase::Running);
        if let PlanSketch::Built { kind, phase, scar, .. } = &mut self.plan {
            *phase = PlanPhase::Active;
            (scar.status, scar.error) = (TaskStatus::Pending, None);
            if matches!(kind, Built::First | Built::AfterBootstrap) {
                self.phase = Some(NodePhase::Initializing);
            }
        }
    }

    /// The status as stored on the node.
    pub fn status(&self, node: &SeiNode) -> SeiNodeStatus {
        let image = |image: Option<&str>, wanted: &str| {
            image.map(|image| if image == WANTED { wanted } else { image }.to_owned())
        };
        let builtin = Platform::builtin();
        let sidecar = mode::sidecar_image(&node.spec, &builtin.images.sidecar);
        let conditions = self.conditions.iter().cloned();
        SeiNodeStatus {
            phase: self.phase.clone(),
            phase_transition_time: self.phase_time.clone(),
            plan: self.plan.plan(node),
            conditions: conditions
                .map(|sketch| Condition {
                    condition_type: sketch.kind,
                    status: sketch.status,
                    observed_generation: sketch.generation,
                    last_transition_time: sketch.at,
                    reason: sketch.reason.to_owned(),
                    message: "as stored".to_owned(),
                    extra: Map::new(),
                })
                .collect(),
            resolved_peers: self.peers.clone(),
            resolved_state_syncers: self.witnesses.clone(),
            current_image: image(self.images[0], &node.spec.image),
            current_sidecar_image: image(self.images[1], sidecar),
            extra: if self.newer {
                Map::from_iter([("newField".to_owned(), json!([1, {"a": null}]))])
            } else {
                Map::new()
            },
            ..SeiNodeStatus::default()
        }
    }
}
