//! What one operator sees of a node: pointers to versions of objects, old and new, and what was looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::{SeiNode, mode};
use seinode_core::effect::{Kind, Outcome};
use seinode_core::platform::Platform;
use seinode_core::rivals::{self, Exclusive, Neighbourhood};
use seinode_core::testkit::scene::noon;
use seinode_core::testkit::toy::Sidecar;
use seinode_core::testkit::{Scene, object};
use seinode_core::world::{Blind, Health, Observed, Registry, Seen, Settings, Topic, Turn};

use super::obj::Obj;
use super::pod::PodState;
use super::site::{Past, Site};

/// How much older than the newest what a cache shows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Which caches: one kind, or all of them.
    pub(crate) what: What,
    /// How many versions.
    pub(crate) back: usize,
}

/// Caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Every one.
    All,
    /// That of nodes.
    Nodes,
    /// That of children of a kind.
    Children(Kind),
}

impl Stale {
    /// Nothing is old.
    pub(crate) const FRESH: Self = Self { what: What::All, back: 0 };

    fn of(self, what: What) -> usize {
        if self.what == What::All || self.what == what { self.back } else { 0 }
    }

    /// The ways in which what caches show of a site can be old, each a different one.
    pub(crate) fn ways(site: &Site) -> Vec<Self> {
        let depths = [
            (What::Nodes, site.node.depth()),
            (What::Children(Kind::StatefulSet), site.statefulset.depth()),
            (What::Children(Kind::Service), site.service.depth()),
            (What::Children(Kind::ConfigMap), site.config_map.depth()),
            (What::Children(Kind::PersistentVolumeClaim), site.claim.depth()),
            (What::Children(Kind::Job), site.job.depth()),
            (What::Children(Kind::Pod), site.pods.depth()),
        ];
        let deepest = depths.iter().map(|(_, depth)| *depth).max().unwrap_or_default();
        let mut ways: Vec<Self> = Vec::new();
        for (what, depth) in depths {
            ways.extend((1..=depth).map(|back| Self { what, back }));
        }
        if depths.iter().filter(|(_, depth)| *depth > 0).count() > 1 {
            ways.extend((1..=deepest).map(|back| Self { what: What::All, back }));
        }
        ways
    }
}

/// What is seen of one object.
#[derive(Clone, Debug)]
pub(crate) enum Sight<T> {
    /// Nobody has asked.
    NotAsked,
    /// It is there, or it is not.
    Shown(Option<Obj<T>>),
    /// A write may or may not have changed it.
    Doubtful,
    /// The look at it failed.
    Dark,
}

impl<T: Clone> Sight<T> {
    fn seen(&self) -> Seen<T> {
        match self {
            Self::NotAsked => Seen::default(),
            Self::Shown(None) => Seen::Absent,
            Self::Shown(Some(object)) => Seen::Present(T::clone(object)),
            Self::Doubtful => Seen::Unknown(Blind::NotSynced),
            Self::Dark => Seen::Unknown(dark()),
        }
    }
}

fn dark() -> Blind {
    Blind::Unreachable("no answer".to_owned())
}

/// What is seen of a node and its children by who looks at keys and claims.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    node: Option<Obj<SeiNode>>,
    set: Option<Obj<StatefulSet>>,
    job: Option<Obj<Job>>,
    pods: Option<Obj<Vec<PodState>>>,
}

/// What one operator sees in one moment of a pass.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) node: Obj<SeiNode>,
    statefulset: Sight<StatefulSet>,
    service: Sight<Service>,
    config_map: Sight<ConfigMap>,
    claim: Sight<PersistentVolumeClaim>,
    job: Sight<Job>,
    /// Of this node; after a look those of every node.
    pods: Option<Vec<Obj<Vec<PodState>>>>,
    sidecar: Sight<Sidecar>,
    /// Whether it is ready.
    health: Sight<bool>,
    around: Option<Vec<Near>>,
    pub(crate) looked: BTreeSet<Topic>,
    pub(crate) outcomes: Obj<Vec<Outcome>>,
    /// Milliseconds since noon.
    now: u64,
}

impl View {
    /// What the caches show; `None` if they show no node. `doubt`: kinds that a write of this pass may have changed.
    pub(crate) fn cached(
        sites: &[Site],
        at: usize,
        stale: Stale,
        doubt: &BTreeSet<Kind>,
        outcomes: &Obj<Vec<Outcome>>,
        now: u64,
    ) -> Option<Self> {
        let site = &sites[at];
        let node = site.node.seen(stale.of(What::Nodes))?;
        let named = rivals::named(node.name(), &node.spec);
        let keys: BTreeSet<_> = named.into_iter().filter(|e| matches!(e, Exclusive::Key(_))).collect();
        let near = |other: &Site| {
            let node = other.node.seen(stale.of(What::Nodes));
            let shares = node.as_ref().is_some_and(|n| !rivals::named(n.name(), &n.spec).is_disjoint(&keys));
            let set = other.statefulset.seen(stale.of(What::Children(Kind::StatefulSet)));
            Near { node: node.filter(|_| shares), set: set.filter(|_| shares), job: None, pods: None }
        };
        let pods = site.pods.seen(stale.of(What::Children(Kind::Pod)))?;
        Some(Self {
            statefulset: sight(&site.statefulset, Kind::StatefulSet, stale, doubt),
            service: sight(&site.service, Kind::Service, stale, doubt),
            config_map: sight(&site.config_map, Kind::ConfigMap, stale, doubt),
            claim: sight(&site.claim, Kind::PersistentVolumeClaim, stale, doubt),
            job: sight(&site.job, Kind::Job, stale, doubt),
            pods: Some(vec![pods]),
            sidecar: Sight::NotAsked,
            health: Sight::NotAsked,
            around: (!keys.is_empty()).then(|| sites.iter().map(near).collect()),
            looked: BTreeSet::new(),
            outcomes: outcomes.clone(),
            now,
            node,
        })
    }

    /// The same after a live look; `None` if there is no node any more. `blind`: no look is answered but that at the node.
    #[must_use]
    pub(crate) fn look(
        &self,
        sites: &[Site],
        at: usize,
        topics: &BTreeSet<Topic>,
        blind: bool,
    ) -> Option<Self> {
        let site = &sites[at];
        let mut next = self.clone();
        for topic in topics.difference(&self.looked) {
            match topic {
                Topic::Node => next.node = site.node.now()?.clone(),
                Topic::StatefulSet => next.statefulset = live(&site.statefulset, blind),
                Topic::Service => next.service = live(&site.service, blind),
                Topic::ConfigMap => next.config_map = live(&site.config_map, blind),
                Topic::DataPvc => next.claim = live(&site.claim, blind),
                Topic::Job => next.job = live(&site.job, blind),
                Topic::Pods => {
                    let own = std::iter::once(site);
                    let others = sites.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, s)| s);
                    let all = own.chain(others).filter_map(|s| s.pods.now().cloned());
                    next.pods = (!blind).then(|| all.collect());
                }
                Topic::SidecarTasks => {
                    let answers = site.is_reachable() && !blind;
                    next.sidecar =
                        if answers { Sight::Shown(Some(site.sidecar.clone())) } else { Sight::Dark };
                }
                Topic::Health => {
                    let answers = site.is_reachable() && !blind;
                    let ready = || Sight::Shown(Some(Obj::shown(site.sidecar.ready)));
                    next.health = if answers { ready() } else { Sight::Dark };
                }
                Topic::Neighbourhood => {
                    let near = |s: &Site| Near {
                        node: s.node.now().cloned(),
                        set: s.statefulset.now().cloned(),
                        job: s.job.now().cloned(),
                        pods: s.pods.now().cloned(),
                    };
                    next.around = (!blind).then(|| sites.iter().map(near).collect());
                }
                Topic::Volume | Topic::Secret(_) | Topic::Peers | Topic::Workflows | Topic::Turn => {}
            }
            next.looked.insert(topic.clone());
        }
        Some(next)
    }

    /// The world as `decide` takes it.
    pub(crate) fn scene(&self) -> Scene {
        let node = SeiNode::clone(&self.node);
        let settings = Settings { platform: Platform::builtin(), asks_ec2: false };
        let secret = object::fit_secret(&node);
        let secrets = object::secret_names(&node).into_iter();
        let ready = |ready: bool| if ready { Health::Ready } else { Health::NotReady };
        let imports = mode::imported_claim_name(&node.spec).is_some();
        let observed = Observed {
            statefulset: self.statefulset.seen(),
            service: self.service.seen(),
            config_map: self.config_map.seen(),
            data_pvc: self.claim.seen(),
            volume: if imports {
                Seen::Present(object::volume(&node, &settings.platform))
            } else {
                Seen::default()
            },
            job: self.job.seen(),
            pods: self.pods.as_ref().map_or(Seen::Unknown(dark()), |all| Seen::Present(rendered(all))),
            secrets: secrets.map(|name| (name, Seen::Present(secret.clone()))).collect(),
            health: match &self.health {
                Sight::Shown(Some(is_ready)) => Seen::Present(ready(**is_ready)),
                Sight::Dark => Seen::Unknown(dark()),
                Sight::NotAsked | Sight::Doubtful | Sight::Shown(None) => Seen::default(),
            },
            sidecar_tasks: match &self.sidecar {
                Sight::NotAsked | Sight::Doubtful => Seen::default(),
                Sight::Dark => Seen::Unknown(dark()),
                Sight::Shown(None) => Seen::Absent,
                Sight::Shown(Some(sidecar)) => Seen::Present(sidecar.records.clone()),
            },
            silence: Duration::ZERO,
            peers: Seen::Present(Vec::new()),
            ec2: Vec::new(),
            neighbourhood: match &self.around {
                Some(around) => Seen::Present(gather(&self.node, around)),
                None if self.looked.contains(&Topic::Neighbourhood) => Seen::Unknown(dark()),
                None => Seen::default(),
            },
            workflows: Seen::Absent,
            turn: Seen::Present(Turn::Own),
            registry: Registry::Entries(vec!["a.example.net:26657".into(), "b.example.net:26657".into()]),
            outcomes: self.outcomes.to_vec(),
            looked: self.looked.clone(),
        };
        Scene { node, observed, settings, now: time(self.now) }
    }
}

/// A moment, from milliseconds since noon.
pub(crate) fn time(millis: u64) -> Timestamp {
    noon().checked_add(Duration::from_millis(millis)).expect("a model runs for days, not for ages")
}

fn sight<T>(past: &Past<T>, kind: Kind, stale: Stale, doubt: &BTreeSet<Kind>) -> Sight<T> {
    if doubt.contains(&kind) {
        return Sight::Doubtful;
    }
    Sight::Shown(past.seen(stale.of(What::Children(kind))))
}

fn live<T>(past: &Past<T>, blind: bool) -> Sight<T> {
    if blind { Sight::Dark } else { Sight::Shown(past.now().cloned()) }
}

fn rendered(all: &[Obj<Vec<PodState>>]) -> Vec<Pod> {
    all.iter().flat_map(|pods| pods.iter().map(PodState::render)).collect()
}

/// What concerns a node, from what is around it.
fn gather(node: &SeiNode, around: &[Near]) -> Neighbourhood {
    let nodes = around.iter().filter_map(|n| n.node.as_ref()).map(|n| &**n);
    let sets = around.iter().filter_map(|n| n.set.as_ref()).map(|s| &**s);
    let jobs = around.iter().filter_map(|n| n.job.as_ref()).map(|j| &**j);
    let pods = around.iter().filter_map(|n| n.pods.as_ref()).flat_map(|pods| pods.iter());
    let pods: Vec<Pod> = pods.map(PodState::render).collect();
    Neighbourhood::of(node, nodes, sets, jobs, pods.iter())
}
