//! The loop: what changed, which pods that concerns, what they need.
//!
//! Answers: events, orders, calls and deadlines, one at a time.
//! Refuses to know: what a container does; `life` decides.
//! Upholds: a failed write is tried again later; a pod replaced under the same name is another pod.

use super::cache::{Cache, Name};
use super::chronicle::PodLife;
use super::hosts::{Hosts, heartbeat};
use super::life::{Life, later};
use super::mounts::Mounts;
use super::options::{Options, Timing};
use super::shared::Shared;
use crate::sidecar::Line;
use futures::stream::{BoxStream, SelectAll, StreamExt};
use futures::{FutureExt, Stream};
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Something that the handle wants.
#[derive(Debug)]
pub(super) enum Order {
    Pod(Name, Command),
    LookAgain,
    Stop,
}

/// Something that happens to a pod.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    RestartSidecar,
    CrashSeid,
    SetHeight(u64),
    Fail,
}

enum Seen {
    Pod(Box<Event<Pod>>),
    Claim(Box<Event<PersistentVolumeClaim>>),
    Volume(Box<Event<PersistentVolume>>),
    Service(Box<Event<Service>>),
}

pub(super) struct Agent {
    pub(super) client: Client,
    pub(super) options: Options,
    pub(super) timing: Timing,
    pub(super) shared: Arc<Shared>,
    pub(super) pods: Cache<Pod>,
    pub(super) claims: Cache<PersistentVolumeClaim>,
    pub(super) volumes: Cache<PersistentVolume>,
    pub(super) services: Cache<Service>,
    /// By pod uid. A pod that is gone from the server stays until its containers have ended.
    pub(super) lives: BTreeMap<String, Life>,
    pub(super) mounts: Mounts,
    pub(super) hosts: Hosts,
    addresses: u32,
    pub(super) dirty: BTreeSet<String>,
    /// When a claim gets its volume.
    pub(super) claimed: BTreeMap<Name, Timestamp>,
    /// Volumes that changed and may have to go.
    pub(super) changed_volumes: BTreeSet<Name>,
    pub(super) next_beat: Option<Timestamp>,
}

impl Agent {
    pub(super) fn new(client: Client, options: Options, shared: Arc<Shared>) -> Self {
        Self {
            client,
            timing: options.timing.scaled(),
            shared,
            pods: Cache::default(),
            claims: Cache::default(),
            volumes: Cache::default(),
            services: Cache::default(),
            lives: BTreeMap::new(),
            mounts: Mounts::default(),
            hosts: Hosts::new(options.hosts, options.placement),
            addresses: 0,
            dirty: BTreeSet::new(),
            claimed: BTreeMap::new(),
            changed_volumes: BTreeSet::new(),
            next_beat: None,
            options,
        }
    }

    pub(super) async fn run(mut self, mut inbox: UnboundedReceiver<Order>) {
        let stamp = self.options.clock.stamp();
        while let Err(error) = self.hosts.register(&self.client, &stamp).await {
            tracing::warn!(%error, "can't register hosts yet");
            tokio::time::sleep(self.timing.retry).await;
        }
        self.next_beat = self.beat_period().map(|period| later(self.now(), period));
        let mut events = self.watch();
        loop {
            self.work().await;
            let switchboard = self.shared.switchboard.clone();
            let wait = self.wait();
            tokio::select! {
                biased;
                order = inbox.recv() => match order {
                    None | Some(Order::Stop) => break,
                    Some(order) => self.obey(order),
                },
                Some(seen) = events.next() => self.absorb(seen),
                lines = switchboard.called() => self.mark_lines(&lines),
                () = tokio::time::sleep(wait) => {}
            }
            while let Some(Some(seen)) = events.next().now_or_never() {
                self.absorb(seen);
            }
        }
        for life in self.lives.values_mut() {
            life.sidecar = None;
        }
        let services: Vec<_> = self.services.all().map(|(name, _)| name.clone()).collect();
        for service in services {
            self.reroute(&service);
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    pub(super) fn beat_period(&self) -> Option<Duration> {
        heartbeat(self.options.heartbeat, self.options.timing.scale)
    }

    fn watch(&self) -> SelectAll<BoxStream<'static, Seen>> {
        let (client, config) = (&self.client, watcher::Config::default);
        futures::stream::select_all([
            stream(watcher(Api::all(client.clone()), config()), Seen::Pod),
            stream(watcher(Api::all(client.clone()), config()), Seen::Claim),
            stream(watcher(Api::all(client.clone()), config()), Seen::Volume),
            stream(watcher(Api::all(client.clone()), config()), Seen::Service),
        ])
    }

    fn absorb(&mut self, seen: Seen) {
        match seen {
            Seen::Pod(event) => {
                for name in self.pods.absorb(*event) {
                    self.meet(&name);
                }
            }
            Seen::Claim(event) => {
                for name in self.claims.absorb(*event) {
                    self.mark_waiting(&name);
                    self.claimed.remove(&name);
                    if self.claims.find(&name).is_some_and(|claim| is_unbound(claim)) {
                        self.claimed.insert(name, later(self.now(), self.timing.provision));
                    }
                }
            }
            Seen::Volume(event) => {
                let touched = self.volumes.absorb(*event);
                let claim = |name: &Name| self.volumes.find(name)?.spec.as_ref()?.claim_ref.clone();
                let named = |claim: ObjectReference| Some(Name::new(&claim.namespace?, &claim.name?));
                let claims: Vec<_> = touched.iter().filter_map(claim).filter_map(named).collect();
                for claim in claims {
                    self.mark_waiting(&claim);
                }
                self.changed_volumes.extend(touched);
            }
            Seen::Service(event) => {
                for name in self.services.absorb(*event) {
                    self.reroute(&name);
                }
            }
        }
    }

    /// Takes notice of a pod, and of a successor under its name.
    fn meet(&mut self, name: &Name) {
        let now = self.now();
        let pod = self.pods.find(name).cloned();
        let uid = pod.as_ref().and_then(|pod| pod.uid());
        let gone = self.lives.values().filter(|life| life.name == *name && Some(&life.uid) != uid.as_ref());
        let gone: Vec<_> = gone.map(|life| life.uid.clone()).collect();
        self.dirty.extend(gone);
        let (Some(pod), Some(uid)) = (pod, uid) else { return };
        if !self.lives.contains_key(&uid) {
            self.addresses += 1;
            let address = self.addresses;
            let ip = format!("10.{}.{}.{}", 100 + address / 62500, address / 250 % 250, address % 250 + 1);
            let life = Life::new(&pod, ip);
            let images = life.containers.iter().map(|one| (one.name.clone(), one.image.clone())).collect();
            self.shared.chronicle(|chronicle| {
                chronicle.lives.push(PodLife {
                    namespace: name.namespace.clone(),
                    name: name.name.clone(),
                    uid: uid.clone(),
                    node: life.node.clone(),
                    host: String::new(),
                    created: now,
                    started: None,
                    ready: None,
                    stopped: None,
                    deleted: None,
                    images,
                });
            });
            self.lives.insert(uid.clone(), life);
        }
        self.dirty.insert(uid);
    }

    /// Pods that wait to mount a claim.
    pub(super) fn mark_waiting(&mut self, claim: &Name) {
        let waiting = self.lives.values().filter(|life| life.volume.is_none() && life.claims.contains(claim));
        let waiting: Vec<_> = waiting.map(|life| life.uid.clone()).collect();
        self.dirty.extend(waiting);
    }

    fn mark_lines(&mut self, lines: &BTreeSet<Line>) {
        let called = |life: &&Life| lines.contains(&Line::new(&life.name.namespace, &life.line));
        let called = self.lives.values().filter(called).map(|life| life.uid.clone());
        self.dirty.extend(called);
    }

    fn obey(&mut self, order: Order) {
        let Order::Pod(name, command) = order else {
            self.dirty.extend(self.lives.keys().cloned());
            let unbound =
                self.claims.all().filter(|(_, claim)| is_unbound(claim)).map(|(name, _)| name.clone());
            let unbound: Vec<_> = unbound.collect();
            let at = later(self.now(), self.timing.provision);
            for name in unbound {
                self.claimed.entry(name).or_insert(at);
            }
            return;
        };
        let Some(pod) = self.pods.find(&name).cloned() else { return };
        let now = self.now();
        let Some(mut life) = self.lives.remove(&pod.uid().unwrap_or_default()) else { return };
        match command {
            Command::RestartSidecar => {
                let node = life.node.clone();
                self.with_setting(&pod, &node, |setting| life.restart_sidecar(setting));
            }
            Command::CrashSeid => life.crash_seid(),
            Command::SetHeight(height) => life.set_height(height),
            Command::Fail => life.fail("Evicted", now),
        }
        self.dirty.insert(life.uid.clone());
        self.lives.insert(life.uid.clone(), life);
    }
}

fn stream<K: Send + 'static>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    wrap: fn(Box<Event<K>>) -> Seen,
) -> BoxStream<'static, Seen> {
    let events = events.default_backoff().filter_map(move |event| async move {
        event.inspect_err(|error| tracing::debug!(%error, "watch broke off")).ok().map(Box::new).map(wrap)
    });
    events.boxed()
}

pub(super) fn is_unbound(claim: &PersistentVolumeClaim) -> bool {
    let has_volume = claim.spec.as_ref().is_some_and(|spec| spec.volume_name.is_some());
    !has_volume && claim.metadata.deletion_timestamp.is_none()
}
