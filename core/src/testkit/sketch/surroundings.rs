//! What surrounds a node: children of any owner and state, pods, Secrets, the sidecar's records, peers, registry.

use std::collections::BTreeMap;

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::option::weighted;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::object::{self, PodStage};
use super::super::scene::{Scene, noon};
use super::plan::{any_json, stamp};
use crate::api::condition::{self, ConditionStatus, ConditionType};
use crate::api::node::ImportVolume;
use crate::api::{SeiNode, Stamp, mode};
use crate::ident::TaskId;
use crate::render;
use crate::rivals::{self, Mount, Neighbourhood};
use crate::scale::PAUSED_GENERATION;
use crate::task::wire;
use crate::world::{Blind, Health, PeerNode, Registry, SecretData, Seen, SidecarTask, SidecarTaskStatus};

/// A child object in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// It can't be told.
    Unknown,
    /// It is not there.
    Absent,
    /// It is ours and as rendered.
    Ours,
    /// It is ours and differs from what we render.
    Differing,
    /// It is ours and being deleted.
    Deleting,
    /// Its controller is somebody else.
    Foreign,
    /// It has no controller.
    Orphan,
    /// Its controller is an earlier node of this name.
    Previous,
}

/// A record of the sidecar in few words.
#[derive(Clone, Debug)]
pub struct RecordSketch {
    /// Status.
    pub status: SidecarTaskStatus,
    /// Run.
    pub run: i64,
    /// Params, if they are not what we send.
    pub params: Option<Value>,
    /// Whether it has another type.
    pub other_type: bool,
    /// When the run ended.
    pub ended: Option<Stamp>,
}

/// Who else in the namespace wants what the node wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// Nobody.
    None,
    /// It can't be told.
    Unknown,
    /// An older node that does not run.
    Older,
    /// A younger node that has not stepped back.
    Younger,
    /// A younger node that has.
    Held,
    /// A node that runs with it.
    Running,
    /// A pod of nobody mounts it.
    Stray,
}

/// A pod of the StatefulSet in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodSketch {
    /// How far it has come.
    pub stage: PodStage,
    /// Its revision label.
    pub revision: Option<&'static str>,
    /// Whether it runs another image than its template says today.
    pub other_image: bool,
    /// How it ended, if it has.
    pub end: Option<PodEnd>,
}

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodEnd {
    /// It is being deleted.
    Deleting,
    /// By itself, well.
    Succeeded,
    /// By itself, badly.
    Failed,
    /// It was evicted.
    Evicted,
}

/// The bootstrap Job in few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobSketch {
    /// Whose it is.
    pub child: Child,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Whether it was ever let go.
    pub begun: bool,
    /// The condition that it has ended with.
    pub end: Option<&'static str>,
    /// Its pod.
    pub pod: Option<(PodStage, Option<PodEnd>)>,
    /// Whether the Service is the one of the bootstrap.
    pub service: bool,
}

/// What surrounds a node, in few words.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// StatefulSet, Service, ConfigMap, claim.
    pub children: [Child; 4],
    /// `replicas` of the StatefulSet.
    pub replicas: i32,
    /// Whether it carries the mark of a pause.
    pub pause_mark: bool,
    /// Phase of the claim.
    pub claim_phase: &'static str,
    /// Size of claim and volume, if not the wanted one.
    pub claim_size: Option<&'static str>,
    /// The volume behind the claim.
    pub volume: Child,
    /// Revision that the StatefulSet asks for.
    pub revision: Option<&'static str>,
    /// The bootstrap Job.
    pub job: JobSketch,
    /// Pods of the StatefulSet; `None`: no pod can be told.
    pub pods: Option<Vec<PodSketch>>,
    /// Whether a strange pod mounts the claim.
    pub stranger: bool,
    /// Secrets: unknown, absent, fit, deleting, empty.
    pub secrets: u8,
    /// Readiness.
    pub health: Option<Health>,
    /// Records of the tasks of the plan in order; `None` can't be told.
    pub records: Option<Vec<Option<RecordSketch>>>,
    /// Who else wants its claim and keys.
    pub rival: Rival,
    /// Peers' ids; `None` can't be told.
    pub peers: Option<Vec<Option<&'static str>>>,
    /// Witnesses of the registry; `None` was not read.
    pub registry: Option<usize>,
}

/// Anything that can surround a node.
pub(super) fn any_surroundings() -> BoxedStrategy<Surroundings> {
    let health = prop::sample::select(vec![Health::NotReady, Health::Ready]);
    let children = (
        [child(), child(), child(), child()],
        prop_oneof![3 => Just(1), 3 => Just(0), 1 => Just(2)],
        any::<bool>(),
        prop_oneof![4 => Just("Bound"), 1 => Just("Pending"), 1 => Just("Lost"), 1 => Just("")],
        weighted(0.2, prop::sample::select(vec!["1", "1Mi", "900Ti", "many"])),
        child(),
        (revision(), job()),
    );
    let rest = (
        weighted(0.9, prop::collection::vec(pod(), 0..3)),
        prop::bool::weighted(0.1),
        0..5_u8,
        weighted(0.9, health),
        weighted(0.8, prop::collection::vec(weighted(0.7, record()), 0..15)),
        weighted(0.8, prop::collection::vec(weighted(0.7, Just("cc")), 0..2)),
        weighted(0.9, prop_oneof![Just(2_usize), Just(0), Just(1), Just(99)]),
        rival(),
    );
    (children, rest)
        .prop_map(
            |(
                (children, replicas, pause_mark, claim_phase, claim_size, volume, (revision, job)),
                (pods, stranger, secrets, health, records, peers, registry, rival),
            )| {
                Surroundings {
                    children,
                    replicas,
                    pause_mark,
                    claim_phase,
                    claim_size,
                    volume,
                    revision,
                    job,
                    pods,
                    stranger,
                    secrets,
                    health,
                    records,
                    rival,
                    peers,
                    registry,
                }
            },
        )
        .boxed()
}

fn stage() -> impl Strategy<Value = PodStage> {
    prop::sample::select(vec![PodStage::Sidecar, PodStage::Pending, PodStage::Proxy, PodStage::Ready])
}

fn revision() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![2 => Just(None), 3 => Just(Some("old")), 3 => Just(Some("new"))]
}

fn pod_end() -> impl Strategy<Value = Option<PodEnd>> {
    let ends = vec![PodEnd::Deleting, PodEnd::Succeeded, PodEnd::Failed, PodEnd::Evicted];
    weighted(0.2, prop::sample::select(ends))
}

fn pod() -> impl Strategy<Value = PodSketch> {
    (stage(), revision(), prop::bool::weighted(0.3), pod_end())
        .prop_map(|(stage, revision, other_image, end)| PodSketch { stage, revision, other_image, end })
}

fn job() -> BoxedStrategy<JobSketch> {
    let whose = prop_oneof![2 => Just(Child::Absent), 2 => child()];
    let end = prop_oneof![2 => Just(None), 1 => Just(Some("Complete")), 1 => Just(Some("Failed"))];
    let pod = weighted(0.5, (stage(), pod_end()));
    (whose, any::<bool>(), any::<bool>(), end, pod, any::<bool>())
        .prop_map(|(child, suspended, begun, end, pod, service)| JobSketch {
            child,
            suspended,
            begun,
            end,
            pod,
            service,
        })
        .boxed()
}

fn rival() -> BoxedStrategy<Rival> {
    prop_oneof![
        8 => Just(Rival::None),
        1 => Just(Rival::Unknown),
        1 => Just(Rival::Older),
        1 => Just(Rival::Younger),
        1 => Just(Rival::Held),
        1 => Just(Rival::Running),
        1 => Just(Rival::Stray),
    ]
    .boxed()
}

impl Rival {
    fn seen(self, node: &SeiNode) -> Seen<Neighbourhood> {
        let what = rivals::named(node.name(), &node.spec);
        let of = |node: Option<&str>, template: bool| Mount {
            object: "Pod theirs-0".to_owned(),
            node: node.map(str::to_owned),
            template,
            what: what.clone(),
            live: true,
        };
        let mut other = node.clone();
        other.metadata.name = Some("theirs".to_owned());
        other.metadata.uid = Some("uid-theirs".to_owned());
        other.spec.data_volume.get_or_insert_default().import =
            Some(ImportVolume { pvc_name: mode::data_claim_name(node.name(), &node.spec) });
        other.metadata.creation_timestamp = Some(object::parse(json!(if self == Self::Older {
            "2026-01-01T00:00:00Z"
        } else {
            "2027-01-01T00:00:00Z"
        })));
        if self == Self::Held {
            let text = format!("claim is wanted by the older node {}", node.uid());
            let (kind, held) = (ConditionType::KeyConflict, ConditionStatus::True);
            condition::set(&mut other.status.conditions, kind, held, "HeldBy", &text, 1, noon());
        }
        Seen::Present(match self {
            Self::Unknown => return Seen::Unknown(Blind::NotSynced),
            Self::None => Neighbourhood::default(),
            Self::Older | Self::Younger | Self::Held => {
                Neighbourhood { nodes: vec![other], mounts: Vec::new() }
            }
            Self::Running => Neighbourhood { nodes: vec![other], mounts: vec![of(Some("uid-theirs"), true)] },
            Self::Stray => Neighbourhood { nodes: Vec::new(), mounts: vec![of(None, false)] },
        })
    }
}

fn child() -> BoxedStrategy<Child> {
    prop_oneof![
        2 => Just(Child::Absent),
        6 => Just(Child::Ours),
        2 => Just(Child::Unknown),
        2 => Just(Child::Differing),
        1 => Just(Child::Deleting),
        1 => Just(Child::Foreign),
        1 => Just(Child::Orphan),
        1 => Just(Child::Previous),
    ]
    .boxed()
}

fn record() -> BoxedStrategy<RecordSketch> {
    let status = prop_oneof![
        4 => Just(SidecarTaskStatus::Completed),
        2 => Just(SidecarTaskStatus::Running),
        3 => Just(SidecarTaskStatus::Failed),
        1 => Just(SidecarTaskStatus::Unknown),
    ];
    let run = prop_oneof![5 => Just(1_i64), 3 => 0..7_i64, 1 => any::<i64>()];
    (status, run, weighted(0.1, any_json()), prop::bool::weighted(0.05), weighted(0.8, stamp()))
        .prop_map(|(status, run, params, other_type, ended)| RecordSketch {
            status,
            run,
            params,
            other_type,
            ended,
        })
        .boxed()
}

impl Child {
    fn seen<T: Metadata<Ty = ObjectMeta>>(self, object: T) -> Seen<T> {
        let owner = |o, api, uid| {
            Seen::Present(object::owned_by(o, Some((api, "SeiNode", super::super::node::NAME, uid))))
        };
        match self {
            Self::Unknown => Seen::Unknown(Blind::NotSynced),
            Self::Absent => Seen::Absent,
            Self::Ours => Seen::Present(object),
            Self::Differing => {
                let mut object = object;
                object.metadata_mut().labels = None;
                Seen::Present(object)
            }
            Self::Deleting => Seen::Present(object::deleting(object, noon())),
            Self::Foreign => owner(object, "apps.example.net/v1", "uid-foreign"),
            Self::Orphan => Seen::Present(object::owned_by(object, None)),
            Self::Previous => owner(object, crate::api::API_VERSION, "uid-previous"),
        }
    }
}

impl PodSketch {
    /// The pod of this number: there is more than one only where somebody scaled the StatefulSet up.
    fn draw(self, sts: &StatefulSet, number: usize) -> Pod {
        let mut pod = object::pod(sts, self.stage);
        pod.metadata.name = sts.metadata.name.as_ref().map(|name| format!("{name}-{number}"));
        pod.metadata.uid = Some(format!("uid-pod-{number}"));
        if let Some(revision) = self.revision {
            let mark = ("controller-revision-hash".to_owned(), revision.to_owned());
            pod.metadata.labels.get_or_insert_default().extend([mark]);
        }
        if self.other_image {
            let spec = pod.spec.iter_mut();
            let containers =
                spec.flat_map(|s| s.containers.iter_mut().chain(s.init_containers.iter_mut().flatten()));
            containers
                .for_each(|container| container.image = Some("registry.example.net/seid:old".to_owned()));
        }
        ended(pod, self.end)
    }
}

impl JobSketch {
    fn draw(self, mut job: Job) -> Job {
        let status = job.status.get_or_insert_default();
        status.start_time = self.begun.then(|| object::parse(json!(Stamp::of(noon()))));
        status.active = self.pod.filter(|(_, end)| end.is_none()).map(|_| 1);
        let condition = |kind: &str| json!([{"type": kind, "status": "True", "message": "it says why"}]);
        status.conditions = self.end.map(|kind| object::parse(condition(kind)));
        job
    }
}

/// The pod at its end.
fn ended(mut pod: Pod, end: Option<PodEnd>) -> Pod {
    let status = pod.status.get_or_insert_default();
    match end {
        None => {}
        Some(PodEnd::Deleting) => return object::deleting(pod, noon()),
        Some(PodEnd::Succeeded) => status.phase = Some("Succeeded".to_owned()),
        Some(PodEnd::Failed) => status.phase = Some("Failed".to_owned()),
        Some(PodEnd::Evicted) => {
            status.phase = Some("Failed".to_owned());
            status.reason = Some("Evicted".to_owned());
        }
    }
    let code = i32::from(end != Some(PodEnd::Succeeded));
    for container in status.container_statuses.iter_mut().flatten() {
        container.state = object::parse(json!({"terminated": {"exitCode": code}}));
    }
    pod
}

impl Surroundings {
    /// What is there is the node's own.
    pub(super) fn calm_children(&mut self) {
        for child in self.children.iter_mut().chain([&mut self.job.child, &mut self.volume]) {
            if *child != Child::Absent {
                *child = Child::Ours;
            }
        }
        (self.claim_phase, self.claim_size, self.secrets) = ("Bound", None, 0);
    }

    /// Nobody else is there.
    pub(super) fn calm_neighbours(&mut self) {
        (self.rival, self.stranger) = (Rival::None, false);
        (self.peers, self.registry) = (Some(vec![Some("cc")]), Some(2));
        self.pods.get_or_insert_default().truncate(1);
    }

    /// The sidecar tells of the runs that were asked of it.
    pub(super) fn calm_records(&mut self) {
        for record in self.records.get_or_insert_default().iter_mut().flatten() {
            (record.params, record.other_type, record.run) = (None, false, 1);
        }
    }

    /// Puts the surroundings around the node of a scene.
    pub fn surround(&self, scene: &mut Scene) {
        let Scene { node, observed, settings, .. } = scene;
        let platform = &settings.platform;
        let mut sts = object::statefulset(node, platform, self.replicas);
        if self.pause_mark {
            let mark = (PAUSED_GENERATION.to_owned(), node.generation().to_string());
            sts.metadata.annotations.get_or_insert_default().extend([mark]);
        }
        let mut claim = object::claim(node, platform);
        let mut volume = object::volume(node, platform);
        claim.status.get_or_insert_default().phase = Some(self.claim_phase.to_owned());
        if let Some(size) = self.claim_size {
            let amount = object::parse::<BTreeMap<_, _>>(json!({"storage": size}));
            claim.status.get_or_insert_default().capacity = Some(amount.clone());
            volume.spec.get_or_insert_default().capacity = Some(amount);
        }
        sts.status.get_or_insert_default().update_revision = self.revision.map(str::to_owned);
        let job = object::job(node, platform, self.job.suspended).map(|job| self.job.draw(job));
        let pods = self.pods.as_ref().map(|sketches| {
            let mut pods: Vec<_> =
                sketches.iter().enumerate().map(|(i, sketch)| sketch.draw(&sts, i)).collect();
            if self.stranger {
                pods.push(object::owned_by(object::pod(&sts, PodStage::Pending), None));
            }
            if let (Some(job), Some((stage, end)), false) =
                (&job, self.job.pod, self.job.child == Child::Absent)
            {
                pods.push(ended(object::job_pod(job, stage), end));
            }
            pods
        });
        observed.pods = pods.map_or(Seen::Unknown(Blind::NotSynced), Seen::Present);
        let [of_sts, of_service, of_config, of_claim] = self.children;
        observed.statefulset = of_sts.seen(sts);
        observed.service = of_service.seen(if self.job.service && mode::needs_bootstrap(&node.spec) {
            object::stored(render::bootstrap_service(node), "uid-service", 202)
        } else {
            object::service(node)
        });
        observed.config_map = of_config.seen(object::config_map(node));
        observed.data_pvc = of_claim.seen(claim);
        observed.volume = self.volume.seen(volume);
        observed.job = job.map_or(Seen::Absent, |job| self.job.child.seen(job));
        observed.secrets = self.secrets(node);
        observed.health =
            self.health.map_or(Seen::Unknown(Blind::Unreachable("refused".to_owned())), Seen::Present);
        observed.sidecar_tasks = self.records(node);
        observed.peers = self.peers(node);
        observed.neighbourhood = self.rival.seen(node);
        observed.registry = match self.registry {
            None => Registry::NotAsked,
            Some(99) => Registry::Unreadable("no such file".to_owned()),
            Some(n) => Registry::Entries(["a:1", "b:1"].iter().take(n).map(ToString::to_string).collect()),
        };
    }

    fn secrets(&self, node: &SeiNode) -> BTreeMap<String, Seen<SecretData>> {
        let names = object::secret_names(node).into_iter();
        let fit = object::fit_secret(node);
        names
            .map(|name| {
                let seen = match self.secrets {
                    0 => Seen::Present(fit.clone()),
                    1 => Seen::Absent,
                    2 => Seen::Present(SecretData { deleting: true, ..fit.clone() }),
                    3 => Seen::Present(SecretData::default()),
                    _ => Seen::Unknown(Blind::Forbidden),
                };
                (name, seen)
            })
            .collect()
    }

    fn records(&self, node: &SeiNode) -> Seen<BTreeMap<TaskId, SidecarTask>> {
        let Some(records) = &self.records else {
            return Seen::Unknown(Blind::Unreachable("refused".to_owned()));
        };
        let tasks = node.status.plan.iter().flat_map(|plan| &plan.tasks);
        let drawn = tasks.zip(records).filter_map(|(task, sketch)| {
            let sketch = sketch.as_ref()?;
            let ours = wire::params(&task.task_type, &task.params).unwrap_or_default();
            let record = SidecarTask {
                id: task.id.clone(),
                task_type: if sketch.other_type { "other".to_owned() } else { task.task_type.to_string() },
                status: sketch.status,
                run: sketch.run,
                params: sketch.params.clone().or(ours),
                error: (sketch.status == SidecarTaskStatus::Failed).then(|| "disk full".to_owned()),
                submitted_at: sketch.ended.clone(),
                completed_at: sketch.ended.clone().filter(|_| sketch.status != SidecarTaskStatus::Running),
            };
            Some((TaskId::new(&task.id), record))
        });
        Seen::Present(drawn.collect())
    }

    fn peers(&self, node: &SeiNode) -> Seen<Vec<PeerNode>> {
        let Some(peers) = &self.peers else { return Seen::Unknown(Blind::NotAsked) };
        let peer = |(i, id): (usize, Option<&str>)| PeerNode {
            namespace: node.namespace().to_owned(),
            name: format!("peer-{i}"),
            chain_id: node.spec.chain_id.clone(),
            labels: BTreeMap::from([("app".to_owned(), "sei".to_owned())]),
            external_address: None,
            deleting: false,
            node_id: id.map_or(Seen::Unknown(Blind::NotAsked), |id| Seen::Present(id.to_owned())),
        };
        Seen::Present(peers.iter().copied().enumerate().map(peer).collect())
    }
}
