//! The objects of the pretend cluster.
//!
//! Answers: what is stored, and what a write turns it into. Refuses to know: HTTP, and who watches.
//! Upholds: one counter of versions over all kinds; a write either happens whole or is refused; a write
//! that changes nothing makes no version; equal calls at equal times give equal objects, uids included.
//!
//! The direct interface, for the controllers of the pretend cluster and for tests (the HTTP one is in
//! [`crate::api`]):
//!
//! ```text
//! Store::new(Clock) -> Store                                   // clones share the objects
//! store.acting_as("kube-scheduler") -> Store                   // same objects, other field manager
//! store.clock() -> Clock          store.version() -> u64       store.subscribe() -> watch::Receiver<u64>
//! store.get(kind, namespace, name) -> Result<Arc<Value>, StoreError>
//! store.list(kind, Option<namespace>) -> Vec<Arc<Value>>       // by namespace, then name
//! store.create(kind, object) -> Result<Arc<Value>, StoreError> // namespace from the object, else "default"
//! store.replace(kind, object) -> Result<Arc<Value>, StoreError>
//! store.merge_patch(kind, namespace, name, &patch) -> Result<Arc<Value>, StoreError>
//! store.update_status(kind, namespace, name, &patch) -> Result<Arc<Value>, StoreError>  // {"status": ...}
//! store.apply(kind, namespace, name, &body, force) -> Result<Arc<Value>, StoreError>
//! store.delete(kind, namespace, name, &DeleteOptions) -> Result<Deleted, StoreError>
//! store.collect_garbage() -> usize                             // one pass; writes made; call until it says 0
//! store.declare(kind, &openapi_schema)                         // list types of a custom kind
//! store.validate_with(kind, Validator)                         // CRD validation, pruning, defaulting
//! store.keep_history(changes)     store.compact()              // makes older watches end with 410
//! store.bookmark()                                             // tells watchers that allow it the version
//! ```
//!
//! `namespace` is `""` for kinds that live in none.

mod check;
mod clock;
mod create;
mod delete;
mod garbage;
mod history;
mod kind;
mod meta;
mod prepare;
mod selector;
mod state;
mod update;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

pub use clock::Clock;
pub use delete::{DeleteOptions, Deleted, Propagation};
pub use kind::Kind;

pub(crate) use clock::stamp;
pub(crate) use create::Draft;
pub(crate) use history::{Change, Slice};
pub(crate) use meta::{metadata, namespace, set as set_metadata};
pub(crate) use selector::Selection;
pub(crate) use state::{Key, State};
pub(crate) use update::{Part, Write};

use crate::error::{FieldError, StoreError};

/// Judges an object of a custom kind before it is stored: the new object and the stored one, if any. It
/// answers the object to store instead, pruned and defaulted, or what is wrong with it.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "it is spelled out this once; this type is its name")]
pub struct Validator(Arc<dyn Fn(&Value, Option<&Value>) -> Result<Value, Vec<FieldError>> + Send + Sync>);

impl Validator {
    /// Wraps a function of the new object and the stored one.
    pub fn new<F>(judge: F) -> Self
    where
        F: Fn(&Value, Option<&Value>) -> Result<Value, Vec<FieldError>> + Send + Sync + 'static,
    {
        Self(Arc::new(judge))
    }

    pub(crate) fn judge(&self, new: &Value, old: Option<&Value>) -> Result<Value, Vec<FieldError>> {
        (self.0)(new, old)
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Validator")
    }
}

/// The store. Clones are cheap and share the objects; no call waits, and no lock is held between calls.
#[derive(Debug, Clone)]
pub struct Store {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    clock: Clock,
    manager: Arc<str>,
}

/// The field manager of direct writes that name none.
const DIRECT_MANAGER: &str = "kube-controller-manager";

impl Store {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        let state = State::default();
        let changes = watch::Sender::new(state.version());
        Self { state: Arc::new(Mutex::new(state)), changes, clock, manager: Arc::from(DIRECT_MANAGER) }
    }

    /// The same objects, written under another field manager.
    #[must_use]
    pub fn acting_as(&self, manager: &str) -> Self {
        Self { manager: Arc::from(manager), ..self.clone() }
    }

    /// The clock that dates the writes.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.lock().version()
    }

    /// Sees the version of every change; slow readers see only the newest.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// One object.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Arc<Value>, StoreError> {
        self.lock().stored(&Key::new(kind, namespace, name)).cloned()
    }

    /// All objects of a kind, of one namespace or of all, by namespace and name.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.lock().of_kind(kind, namespace).cloned().collect()
    }

    /// Stores a new object. Its namespace is the object's own, or `default`.
    pub fn create(&self, kind: Kind, object: Value) -> Result<Arc<Value>, StoreError> {
        let own = namespace(&object).to_owned();
        let namespace = if !kind.is_namespaced() || !own.is_empty() { own } else { "default".to_owned() };
        self.write(|state, who| state.create(Draft { kind, namespace: &namespace, object }, who))
    }

    /// Replaces a whole object, status excepted where it has a subresource.
    pub fn replace(&self, kind: Kind, object: Value) -> Result<Arc<Value>, StoreError> {
        let key = Key::of(kind, &object);
        self.write(|state, who| state.replace(&key, Part::Main, object, who).map(|done| done.object))
    }

    /// Merges a patch (RFC 7396) into an object.
    pub fn merge_patch(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Value>, StoreError> {
        let key = Key::new(kind, namespace, name);
        self.write(|state, who| state.merge(&key, Part::Main, patch, who))
    }

    /// Merges a patch into the status subresource; the patch is that of the whole object, `{"status": ...}`.
    pub fn update_status(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Arc<Value>, StoreError> {
        let key = Key::new(kind, namespace, name);
        self.write(|state, who| state.merge(&key, Part::Status, patch, who))
    }

    /// Applies a body on the server's side, creating the object where it is absent.
    pub fn apply(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        body: &Value,
        force: bool,
    ) -> Result<Arc<Value>, StoreError> {
        let key = Key::new(kind, namespace, name);
        self.write(|state, who| state.apply(&key, Part::Main, body, force, who).map(|done| done.object))
    }

    /// Deletes an object, or marks it for deletion while finalizers or a grace period hold it.
    pub fn delete(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, StoreError> {
        let key = Key::new(kind, namespace, name);
        self.write(|state, who| state.delete(&key, options, who))
    }

    /// One pass of garbage collection over everything that changed since the last. Answers the number of
    /// writes.
    pub fn collect_garbage(&self) -> usize {
        self.write(State::collect_garbage)
    }

    /// Reads the list types of a custom kind (`x-kubernetes-list-type` and its keys) from its OpenAPI
    /// schema, so that applies merge its lists as the real server would.
    pub fn declare(&self, kind: Kind, schema: &Value) {
        self.lock().declare(kind, schema);
    }

    /// Has every write of a kind judged before it is stored.
    pub fn validate_with(&self, kind: Kind, validator: Validator) {
        self.lock().validate_with(kind, validator);
    }

    /// Keeps the last `changes` changes for watches that resume; the default is 100000.
    pub fn keep_history(&self, changes: usize) {
        self.lock().history.keep(changes);
    }

    /// Forgets all history, so that every watch from before now is answered 410.
    pub fn compact(&self) {
        self.lock().history.keep_nothing_so_far();
    }

    /// Sends a bookmark with the current version to every watch that allows bookmarks.
    pub fn bookmark(&self) {
        let version = self.lock().bookmark();
        self.changes.send_replace(version);
    }

    /// Runs one write under the lock, and wakes those who wait for changes if there was any.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&mut State, &Write<'_>) -> T) -> T {
        self.write_as(&self.manager, work)
    }

    pub(crate) fn write_as<T>(&self, manager: &str, work: impl FnOnce(&mut State, &Write<'_>) -> T) -> T {
        let who = Write { manager, now: self.clock.now() };
        let mut state = self.lock();
        let before = state.version();
        let result = work(&mut state, &who);
        let after = state.version();
        drop(state);
        if after != before {
            self.changes.send_replace(after);
        }
        result
    }

    /// Runs one write on a copy, for dry runs.
    pub(crate) fn rehearse<T>(&self, manager: &str, work: impl FnOnce(&mut State, &Write<'_>) -> T) -> T {
        let mut state = self.lock();
        let mut copy = state.rehearsal();
        let result = work(&mut copy, &Write { manager, now: self.clock.now() });
        state.forget_uids_of(&copy);
        result
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug that already failed its test; the objects stay readable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
