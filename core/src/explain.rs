//! What is waited for, as data: it reads to people, names a condition reason and is a metric label.

use std::fmt;

use crate::api::TaskType;
use crate::effect::Kind;
use crate::turn;
use crate::world::{Blind, Topic};

/// One thing that is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum WaitingOn {
    /// The spec is not valid.
    SpecInvalid(String),
    /// A child object can't be rendered.
    RenderFailed(String),
    /// The user has paused the node; it is stopped.
    Paused,
    /// The user has paused the node; its pod is not gone yet.
    Stopping(String),
    /// State-sync witnesses are not known.
    Witnesses(String),
    /// The node has failed.
    NodeFailed(String),
    /// The stored plan can't be read.
    PlanUnreadable(String),
    /// Something could not be read.
    Blind(Topic, Blind),
    /// An object of the wanted name is controlled by nobody or by somebody else.
    ForeignObject(Kind, String),
    /// An object of the wanted name still belongs to an earlier node of the same name.
    PreviousOwner(Kind, String),
    /// An object of ours is being deleted.
    Terminating(Kind, String),
    /// The API server refused a write, or did not answer.
    WriteFailed(TaskType, String),
    /// A start or a stop was refused; it is tried again.
    NotScaled(String),
    /// The claim is not fit yet.
    Claim(String),
    /// A Secret is not fit yet.
    Secret(String),
    /// The pod does not run its sidecar yet.
    Pod(String),
    /// The sidecar does not answer, or refuses.
    Sidecar(String),
    /// The sidecar answers that it will not take a task: its database can't be written, or the task is unknown to it.
    Refused(TaskType, String),
    /// The sidecar is carrying out a task.
    TaskRunning(TaskType),
    /// A failed task waits for its next attempt.
    Retry(TaskType, i64, String),
    /// A write has just been made; its effect is awaited.
    Applied(TaskType),
    /// The pod is not Ready.
    PodNotReady(String),
    /// Removal of what the node owns.
    Deletion(String),
    /// A rollout of a new template.
    Rollout(String),
    /// A bootstrap.
    Bootstrap(String),
    /// A plan that can't go on is brought to rest before another one replaces it.
    Replacing(String),
    /// A workflow occupies the node.
    Workflow(String),
    /// Another node has, or wants, a key or the claim.
    Rival(String),
    /// The spec asks for something that a live node can't do.
    Held(String),
    /// A failure is not tried again before its back-off is over.
    BackingOff(String),
    /// Other nodes are updated first.
    Turn(String),
    /// The name is too long for a pod to be made.
    NameTooLong(String),
}

/// Reason of a task that the sidecar refuses.
pub(crate) const REFUSED: &str = "SidecarRefused";
/// How its text begins: a node that serves stays Ready, and only the message tells.
pub(crate) const REFUSAL: &str = "the sidecar does not take";

impl WaitingOn {
    /// The reason of condition `Ready`; CamelCase, of a fixed set, listed in `docs/conditions.md`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SpecInvalid(_) => "InvalidSpec",
            Self::RenderFailed(_) => "RenderFailed",
            Self::Paused => "Paused",
            Self::Stopping(_) => "Stopping",
            Self::Witnesses(_) => "WaitingForWitnesses",
            Self::NodeFailed(_) => "NodeFailed",
            Self::PlanUnreadable(_) => "PlanUnreadable",
            Self::Blind(..) => "NotObserved",
            Self::ForeignObject(..) => "ForeignObject",
            Self::PreviousOwner(..) => "PreviousOwner",
            Self::Terminating(..) | Self::Deletion(_) => "Terminating",
            Self::WriteFailed(..) | Self::NotScaled(_) => "WriteFailed",
            Self::Claim(_) => "ClaimNotReady",
            Self::Secret(_) => "SecretNotReady",
            Self::Pod(_) => "WaitingForPod",
            Self::Sidecar(_) => "SidecarUnreachable",
            Self::Refused(..) => REFUSED,
            Self::TaskRunning(_) => "TaskRunning",
            Self::Retry(..) => "RetryScheduled",
            Self::Applied(_) => "Applied",
            Self::PodNotReady(_) => "PodNotReady",
            Self::Rollout(_) => "RollingOut",
            Self::Bootstrap(_) => "Bootstrapping",
            Self::Replacing(_) => "ReplacingPlan",
            Self::Workflow(_) => "WorkflowOccupied",
            Self::Rival(_) => "KeyConflict",
            Self::Held(_) => "SpecHeld",
            Self::BackingOff(_) => "BackingOff",
            Self::Turn(_) => turn::WAITING,
            Self::NameTooLong(_) => "NameTooLong",
        }
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecInvalid(text)
            | Self::RenderFailed(text)
            | Self::Stopping(text)
            | Self::Witnesses(text)
            | Self::NodeFailed(text)
            | Self::PlanUnreadable(text)
            | Self::Claim(text)
            | Self::Secret(text)
            | Self::Pod(text)
            | Self::Sidecar(text)
            | Self::PodNotReady(text)
            | Self::Deletion(text)
            | Self::Rollout(text)
            | Self::Bootstrap(text)
            | Self::Replacing(text)
            | Self::Workflow(text)
            | Self::Rival(text)
            | Self::Held(text)
            | Self::BackingOff(text)
            | Self::NotScaled(text)
            | Self::Turn(text)
            | Self::NameTooLong(text) => f.write_str(text),
            Self::Paused => f.write_str("paused by spec.paused; set it to false to go on"),
            Self::Blind(topic, blind) => write!(f, "can't tell about {topic:?}: {blind}"),
            Self::ForeignObject(kind, name) => write!(
                f,
                "{kind:?} {name} exists and is not controlled by this node; it is left alone: rename or remove it"
            ),
            Self::PreviousOwner(kind, name) => {
                write!(
                    f,
                    "{kind:?} {name} belongs to an earlier node of this name and is about to be collected"
                )
            }
            Self::Terminating(kind, name) => write!(f, "{kind:?} {name} is being deleted"),
            Self::Refused(task, text) => write!(f, "{REFUSAL} {task}: {text}"),
            Self::WriteFailed(task, text) => write!(f, "{task}: {text}"),
            Self::TaskRunning(task) => write!(f, "the sidecar is carrying out {task}"),
            Self::Retry(task, attempt, error) => {
                write!(f, "{task} failed and waits for retry {attempt}: {error}")
            }
            Self::Applied(task) => write!(f, "{task} was applied"),
        }
    }
}
