//! Walking one or two values along their shapes.
//!
//! Answers: the paths in a value, the differences of two, their merge, and a value with paths taken out.
//! Refuses to know: managers. Upholds: the rules of the real server's structured merge, the order of merged
//! lists included.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::items;
use super::set::{Set, Step};
use super::shape::{Shape, Shapes};

/// What apply sees in a value.
enum Form<'a> {
    Leaf,
    Fields(&'a Map<String, Value>),
    Items(&'a [Value]),
}

/// The paths on which two values differ.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

/// All paths in a value, as an applier of the value owns them.
pub(super) fn paths(value: &Value, shapes: Option<&Shapes>) -> Set {
    let mut set = Set::default();
    collect(value, shapes, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, shapes: Option<&Shapes>, path: &mut Vec<Step>, set: &mut Set) {
    match form(value, shapes) {
        Form::Leaf => set.insert(path),
        Form::Fields(map) => {
            for (name, inner) in map {
                path.push(Step::field(name));
                collect(inner, field_of(shapes, name), path, set);
                let is_entry = shapes.is_some_and(|shapes| shapes.is_entry(name));
                if is_entry || inner.is_null() || inner.as_object().is_some_and(Map::is_empty) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        Form::Items(items) => {
            for inner in items {
                path.push(step_of(inner, shapes));
                collect(inner, item_of(shapes), path, set);
                set.insert(path);
                path.pop();
            }
        }
    }
}

/// The paths that were added, removed and modified on the way from one value to another.
pub(super) fn compare(old: &Value, new: &Value, shapes: &Shapes) -> Comparison {
    let mut result = Comparison::default();
    differ(Some(old), Some(new), Some(shapes), &mut Vec::new(), &mut result);
    result
}

fn differ(
    old: Option<&Value>,
    new: Option<&Value>,
    shapes: Option<&Shapes>,
    path: &mut Vec<Step>,
    result: &mut Comparison,
) {
    let is_leaf = match (inner(old, shapes), inner(new, shapes)) {
        (Some(before), Some(after)) if !(before.is_empty() && after.is_empty()) => {
            for (step, (old, new)) in zip(&before, &after) {
                let below = child_of(shapes, &step);
                path.push(step.1);
                differ(old, new, below, path, result);
                path.pop();
            }
            false
        }
        _ => true,
    };
    match (old, new) {
        (None, _) => result.added.insert(path),
        (_, None) => result.removed.insert(path),
        (Some(old), Some(new)) if is_leaf && old != new => result.modified.insert(path),
        _ => {}
    }
}

/// A step with the field name it came from, if it is one.
struct Named<'a>(Option<&'a str>, Step);

/// The children of a value by their steps; `None` for a leaf. What is absent or null has no children.
fn inner<'a>(
    value: Option<&'a Value>,
    shapes: Option<&Shapes>,
) -> Option<Vec<(Option<&'a str>, Step, &'a Value)>> {
    // Null takes the form of whatever stands on the other side.
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Some(Vec::new());
    };
    match form(value, shapes) {
        Form::Leaf => None,
        Form::Fields(map) => {
            Some(map.iter().map(|(name, value)| (Some(name.as_str()), Step::field(name), value)).collect())
        }
        Form::Items(items) => Some(items.iter().map(|item| (None, step_of(item, shapes), item)).collect()),
    }
}

/// Both children of every step that either side has.
#[expect(clippy::type_complexity, reason = "a list of pairs that lives for one loop")]
fn zip<'a>(
    old: &[(Option<&'a str>, Step, &'a Value)],
    new: &[(Option<&'a str>, Step, &'a Value)],
) -> Vec<(Named<'a>, (Option<&'a Value>, Option<&'a Value>))> {
    let mut all: BTreeMap<&Step, (Option<&'a str>, Option<&'a Value>, Option<&'a Value>)> = BTreeMap::new();
    for (name, step, value) in old {
        all.entry(step).or_insert((*name, None, None)).1.get_or_insert(value);
    }
    for (name, step, value) in new {
        all.entry(step).or_insert((*name, None, None)).2.get_or_insert(value);
    }
    all.into_iter().map(|(step, (name, old, new))| (Named(name, step.clone()), (old, new))).collect()
}

fn child_of<'a>(shapes: Option<&'a Shapes>, step: &Named<'_>) -> Option<&'a Shapes> {
    match step.0 {
        Some(name) => field_of(shapes, name),
        None => item_of(shapes),
    }
}

/// The live value with the applied one merged over it; the applied side wins where both are leaves.
pub(super) fn merge(live: Option<&Value>, applied: Option<&Value>, shapes: Option<&Shapes>) -> Option<Value> {
    let (Some(live), Some(applied)) = (live, applied) else {
        return applied.or(live).cloned();
    };
    match (form(live, shapes), form(applied, shapes)) {
        (Form::Fields(live), Form::Fields(applied)) if !(live.is_empty() && applied.is_empty()) => {
            let mut merged = Map::new();
            for name in live.keys().chain(applied.keys()) {
                if !merged.contains_key(name) {
                    let value = merge(live.get(name), applied.get(name), field_of(shapes, name));
                    merged.extend(value.map(|value| (name.clone(), value)));
                }
            }
            Some(Value::Object(merged))
        }
        (Form::Items(live), Form::Items(applied)) if !(live.is_empty() && applied.is_empty()) => {
            Some(Value::Array(items::merge(live, applied, shapes)))
        }
        _ => Some(applied.clone()),
    }
}

/// The value without the members of the set; `None` if nothing is left of it.
pub(super) fn remove(value: &Value, set: &Set, shapes: Option<&Shapes>) -> Option<Value> {
    match form(value, shapes) {
        Form::Leaf if value.is_object() || value.is_array() => None,
        Form::Leaf => Some(value.clone()),
        Form::Fields(map) => {
            let mut kept = Map::new();
            for (name, inner) in map {
                let step = Step::field(name);
                if set.has(&step) {
                    continue;
                }
                let value = match set.below(&step) {
                    Some(below) => remove(inner, below, field_of(shapes, name)).unwrap_or(Value::Null),
                    None => inner.clone(),
                };
                kept.insert(name.clone(), value);
            }
            if kept.is_empty() { None } else { Some(Value::Object(kept)) }
        }
        Form::Items(items) => {
            let mut kept = Vec::new();
            for inner in items {
                let step = step_of(inner, shapes);
                if set.has(&step) {
                    continue;
                }
                kept.push(match set.below(&step) {
                    Some(below) => remove(inner, below, item_of(shapes)).unwrap_or(Value::Null),
                    None => inner.clone(),
                });
            }
            if kept.is_empty() { None } else { Some(Value::Array(kept)) }
        }
    }
}

fn form<'a>(value: &'a Value, shapes: Option<&Shapes>) -> Form<'a> {
    let shape = shapes.and_then(Shapes::shape);
    match (value, shape) {
        (_, Some(Shape::Whole)) => Form::Leaf,
        (Value::Object(map), _) => Form::Fields(map),
        (Value::Array(items), Some(Shape::Set | Shape::Keyed(_))) => Form::Items(items),
        _ => Form::Leaf,
    }
}

fn field_of<'a>(shapes: Option<&'a Shapes>, name: &str) -> Option<&'a Shapes> {
    shapes.and_then(|shapes| shapes.field(name))
}

pub(super) fn item_of(shapes: Option<&Shapes>) -> Option<&Shapes> {
    shapes.and_then(Shapes::item)
}

/// What an item of a list is told apart by.
pub(super) fn step_of(item: &Value, shapes: Option<&Shapes>) -> Step {
    let Some(Shape::Keyed(keys)) = shapes.and_then(Shapes::shape) else {
        return Step::value(item);
    };
    let found = keys.iter().filter_map(|(name, default)| {
        let value = item.get(name).or(default.as_ref())?;
        Some((name.as_str(), value.clone()))
    });
    Step::key(&found.collect())
}
