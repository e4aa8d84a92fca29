//! A place in an object: the value, its schema, its path, and what stood there before.

use serde_json::{Map, Value};

/// One place in an object.
pub(super) struct Site<'a> {
    pub(super) schema: &'a Value,
    pub(super) new: &'a Value,
    pub(super) old: Option<&'a Value>,
    pub(super) path: String,
}

impl<'a> Site<'a> {
    pub(super) fn root(schema: &'a Value, new: &'a Value, old: Option<&'a Value>) -> Self {
        Self { schema, new, old, path: String::new() }
    }

    /// A keyword of the schema.
    pub(super) fn keyword(&self, name: &str) -> Option<&'a Value> {
        self.schema.get(name)
    }

    pub(super) fn word(&self, name: &str) -> Option<&'a str> {
        self.keyword(name).and_then(Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.keyword(name).and_then(Value::as_u64)
    }

    pub(super) fn list(&self, name: &str) -> &'a [Value] {
        self.keyword(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.keyword(name) == Some(&Value::Bool(true))
    }

    pub(super) fn properties(&self) -> Option<&'a Map<String, Value>> {
        self.keyword("properties").and_then(Value::as_object)
    }

    /// Whether the same value stood here before.
    pub(super) fn is_unchanged(&self) -> bool {
        self.old == Some(self.new)
    }

    /// The path of a field of this object.
    pub(super) fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The places below this one that the schema knows.
    pub(super) fn children(&self) -> Vec<Self> {
        match self.new {
            Value::Object(fields) => {
                fields.iter().filter_map(|(name, value)| self.field(name, value)).collect()
            }
            Value::Array(items) => {
                let schema = self.keyword("items").unwrap_or(&NOTHING);
                let place = |(index, new)| {
                    let path = format!("{}[{index}]", self.path);
                    Self { schema, new, old: self.old_item(new), path }
                };
                items.iter().enumerate().map(place).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    fn field(&self, name: &str, new: &'a Value) -> Option<Self> {
        let of_property = self.properties().and_then(|properties| properties.get(name));
        let schema = of_property.or_else(|| self.keyword("additionalProperties"))?;
        let old = self.old.and_then(|old| old.get(name));
        Some(Self { schema, new, old, path: self.path_of(name) })
    }

    /// Only items of a keyed list can be told apart, so only they have a past.
    fn old_item(&self, new: &Value) -> Option<&'a Value> {
        let keys = self.list_keys();
        let old = self.old.and_then(Value::as_array)?;
        old.iter().find(|old| !keys.is_empty() && has_same(new, old, &keys))
    }

    /// Names of the fields that tell items apart; none unless the list is keyed.
    pub(super) fn list_keys(&self) -> Vec<&'a str> {
        self.list("x-kubernetes-list-map-keys").iter().filter_map(Value::as_str).collect()
    }
}

/// The schema of an item in a list that the schema does not expect: no field of it is known.
pub(super) static NOTHING: Value = Value::Null;

/// Whether two items agree in every key.
pub(super) fn has_same(one: &Value, other: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| one.get(*key) == other.get(*key))
}
