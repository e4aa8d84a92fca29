//! The newest known objects of a kind, fed by a watch.
//!
//! Answers: what is there, and which names an event touched.
//! Refuses to know: what the objects mean.
//! Upholds: after a relist, objects that are no longer listed are gone.

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespace (empty for kinds without) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Name {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(super) fn of<K: Resource>(object: &K) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

#[derive(Debug)]
pub(super) struct Cache<K> {
    objects: BTreeMap<Name, Arc<K>>,
    /// Names seen in the relist under way.
    listed: BTreeSet<Name>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listed: BTreeSet::new() }
    }
}

impl<K: Resource> Cache<K> {
    /// Takes an event in and answers whose objects it may have changed.
    pub(super) fn absorb(&mut self, event: Event<K>) -> Vec<Name> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let name = Name::of(&object);
                self.listed.insert(name.clone());
                self.objects.insert(name.clone(), Arc::new(object));
                vec![name]
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<_> =
                    self.objects.keys().filter(|name| !listed.contains(name)).cloned().collect();
                for name in &gone {
                    self.objects.remove(name);
                }
                gone
            }
            Event::Apply(object) => {
                let name = Name::of(&object);
                self.objects.insert(name.clone(), Arc::new(object));
                vec![name]
            }
            Event::Delete(object) => {
                let name = Name::of(&object);
                self.objects.remove(&name);
                vec![name]
            }
        }
    }

    pub(super) fn find(&self, name: &Name) -> Option<&Arc<K>> {
        self.objects.get(name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Name, &Arc<K>)> {
        self.objects.iter()
    }
}
