//! One shared, pruned cache per kind, with our own writes laid over it.
//!
//! The watch that fills a cache is always a little late. What we have written since is known from the answers, so it is
//! laid over until the watch has caught up; what may or may not have been written is not told at all (law 7).

mod packed;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use prometheus_client::metrics::histogram::Histogram;
use seinode_core::world::{Blind, Seen};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub use packed::{Kept, Packed};

/// A kind that lives in namespaces and that the operator reads and writes as a type.
pub(crate) trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + 'static
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + 'static
{
}

/// What is known of an object beyond the watch.
enum Recent<K> {
    /// Our own write, or a live read, was answered with this object, at this time.
    Newer(Arc<K>, Instant),
    /// Our own write removed it, at this version or before.
    Gone,
    /// A write may or may not have happened.
    Doubtful,
}

/// A cache of one kind.
pub struct Cache<K, S = Packed<K>>
where
    S: Resource<DynamicType = ()> + 'static,
{
    store: Store<S>,
    recent: Mutex<HashMap<(String, String), Recent<K>>>,
    /// Where it is counted how long the watch took to catch up.
    behind: OnceLock<Histogram>,
}

impl<K, S> Cache<K, S>
where
    K: Resource<DynamicType = ()> + Clone + Debug + 'static,
    S: Kept<K>,
{
    /// A cache over what a reflector fills.
    pub fn over(store: Store<S>) -> Self {
        Self { store, recent: Mutex::new(HashMap::new()), behind: OnceLock::new() }
    }

    /// Counts how long the watch takes to catch up; the first place that is given stays.
    pub(crate) fn count_behind(&self, place: Histogram) {
        let _ = self.behind.set(place);
    }

    fn caught_up(&self, since: Instant) {
        if let Some(behind) = self.behind.get() {
            behind.observe(since.elapsed().as_secs_f64());
        }
    }

    /// The reflector's side of it.
    pub fn store(&self) -> &Store<S> {
        &self.store
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<(String, String), Recent<K>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest that is known of an object.
    pub fn seen(&self, namespace: &str, name: &str) -> Seen<Arc<K>> {
        let cached = self.store.get(&ObjectRef::new(name).within(namespace));
        let mut recent = self.recent();
        let key = (namespace.to_owned(), name.to_owned());
        match recent.get(&key) {
            None => {}
            Some(Recent::Doubtful) => return Seen::Unknown(Blind::NotSynced),
            Some(Recent::Gone) => return Seen::Absent,
            Some(Recent::Newer(ours, since)) => {
                let behind = cached.as_ref().is_none_or(|c| version(c.as_ref()) < version(ours.as_ref()));
                if behind {
                    return Seen::Present(Arc::clone(ours));
                }
                self.caught_up(*since);
                recent.remove(&key);
            }
        }
        drop(recent);
        match cached {
            None => Seen::Absent,
            Some(cached) => S::open(&cached).map_or(Seen::Unknown(Blind::NotSynced), Seen::Present),
        }
    }

    /// Every object that the watch has shown.
    pub fn all(&self) -> Vec<Arc<S>> {
        self.store.state()
    }

    /// The API server answered with this object: it is at least this new.
    pub fn learn(&self, object: K) -> Arc<K> {
        let key = key_of(&object);
        let object = Arc::new(object);
        let mut recent = self.recent();
        let newer = match recent.get(&key) {
            Some(Recent::Newer(known, _)) => version(known.as_ref()) < version(object.as_ref()),
            Some(Recent::Gone | Recent::Doubtful) | None => true,
        };
        if newer {
            recent.insert(key, Recent::Newer(Arc::clone(&object), Instant::now()));
        }
        object
    }

    /// A list showed this object, which the watch may or may not have shown meanwhile: it counts where the watch has an older
    /// state of it. What the watch does not show at all may be gone since.
    pub fn refresh(&self, object: &K) {
        let key = key_of(object);
        // Held before the store is asked, and the store forgets an object before `watched` is told: so none that goes at
        // this moment stays known.
        let mut recent = self.recent();
        let shown = self.store.get(&ObjectRef::new(&key.1).within(&key.0));
        let known = match recent.get(&key) {
            Some(Recent::Newer(known, _)) => version(known.as_ref()),
            Some(Recent::Gone | Recent::Doubtful) | None => 0,
        };
        let is_newer = shown.is_some_and(|shown| {
            shown.meta().uid == object.meta().uid && version(shown.as_ref()).max(known) < version(object)
        });
        if is_newer {
            recent.insert(key, Recent::Newer(Arc::new(object.clone()), Instant::now()));
        } else if matches!(recent.get(&key), Some(Recent::Doubtful)) {
            recent.remove(&key);
        }
    }

    /// A live read found nothing, or our own write has removed it.
    pub fn forget(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        if self.store.get(&ObjectRef::new(name).within(namespace)).is_some() {
            self.recent().insert(key, Recent::Gone);
        } else {
            self.recent().remove(&key);
        }
    }

    /// A live read found an object that the watch does not show by its selector: nothing is laid over.
    pub fn clear(&self, namespace: &str, name: &str) {
        self.recent().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// A write may or may not have happened: nothing is told of the object until it is read live.
    pub fn doubt(&self, namespace: &str, name: &str) {
        self.recent().insert((namespace.to_owned(), name.to_owned()), Recent::Doubtful);
    }

    /// The watch has moved on: what is laid over is dropped where the watch has caught up.
    pub fn watched(&self, event: &Event<S>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                let mut recent = self.recent();
                let key = key_of(object);
                let caught_up = match recent.get(&key) {
                    Some(Recent::Newer(ours, since)) if version(object) >= version(ours.as_ref()) => {
                        self.caught_up(*since);
                        true
                    }
                    Some(Recent::Newer(..)) => false,
                    // Something is there again, or has changed since it was gone.
                    Some(Recent::Gone) => object.meta().deletion_timestamp.is_none(),
                    Some(Recent::Doubtful) | None => false,
                };
                if caught_up {
                    recent.remove(&key);
                }
            }
            Event::Delete(object) => {
                let mut recent = self.recent();
                let key = key_of(object);
                let caught_up = match recent.get(&key) {
                    Some(Recent::Newer(ours, _)) => version(object) >= version(ours.as_ref()),
                    Some(Recent::Gone) => true,
                    Some(Recent::Doubtful) | None => false,
                };
                if caught_up {
                    recent.remove(&key);
                }
            }
            // A new list has begun: it is at least as new as anything that was answered before it was asked for; what
            // it does not show is read live once more.
            Event::Init | Event::InitDone => {
                for entry in self.recent().values_mut() {
                    if matches!(entry, Recent::Newer(..)) && matches!(event, Event::InitDone) {
                        *entry = Recent::Doubtful;
                    }
                }
            }
        }
    }
}

fn key_of<K: Resource<DynamicType = ()>>(object: &K) -> (String, String) {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The version of an object as a number; Kubernetes versions of one resource are comparable since 1.35. Text that is no
/// number counts as oldest, so that our own answers win.
pub fn version<K: Resource>(object: &K) -> u128 {
    object.meta().resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::reflector::{self, store::Writer};
    use serde_json::json;

    use super::*;

    type Pods = Cache<Pod>;

    fn packed(pod: &Pod) -> Packed<Pod> {
        Packed::of(pod).expect("a pod")
    }

    fn pod(uid: &str, version: &str) -> Pod {
        let meta = json!({"namespace": "ns", "name": "a-0", "uid": uid, "resourceVersion": version});
        serde_json::from_value(json!({"metadata": meta})).expect("a pod")
    }

    /// What the watch shows goes to both, in the order of `watches`.
    fn show(cache: &Pods, writer: &mut Writer<Packed<Pod>>, event: &Event<Packed<Pod>>) {
        writer.apply_watcher_event(event);
        cache.watched(event);
    }

    fn seen(cache: &Pods) -> Option<String> {
        cache.seen("ns", "a-0").present().and_then(|pod| pod.metadata.resource_version.clone())
    }

    #[test]
    fn what_a_list_shows_counts_until_the_watch_has_caught_up() {
        let (store, mut writer) = reflector::store();
        let cache = Pods::over(store);
        show(&cache, &mut writer, &Event::Apply(packed(&pod("u", "5"))));
        cache.refresh(&pod("u", "7"));
        assert_eq!(seen(&cache).as_deref(), Some("7"));
        cache.refresh(&pod("u", "6"));
        assert_eq!(seen(&cache).as_deref(), Some("7"), "an older list takes nothing back");
        show(&cache, &mut writer, &Event::Apply(packed(&pod("u", "9"))));
        assert_eq!(seen(&cache).as_deref(), Some("9"));
    }

    #[test]
    fn a_list_brings_back_nothing_that_the_watch_has_seen_go() {
        let (store, mut writer) = reflector::store();
        let cache = Pods::over(store);
        cache.refresh(&pod("u", "7"));
        assert_eq!(seen(&cache), None, "the watch will show it, or has seen it go");
        show(&cache, &mut writer, &Event::Apply(packed(&pod("u", "5"))));
        cache.refresh(&pod("u", "7"));
        show(&cache, &mut writer, &Event::Delete(packed(&pod("u", "8"))));
        assert_eq!(seen(&cache), None);
        show(&cache, &mut writer, &Event::Apply(packed(&pod("v", "9"))));
        cache.refresh(&pod("u", "7"));
        assert_eq!(seen(&cache).as_deref(), Some("9"), "another pod of that name");
    }

    #[test]
    fn after_the_watch_has_begun_anew_a_list_ends_the_doubt() {
        let (store, mut writer) = reflector::store();
        let cache = Pods::over(store);
        show(&cache, &mut writer, &Event::Apply(packed(&pod("u", "5"))));
        cache.refresh(&pod("u", "7"));
        for event in [Event::Init, Event::InitApply(packed(&pod("u", "6"))), Event::InitDone] {
            show(&cache, &mut writer, &event);
        }
        assert!(matches!(cache.seen("ns", "a-0"), Seen::Unknown(Blind::NotSynced)));
        cache.refresh(&pod("u", "8"));
        assert_eq!(seen(&cache).as_deref(), Some("8"));
    }
}
