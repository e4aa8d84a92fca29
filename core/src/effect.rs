//! What a decision asks the adapter to do, and how that went.
//!
//! Answers: which operation, decided on what. Refuses to know: how it is carried out. Upholds law 2: every effect
//! carries what it was decided on, so that doing it late or twice changes nothing that has moved on.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service};
use serde::Serialize;
use serde_json::{Value, json};

use crate::ident::{EffectId, ResourceVersion, TaskId, Uid};

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// What it belongs to, the attempt, and what it does.
    pub id: EffectId,
    /// The task that asks for it; none for effects that follow from the object itself.
    pub task: Option<TaskId>,
    /// The operation.
    pub op: Op,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Op {
    /// Publish an event.
    Announce(Notice),
    /// Apply a child object, forced, for our field manager.
    Apply {
        /// The object.
        manifest: Box<Manifest>,
        /// What it was decided on.
        base: Base,
    },
    /// Merge-patch one field of a child; an apply of one field would drop all others that our manager owns.
    Patch {
        /// The object.
        target: ObjectRef,
        /// The field.
        field: Field,
        /// The object that was seen.
        uid: Uid,
        /// The version that was seen.
        version: ResourceVersion,
    },
    /// Delete an object.
    Delete {
        /// The object.
        target: ObjectRef,
        /// The object that was seen; another one of the same name is left alone.
        uid: Uid,
        /// The version that was seen, where what was seen of it matters.
        version: Option<ResourceVersion>,
    },
    /// Add or remove the finalizer of the node.
    Finalizer {
        /// All finalizers the node is to have.
        finalizers: Vec<String>,
        /// The version that was seen.
        version: ResourceVersion,
    },
    /// Change the workflow that has the node, or release it.
    Workflow(WorkflowWrite),
    /// Submit a task to the sidecar. It can't carry a guard, so the sidecar's records are read right before.
    Submit(Submit),
    /// Cancel a running task of the sidecar and remove its record; a task that is not there is fine.
    Withdraw(TaskId),
}

impl Op {
    /// Whether a repeat is harmless by itself or by the key it carries.
    pub fn replay(&self) -> Replay {
        match self {
            Self::Announce(_) => Replay::Free,
            Self::Apply { .. }
            | Self::Patch { .. }
            | Self::Delete { .. }
            | Self::Finalizer { .. }
            | Self::Workflow(_)
            | Self::Submit(_)
            | Self::Withdraw(_) => Replay::Keyed,
        }
    }

    /// One word for logs and metrics.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Announce(_) => "announce",
            Self::Apply { .. } => "apply",
            Self::Patch { .. } => "patch",
            Self::Delete { .. } => "delete",
            Self::Finalizer { .. } => "finalizer",
            Self::Workflow(_) => "workflow",
            Self::Submit(_) => "submit",
            Self::Withdraw(_) => "withdraw",
        }
    }
}

/// `Free` may run any number of times. `Keyed` carries a key or a precondition that makes a repeat harmless, and runs
/// only after the intent to run it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Any number of times.
    Free,
    /// Guarded.
    Keyed,
}

/// What an apply was decided on. 409 means look again, never "force".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Base {
    /// Nothing was there: create only. The body carries resourceVersion "1", which no stored object has. Absence can
    /// recur, so nothing created on it may run a pod by itself.
    Absent,
    /// The object was there; only ever one whose controller is this node.
    At {
        /// Its uid.
        uid: Uid,
        /// Its version.
        version: ResourceVersion,
    },
}

/// A child object to apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Manifest {
    /// The StatefulSet.
    StatefulSet(StatefulSet),
    /// A Service.
    Service(Service),
    /// A claim.
    DataPvc(PersistentVolumeClaim),
    /// The ConfigMap of the proxy.
    ConfigMap(ConfigMap),
    /// The bootstrap Job.
    Job(Job),
}

impl Manifest {
    /// Kind, namespace and name.
    pub fn target(&self) -> ObjectRef {
        let (kind, meta) = match self {
            Self::StatefulSet(o) => (Kind::StatefulSet, &o.metadata),
            Self::Service(o) => (Kind::Service, &o.metadata),
            Self::DataPvc(o) => (Kind::PersistentVolumeClaim, &o.metadata),
            Self::ConfigMap(o) => (Kind::ConfigMap, &o.metadata),
            Self::Job(o) => (Kind::Job, &o.metadata),
        };
        ObjectRef {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    /// The object as JSON, as it is sent.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }
}

/// Kinds of objects that effects name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// `v1` ConfigMap.
    ConfigMap,
    /// `batch/v1` Job.
    Job,
    /// `v1` PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// `v1` Pod.
    Pod,
    /// `v1` Service.
    Service,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// The one field a [`Op::Patch`] sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Field {
    /// `spec.replicas` of a StatefulSet.
    Replicas(i32),
    /// `spec.suspend` of a Job: false lets it go.
    Suspend(bool),
    /// Stopped (`spec.replicas` 0 or `spec.suspend` true), and the generation that asked for the pause in an
    /// annotation, so that a stalled operator's earlier resume is refused.
    Paused {
        /// Generation of the node that is paused.
        generation: i64,
    },
}

/// A write to a workflow, guarded by the version that was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkflowWrite {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The object that was seen.
    pub uid: Uid,
    /// The version that was seen.
    pub version: ResourceVersion,
    /// What changes.
    pub change: WorkflowChange,
}

impl WorkflowWrite {
    /// The request body, a merge patch.
    pub fn body(&self) -> Value {
        let mut meta = json!({"uid": self.uid, "resourceVersion": self.version});
        match &self.change {
            WorkflowChange::Status(status) => json!({"metadata": meta, "status": status}),
            WorkflowChange::Finalizers(finalizers) => {
                meta["finalizers"] = json!(finalizers);
                json!({"metadata": meta})
            }
        }
    }
}

/// What changes of a workflow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum WorkflowChange {
    /// Merge patch of its status.
    Status(Value),
    /// All finalizers it is to have.
    Finalizers(Vec<String>),
}

/// A task for the sidecar (`sidecar.md` 3.1).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Submit {
    /// Id.
    pub id: TaskId,
    /// Type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// Parameters; absent where the type has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
}

/// An event on the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Whether it is a warning.
    pub warning: bool,
    /// One CamelCase word of a fixed set.
    pub reason: &'static str,
    /// Text for people.
    pub message: String,
}

/// How an effect went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which effect.
    pub effect: EffectId,
    /// How.
    pub result: Result<(), Fault>,
}

/// How an effect went wrong; each carries a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It may have happened (no answer after sending). Never treated as failure.
    Ambiguous(String),
    /// The object has moved on since it was looked at: look again.
    Conflict(String),
    /// The same request can't succeed.
    Terminal(String),
    /// It did not happen; the same request may succeed later.
    Transient(String),
}

impl Fault {
    /// The text for people.
    pub fn text(&self) -> &str {
        match self {
            Self::Ambiguous(text) | Self::Conflict(text) | Self::Terminal(text) | Self::Transient(text) => {
                text
            }
        }
    }
}
