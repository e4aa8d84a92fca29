//! What any world can look like, as a strategy that shrinks to small stories.
//!
//! A sketch is a world told in few words relative to its node: "the claim is a foreign one", "two tasks are complete". It
//! is what a failing test prints; [`Sketch::scene`] draws it out.

mod plan;
mod spec;
mod status;
mod surroundings;
mod workflow;

pub use plan::{Built, PlanSketch};
pub use spec::{any_spec, valid_spec};
pub use status::{ConditionSketch, StatusSketch};
pub use surroundings::{Child, JobSketch, PodEnd, PodSketch, Rival, Surroundings};
pub use workflow::WorkflowSketch;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::scene::{Scene, noon};
use super::{law, node, object};
use crate::api::node::SeiNodeSpec;
use crate::api::{self, SeiNode, Stamp};
use crate::effect::{Effect, Fault, Outcome};
use crate::failure::RETRY;
use crate::world::{Seen, Topic, Turn};

/// A value that shows itself as its JSON, in one line.
#[derive(Clone)]
pub struct Shown<T>(pub T);

impl<T: Serialize> fmt::Debug for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

/// What was looked at in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Nothing.
    Nothing,
    /// Everything.
    All,
    /// What a start looks at.
    Start,
    /// The sidecar's records.
    Records,
}

/// How the effect that would come next has just gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Went {
    /// No effect was tried.
    Untried,
    /// It was carried out, and the world does not show it.
    Well,
    /// Each kind of fault.
    Ambiguous,
    /// See above.
    Conflict,
    /// See above.
    Terminal,
    /// See above.
    Transient,
}

/// A world in few words.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// What the user wants.
    pub spec: Shown<SeiNodeSpec>,
    /// Whether the finalizer is there.
    pub finalizer: bool,
    /// Whether deletion was asked for, and with which other finalizer.
    pub deletion: Option<Option<&'static str>>,
    /// Generation.
    pub generation: i64,
    /// Value of the annotation that makes a failed node start over.
    pub retry: Option<&'static str>,
    /// What is stored.
    pub status: StatusSketch,
    /// What surrounds it.
    pub around: Surroundings,
    /// The workflow that has the node, if one has.
    pub workflow: Option<WorkflowSketch>,
    /// For how many seconds the sidecar was asked in vain.
    pub silence: u64,
    /// Whose turn it is to be updated.
    pub turn: Seen<Turn>,
    /// What was looked at in this pass.
    pub looked: Looked,
    /// How the next effect has just gone.
    pub went: Went,
    /// Seconds since noon.
    pub clock: i64,
}

/// Any world at all; half of them are such as there are many of.
pub fn any_sketch() -> BoxedStrategy<Sketch> {
    let any = sketch_of(prop_oneof![3 => valid_spec(), 2 => any_spec()]);
    prop_oneof![any, likely_sketch()].boxed()
}

/// A world where most is as it should be: only there an operator starts, replaces and removes things.
pub fn likely_sketch() -> BoxedStrategy<Sketch> {
    let spec = prop_oneof![2 => valid_spec(), 1 => Just(node::bootstrap().spec)];
    let calm = prop::array::uniform10(prop::bool::weighted(0.85));
    (sketch_of(spec), calm).prop_map(|(sketch, calm)| sketch.calmed(calm)).boxed()
}

/// Any world of a node with one of the given specs.
pub fn sketch_of(spec: impl Strategy<Value = SeiNodeSpec> + 'static) -> BoxedStrategy<Sketch> {
    let deletion = prop_oneof![
        12 => Just(None),
        1 => Just(Some(None)),
        1 => Just(Some(Some("orphan"))),
        1 => Just(Some(Some("foregroundDeletion"))),
    ];
    let looked = prop_oneof![
        4 => Just(Looked::Nothing),
        3 => Just(Looked::All),
        1 => Just(Looked::Start),
        1 => Just(Looked::Records),
    ];
    let went = prop_oneof![
        6 => Just(Went::Untried),
        1 => Just(Went::Well),
        1 => Just(Went::Ambiguous),
        1 => Just(Went::Conflict),
        1 => Just(Went::Terminal),
        1 => Just(Went::Transient),
    ];
    let clock =
        prop_oneof![4 => Just(0_i64), 2 => 0..1000_i64, 1 => -100_000..100_000_i64, 1 => Just(4_000_000_000)];
    let turn = prop_oneof![
        2 => Just(Seen::Present(Turn::Own)),
        1 => Just(Seen::Present(Turn::Others(vec!["alpha/other".to_owned()]))),
        1 => Just(Seen::default()),
    ];
    let generation = (
        prop_oneof![4 => Just(1_i64), 1 => 0..4_i64],
        prop_oneof![4 => Just(None), 1 => Just(Some("again"))],
    );
    let silence = prop_oneof![3 => Just(0_u64), 1 => 0..300_u64];
    (
        (spec, prop::bool::weighted(0.95), deletion, generation),
        status::any_status(),
        surroundings::any_surroundings(),
        (workflow::any_workflow(), silence, turn),
        (looked, went, clock),
    )
        .prop_map(
            |(
                (spec, finalizer, deletion, (generation, retry)),
                status,
                around,
                (workflow, silence, turn),
                (looked, went, clock),
            )| Sketch {
                spec: Shown(spec),
                finalizer,
                deletion,
                generation,
                retry,
                status,
                around,
                workflow,
                silence,
                turn,
                looked,
                went,
                clock,
            },
        )
        .boxed()
}

impl Sketch {
    /// The same with some of it as it should be.
    fn calmed(mut self, calm: [bool; 10]) -> Self {
        let [deletion, workflow, looked, went, pause, clock, plan, children, around, records] = calm;
        if deletion {
            (self.finalizer, self.deletion) = (true, None);
        }
        if workflow {
            (self.workflow, self.turn) = (None, Seen::Present(Turn::Own));
        }
        if looked {
            self.looked = Looked::All;
        }
        if went {
            self.went = Went::Untried;
        }
        if pause {
            self.spec.0.paused = None;
        }
        if clock {
            (self.clock, self.generation) = (self.clock.clamp(0, 600), 1);
        }
        if plan {
            self.status.calm();
        }
        if children {
            self.around.calm_children();
        }
        if around {
            self.around.calm_neighbours();
        }
        if records {
            self.around.calm_records();
        }
        self
    }

    /// The node.
    pub fn node(&self) -> SeiNode {
        let mut node = node::with_spec(&json!({}));
        node.spec = self.spec.0.clone();
        node.metadata.generation = Some(self.generation);
        let mut finalizers: Vec<String> = self.deletion.flatten().map(str::to_owned).into_iter().collect();
        if self.finalizer {
            finalizers.push(api::FINALIZER.to_owned());
        }
        node.metadata.finalizers = Some(finalizers);
        let retry = self.retry.map(|value| (RETRY.to_owned(), value.to_owned()));
        node.metadata.annotations.get_or_insert_default().extend(retry);
        if self.deletion.is_some() {
            node.metadata.deletion_timestamp = Some(object::parse(json!(Stamp::of(noon()))));
        }
        node.status = self.status.status(&node);
        node.status.adopted_workflow = self.workflow.map(|_| workflow::pointer());
        node
    }

    /// The world, drawn out.
    pub fn scene(&self) -> Scene {
        let mut scene = Scene::of(self.node());
        let seconds = Duration::from_secs(self.clock.unsigned_abs());
        let moved = if self.clock < 0 { noon().checked_sub(seconds) } else { noon().checked_add(seconds) };
        scene.now = moved.unwrap_or_else(|_| noon());
        self.around.surround(&mut scene);
        scene.observed.workflows = self.workflow.map_or(Seen::Absent, |sketch| sketch.seen(&scene.node));
        scene.observed.silence = Duration::from_secs(self.silence);
        scene.observed.turn = self.turn.clone();
        scene.observed.looked = match self.looked {
            Looked::Nothing => BTreeSet::new(),
            Looked::All => all_topics(&scene),
            Looked::Start => {
                BTreeSet::from([Topic::Node, Topic::StatefulSet, Topic::Pods, Topic::Neighbourhood])
            }
            Looked::Records => BTreeSet::from([Topic::SidecarTasks]),
        };
        self.report(&mut scene);
        scene
    }

    /// Finds out what would be done next, and says how it went.
    fn report(&self, scene: &mut Scene) {
        let text = || "no route to host".to_owned();
        let result = match self.went {
            Went::Untried => return,
            Went::Well => Ok(()),
            Went::Ambiguous => Err(Fault::Ambiguous(text())),
            Went::Conflict => Err(Fault::Conflict(text())),
            Went::Terminal => Err(Fault::Terminal(text())),
            Went::Transient => Err(Fault::Transient(text())),
        };
        let effects = scene.clone().settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default();
        let outcome = |effect: Effect| Outcome { effect: effect.id, result: result.clone() };
        scene.observed.outcomes = effects.into_iter().map(outcome).collect();
    }
}

/// Every topic that there is about a node.
pub fn all_topics(scene: &Scene) -> BTreeSet<Topic> {
    let secrets = scene.observed.secrets.keys().cloned().chain(object::secret_names(&scene.node));
    let mut topics: BTreeSet<Topic> = secrets.map(Topic::Secret).collect();
    topics.extend([
        Topic::Node,
        Topic::StatefulSet,
        Topic::Service,
        Topic::ConfigMap,
        Topic::DataPvc,
        Topic::Volume,
        Topic::Job,
        Topic::Pods,
        Topic::Health,
        Topic::SidecarTasks,
        Topic::Peers,
        Topic::Neighbourhood,
        Topic::Workflows,
        Topic::Turn,
    ]);
    topics
}
