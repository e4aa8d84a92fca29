//! Names, versions and derived ids.
//!
//! Answers: what identifies a node, a plan, a task, an effect. Refuses to know: chance. Every id is derived, so two
//! operators that look at the same version derive the same ids and golden files stay still (laws 9 and 13).

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::{SeiNode, TaskType};

/// Namespace of task ids (`seinode.md` 1, "Task-id UUIDv5 namespace"); plan ids use it too, under another prefix.
const ID_NAMESPACE: Uuid = Uuid::from_u128(0xb7e8_9c3a_4f12_4d8b_9a6e_1c2d_3e4f_5a6b);

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Uid of an object.
    Uid
}
text_id! {
    /// Version of an object, opaque but for equality.
    ResourceVersion
}
text_id! {
    /// Id of a task, in status and in the sidecar.
    TaskId
}
text_id! {
    /// Id of an effect: what it belongs to, the attempt, and what it does.
    EffectId
}

/// Namespace and name of a node: the key of the work queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl NodeKey {
    /// The key of a node.
    pub fn of(node: &SeiNode) -> Self {
        Self { namespace: node.namespace().to_owned(), name: node.name().to_owned() }
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Id of a plan of `kind`, built from the version of the node that was read. At most one write succeeds per version,
/// so ids do not repeat in the life of one etcd.
pub fn plan_id(node: &SeiNode, kind: &str) -> String {
    plan_id_of(&Uid::new(node.uid()), &ResourceVersion::new(node.resource_version()), kind)
}

/// Id of a plan of `kind`, built from the version of the object that was read.
pub(crate) fn plan_id_of(uid: &Uid, version: &ResourceVersion, kind: &str) -> String {
    let name = format!("plan/{uid}/{version}/{kind}");
    Uuid::new_v5(&ID_NAMESPACE, name.as_bytes()).to_string()
}

/// Id of the task of `task_type` at `index` of a plan (`seinode.md` 3, P6).
pub fn task_id(plan_id: &str, task_type: &TaskType, index: usize) -> String {
    let name = format!("{plan_id}/{task_type}/{index}");
    Uuid::new_v5(&ID_NAMESPACE, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_are_the_worked_examples_of_the_contract() {
        let rows = [
            (
                "11111111-2222-4333-8444-555555555555",
                TaskType::EnsureDataPvc,
                0,
                "859d8a92-8a4f-5ce6-a0b0-ace7c5793bc4",
            ),
            (
                "11111111-2222-4333-8444-555555555555",
                TaskType::ConfigureGenesis,
                4,
                "0728b42e-aa1b-51ac-aa2a-31e88ac6b3dc",
            ),
            (
                "00000000-0000-4000-8000-000000000000",
                TaskType::MarkReady,
                0,
                "bfc1314a-0b03-5197-8db4-1b7f37264be3",
            ),
            ("test-plan-retry", TaskType::ConfigureGenesis, 0, "52870ba7-7f29-5143-8fa9-c17316f83728"),
            (
                "11111111-2222-4333-8444-555555555555",
                TaskType::TeardownBootstrap,
                11,
                "6c768f52-199a-5d86-bbff-8faa726d0dc2",
            ),
        ];
        for (plan, task_type, index, id) in rows {
            assert_eq!(task_id(plan, &task_type, index), id);
        }
    }
}
