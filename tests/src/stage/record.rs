//! Every version of nodes, pods and StatefulSets, in the order in which the API server stored them.
//!
//! Versions of all kinds share one counter, so a pod and a condition can be put in order without a clock.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use seinode_core::api::SeiNode;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// One stored version.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// Its number.
    pub(super) at: u64,
    /// Whether the object is gone with it.
    pub(super) gone: bool,
    pub(super) what: Thing,
}

#[derive(Clone, Debug)]
pub(super) enum Thing {
    Node(Box<SeiNode>),
    Pod(Box<Pod>),
    Set(Box<StatefulSet>),
}

/// A recorder; dropping it ends its watches.
pub(super) struct Record {
    log: Arc<Mutex<Log>>,
    watches: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    versions: Vec<Version>,
    /// Between which versions some of nodes may be missing.
    gaps: Vec<RangeInclusive<u64>>,
    /// What keeps the record from being whole.
    faults: Vec<String>,
}

impl Record {
    pub(super) fn start(client: &Client) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let watches = vec![
            // A case that installs the definition anew ends this watch.
            watch::<SeiNode>(client, &log, Thing::Node, true),
            watch::<Pod>(client, &log, Thing::Pod, false),
            watch::<StatefulSet>(client, &log, Thing::Set, false),
        ];
        Self { log, watches }
    }

    /// All versions so far, in order, and between which of them some of nodes may be missing; `Err` where others may be.
    pub(super) fn versions(&self) -> Result<(Vec<Version>, Vec<RangeInclusive<u64>>), String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = log.faults.first() {
            return Err(fault.clone());
        }
        let mut versions = log.versions.clone();
        versions.sort_by_key(|version| version.at);
        // A list that was made anew shows what is known already.
        versions.dedup_by_key(|version| version.at);
        Ok((versions, log.gaps.clone()))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

/// `again`: whether it may have to list anew.
fn watch<K>(client: &Client, log: &Arc<Mutex<Log>>, wrap: fn(Box<K>) -> Thing, again: bool) -> JoinHandle<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api = Api::<K>::all(client.clone());
    let log = Arc::clone(log);
    tokio::spawn(async move {
        // Without a pause after an error it would never let go of its thread once the server has ended.
        let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let (mut listed, mut newest, mut from) = (false, 0, None);
        while let Some(event) = stream.next().await {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let (object, gone) = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                Ok(Event::Delete(object)) => (object, true),
                Ok(Event::Init) if listed && !again => {
                    log.faults.push(format!("the watch of {} was started anew", K::kind(&())));
                    continue;
                }
                Ok(Event::Init) => {
                    from = listed.then_some(newest);
                    continue;
                }
                Ok(Event::InitDone) => {
                    listed = true;
                    log.gaps.extend(from.take().map(|from| from..=newest));
                    continue;
                }
                // It goes on from the last version it saw, or lists anew, which is noticed above.
                Err(_) => continue,
            };
            match object.meta().resource_version.as_deref().map(str::parse) {
                Some(Ok(at)) => {
                    newest = newest.max(at);
                    log.versions.push(Version { at, gone, what: wrap(Box::new(object)) });
                }
                other => log.faults.push(format!("a version that is no number: {other:?}")),
            }
        }
    })
}
