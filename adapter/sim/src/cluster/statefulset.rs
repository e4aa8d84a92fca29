//! The StatefulSet controller for ordered pods with update strategy OnDelete.
//!
//! Answers: which pods there should be, and the status.
//! Refuses to know: rolling updates and claim templates.
//! Upholds: one change to pods per look; new pods are of the update revision; `currentRevision` never moves once it
//! is set.

use super::Cluster;
use super::object::{count, is_deleting, owners, text};
use super::pod::{controller, from_template, has_ended, is_ready, is_terminating, phase};
use crate::error::StoreError;
use crate::store::{DeleteOptions, Key, Kind};
use serde_json::{Value, json};
use std::sync::Arc;

impl Cluster {
    pub(super) fn look_after_statefulset(&mut self, key: &Key) -> Result<(), StoreError> {
        let Some(set) = self.find(key) else { return Ok(()) };
        if is_deleting(&set) {
            return Ok(());
        }
        let update = match self.update_revision(&set) {
            Err(error) if error.code == 409 => {
                self.work.insert(key.clone());
                return Ok(());
            }
            revision => revision?,
        };
        let current = set["status"]["currentRevision"].as_str().filter(|name| !name.is_empty());
        let current = current.unwrap_or(&update).to_owned();
        let pods = self.pods_of(&set)?;
        let done = self.move_pods(&set, &pods, &update);
        self.patch_status(key, &status(&set, &self.pods_of(&set)?, &current, &update))?;
        let mut in_use = vec![current.as_str(), update.as_str()];
        in_use.extend(pods.iter().map(|(_, pod)| revision(pod)));
        self.forget_revisions(&set, &in_use)?;
        done
    }

    /// Makes or removes one pod, the first that needs it.
    fn move_pods(&self, set: &Value, pods: &[(u64, Arc<Value>)], update: &str) -> Result<(), StoreError> {
        let replicas = set["spec"]["replicas"].as_u64().unwrap_or(1);
        for ordinal in 0..replicas {
            let Some((_, pod)) = pods.iter().find(|(number, _)| *number == ordinal) else {
                return self.store.create(Kind::Pod, new_pod(set, ordinal, update)).map(|_| ());
            };
            if has_ended(pod) && !is_terminating(pod) {
                return self.delete_pod(pod);
            }
            if is_terminating(pod) || !is_ready(pod) {
                return Ok(());
            }
        }
        let condemned = pods.iter().rev().find(|(ordinal, _)| *ordinal >= replicas);
        condemned.filter(|(_, pod)| !is_terminating(pod)).map_or(Ok(()), |(_, pod)| self.delete_pod(pod))
    }

    fn delete_pod(&self, pod: &Value) -> Result<(), StoreError> {
        let options = DeleteOptions { uid: Some(text(pod, "uid").to_owned()), ..DeleteOptions::default() };
        self.store.delete(Kind::Pod, text(pod, "namespace"), text(pod, "name"), &options).map(|_| ())
    }

    /// Pods by ordinal. Pods that fit and that nobody controls are adopted.
    fn pods_of(&self, set: &Value) -> Result<Vec<(u64, Arc<Value>)>, StoreError> {
        let (namespace, name) = (text(set, "namespace"), text(set, "name"));
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        let expected = count(&set["spec"]["replicas"]).max(count(&set["status"]["replicas"]));
        let mut found = Vec::new();
        // Ordinals have no gaps beyond what is expected: pods are made in order.
        for ordinal in 0.. {
            let Ok(pod) = self.store.get(Kind::Pod, namespace, &format!("{name}-{ordinal}")) else {
                if ordinal >= expected {
                    break;
                }
                continue;
            };
            match controller(&pod) {
                Some(owner) if owner["uid"] == text(set, "uid") => found.push((ordinal, pod)),
                None if is_selected(set, &pod) && !is_terminating(&pod) => {
                    found.push((ordinal, self.adopt(set, &pod)?));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn adopt(&self, set: &Value, pod: &Value) -> Result<Arc<Value>, StoreError> {
        let mut references = owners(pod).to_vec();
        let template = from_template(Kind::StatefulSet, set, &json!({}), "");
        references.extend(owners(&template).iter().cloned());
        let patch = json!({"metadata": {"uid": text(pod, "uid"), "ownerReferences": references}});
        self.store.merge_patch(Kind::Pod, text(pod, "namespace"), text(pod, "name"), &patch)
    }
}

fn new_pod(set: &Value, ordinal: u64, update: &str) -> Value {
    let name = format!("{}-{ordinal}", text(set, "name"));
    let mut pod = from_template(Kind::StatefulSet, set, &set["spec"]["template"], &name);
    let labels = &mut pod["metadata"]["labels"];
    labels["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
    labels["controller-revision-hash"] = json!(update);
    labels["statefulset.kubernetes.io/pod-name"] = json!(name);
    pod["spec"]["hostname"] = json!(name);
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    pod
}

fn status(set: &Value, pods: &[(u64, Arc<Value>)], current: &str, update: &str) -> Value {
    let created = || pods.iter().filter(|(_, pod)| !phase(pod).is_empty()).map(|(_, pod)| pod);
    let at = |name: &str| created().filter(|pod| !is_terminating(pod) && revision(pod) == name).count();
    let ready = created().filter(|pod| is_ready(pod)).count();
    json!({
        "observedGeneration": set["metadata"]["generation"],
        "replicas": created().count(),
        "readyReplicas": count(ready),
        "availableReplicas": ready,
        "currentReplicas": count(at(current)),
        "updatedReplicas": count(at(update)),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": 0,
    })
}

fn revision(pod: &Value) -> &str {
    pod["metadata"]["labels"]["controller-revision-hash"].as_str().unwrap_or_default()
}

fn is_selected(set: &Value, pod: &Value) -> bool {
    let wanted = set["spec"]["selector"]["matchLabels"].as_object();
    wanted.is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
    })
}
