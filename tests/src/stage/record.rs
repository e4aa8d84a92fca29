//! Every version of nodes, pods and StatefulSets, in the order in which the API server stored them.
//!
//! Versions of all kinds share one counter, so a pod and a condition can be put in order without a clock.

use std::fmt::Debug;
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
    /// What keeps the record from being whole.
    faults: Vec<String>,
}

impl Record {
    pub(super) fn start(client: &Client) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let watches = vec![
            watch::<SeiNode>(client, &log, Thing::Node),
            watch::<Pod>(client, &log, Thing::Pod),
            watch::<StatefulSet>(client, &log, Thing::Set),
        ];
        Self { log, watches }
    }

    /// All versions so far, in order; `Err` where some may be missing.
    pub(super) fn versions(&self) -> Result<Vec<Version>, String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fault) = log.faults.first() {
            return Err(fault.clone());
        }
        let mut versions = log.versions.clone();
        versions.sort_by_key(|version| version.at);
        Ok(versions)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.watches.iter().for_each(JoinHandle::abort);
    }
}

fn watch<K>(client: &Client, log: &Arc<Mutex<Log>>, wrap: fn(Box<K>) -> Thing) -> JoinHandle<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api = Api::<K>::all(client.clone());
    let log = Arc::clone(log);
    tokio::spawn(async move {
        // Without a pause after an error it would never let go of its thread once the server has ended.
        let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = false;
        while let Some(event) = stream.next().await {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            let (object, gone) = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                Ok(Event::Delete(object)) => (object, true),
                Ok(Event::Init) if listed => {
                    log.faults.push(format!("the watch of {} was started anew", K::kind(&())));
                    continue;
                }
                Ok(Event::Init) => continue,
                Ok(Event::InitDone) => {
                    listed = true;
                    continue;
                }
                // It goes on from the last version it saw, or lists anew, which is noticed above.
                Err(_) => continue,
            };
            match object.meta().resource_version.as_deref().map(str::parse) {
                Some(Ok(at)) => log.versions.push(Version { at, gone, what: wrap(Box::new(object)) }),
                other => log.faults.push(format!("a version that is no number: {other:?}")),
            }
        }
    })
}
