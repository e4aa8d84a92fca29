//! The resources that the pretend API server knows, as one table.
//!
//! Answers: what a kind is called in each of its spellings, and the few traits of it that change how writes
//! work. Refuses to know: what is inside the objects. Upholds: one row per kind; nothing else lists kinds.

use std::fmt;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is named after the kind it stands for")]
pub enum Kind {
    ConfigMap,
    ControllerRevision,
    CoreEvent,
    Event,
    Job,
    Lease,
    Namespace,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    Secret,
    SeiNetwork,
    SeiNode,
    SeiNodeTask,
    SeiNodeTaskWorkflow,
    Service,
    ServiceAccount,
    StatefulSet,
}

/// One row of the table.
struct Row {
    kind: Kind,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    name: &'static str,
    traits: u8,
}

const NAMESPACED: u8 = 1;
/// Has a `status` subresource.
const STATUS: u8 = 2;
/// Counts changes of its spec in `metadata.generation`.
const GENERATION: u8 = 4;
/// Is defined by a CustomResourceDefinition.
const CUSTOM: u8 = 8;
/// May be replaced without naming a version.
const UNCONDITIONAL: u8 = 16;
/// A deletion is answered with the object instead of a `Status`.
const ANSWERS_DELETED: u8 = 32;
/// Takes no part in garbage collection by default policy of its own: dependents of a Job are orphaned.
const ORPHANS: u8 = 64;

/// A replacement of what is not there creates it.
const CREATED_BY_UPDATE: u8 = 128;

const PLAIN: u8 = NAMESPACED | UNCONDITIONAL;
const FULL: u8 = PLAIN | STATUS | GENERATION;
const SEI: u8 = NAMESPACED | STATUS | GENERATION | CUSTOM;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    row(Kind::ConfigMap,             "",                    "v1",       "configmaps",             "ConfigMap",             PLAIN),
    row(Kind::ControllerRevision,    "apps",                "v1",       "controllerrevisions",    "ControllerRevision",    PLAIN),
    row(Kind::CoreEvent,             "",                    "v1",       "events",                 "Event",                 PLAIN | CREATED_BY_UPDATE),
    row(Kind::Event,                 "events.k8s.io",       "v1",       "events",                 "Event",                 PLAIN | CREATED_BY_UPDATE),
    row(Kind::Job,                   "batch",               "v1",       "jobs",                   "Job",                   FULL | ORPHANS),
    row(Kind::Lease,                 "coordination.k8s.io", "v1",       "leases",                 "Lease",                 NAMESPACED | CREATED_BY_UPDATE),
    row(Kind::Namespace,             "",                    "v1",       "namespaces",             "Namespace",             UNCONDITIONAL | STATUS | ANSWERS_DELETED),
    row(Kind::Node,                  "",                    "v1",       "nodes",                  "Node",                  UNCONDITIONAL | STATUS),
    row(Kind::PersistentVolume,      "",                    "v1",       "persistentvolumes",      "PersistentVolume",      UNCONDITIONAL | STATUS | ANSWERS_DELETED),
    row(Kind::PersistentVolumeClaim, "",                    "v1",       "persistentvolumeclaims", "PersistentVolumeClaim", PLAIN | STATUS | ANSWERS_DELETED),
    row(Kind::Pod,                   "",                    "v1",       "pods",                   "Pod",                   FULL | ANSWERS_DELETED),
    row(Kind::Secret,                "",                    "v1",       "secrets",                "Secret",                PLAIN),
    row(Kind::SeiNetwork,            "sei.io",              "v1alpha1", "seinetworks",            "SeiNetwork",            SEI),
    row(Kind::SeiNode,               "sei.io",              "v1alpha1", "seinodes",               "SeiNode",               SEI),
    row(Kind::SeiNodeTask,           "sei.io",              "v1alpha1", "seinodetasks",           "SeiNodeTask",           SEI),
    row(Kind::SeiNodeTaskWorkflow,   "sei.io",              "v1alpha1", "seinodetaskworkflows",   "SeiNodeTaskWorkflow",   SEI),
    row(Kind::Service,               "",                    "v1",       "services",               "Service",               PLAIN | STATUS | ANSWERS_DELETED | CREATED_BY_UPDATE),
    row(Kind::ServiceAccount,        "",                    "v1",       "serviceaccounts",        "ServiceAccount",        PLAIN | ANSWERS_DELETED),
    row(Kind::StatefulSet,           "apps",                "v1",       "statefulsets",           "StatefulSet",           FULL),
];

const fn row(
    kind: Kind,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    name: &'static str,
    traits: u8,
) -> Row {
    Row { kind, group, version, plural, name, traits }
}

impl Kind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }

    /// The kind behind a path segment such as `statefulsets` of `apps/v1`; the core group is the empty
    /// string.
    pub fn from_plural(group: &str, version: &str, plural: &str) -> Option<Self> {
        let row = TABLE.iter().find(|r| r.group == group && r.version == version && r.plural == plural)?;
        Some(row.kind)
    }

    /// The kind behind the `apiVersion` and `kind` of an object or of an owner reference.
    pub fn from_type_meta(api_version: &str, name: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let row = TABLE.iter().find(|r| r.group == group && r.version == version && r.name == name)?;
        Some(row.kind)
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.row().group
    }

    /// The version within the group.
    pub fn version(self) -> &'static str {
        self.row().version
    }

    /// The plural as it stands in paths.
    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    /// The name as it stands in `kind`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The value of `apiVersion`.
    pub fn api_version(self) -> String {
        let Row { group, version, .. } = self.row();
        if group.is_empty() { (*version).to_owned() } else { format!("{group}/{version}") }
    }

    /// `statefulsets.apps`: how messages call a resource.
    pub fn group_resource(self) -> String {
        dotted(self.plural(), self.group())
    }

    /// `StatefulSet.apps`: how messages call a kind.
    pub fn group_kind(self) -> String {
        dotted(self.name(), self.group())
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self.is(NAMESPACED)
    }

    /// Whether status is written through a subresource of its own.
    pub fn has_status(self) -> bool {
        self.is(STATUS)
    }

    /// Whether `metadata.generation` is kept.
    pub fn has_generation(self) -> bool {
        self.is(GENERATION)
    }

    /// Whether a CustomResourceDefinition defines it.
    pub fn is_custom(self) -> bool {
        self.is(CUSTOM)
    }

    /// Whether a replacement may leave out the version it is based on.
    pub fn allows_unconditional_update(self) -> bool {
        self.is(UNCONDITIONAL)
    }

    /// Whether a deletion answers the object rather than a `Status`.
    pub fn answers_deleted_object(self) -> bool {
        self.is(ANSWERS_DELETED)
    }

    /// Whether a deletion without a policy leaves dependents alone.
    pub fn orphans_by_default(self) -> bool {
        self.is(ORPHANS)
    }

    /// Whether a replacement of what is not there creates it.
    pub fn is_created_by_update(self) -> bool {
        self.is(CREATED_BY_UPDATE)
    }

    fn is(self, wanted: u8) -> bool {
        self.row().traits & wanted != 0
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn dotted(head: &str, group: &str) -> String {
    if group.is_empty() { head.to_owned() } else { format!("{head}.{group}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
        }
    }
}
