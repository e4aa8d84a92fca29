//! Which lists and maps of an object are merged by item, and which are replaced whole.
//!
//! Answers: how apply treats the value at a place. Refuses to know: values. Upholds: what is not listed
//! merges as the real server's default has it: maps by field, lists whole.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::table;
use crate::store::Kind;

/// How a value is merged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// A list of items that are told apart by these fields; a missing field counts as its default.
    Keyed(Vec<(String, Option<Value>)>),
    /// A list of scalars that are told apart by themselves.
    Set,
    /// A list or a map that is replaced whole.
    Whole,
}

/// The shapes of a value and of everything below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    shape: Option<Shape>,
    item: Option<Box<Shapes>>,
    fields: BTreeMap<String, Shapes>,
    /// Whether `fields` names all fields that the schema knows, so that any other is an entry of a free map.
    is_complete: bool,
}

/// What lies below an entry of a free map: nothing that a schema knows.
static FREE: Shapes = Shapes { shape: None, item: None, fields: BTreeMap::new(), is_complete: true };

static BUILT_IN: LazyLock<BTreeMap<Kind, Arc<Shapes>>> =
    LazyLock::new(|| Kind::all().map(|kind| (kind, Arc::new(assemble(kind)))).collect());

impl Shapes {
    /// The shapes of a built-in kind; of a custom kind only those of its metadata.
    pub(crate) fn built_in(kind: Kind) -> Arc<Self> {
        BUILT_IN.get(&kind).cloned().unwrap_or_default()
    }

    /// Reads the list and map types from the OpenAPI schema of a custom kind.
    pub(crate) fn from_schema(schema: &Value) -> Self {
        let mut shapes = read(schema);
        shapes.fields.remove("metadata");
        add_metadata(&mut shapes, "metadata");
        shapes
    }

    pub(super) fn shape(&self) -> Option<&Shape> {
        self.shape.as_ref()
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.fields.get(name).or_else(|| self.is_complete.then_some(&FREE))
    }

    pub(super) fn item(&self) -> Option<&Self> {
        self.item.as_deref().or_else(|| self.is_complete.then_some(&FREE))
    }

    /// Whether this is an entry of a free map, which is owned as a whole besides what is in it.
    pub(super) fn is_entry(&self, name: &str) -> bool {
        self.is_complete && !self.fields.contains_key(name)
    }

    /// Finds or makes the place of a path such as `containers[].env`.
    fn place(&mut self, path: &str) -> &mut Self {
        let mut place = self;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let name = part.trim_end_matches("[]");
            place = place.fields.entry(name.to_owned()).or_default();
            if name.len() != part.len() {
                place = place.item.get_or_insert_default();
            }
        }
        place
    }

    fn add(&mut self, prefix: &str, rows: &[(&str, &str)]) {
        for (path, shape) in rows {
            self.place(&format!("{prefix}.{path}")).shape = Some(parse(shape));
        }
    }
}

fn assemble(kind: Kind) -> Shapes {
    let mut shapes = Shapes::default();
    add_metadata(&mut shapes, "metadata");
    shapes.add("", table::of(kind));
    if let Some(template) = table::pod_spec_of(kind) {
        shapes.add(template, table::POD_SPEC);
    }
    if matches!(kind, Kind::Job | Kind::StatefulSet) {
        add_metadata(&mut shapes, "spec.template.metadata");
    }
    shapes
}

fn add_metadata(shapes: &mut Shapes, prefix: &str) {
    shapes.add(prefix, table::METADATA);
}

/// Reads `whole`, `set` or `by name protocol=TCP`.
fn parse(text: &str) -> Shape {
    match text {
        "set" => Shape::Set,
        "whole" => Shape::Whole,
        keyed => {
            let keys = keyed.split_whitespace().skip(1).map(|key| match key.split_once('=') {
                None => (key.to_owned(), None),
                Some((key, default)) => (key.to_owned(), Some(Value::from(default))),
            });
            Shape::Keyed(keys.collect())
        }
    }
}

fn read(schema: &Value) -> Shapes {
    let mut shapes = Shapes { shape: declared(schema), is_complete: true, ..Shapes::default() };
    if let Some(properties) = schema["properties"].as_object() {
        shapes.fields = properties.iter().map(|(name, inner)| (name.clone(), read(inner))).collect();
    }
    if schema["items"].is_object() {
        shapes.item = Some(Box::new(read(&schema["items"])));
    }
    shapes
}

fn declared(schema: &Value) -> Option<Shape> {
    let list = schema["x-kubernetes-list-type"].as_str();
    let map = schema["x-kubernetes-map-type"].as_str();
    match (list, map) {
        (Some("set"), _) => Some(Shape::Set),
        (Some("atomic"), _) | (_, Some("atomic")) => Some(Shape::Whole),
        (Some("map"), _) => {
            let names = schema["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str);
            let default = |name: &str| schema["items"]["properties"][name].get("default").cloned();
            Some(Shape::Keyed(names.map(|name| (name.to_owned(), default(name))).collect()))
        }
        _ => None,
    }
}
