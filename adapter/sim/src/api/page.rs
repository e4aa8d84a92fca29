//! Pages of a list.
//!
//! Answers: which objects a page shows, and where the next one goes on. Refuses to know: what objects look like on the wire.
//! Upholds: all pages of a list show the objects as they were when the first was read; where the changes since are no longer
//! kept, the next page is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Request;
use crate::error::StoreError;
use crate::store::{Key, Selection, Slice, State};

/// A page.
pub(super) struct Page {
    /// The version that all pages are of.
    pub(super) version: u64,
    /// What it shows.
    pub(super) objects: Vec<Arc<Value>>,
    /// What comes after, if anything does.
    pub(super) rest: Option<Rest>,
}

/// What a page leaves to the next.
pub(super) struct Rest {
    /// What the client has to send with the next request.
    pub(super) token: String,
    /// How many objects.
    pub(super) count: usize,
}

/// The page that a list asks for: all of it, unless it has a limit.
pub(super) fn read(
    state: &State,
    request: &Request,
    namespace: Option<&str>,
    selection: &Selection,
) -> Result<Page, StoreError> {
    let token = request.query.text("continue");
    let (mut version, mut after) = (state.version(), None);
    if !token.is_empty() {
        if !request.query.text("resourceVersion").is_empty() {
            let message = "specifying resource version is not allowed when using continue";
            return Err(StoreError::bad_request(message.to_owned()));
        }
        let (then, last) = parse(request, token)?;
        (version, after) = (then, Some(last));
    }
    let found = state.of_kind_after(request.kind, namespace, after.as_ref());
    let mut objects: BTreeMap<Key, Arc<Value>> = found.map(|(k, o)| (k.clone(), Arc::clone(o))).collect();
    if let Some(after) = &after {
        roll_back(state, |key| key.is_of(request.kind, namespace) && key > after, version, &mut objects)?;
    }
    objects.retain(|_, object| selection.includes(object));
    let limit = request.query.number::<usize>("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let count = objects.len().saturating_sub(limit);
    let last = if count > 0 { objects.keys().nth(limit - 1) } else { None };
    let rest = last.map(|last| Rest { token: format!("{version}/{}/{}", last.namespace, last.name), count });
    Ok(Page { version, objects: objects.into_values().take(limit).collect(), rest })
}

fn parse(request: &Request, token: &str) -> Result<(u64, Key), StoreError> {
    let mut parts = token.splitn(3, '/');
    let mut next = || parts.next().unwrap_or_default();
    let (version, namespace, name) = (next().parse(), next(), next());
    let version = version.ok().filter(|_| !name.is_empty());
    let version = version.ok_or_else(|| StoreError::bad_request("continue key is not valid".to_owned()))?;
    Ok((version, Key::new(request.kind, namespace, name)))
}

/// The objects as they were at a version, as far as they are listed.
fn roll_back(
    state: &State,
    is_listed: impl Fn(&Key) -> bool,
    version: u64,
    objects: &mut BTreeMap<Key, Arc<Value>>,
) -> Result<(), StoreError> {
    let changes = match state.history.after(version) {
        Slice::Changes(changes) => changes,
        Slice::Gone(oldest) => return Err(StoreError::gone(version, oldest)),
    };
    for change in changes.into_iter().rev().filter(|change| is_listed(&change.key)) {
        match change.before {
            Some(before) => objects.insert(change.key, before),
            None => objects.remove(&change.key),
        };
    }
    Ok(())
}
