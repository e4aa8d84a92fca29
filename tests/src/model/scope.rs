//! Scopes: where a search begins, what the user does, what goes wrong, and how often.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{NodePhase, PlanPhase, SeiNode};
use seinode_core::testkit::{node, object, scene};
use serde_json::json;

use super::fair::{Fair, Wanted};
use super::mind::Mind;
use super::obj::Obj;
use super::pod::{PodState, Stage};
use super::site::{Past, Site};
use super::state::{ANY, Doing, Left, State, Worker};
use super::view::time;

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Another image of the node software.
    Image(&'static str),
    /// `spec.paused`.
    Pause(bool),
    /// Deletes the node.
    Delete,
    /// Makes a node of the same name, once the first is gone.
    Recreate,
    /// Another chain, which no live node can change to.
    Chain(&'static str),
    /// Makes the first node, which is not there at the beginning.
    Create,
    /// Another override.
    Override(&'static str),
}

/// A bounded part of all there could be.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Its name.
    pub name: &'static str,
    /// What it asks.
    pub about: &'static str,
    /// The nodes, and whether they run already when the search begins.
    pub(crate) nodes: fn() -> Vec<SeiNode>,
    pub(crate) running: bool,
    /// How many operators: all at the first node, or one at each.
    pub(crate) operators: usize,
    pub(crate) edits: &'static [Edit],
    pub(crate) left: Left,
    /// Whether each look is a step of its own.
    pub(crate) fine: bool,
    pub(crate) wanted: Wanted,
    /// Of how many states one is asked for its way out.
    pub(crate) every: u64,
}

const NONE: Left = Left {
    stale: 0,
    crash: 0,
    unanswered: 0,
    unsent: 0,
    blind: 0,
    evict: 0,
    restart: 0,
    amnesia: 0,
    fail: 0,
    expire: 0,
    jump: 0,
};

/// The image that every node of the test kit has.
const V6: &str = "registry.example.net/seid:v6.3.0";
const V7: &str = "registry.example.net/seid:v7";

/// A scope with nothing in it: one node that starts, one operator, no mishap.
const BARE: Scope = Scope {
    name: "",
    about: "",
    nodes: || vec![node::full()],
    running: false,
    operators: 1,
    edits: &[],
    left: NONE,
    fine: false,
    wanted: as_specified,
    every: 1,
};

/// Every scope; the first ones are small enough to be seen as a whole in every run of the tests.
pub const ALL: &[Scope] = &[
    Scope {
        name: "small-start",
        about: "a node starts; its operator dies once and sees one old version",
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-lost",
        about: "a node starts; one write is lost, one answer is lost",
        left: Left { unanswered: 1, unsent: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-failing",
        about: "a node restores a snapshot; a task of the sidecar fails once",
        nodes: || vec![node::full_s3()],
        left: Left { fail: 1, ..NONE },
        wanted: or_failed,
        ..BARE
    },
    Scope {
        name: "small-update",
        about: "a node that runs gets another image; its operator dies once and sees one old version",
        running: true,
        edits: &[Edit::Image(V7)],
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "evicted",
        about: "a node that runs gets another image while its pod is evicted; one old version",
        running: true,
        edits: &[Edit::Image(V7)],
        left: Left { stale: 1, evict: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-roll-back",
        about: "a node that runs gets another image and its first one again",
        running: true,
        edits: &[Edit::Image(V7), Edit::Image(V6)],
        ..BARE
    },
    Scope {
        name: "small-held",
        about: "an edit that a live node can't do, and the same taken back",
        running: true,
        edits: &[Edit::Chain("other-1"), Edit::Chain("atlantic-2")],
        left: Left { crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-pause",
        about: "a node that runs is paused and let go again; its operator dies once",
        running: true,
        edits: &[Edit::Pause(true), Edit::Pause(false)],
        left: Left { crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-delete",
        about: "a node that runs is deleted under two operators",
        running: true,
        operators: 2,
        edits: &[Edit::Delete],
        fine: true,
        ..BARE
    },
    Scope {
        name: "small-bootstrap",
        about: "a node bootstraps; its operator dies once",
        nodes: || vec![node::bootstrap()],
        left: Left { crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap-paused-one",
        about: "a node is paused and let go again while it bootstraps",
        nodes: || vec![node::bootstrap()],
        edits: &[Edit::Pause(true), Edit::Pause(false)],
        ..BARE
    },
    Scope {
        name: "small-bootstrap-edited",
        about: "a node gets another override while it bootstraps",
        nodes: || vec![node::bootstrap()],
        edits: &[Edit::Override("1")],
        ..BARE
    },
    Scope {
        name: "small-rivals",
        about: "two nodes with one signing key are made at once, by one operator each",
        nodes: rivals,
        operators: 2,
        wanted: one_of_rivals,
        ..BARE
    },
    Scope {
        name: "start",
        about: "a node starts; its operator dies twice and sees old versions at any time",
        left: Left { stale: ANY, crash: 2, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-start-two",
        about: "a node starts under two operators, either of which stalls anywhere and wakes late",
        operators: 2,
        ..BARE
    },
    Scope {
        name: "start-lost",
        about: "a node starts; writes are lost, their answers are lost, looks go unanswered",
        left: Left { unanswered: 2, unsent: 1, blind: 1, crash: 1, ..NONE },
        fine: true,
        ..BARE
    },
    Scope {
        name: "start-edited",
        about: "a node gets another image and another override while it starts",
        edits: &[Edit::Image(V7), Edit::Override("1")],
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "restore",
        about: "a node restores a snapshot; tasks of the sidecar fail, two operators count",
        nodes: || vec![node::full_s3()],
        operators: 2,
        left: Left { fail: 2, ..NONE },
        wanted: or_failed,
        ..BARE
    },
    Scope {
        name: "failing",
        about: "a task fails that is not tried again; the node fails, an edit makes it start over",
        edits: &[Edit::Override("1")],
        left: Left { fail: 1, stale: 1, crash: 1, ..NONE },
        wanted: or_failed,
        ..BARE
    },
    Scope {
        name: "update",
        about: "a node that runs gets another image under two operators; one death, one old version",
        running: true,
        operators: 2,
        edits: &[Edit::Image(V7)],
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "roll-back",
        about: "another image and back again, while the pod is evicted and old versions are seen",
        running: true,
        edits: &[Edit::Image(V7), Edit::Image(V6)],
        left: Left { stale: ANY, evict: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "roll-back-two",
        about: "another image and back again under two operators",
        running: true,
        operators: 2,
        edits: &[Edit::Image(V7), Edit::Image(V6)],
        ..BARE
    },
    Scope {
        name: "sidecar",
        about: "a node runs; its sidecar restarts, forgets, its pod is evicted, while it gets another image",
        running: true,
        edits: &[Edit::Image(V7)],
        left: Left { evict: 1, restart: 2, amnesia: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "pause-two",
        about: "a node that runs is paused, let go again and paused under two operators",
        running: true,
        operators: 2,
        edits: &[Edit::Pause(true), Edit::Pause(false), Edit::Pause(true)],
        ..BARE
    },
    Scope {
        name: "pause",
        about: "a node that runs is paused and let go again under two operators; one old version",
        running: true,
        operators: 2,
        edits: &[Edit::Pause(true), Edit::Pause(false), Edit::Pause(true)],
        left: Left { stale: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "pause-early",
        about: "a node is paused, let go again and paused while it starts",
        edits: &[Edit::Pause(true), Edit::Pause(false), Edit::Pause(true)],
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "held",
        about: "an edit that a live node can't do, an update on top, and the first taken back",
        running: true,
        edits: &[Edit::Chain("other-1"), Edit::Image(V7), Edit::Chain("atlantic-2")],
        left: Left { stale: ANY, crash: 1, evict: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "delete-two",
        about: "a node that runs is deleted and made again under two operators that stall before they look, too",
        running: true,
        operators: 2,
        edits: &[Edit::Delete, Edit::Recreate],
        fine: true,
        ..BARE
    },
    Scope {
        name: "delete",
        about: "a node that runs is deleted and made again under two operators; old versions are seen",
        running: true,
        operators: 2,
        edits: &[Edit::Delete, Edit::Recreate],
        left: Left { stale: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "delete-early",
        about: "a node is deleted while it starts, and made again",
        edits: &[Edit::Delete, Edit::Recreate],
        left: Left { stale: 2, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap",
        about: "a node bootstraps; its Job expires, its pod is evicted, its operator dies",
        nodes: || vec![node::bootstrap()],
        left: Left { stale: 1, crash: 1, expire: 1, evict: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap-two",
        about: "a node bootstraps under two operators",
        nodes: || vec![node::bootstrap()],
        operators: 2,
        left: Left { evict: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap-paused",
        about: "a node is paused and let go again while it bootstraps",
        nodes: || vec![node::bootstrap()],
        edits: &[Edit::Pause(true), Edit::Pause(false)],
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap-edited",
        about: "a node gets another image while it bootstraps",
        nodes: || vec![node::bootstrap()],
        edits: &[Edit::Image(V7), Edit::Override("1")],
        left: Left { stale: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "small-rivals-late",
        about: "a node with the signing key of a younger one is made while that one starts",
        nodes: rivals,
        operators: 2,
        edits: &[Edit::Create],
        wanted: one_of_rivals,
        ..BARE
    },
    Scope {
        name: "update-lost",
        about: "a node that runs gets another image; writes and answers are lost, looks go unanswered, its operator dies",
        running: true,
        edits: &[Edit::Image(V7)],
        left: Left { unanswered: 2, unsent: 1, blind: 1, crash: 1, ..NONE },
        fine: true,
        ..BARE
    },
    Scope {
        name: "update-dies-twice",
        about: "a node that runs gets another image under two operators that die twice",
        running: true,
        operators: 2,
        edits: &[Edit::Image(V7)],
        left: Left { crash: 2, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap-lost",
        about: "a node bootstraps; writes and answers are lost, its operator dies",
        nodes: || vec![node::bootstrap()],
        left: Left { unanswered: 2, unsent: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "bootstrap-expires-two",
        about: "a node bootstraps under two operators; its Job expires, an old version is seen",
        nodes: || vec![node::bootstrap()],
        operators: 2,
        left: Left { expire: 1, stale: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "pause-lost",
        about: "a node that runs is paused and let go again; writes and answers are lost, its operator dies",
        running: true,
        edits: &[Edit::Pause(true), Edit::Pause(false)],
        left: Left { unanswered: 2, unsent: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "delete-lost",
        about: "a node that runs is deleted and made again; writes and answers are lost, its operator dies",
        running: true,
        edits: &[Edit::Delete, Edit::Recreate],
        left: Left { unanswered: 2, unsent: 1, crash: 1, ..NONE },
        ..BARE
    },
    Scope {
        name: "restore-forgotten",
        about: "a node restores a snapshot; its sidecar restarts, forgets and fails a task",
        nodes: || vec![node::full_s3()],
        left: Left { restart: 2, amnesia: 1, fail: 1, crash: 1, ..NONE },
        wanted: or_failed,
        ..BARE
    },
    Scope {
        name: "rivals",
        about: "two nodes with one signing key are made at once, by one operator each",
        nodes: rivals,
        operators: 2,
        left: Left { stale: 1, crash: 1, ..NONE },
        wanted: one_of_rivals,
        ..BARE
    },
    Scope {
        name: "clock",
        about: "a clock jumps ahead while a node starts and a task fails",
        nodes: || vec![node::full_s3()],
        left: Left { jump: 2, fail: 1, crash: 1, ..NONE },
        wanted: or_failed,
        ..BARE
    },
];

/// Two validators that name one key; the younger comes second.
fn rivals() -> Vec<SeiNode> {
    let fields = json!({"validator": {
        "signingKey": {"secret": {"secretName": "signing"}}, "nodeKey": {"secret": {"secretName": "p2p"}},
    }});
    let named = |name: &str, uid: &str| {
        let mut node = node::with_spec(&fields);
        node.metadata.name = Some(name.to_owned());
        node.metadata.uid = Some(uid.to_owned());
        node.metadata.creation_timestamp = Some(Time(scene::noon()));
        node
    };
    vec![named("alice", "11111111-aaaa"), named("bob", "22222222-bbbb")]
}

impl Scope {
    /// Whether it can be seen as a whole in every run of the tests.
    pub fn is_small(&self) -> bool {
        self.name.starts_with("small-")
    }

    /// Where it begins.
    pub(crate) fn begin(&self, mind: &Mind) -> Result<State, String> {
        let sites: Vec<Site> = (self.nodes)().into_iter().map(Site::of).collect();
        let on = |worker: usize| if sites.len() > 1 { worker % sites.len() } else { 0 };
        let workers = (0..self.operators).map(|w| Worker { site: on(w), doing: Doing::rest() }).collect();
        let mut state = State {
            workers,
            now: 0,
            left: NONE,
            edits: 0,
            forgot: false,
            strict: self.left.fail == 0 && self.left.jump == 0 && self.left.amnesia == 0,
            broken: Vec::new(),
            sites,
        };
        if self.edits.contains(&Edit::Create) {
            state.sites[0].node = Past::new(None);
        }
        if self.running {
            state = Fair::default().settle(mind, state, as_specified)?;
            state.workers.iter_mut().for_each(|w| w.doing = Doing::rest());
        }
        state.left = self.left;
        Ok(state)
    }

    /// The state after the user's next edit; `None` if it is not the time for it.
    pub(crate) fn edit(&self, state: &State) -> Option<State> {
        let edit = self.edits.get(state.edits)?;
        let mut next = state.clone();
        next.edits += 1;
        let site = &mut next.sites[0];
        if *edit == Edit::Recreate {
            if site.node.now().is_some() {
                return None;
            }
            let before = (self.nodes)().into_iter().next()?;
            site.node.set(Some(Obj::of(again(before))));
            return Some(next);
        }
        if *edit == Edit::Create {
            site.node.set((self.nodes)().into_iter().next().map(Obj::of));
            return Some(next);
        }
        site.node.now()?;
        let now = time(state.now);
        site.edit_node(|node| {
            let spec = node.spec.clone();
            match edit {
                Edit::Image(image) => (*image).clone_into(&mut node.spec.image),
                Edit::Pause(paused) => node.spec.paused = paused.then_some(true),
                Edit::Chain(chain) => (*chain).clone_into(&mut node.spec.chain_id),
                Edit::Override(value) => {
                    let key = "network.p2p.send_rate".to_owned();
                    node.spec.overrides.get_or_insert_default().insert(key, (*value).to_owned());
                }
                Edit::Delete => {
                    if node.metadata.deletion_timestamp.is_none() {
                        *node = object::deleting(node.clone(), now);
                    }
                }
                Edit::Create | Edit::Recreate => {}
            }
            if node.spec != spec {
                node.metadata.generation = node.metadata.generation.map(|g| g + 1);
            }
        });
        if *edit == Edit::Delete && site.node.now().is_some_and(|n| !n.has_finalizer()) {
            site.node.set(None);
            site.end_children(now);
        }
        Some(next)
    }
}

/// A node of the same name and another uid, as it is made.
fn again(mut node: SeiNode) -> SeiNode {
    let meta = &mut node.metadata;
    meta.uid = meta.uid.as_ref().map(|uid| format!("{uid}-again"));
    // Beyond every version of the first one.
    meta.resource_version = Some("10000".to_owned());
    meta.finalizers = None;
    node
}

/// Every node is as its spec wants it.
pub(crate) fn as_specified(state: &State) -> Result<(), String> {
    state.sites.iter().try_for_each(site_as_specified)
}

/// The same, and a node may have failed with the spec that it has now, if it says why.
pub(crate) fn or_failed(state: &State) -> Result<(), String> {
    state.sites.iter().try_for_each(|site| {
        let failed = site.node.now().is_some_and(|n| {
            n.status.phase == Some(NodePhase::Failed)
                && condition::find(&n.status.conditions, &ConditionType::PlanFailed).is_some_and(|c| {
                    let is_told = c.status == ConditionStatus::True && !c.message.is_empty();
                    is_told && c.observed_generation == Some(n.generation())
                })
        });
        if failed { Ok(()) } else { site_as_specified(site) }
    })
}

/// One of the nodes is as its spec wants it; the others say that they are held.
fn one_of_rivals(state: &State) -> Result<(), String> {
    let mut served = 0;
    for site in state.sites.iter().filter(|s| s.node.now().is_some()) {
        let held = site.node.now().is_some_and(|n| {
            condition::find(&n.status.conditions, &ConditionType::KeyConflict)
                .is_some_and(|c| c.status == ConditionStatus::True)
        });
        if !held {
            site_as_specified(site)?;
            served += 1;
        }
    }
    if served == 1 { Ok(()) } else { Err(format!("{served} of the rivals serve")) }
}

fn site_as_specified(site: &Site) -> Result<(), String> {
    let Some(node) = site.node.now() else {
        let left = site.claim.now().is_some() || !site.pod_states().is_empty();
        return if left { Err("the node is gone, and something of it is left".to_owned()) } else { Ok(()) };
    };
    if node.is_deleting() {
        return Err("the node is not gone".to_owned());
    }
    let shown = |kind: &ConditionType| condition::find(&node.status.conditions, kind);
    let holds = |kind: &ConditionType| shown(kind).is_some_and(|c| c.status == ConditionStatus::True);
    if node.spec.paused == Some(true) {
        // The pod of a bootstrap that has ended stays with its Job, and does nothing.
        return match (holds(&ConditionType::Paused), site.pod_states().iter().any(PodState::is_live)) {
            (true, false) => Ok(()),
            (true, true) => Err("paused, and a pod is there".to_owned()),
            (false, _) => Err("the pause is not acknowledged".to_owned()),
        };
    }
    let status = &node.status;
    if status.phase != Some(NodePhase::Running) {
        return Err(format!("the phase is {:?}", status.phase.as_ref().map(NodePhase::as_str)));
    }
    if status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active) {
        return Err("a plan is under way".to_owned());
    }
    if holds(&ConditionType::SpecHeld) {
        return Ok(());
    }
    if status.current_image.as_ref() != Some(&node.spec.image) {
        return Err(format!("the image is {:?}", status.current_image));
    }
    let serves = |pod: &PodState| {
        pod.stage == Stage::Ready
            && pod
                .spec()
                .is_some_and(|s| s.containers.iter().any(|c| c.image.as_ref() == Some(&node.spec.image)))
    };
    match site.pod_states() {
        [pod] if serves(pod) => {}
        pods => return Err(format!("no pod, or more than one, or not the wanted one serves: {pods:?}")),
    }
    if !holds(&ConditionType::Ready) {
        return Err(format!("Ready is {:?}", shown(&ConditionType::Ready).map(|c| &c.message)));
    }
    if site.job.now().is_some() {
        return Err("a bootstrap Job is left".to_owned());
    }
    Ok(())
}
