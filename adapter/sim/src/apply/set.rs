//! Sets of field paths, as managed fields hold them.
//!
//! Answers: which paths belong to a set, and the algebra over sets. Refuses to know: objects. Upholds:
//! `read` and `write` are inverse for every set that the real server writes (`fieldsV1`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Shapes;

/// One step of a path in the spelling of `fieldsV1`: `f:name`, `k:{"name":"a"}` or `v:"a"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step(String);

impl Step {
    pub(crate) fn field(name: &str) -> Self {
        Self(format!("f:{name}"))
    }

    /// The item of a keyed list. The keys come sorted.
    pub(crate) fn key(keys: &BTreeMap<&str, Value>) -> Self {
        let parts: Vec<String> = keys.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
        Self(format!("k:{{{}}}", parts.join(",")))
    }

    /// The item of a set.
    pub(crate) fn value(value: &Value) -> Self {
        Self(format!("v:{value}"))
    }

    /// The step as conflict messages show it.
    fn shown(&self) -> String {
        match self.0.split_at_checked(2) {
            Some(("f:", name)) => format!(".{name}"),
            Some(("k:", keys)) => format!("[{}]", shown_keys(keys)),
            Some(("v:", value)) => format!("[={value}]"),
            _ => self.0.clone(),
        }
    }
}

/// `{"containerPort":80,"protocol":"TCP"}` as `containerPort=80,protocol="TCP"`.
fn shown_keys(keys: &str) -> String {
    let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
    let parts: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
    parts.join(",")
}

/// A set of paths, as a tree: a node is a member or not, and has nodes below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    is_member: bool,
    below: BTreeMap<Step, Set>,
}

impl Set {
    /// Reads `fieldsV1`.
    pub(crate) fn read(fields: &Value) -> Self {
        let Some(map) = fields.as_object() else {
            return Self::default();
        };
        let mut set = Self::default();
        for (step, inner) in map {
            if step == "." {
                set.is_member = true;
                continue;
            }
            let mut below = Self::read(inner);
            below.is_member |= inner.as_object().is_some_and(Map::is_empty);
            set.below.insert(Step(step.clone()), below);
        }
        set
    }

    /// Writes `fieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        if self.is_member && !self.below.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, below) in &self.below {
            map.insert(step.0.clone(), below.write());
        }
        Value::Object(map)
    }

    /// A set of these paths of field names.
    pub(crate) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let steps: Vec<Step> = path.iter().map(|name| Step::field(name)).collect();
            set.insert(&steps);
        }
        set
    }

    pub(crate) fn insert(&mut self, path: &[Step]) {
        match path.split_first() {
            None => self.is_member = true,
            Some((step, rest)) => self.below.entry(step.clone()).or_default().insert(rest),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }

    /// Whether the path of this single step is a member.
    pub(crate) fn has(&self, step: &Step) -> bool {
        self.below.get(step).is_some_and(|below| below.is_member)
    }

    /// What lies below a step; `None` if nothing does.
    pub(crate) fn below(&self, step: &Step) -> Option<&Self> {
        self.below.get(step).filter(|below| !below.below.is_empty())
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.is_member |= other.is_member;
        for (step, below) in &other.below {
            let merged = result.below.get(step).map_or_else(|| below.clone(), |own| own.union(below));
            result.below.insert(step.clone(), merged);
        }
        result
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let both =
            |(step, below): (&Step, &Self)| Some((step.clone(), below.intersection(other.below.get(step)?)));
        let below = self.below.iter().filter_map(both).filter(|(_, below)| !below.is_empty()).collect();
        Self { is_member: self.is_member && other.is_member, below }
    }

    /// The members that are not members of `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let rest = |(step, below): (&Step, &Self)| {
            let left = other.below.get(step).map_or_else(|| below.clone(), |theirs| below.without(theirs));
            (step.clone(), left)
        };
        let below = self.below.iter().map(rest).filter(|(_, below)| !below.is_empty()).collect();
        Self { is_member: self.is_member && !other.is_member, below }
    }

    /// The members that are neither members of `other` nor below one.
    pub(crate) fn outside(&self, other: &Self) -> Self {
        let rest = |(step, below): (&Step, &Self)| match other.below.get(step) {
            None => Some((step.clone(), below.clone())),
            Some(theirs) if theirs.is_member => None,
            Some(theirs) => Some((step.clone(), below.outside(theirs))),
        };
        let below = self.below.iter().filter_map(rest).filter(|(_, below)| !below.is_empty()).collect();
        Self { is_member: self.is_member && !other.is_member, below }
    }

    /// Makes every named field that has something below it a member, so that removing all of it removes the
    /// field. Entries of free maps have no such claim to be there.
    pub(crate) fn with_named_parents(&self, shapes: Option<&Shapes>) -> Self {
        let named = |(step, below): (&Step, &Self)| {
            let name = step.0.strip_prefix("f:");
            let inner_shapes = match name {
                Some(name) => shapes.and_then(|shapes| shapes.field(name)),
                None => shapes.and_then(Shapes::item),
            };
            let mut inner = below.with_named_parents(inner_shapes);
            let is_named = name.is_some_and(|name| !shapes.is_some_and(|shapes| shapes.is_entry(name)));
            inner.is_member |= is_named && !below.below.is_empty();
            (step.clone(), inner)
        };
        Self { is_member: self.is_member, below: self.below.iter().map(named).collect() }
    }

    /// The members as conflict messages show them.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.show("", &mut all);
        all
    }

    /// Members first, then what is below them, as the real server lists them.
    fn show(&self, prefix: &str, all: &mut Vec<String>) {
        let path = |step: &Step| format!("{prefix}{}", step.shown());
        all.extend(self.below.iter().filter(|(_, below)| below.is_member).map(|(step, _)| path(step)));
        for (step, below) in &self.below {
            below.show(&path(step), all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_survives_writing_and_reading() {
        let fields = json!({
            "f:metadata": { "f:finalizers": { ".": {}, "v:\"a\"": {} } },
            "f:spec": { "f:containers": { "k:{\"name\":\"a\"}": { ".": {}, "f:name": {}, "f:image": {} } } },
        });
        assert_eq!(Set::read(&fields).write(), fields);
    }

    #[test]
    fn difference_takes_members_and_outside_takes_everything_below_too() {
        let all = Set::of_fields(&[&["a"], &["a", "b"], &["c", "d"]]);
        let some = Set::of_fields(&[&["a"], &["c"]]);
        assert_eq!(all.without(&some), Set::of_fields(&[&["a", "b"], &["c", "d"]]));
        assert_eq!(all.outside(&some), Set::default());
    }

    #[test]
    fn keys_are_shown_as_the_real_server_shows_them() {
        let keys = BTreeMap::from([("containerPort", json!(80)), ("protocol", json!("TCP"))]);
        let mut set = Set::default();
        set.insert(&[Step::field("ports"), Step::key(&keys)]);
        assert_eq!(set.shown(), [r#".ports[containerPort=80,protocol="TCP"]"#]);
    }
}
