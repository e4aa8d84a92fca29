//! Who owns which fields: `metadata.managedFields`.
//!
//! Answers: the owners an object names, and how they are written back. Refuses to know: how a write came
//! about. Upholds: one entry per manager, operation, subresource and (for updates) API version; entries
//! that own nothing disappear; the order is the real server's.

use serde_json::{Map, Value, json};

use super::set::Set;
use crate::store::{Kind, Part, metadata};

/// What a manager did to come by its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of the managed fields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Owner {
    pub(super) fn new(kind: Kind, part: Part, manager: &str, operation: Operation) -> Self {
        let subresource = match part {
            Part::Main => "",
            Part::Status => "status",
        };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: kind.api_version(),
            subresource: subresource.to_owned(),
            time: None,
            fields: Set::default(),
        }
    }

    /// Whether two entries are of the same manager. Appliers are the same whatever version they apply.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// The owner as conflict messages show it.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.manager);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        match self.operation {
            Operation::Apply => text,
            Operation::Update => format!("{text} using {}", self.api_version),
        }
    }

    fn read(entry: &Value) -> Self {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let operation = if entry["operation"] == "Apply" { Operation::Apply } else { Operation::Update };
        Self {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry["time"].as_str().map(str::to_owned),
            fields: Set::read(&entry["fieldsV1"]),
        }
    }

    fn write(&self) -> Value {
        let operation = match self.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut entry = Map::new();
        let mut put = |field: &str, value: Value| {
            entry.insert(field.to_owned(), value);
        };
        put("operation", json!(operation));
        put("apiVersion", json!(self.api_version));
        put("fieldsType", json!("FieldsV1"));
        put("fieldsV1", self.fields.write());
        if !self.manager.is_empty() {
            put("manager", json!(self.manager));
        }
        if !self.subresource.is_empty() {
            put("subresource", json!(self.subresource));
        }
        if let Some(time) = &self.time {
            put("time", json!(time));
        }
        Value::Object(entry)
    }
}

/// The owners that an object names.
pub(super) fn read(object: &Value) -> Vec<Owner> {
    let entries = metadata(object)["managedFields"].as_array();
    entries.into_iter().flatten().map(Owner::read).collect()
}

/// The managed fields of these owners.
pub(super) fn write(mut owners: Vec<Owner>) -> Value {
    owners.retain(|owner| !owner.fields.is_empty());
    // Times are all written in one format, so their texts sort as the times do.
    owners.sort_by(|a, b| {
        let key = |o: &Owner| {
            (o.operation, o.time.clone(), o.manager.clone(), o.api_version.clone(), o.subresource.clone())
        };
        key(a).cmp(&key(b))
    });
    owners.iter().map(Owner::write).collect()
}
