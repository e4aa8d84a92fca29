//! The revisions of a StatefulSet.
//!
//! Answers: which revision a template is, and which one the status starts from.
//! Refuses to know: pods.
//! Upholds: equal templates share a revision, also after others came in between.

use super::Cluster;
use super::object::text;
use super::pod::controller;
use crate::error::StoreError;
use crate::store::{DeleteOptions, Kind};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

impl Cluster {
    /// The name of the revision that the StatefulSet's template is, made if it is new.
    pub(super) fn update_revision(&self, set: &Value) -> Result<String, StoreError> {
        let data = json!({"spec": {"template": set["spec"]["template"]}});
        let revisions = self.revisions(set);
        let newest = revisions.iter().map(|revision| number(revision)).max().unwrap_or(0);
        if let Some(known) = revisions.iter().find(|revision| revision["data"] == data) {
            if number(known) < newest {
                let patch = json!({"revision": newest + 1});
                let (namespace, name) = (text(known, "namespace"), text(known, "name"));
                self.store.merge_patch(Kind::ControllerRevision, namespace, name, &patch)?;
            }
            return Ok(text(known, "name").to_owned());
        }
        let name = format!("{}-{}", text(set, "name"), hash(&data));
        let revision = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": text(set, "namespace"),
                "labels": set["spec"]["selector"]["matchLabels"],
                "ownerReferences": [{
                    "apiVersion": "apps/v1",
                    "kind": "StatefulSet",
                    "name": text(set, "name"),
                    "uid": text(set, "uid"),
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "data": data,
            "revision": newest + 1,
        });
        match self.store.create(Kind::ControllerRevision, revision) {
            Err(error) if error.code == 409 => self.take_over(set, &name)?,
            done => {
                done?;
            }
        }
        Ok(name)
    }

    /// Removes the oldest revisions that are not in use, beyond the limit.
    pub(super) fn forget_revisions(&self, set: &Value, in_use: &[&str]) -> Result<(), StoreError> {
        let limit = set["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(DEFAULT_LIMIT);
        let mut idle = self.revisions(set);
        idle.retain(|revision| !in_use.contains(&text(revision, "name")));
        idle.sort_by_key(|revision| number(revision));
        let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        for revision in idle.into_iter().take(surplus) {
            let (namespace, name) = (text(&revision, "namespace"), text(&revision, "name"));
            self.store.delete(Kind::ControllerRevision, namespace, name, &DeleteOptions::default())?;
        }
        Ok(())
    }

    /// A revision of an earlier StatefulSet of that name, not collected yet, is in the way: it goes, and the next
    /// look makes ours.
    fn take_over(&self, set: &Value, name: &str) -> Result<(), StoreError> {
        let namespace = text(set, "namespace");
        self.store.delete(Kind::ControllerRevision, namespace, name, &DeleteOptions::default())?;
        Err(StoreError::plain(409, "AlreadyExists", format!("revision {name} belongs to an earlier set")))
    }

    fn revisions(&self, set: &Value) -> Vec<Arc<Value>> {
        let mut revisions = self.store.list(Kind::ControllerRevision, Some(text(set, "namespace")));
        let prefix = format!("{}-", text(set, "name"));
        let is_own = |one: &Value| controller(one).is_some_and(|owner| owner["uid"] == text(set, "uid"));
        revisions.retain(|one| text(one, "name").starts_with(&prefix) && is_own(one));
        revisions
    }
}

fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or(0)
}

/// Ten hex digits; the real one is shorter and spelled otherwise.
fn hash(data: &Value) -> String {
    Sha256::digest(data.to_string().as_bytes()).iter().take(5).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The default of the API.
const DEFAULT_LIMIT: u64 = 10;
