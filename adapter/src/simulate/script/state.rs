//! What a script can wait for or expect.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use seinode_core::api::{PlanPhase, SeiNode, TaskStatus, mode};
use seinode_core::ident::NodeKey;
use seinode_sim::store::Kind;
use serde::Deserialize;
use serde_json::Value;

use super::step::{KindName, Span};
use crate::simulate::pretend::Pretend;

/// Parts of a state; what is not named may be anything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    /// The node; the first one if empty.
    #[serde(default)]
    pub(super) node: String,
    /// How long it may take to get there; for `until` alone.
    pub(super) within: Option<Span>,
    phase: Option<String>,
    /// `Status` or `Status/Reason` of condition Ready.
    ready: Option<String>,
    /// The same of other conditions.
    #[serde(default)]
    conditions: BTreeMap<String, String>,
    plan: Option<PlanState>,
    /// The first task of the active plan that is not complete as stored.
    task: Option<String>,
    /// Whether the node is gone.
    gone: Option<bool>,
    /// `status.currentImage`.
    image: Option<String>,
    /// Replicas of its StatefulSet.
    replicas: Option<i32>,
    /// How many pods it has had so far.
    pods: Option<usize>,
    /// How often a sidecar task ran so far.
    #[serde(default)]
    pub(super) runs: BTreeMap<String, usize>,
    /// What stands in configuration files of its volume, by `file/table/key`.
    #[serde(default)]
    files: BTreeMap<String, Value>,
    /// Objects that are there.
    #[serde(default)]
    exists: Vec<Named>,
    /// Objects that are not there.
    #[serde(default)]
    absent: Vec<Named>,
}

/// A kind and a name, in namespace `default` or as `namespace/name`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) kind: KindName,
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum PlanState {
    None,
    Active,
    Complete,
    Failed,
}

/// Namespace and name from `namespace/name`, or from a name in `default`.
pub(super) fn split(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("default", text))
}

/// The key of a node that a script names.
pub(super) fn key(text: &str) -> NodeKey {
    let (namespace, name) = split(text);
    NodeKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

impl Named {
    pub(super) fn node(node: &str) -> Self {
        Self { kind: KindName(Kind::SeiNode), name: node.to_owned() }
    }

    pub(super) fn is_there(&self, pretend: &Pretend) -> bool {
        let (namespace, name) = self.place();
        pretend.store.get(self.kind.0, namespace, name).is_ok()
    }

    /// Where it is stored.
    pub(super) fn place(&self) -> (&str, &str) {
        if self.kind.0.is_namespaced() { split(&self.name) } else { ("", &self.name) }
    }
}

impl State {
    /// What is not so; empty if all is.
    pub(super) fn differences(&self, pretend: &Pretend) -> Vec<String> {
        let key = key(&self.node);
        let node = pretend.node(&key);
        let mut out = Vec::new();
        let mut differ = |field: &str, wanted: String, found: String| {
            if wanted != found {
                out.push(format!("{field} is {found}, not {wanted}"));
            }
        };
        if let Some(gone) = self.gone {
            differ("gone", gone.to_string(), node.is_none().to_string());
        }
        let of_node = |look: fn(&SeiNode) -> String| node.as_ref().map_or("gone".to_owned(), look);
        if let Some(phase) = &self.phase {
            let found = of_node(|n| n.status.phase.as_ref().map_or("none".to_owned(), ToString::to_string));
            differ("phase", phase.clone(), found);
        }
        let ready = self.ready.as_ref().map(|ready| ("Ready", ready));
        let others = self.conditions.iter().map(|(name, wanted)| (name.as_str(), wanted));
        for (name, wanted) in ready.into_iter().chain(others) {
            let conditions = node.iter().flat_map(|n| &n.status.conditions);
            let found = conditions.into_iter().find(|c| c.condition_type.as_str() == name);
            let found = found.map_or_else(
                || "absent".to_owned(),
                |c| {
                    if wanted.contains('/') {
                        format!("{}/{}", c.status.as_str(), c.reason)
                    } else {
                        c.status.as_str().to_owned()
                    }
                },
            );
            differ(name, wanted.clone(), found);
        }
        let plan = node.as_ref().and_then(|n| n.status.plan.as_ref());
        if let Some(wanted) = self.plan {
            let found = plan.map_or("None".to_owned(), |p| p.phase.to_string());
            differ("plan", format!("{wanted:?}"), found);
        }
        if let Some(task) = &self.task {
            let active = plan.filter(|p| p.phase == PlanPhase::Active);
            let current = active.and_then(|p| p.tasks.iter().find(|t| t.status != TaskStatus::Complete));
            differ("task", task.clone(), current.map_or("none".to_owned(), |t| t.task_type.to_string()));
        }
        if let Some(image) = &self.image {
            let found = of_node(|n| n.status.current_image.clone().unwrap_or("none".to_owned()));
            differ("image", image.clone(), found);
        }
        if let Some(replicas) = self.replicas {
            let set = pretend.store.get(Kind::StatefulSet, &key.namespace, &key.name).ok();
            let set = set.and_then(|s| serde_json::from_value::<StatefulSet>(Value::clone(&s)).ok());
            let found = set.and_then(|s| s.spec?.replicas);
            differ("replicas", replicas.to_string(), found.map_or("none".to_owned(), |n| n.to_string()));
        }
        if let Some(pods) = self.pods {
            let all = pretend.kubelet.pods();
            let found = all.iter().filter(|p| p.namespace == key.namespace && p.node == key.name).count();
            differ("pods", pods.to_string(), found.to_string());
        }
        for (task, wanted) in &self.runs {
            let found = pretend.kubelet.director(&key.namespace, &key.name).runs(task);
            differ(&format!("runs of {task}"), wanted.to_string(), found.to_string());
        }
        let claim = node.as_ref().map(|n| mode::data_claim_name(n.name(), &n.spec));
        let volume = claim.and_then(|claim| pretend.kubelet.volume(&key.namespace, &claim));
        for (place, wanted) in &self.files {
            let (file, rest) = place.split_once('/').unwrap_or((place, ""));
            let found = volume.as_ref().and_then(|volume| {
                volume.with(|disk| disk.files.get(file)?.pointer(&format!("/{rest}")).cloned())
            });
            let found = found.map_or("absent".to_owned(), |found| found.to_string());
            differ(place, wanted.to_string(), found);
        }
        for (all, wanted) in [(&self.exists, true), (&self.absent, false)] {
            for named in all {
                let what = format!("{} {} there", named.kind.0, named.name);
                differ(&what, wanted.to_string(), named.is_there(pretend).to_string());
            }
        }
        out
    }
}
