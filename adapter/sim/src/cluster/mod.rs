//! The controllers that a cluster runs by itself, over the store.
//!
//! Answers: StatefulSets and Jobs get pods, claims get volumes, what nobody owns or uses goes.
//! Refuses to know: hosts, containers and sidecars; a kubelet moves pods on.
//! Upholds: one object at a time in the order of their keys, so equal stores take equal steps; nothing to do, no
//! write.

mod claim;
mod job;
mod object;
mod pod;
mod revision;
mod statefulset;

use crate::error::StoreError;
use crate::store::{Key, Kind, Slice, Store};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinHandle;

/// The controllers. They see the store as of their last step and work through what changed since.
#[derive(Debug)]
pub struct Cluster {
    store: Store,
    /// The newest version that was looked at.
    seen: u64,
    work: BTreeSet<Key>,
    /// Objects to look at again later, without a change.
    alarms: BTreeMap<Key, Timestamp>,
    /// Which volumes have named a claim: a fleet has too many to look through.
    promised: BTreeMap<Key, BTreeSet<Key>>,
}

/// A cluster that runs on its own.
#[derive(Debug)]
pub struct Running(JoinHandle<()>);

impl Cluster {
    /// Controllers over a store; everything in it counts as changed.
    pub fn new(store: &Store) -> Self {
        let store = store.acting_as("kube-controller-manager");
        let mut cluster = Self {
            store,
            seen: 0,
            work: BTreeSet::new(),
            alarms: BTreeMap::new(),
            promised: BTreeMap::new(),
        };
        cluster.look_at_everything();
        cluster
    }

    /// Does one small thing, if there is any: one object looked after, or one pass of garbage collection.
    pub fn step(&mut self) -> bool {
        self.catch_up();
        self.take_due_alarms();
        let Some(key) = self.work.pop_first() else { return self.store.collect_garbage() > 0 };
        if let Err(error) = self.look_after(&key) {
            // Somebody else changed the object; that change brings it back.
            tracing::debug!(%error, kind = %key.kind, name = &*key.name, "left for later");
        }
        true
    }

    /// Steps until nothing is left to do; answers the number of steps.
    pub fn settle(&mut self) -> usize {
        (0..MOST_STEPS).take_while(|_| self.step()).count()
    }

    /// When something will be due without a change.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.alarms.values().min().copied()
    }

    /// Runs on the current runtime until it is stopped.
    pub fn start(mut self) -> Running {
        Running(tokio::spawn(async move {
            let mut changes = self.store.subscribe();
            loop {
                while self.step() {
                    // Others take their turns between steps.
                    tokio::task::yield_now().await;
                }
                let now = self.store.clock().now();
                let due =
                    self.next_due().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
                let wait = tokio::time::sleep(due.unwrap_or(NOTHING_DUE));
                tokio::select! {
                    news = changes.changed() => if news.is_err() { return },
                    () = wait => {}
                }
            }
        }))
    }

    fn look_after(&mut self, key: &Key) -> Result<(), StoreError> {
        match key.kind {
            Kind::StatefulSet => self.look_after_statefulset(key),
            Kind::Job => self.look_after_job(key),
            Kind::PersistentVolumeClaim => self.look_after_claim(key),
            Kind::PersistentVolume => self.look_after_volume(key),
            Kind::Pod => self.release_orphan(key),
            _ => Ok(()),
        }
    }

    /// Notes whom the changes since the last look concern.
    fn catch_up(&mut self) {
        let slice = self.store.lock().history.after(self.seen);
        match slice {
            Slice::Gone(_) => self.look_at_everything(),
            Slice::Changes(changes) => {
                for change in changes {
                    self.seen = change.version;
                    self.note(&change.key, &change.after);
                }
            }
        }
    }

    fn look_at_everything(&mut self) {
        self.seen = self.store.version();
        for kind in
            [Kind::StatefulSet, Kind::Job, Kind::Pod, Kind::PersistentVolume, Kind::PersistentVolumeClaim]
        {
            for object in self.store.list(kind, None) {
                self.note(&Key::of(kind, &object), &object);
            }
        }
    }

    fn note(&mut self, key: &Key, object: &Value) {
        match key.kind {
            Kind::StatefulSet | Kind::Job => {
                self.work.insert(key.clone());
            }
            Kind::Pod => {
                self.work.insert(key.clone());
                self.work.extend(pod::concerns(key, object));
            }
            Kind::PersistentVolumeClaim => {
                self.work.insert(key.clone());
                if let Some(volume) = object["spec"]["volumeName"].as_str() {
                    self.work.insert(Key::new(Kind::PersistentVolume, "", volume));
                } else {
                    let volumes = self.volumes_for(key);
                    self.work.extend(volumes);
                }
            }
            Kind::PersistentVolume => {
                self.work.insert(key.clone());
                if let Some(claim) = claim::claim_of(object) {
                    self.promised.entry(claim.clone()).or_default().insert(key.clone());
                    self.work.insert(claim);
                }
            }
            _ => {}
        }
    }

    fn take_due_alarms(&mut self) {
        let now = self.store.clock().now();
        let due: Vec<_> =
            self.alarms.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.alarms.remove(&key);
            self.work.insert(key);
        }
    }

    /// The stored object, unless it is gone.
    fn find(&self, key: &Key) -> Option<std::sync::Arc<Value>> {
        self.store.get(key.kind, &key.namespace, &key.name).ok()
    }

    fn patch(&self, key: &Key, patch: &Value) -> Result<(), StoreError> {
        self.store.merge_patch(key.kind, &key.namespace, &key.name, patch).map(|_| ())
    }

    fn patch_status(&self, key: &Key, status: &Value) -> Result<(), StoreError> {
        let patch = serde_json::json!({ "status": status });
        self.store.update_status(key.kind, &key.namespace, &key.name, &patch).map(|_| ())
    }
}

impl Running {
    /// Ends it; objects stay as they are.
    pub fn stop(self) {
        self.0.abort();
    }
}

/// A bound for controllers that fight; no test comes near it.
const MOST_STEPS: usize = 1_000_000;
/// With nothing due the loop sleeps until something changes.
const NOTHING_DUE: Duration = Duration::from_hours(24);
