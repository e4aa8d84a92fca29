//! Garbage collection by owner references.
//!
//! Answers: which dependents go, and which owners are let go. Refuses to know: when it runs; the pretend
//! cluster says. Upholds: an object goes only if it names owners and none of them exists under its uid; an
//! owner of an unknown kind counts as existing; the order of work is that of the keys, so equal stores are
//! swept alike.

use std::collections::BTreeSet;
use std::mem;

use serde_json::{Value, json};

use super::delete::{DeleteOptions, FOREGROUND, ORPHAN, Propagation};
use super::update::Write;
use super::{Key, Kind, Part, State, meta};

/// What the owners of an object are worth.
#[derive(Default)]
struct Owners {
    solid: usize,
    /// Uids of owners that are gone.
    dangling: Vec<String>,
    /// Uids of owners that wait for their dependents to go.
    waiting: Vec<String>,
}

impl State {
    /// One pass over what changed; answers the number of writes.
    pub(crate) fn collect_garbage(&mut self, who: &Write<'_>) -> usize {
        let due = mem::take(&mut self.unswept);
        let before = self.version();
        for key in due {
            let Some(object) = self.find(&key).cloned() else {
                continue;
            };
            if meta::is_deleting(&object) && meta::has_finalizer(&object, ORPHAN) {
                self.orphan_dependents(&key, &object, who);
            } else if meta::is_deleting(&object) && meta::has_finalizer(&object, FOREGROUND) {
                self.await_dependents(&key, &object, who);
            } else if !meta::is_deleting(&object) && !meta::owners(&object).is_empty() {
                self.judge(&key, &object, who);
            }
        }
        usize::try_from(self.version() - before).unwrap_or(usize::MAX)
    }

    /// Keeps the index of owners, and notes what has to be looked at again.
    pub(super) fn index(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        let named = |object: Option<&Value>| -> BTreeSet<String> {
            let owners = object.map_or(&[][..], meta::owners);
            owners.iter().filter_map(|owner| owner["uid"].as_str().map(str::to_owned)).collect()
        };
        let (old, new) = (named(before), named(after));
        for uid in old.difference(&new) {
            if let Some(keys) = self.dependents.get_mut(uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        for uid in new.difference(&old) {
            self.dependents.entry(uid.clone()).or_default().insert(key.clone());
        }
        self.note_unswept(key, before, after, old != new);
    }

    fn note_unswept(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>, moved: bool) {
        let is_ending = after.is_none_or(meta::is_deleting);
        if !moved && !is_ending {
            return;
        }
        if after.is_some() {
            self.unswept.insert(key.clone());
        }
        let uid = before.or(after).map(|object| meta::text(object, "uid")).unwrap_or_default();
        let below = self.dependents.get(uid).cloned().unwrap_or_default();
        let owners = before.into_iter().chain(after).flat_map(meta::owners);
        let above = owners.filter_map(|owner| owner_key(key, owner));
        self.unswept.extend(below.into_iter().chain(above));
    }

    fn dependents_of(&self, object: &Value) -> Vec<Key> {
        self.dependents.get(meta::text(object, "uid")).into_iter().flatten().cloned().collect()
    }

    /// An object that was deleted with the wish to keep its dependents: cut them off, then let it go.
    fn orphan_dependents(&mut self, key: &Key, object: &Value, who: &Write<'_>) {
        let uid = vec![meta::text(object, "uid").to_owned()];
        for dependent in self.dependents_of(object) {
            self.forget_owners(&dependent, &uid, who);
        }
        self.drop_finalizer(key, ORPHAN, who);
    }

    /// An object that waits for its dependents: let it go once none of them blocks it.
    fn await_dependents(&mut self, key: &Key, object: &Value, who: &Write<'_>) {
        let uid = meta::text(object, "uid").to_owned();
        let is_blocking = |dependent: &Value| {
            let blocks = |owner: &Value| owner["uid"] == *uid && owner["blockOwnerDeletion"] == true;
            meta::owners(dependent).iter().any(blocks)
        };
        let dependents = self.dependents_of(object);
        let blocked = dependents.iter().any(|key| self.find(key).is_some_and(|found| is_blocking(found)));
        if !blocked {
            self.drop_finalizer(key, FOREGROUND, who);
        }
    }

    /// An object with owners: keep it, tidy its references, or delete it.
    fn judge(&mut self, key: &Key, object: &Value, who: &Write<'_>) {
        let owners = self.weigh(key, object);
        let lost: Vec<String> = owners.dangling.iter().chain(&owners.waiting).cloned().collect();
        if owners.solid > 0 {
            if !lost.is_empty() {
                self.forget_owners(key, &lost, who);
            }
            return;
        }
        let is_owner = !self.dependents_of(object).is_empty();
        let propagation = if !owners.waiting.is_empty() && is_owner || meta::has_finalizer(object, FOREGROUND)
        {
            Propagation::Foreground
        } else if meta::has_finalizer(object, ORPHAN) {
            Propagation::Orphan
        } else {
            Propagation::Background
        };
        let uid = Some(meta::text(object, "uid").to_owned());
        let options = DeleteOptions { propagation: Some(propagation), uid, ..DeleteOptions::default() };
        // It was there a line ago and its uid is its own, so this can't be refused.
        let _ = self.delete(key, &options, who);
    }

    fn weigh(&self, key: &Key, object: &Value) -> Owners {
        let mut owners = Owners::default();
        for reference in meta::owners(object) {
            let uid = reference["uid"].as_str().unwrap_or_default().to_owned();
            let Some(place) = owner_key(key, reference) else {
                owners.solid += 1;
                continue;
            };
            match self.find(&place).filter(|owner| meta::text(owner, "uid") == uid) {
                None => owners.dangling.push(uid),
                Some(owner) if meta::is_deleting(owner) && meta::has_finalizer(owner, FOREGROUND) => {
                    owners.waiting.push(uid);
                }
                Some(_) => owners.solid += 1,
            }
        }
        owners
    }

    fn forget_owners(&mut self, key: &Key, uids: &[String], who: &Write<'_>) {
        let Some(object) = self.find(key) else { return };
        let is_kept = |owner: &&Value| !uids.iter().any(|uid| owner["uid"] == **uid);
        let kept: Vec<Value> = meta::owners(object).iter().filter(is_kept).cloned().collect();
        let patch = json!({ "metadata": { "ownerReferences": kept } });
        // A validator may refuse the object for reasons of its own; then it keeps its reference, as it
        // really would.
        let _ = self.merge(key, Part::Main, &patch, who);
    }

    fn drop_finalizer(&mut self, key: &Key, name: &str, who: &Write<'_>) {
        let Some(object) = self.find(key) else { return };
        let kept: Vec<&str> =
            meta::finalizers(object).into_iter().filter(|finalizer| *finalizer != name).collect();
        let patch = json!({ "metadata": { "finalizers": kept } });
        let _ = self.merge(key, Part::Main, &patch, who);
    }
}

/// Where the owner of a reference is stored; `None` for a kind that the table does not know.
fn owner_key(dependent: &Key, reference: &Value) -> Option<Key> {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let kind = Kind::from_type_meta(text("apiVersion"), text("kind"))?;
    Some(Key::new(kind, &dependent.namespace, text("name")))
}
