//! Building blocks of a structural schema; each takes the description that `kubectl explain` shows.
//!
//! The first sentence of a description begins with an article: refusals for a missing value put it after
//! "set".

use serde_json::{Map, Value, json};

/// A schema in the making.
pub(super) struct Schema(Map<String, Value>);

impl Schema {
    fn typed(type_name: &str, description: &str) -> Self {
        Self::described(description).with("type", type_name)
    }

    fn described(description: &str) -> Self {
        Self(Map::new()).with("description", description)
    }

    pub(super) fn text(description: &str) -> Self {
        Self::typed("string", description)
    }

    pub(super) fn time(description: &str) -> Self {
        Self::text(description).with("format", "date-time")
    }

    pub(super) fn flag(description: &str) -> Self {
        Self::typed("boolean", description)
    }

    pub(super) fn integer(description: &str) -> Self {
        Self::typed("integer", description)
    }

    pub(super) fn int32(description: &str) -> Self {
        Self::integer(description).with("format", "int32")
    }

    pub(super) fn int64(description: &str) -> Self {
        Self::integer(description).with("format", "int64")
    }

    /// A quantity: a whole number or text such as `500m` and `2Gi`.
    pub(super) fn quantity() -> Self {
        Self(Map::new())
            .with("anyOf", json!([{"type": "integer"}, {"type": "string"}]))
            .with("x-kubernetes-int-or-string", true)
            .pattern(QUANTITY)
    }

    /// Any JSON at all, kept as it comes.
    pub(super) fn anything(description: &str) -> Self {
        Self::described(description).with("x-kubernetes-preserve-unknown-fields", true)
    }

    pub(super) fn object<const N: usize>(description: &str, properties: [(&str, Self); N]) -> Self {
        let properties: Map<_, _> =
            properties.into_iter().map(|(name, schema)| (name.to_owned(), schema.into_value())).collect();
        Self::marker(description).with("properties", properties)
    }

    /// An object without fields, whose presence is the message.
    pub(super) fn marker(description: &str) -> Self {
        Self::typed("object", description)
    }

    /// `metadata`: the API server knows its fields better than any schema.
    pub(super) fn bare_object() -> Self {
        Self(Map::new()).with("type", "object")
    }

    pub(super) fn map(description: &str, values: Self) -> Self {
        Self::typed("object", description).with("additionalProperties", values.into_value())
    }

    /// A map from text to text.
    pub(super) fn words(description: &str) -> Self {
        Self::map(description, Self(Map::new()).with("type", "string"))
    }

    pub(super) fn list(description: &str, items: Self) -> Self {
        Self::typed("array", description).with("items", items.into_value())
    }

    /// A list of texts.
    pub(super) fn lines(description: &str) -> Self {
        Self::list(description, Self(Map::new()).with("type", "string"))
    }

    pub(super) fn required<const N: usize>(self, names: [&str; N]) -> Self {
        self.with("required", json!(names.as_slice()))
    }

    pub(super) fn default(self, value: impl Into<Value>) -> Self {
        self.with("default", value)
    }

    pub(super) fn one_of<const N: usize>(self, values: [&str; N]) -> Self {
        self.with("enum", json!(values.as_slice()))
    }

    pub(super) fn pattern(self, pattern: &str) -> Self {
        self.with("pattern", pattern)
    }

    pub(super) fn at_least(self, minimum: i64) -> Self {
        self.with("minimum", minimum)
    }

    pub(super) fn min_length(self, characters: u64) -> Self {
        self.with("minLength", characters)
    }

    pub(super) fn max_length(self, characters: u64) -> Self {
        self.with("maxLength", characters)
    }

    pub(super) fn min_items(self, items: u64) -> Self {
        self.with("minItems", items)
    }

    pub(super) fn min_entries(self, entries: u64) -> Self {
        self.with("minProperties", entries)
    }

    /// A set, as lists can be.
    pub(super) fn without_duplicates(self) -> Self {
        self.with("x-kubernetes-list-type", "set")
    }

    /// A list whose items are told apart by one field.
    pub(super) fn keyed_by(self, key: &str) -> Self {
        self.with("x-kubernetes-list-type", "map").with("x-kubernetes-list-map-keys", json!([key]))
    }

    /// A CEL rule; the message is `problem; remedy`.
    pub(super) fn checked(self, rule: &str, message: &str) -> Self {
        self.with_rule(json!({"rule": rule, "message": message}))
    }

    /// A CEL rule that may let existing objects pass, told apart by `oldSelf.hasValue()`.
    pub(super) fn checked_on_create(self, rule: &str, field: &str, message: &str) -> Self {
        self.with_rule(json!({"rule": rule, "message": message, "fieldPath": field, "optionalOldSelf": true}))
    }

    fn with_rule(mut self, rule: Value) -> Self {
        match self.0.get_mut(RULES) {
            Some(Value::Array(rules)) => {
                rules.push(rule);
                self
            }
            _ => self.with(RULES, json!([rule])),
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Where a schema holds its CEL rules.
const RULES: &str = "x-kubernetes-validations";

/// Sign, digits, and a binary, decimal or exponent suffix, as the API server's own resource quantities.
const QUANTITY: &str = "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|\
                        ([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
