//! The objects themselves, under the lock of the store.
//!
//! Answers: what is stored now, and which objects name which owner. Refuses to know: whether a write is
//! allowed. Upholds: every change goes through `put` or `remove`, which count the version, record the
//! change and keep the index of owners.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::history::{Change, History};
use super::{Kind, Validator, meta};
use crate::apply::Shapes;
use crate::error::StoreError;

/// Where an object is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        Self { kind, namespace: Arc::from(namespace), name: Arc::from(name) }
    }

    pub(crate) fn of(kind: Kind, object: &Value) -> Self {
        Self::new(kind, meta::namespace(object), meta::text(object, "name"))
    }

    /// Whether it is of a kind, and in a namespace if one is given.
    pub(crate) fn is_of(&self, kind: Kind, namespace: Option<&str>) -> bool {
        self.kind == kind && namespace.is_none_or(|namespace| *namespace == *self.namespace)
    }
}

/// The first version handed out. Not small, so that nothing stored has version 1, which no etcd gives to an
/// object.
const FIRST_VERSION: u64 = 100;

/// Uids are derived from this and a counter: valid, unique within a run and the same in every run.
const UID_SPACE: Uuid = Uuid::from_u128(0x005e_10de_0000_5000_8000_0000_0000_0001);

#[derive(Debug, Clone)]
pub(crate) struct State {
    objects: BTreeMap<Key, Arc<Value>>,
    pub(crate) history: History,
    version: u64,
    minted: u64,
    bookmarks: u64,
    /// Nothing of what happens here will be kept.
    is_rehearsal: bool,
    /// Objects that were stored once, without a default that the real server fills in when it reads them back: there the
    /// next write is stored even if it changes nothing.
    fresh: BTreeSet<Key>,
    /// Which objects name an owner of this uid.
    pub(super) dependents: BTreeMap<String, BTreeSet<Key>>,
    /// What garbage collection has to look at again.
    pub(super) unswept: BTreeSet<Key>,
    validators: BTreeMap<Kind, Validator>,
    shapes: BTreeMap<Kind, Arc<Shapes>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            history: History::starting_at(FIRST_VERSION),
            version: FIRST_VERSION,
            minted: 0,
            bookmarks: 0,
            is_rehearsal: false,
            fresh: BTreeSet::new(),
            dependents: BTreeMap::new(),
            unswept: BTreeSet::new(),
            validators: BTreeMap::new(),
            shapes: BTreeMap::new(),
        }
    }
}

impl State {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// How often a bookmark was asked for.
    pub(crate) fn bookmarks(&self) -> u64 {
        self.bookmarks
    }

    pub(super) fn bookmark(&mut self) -> u64 {
        self.bookmarks += 1;
        self.version
    }

    /// A copy to try a write on. As on the real server, its objects keep the version that they have, or came with.
    pub(super) fn rehearsal(&self) -> Self {
        Self { is_rehearsal: true, ..self.clone() }
    }

    /// Notes that a new object was stored without a default.
    pub(super) fn note_fresh(&mut self, key: &Key) {
        self.fresh.insert(key.clone());
    }

    /// Whether a write that changes nothing is stored all the same.
    pub(super) fn is_fresh(&self, key: &Key) -> bool {
        self.fresh.contains(key)
    }

    /// Uids that a rehearsal gave away are not given again.
    pub(super) fn forget_uids_of(&mut self, rehearsal: &Self) {
        self.minted = rehearsal.minted;
    }

    pub(super) fn is_rehearsal(&self) -> bool {
        self.is_rehearsal
    }

    pub(super) fn declare(&mut self, kind: Kind, schema: &Value) {
        self.shapes.insert(kind, Arc::new(Shapes::from_schema(schema)));
    }

    pub(super) fn validate_with(&mut self, kind: Kind, validator: Validator) {
        self.validators.insert(kind, validator);
    }

    pub(super) fn validator(&self, kind: Kind) -> Option<&Validator> {
        self.validators.get(&kind)
    }

    pub(super) fn shapes(&self, kind: Kind) -> Arc<Shapes> {
        self.shapes.get(&kind).cloned().unwrap_or_else(|| Shapes::built_in(kind))
    }

    pub(crate) fn find(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub(crate) fn stored(&self, key: &Key) -> Result<&Arc<Value>, StoreError> {
        self.find(key).ok_or_else(|| StoreError::not_found(key.kind, &key.name))
    }

    /// The objects of a kind, in one namespace or in all.
    pub(crate) fn of_kind(&self, kind: Kind, namespace: Option<&str>) -> impl Iterator<Item = &Arc<Value>> {
        self.of_kind_after(kind, namespace, None).map(|(_, object)| object)
    }

    /// The same from a key on, which need not be there itself.
    pub(crate) fn of_kind_after(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let first = match after {
            Some(key) => Bound::Excluded(key.clone()),
            None => Bound::Included(Key::new(kind, namespace.unwrap_or_default(), "")),
        };
        self.objects.range((first, Bound::Unbounded)).take_while(move |(key, _)| key.is_of(kind, namespace))
    }

    /// A uid that nobody had before.
    pub(super) fn mint_uid(&mut self) -> String {
        self.minted += 1;
        Uuid::new_v5(&UID_SPACE, &self.minted.to_be_bytes()).to_string()
    }

    /// Stores an object under a new version.
    pub(super) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        if !self.is_rehearsal {
            meta::set(&mut object, "resourceVersion", json!(self.version.to_string()));
        } else if let Some(before) = self.find(key) {
            meta::take(&mut object, "resourceVersion", &before.clone());
        }
        let after = Arc::new(object);
        let before = self.objects.insert(key.clone(), after.clone());
        self.fresh.remove(key);
        self.note(key, before, &after, false);
        after
    }

    /// Removes an object; answers its last state under the version of the removal.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.fresh.remove(key);
        self.version += 1;
        let mut last = Value::clone(&before);
        if !self.is_rehearsal {
            meta::set(&mut last, "resourceVersion", json!(self.version.to_string()));
        }
        let last = Arc::new(last);
        self.note(key, Some(before), &last, true);
        Some(last)
    }

    fn note(&mut self, key: &Key, before: Option<Arc<Value>>, after: &Arc<Value>, is_deletion: bool) {
        self.index(key, before.as_deref(), if is_deletion { None } else { Some(after) });
        let change =
            Change { version: self.version, key: key.clone(), before, after: after.clone(), is_deletion };
        self.history.push(change);
    }
}
