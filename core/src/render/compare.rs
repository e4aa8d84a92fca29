//! Structural comparison of rendered cases: which differences count.
//!
//! Answers: how two objects, plans or statuses differ, by the rules of the recorded cases (`rendered`
//! fixtures): empty members don't count, but an empty `emptyDir` or `namespaceSelector` does; order counts in
//! lists only; quantities are equal by value; a shell script is equal to any other. Refuses to know: the code
//! under test, quantities included.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value, json};

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, with dots and list places.
    pub path: String,
    /// What the case expects; `None` if nothing.
    pub expected: Option<Value>,
    /// What was produced; `None` if nothing.
    pub produced: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| value.as_ref().map_or("(absent)".to_owned(), Value::to_string);
        write!(f, "{}: expected {}, produced {}", self.path, show(&self.expected), show(&self.produced))
    }
}

/// Differences between two Kubernetes objects; quantities below requests and limits are compared by value.
pub fn objects(expected: &Value, produced: &Value) -> Vec<Difference> {
    differences(&norm_object(expected), &norm_object(produced), true)
}

/// Differences between two plans, ids and run state aside.
pub fn plans(expected: &Value, produced: &Value) -> Vec<Difference> {
    differences(&norm_plan(expected), &norm_plan(produced), false)
}

/// Differences between two statuses, messages and times aside.
pub fn statuses(expected: &Value, produced: &Value) -> Vec<Difference> {
    differences(&norm_status(expected), &norm_status(produced), false)
}

/// The keywords of an `error.txt` that a message lacks.
pub fn missing_keywords(expected: &str, message: &str) -> Vec<String> {
    let message = message.to_lowercase();
    let line = field(expected, "keywords").unwrap_or_default();
    let words = line.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.filter(|word| !message.contains(&word.to_lowercase())).map(str::to_owned).collect()
}

/// The value of a `name: value` line of an `error.txt`.
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// An object without status and without what is empty.
pub fn norm_object(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        fields.remove("status");
        return pruned(&object, "").unwrap_or(json!({}));
    }
    object
}

/// A plan as phases and tasks: type, exact params, budget.
pub fn norm_plan(plan: &Value) -> Value {
    let Value::Object(fields) = plan else { return plan.clone() };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let tasks: Vec<Value> = match fields.get("tasks") {
        Some(Value::Array(tasks)) => tasks.iter().map(norm_task).collect(),
        _ => Vec::new(),
    };
    json!({
        "phase": text("phase"),
        "targetPhase": text("targetPhase"),
        "failedPhase": text("failedPhase"),
        "tasks": tasks,
    })
}

fn norm_task(task: &Value) -> Value {
    if !task.is_object() {
        return task.clone();
    }
    let budget = task.get("maxRetries").filter(|budget| !budget.is_null()).cloned().unwrap_or(json!(0));
    json!({"type": task["type"], "params": task["params"], "maxRetries": budget})
}

/// A status with conditions by type and events as sorted texts.
pub fn norm_status(status: &Value) -> Value {
    let Value::Object(fields) = status else { return status.clone() };
    let mut fields = fields.clone();
    let mut conditions = Map::new();
    for condition in fields.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let Value::Object(condition) = condition else { continue };
        let kept = condition.iter().filter(|(name, value)| {
            matches!(name.as_str(), "status" | "reason" | "observedGeneration") && !is_falsy(value)
        });
        let kept: Map<String, Value> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        conditions.insert(text_of(condition.get("type")), Value::Object(kept));
    }
    fields.insert("conditions".to_owned(), Value::Object(conditions));
    if let Some(Value::Array(events)) = fields.get("events") {
        let mut texts: Vec<String> = events
            .iter()
            .filter(|event| event.is_object())
            .map(|event| format!("{} {}", text_of(event.get("type")), text_of(event.get("reason"))))
            .collect();
        texts.sort();
        fields.insert("events".to_owned(), json!(texts));
    }
    pruned(&Value::Object(fields), "").unwrap_or(json!({}))
}

fn is_falsy(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || *value == json!("") || *value == json!(0)
}

fn text_of(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The value without empty members; `None` if it is empty itself.
fn pruned(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Object(fields) => {
            let kept: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| *name != "creationTimestamp")
                .filter_map(|(name, value)| Some((name.clone(), pruned(value, name)?)))
                .collect();
            let means_something = matches!(name, "emptyDir" | "namespaceSelector");
            (means_something || !kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) if items.is_empty() => None,
        // Places in a list count, so an empty item stays where it is.
        Value::Array(items) => Some(items.iter().map(|v| pruned(v, "").unwrap_or(v.clone())).collect()),
        Value::String(text) if text.is_empty() => None,
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}

fn differences(expected: &Value, produced: &Value, quantities: bool) -> Vec<Difference> {
    let mut walk = Walk { quantities, found: Vec::new() };
    walk.pair(String::new(), Some(expected), Some(produced), false);
    walk.found
}

struct Walk {
    quantities: bool,
    found: Vec<Difference>,
}

impl Walk {
    fn pair(&mut self, path: String, expected: Option<&Value>, produced: Option<&Value>, in_amounts: bool) {
        match (expected, produced) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let in_resources = path.rsplit('.').next() == Some("resources");
                for name in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                    let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let amounts =
                        in_amounts || (in_resources && matches!(name.as_str(), "requests" | "limits"));
                    self.pair(here, a.get(name), b.get(name), amounts);
                }
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) => {
                for place in 0..a.len().max(b.len()) {
                    let (x, y) = (a.get(place), b.get(place));
                    self.pair(format!("{path}[{}]", label(place, x, y)), x, y, in_amounts);
                }
            }
            (Some(a), Some(b)) if is_same(a, b) => {}
            (Some(a), Some(b)) if self.quantities && in_amounts && is_same_amount(a, b) => {}
            _ => {
                let (expected, produced) = (expected.cloned(), produced.cloned());
                self.found.push(Difference { path, expected, produced });
            }
        }
    }
}

/// A list place, with the element's name if it has one.
fn label(place: usize, expected: Option<&Value>, produced: Option<&Value>) -> String {
    let name = |value: Option<&Value>| {
        let value = value?;
        value.get("name").or_else(|| value.get("type"))?.as_str().map(str::to_owned)
    };
    name(expected).or_else(|| name(produced)).map_or(place.to_string(), |name| format!("{place}:{name}"))
}

fn is_same(expected: &Value, produced: &Value) -> bool {
    match (expected, produced) {
        // The text of a script is the producer's own; its behaviour is tested elsewhere.
        (Value::String(a), Value::String(b)) if a.starts_with("<script of ") => !b.trim().is_empty(),
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()),
        _ => expected == produced,
    }
}

fn is_same_amount(expected: &Value, produced: &Value) -> bool {
    let amount = |value: &Value| match value {
        Value::String(text) => Amount::of(text),
        Value::Number(number) => Amount::of(&number.to_string()),
        _ => None,
    };
    amount(expected).is_some_and(|a| Some(a) == amount(produced))
}

/// A quantity as `digits * 2^twos * 5^fives` with both primes taken out of the digits, so that equal amounts
/// are equal.
#[derive(PartialEq)]
struct Amount {
    digits: i128,
    twos: i32,
    fives: i32,
}

impl Amount {
    fn of(text: &str) -> Option<Self> {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let sign = usize::from(text.starts_with(['+', '-']));
        let end = text[sign..].find(|c| !is_number(c)).map_or(text.len(), |at| at + sign);
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let (tens, twos) = match suffix {
            "n" => (-9, 0),
            "u" => (-6, 0),
            "m" => (-3, 0),
            "" => (0, 0),
            "k" => (3, 0),
            "M" => (6, 0),
            "G" => (9, 0),
            "T" => (12, 0),
            "P" => (15, 0),
            "E" => (18, 0),
            "Ki" => (0, 10),
            "Mi" => (0, 20),
            "Gi" => (0, 30),
            "Ti" => (0, 40),
            "Pi" => (0, 50),
            "Ei" => (0, 60),
            exponent => (exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?, 0),
        };
        let tens = tens - i32::try_from(fraction.len()).ok()?;
        Some(Self { digits, twos: twos + tens, fives: tens }.reduced())
    }

    fn reduced(mut self) -> Self {
        if self.digits == 0 {
            return Self { digits: 0, twos: 0, fives: 0 };
        }
        while self.digits % 2 == 0 {
            self.digits /= 2;
            self.twos += 1;
        }
        while self.digits % 5 == 0 {
            self.digits /= 5;
            self.fives += 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(found: &[Difference]) -> Vec<&str> {
        found.iter().map(|difference| difference.path.as_str()).collect()
    }

    #[test]
    fn what_is_empty_does_not_count_but_two_members_do() {
        let a = json!({"a": {"b": null, "c": ""}, "d": [], "status": {"x": 1}, "v": {"emptyDir": {}}, "f": false});
        let b = json!({"metadata": {"creationTimestamp": "now"}, "v": {"emptyDir": {}}, "f": false});
        assert_eq!(objects(&a, &b), []);
        assert_eq!(paths(&objects(&a, &json!({"v": {}, "f": false}))), ["v"]);
        assert_eq!(paths(&objects(&json!({"f": false}), &json!({}))), ["f"]);
        assert_eq!(paths(&objects(&json!({"l": [1, 2]}), &json!({"l": [2, 1]}))), ["l[0]", "l[1]"]);
        assert_eq!(paths(&objects(&json!({"l": [{"name": "n"}]}), &json!({}))), ["l"]);
        assert_eq!(
            paths(&objects(&json!({"l": [{"name": "n", "x": 1}]}), &json!({"l": [{"name": "n"}]}))),
            ["l[0:n].x"]
        );
    }

    #[test]
    fn amounts_are_equal_by_value_in_their_place_only() {
        let of = |field: &str, amount: &str| json!({"resources": {field: {"cpu": amount}}});
        for (a, b, same) in [
            ("1500m", "1.5", true),
            ("0.5Gi", "512Mi", true),
            ("1G", "1Gi", false),
            ("1e3", "1k", true),
            ("0", "0Gi", true),
            ("x", "x", true),
            ("x", "y", false),
        ] {
            for field in ["requests", "limits"] {
                assert_eq!(objects(&of(field, a), &of(field, b)).is_empty(), same, "{a} {b}");
            }
        }
        assert_eq!(objects(&of("other", "1500m"), &of("other", "1.5")).len(), 1);
    }

    #[test]
    fn a_script_is_any_text() {
        let expected = json!({"args": ["<script of seid>"]});
        assert_eq!(objects(&expected, &json!({"args": ["exec seid"]})), []);
        assert_eq!(paths(&objects(&expected, &json!({"args": [" "]}))), ["args[0]"]);
    }

    #[test]
    fn plans_and_statuses() {
        let plan =
            json!({"id": "1", "phase": "Active", "tasks": [{"type": "t", "id": "2", "params": {"a": ""}}]});
        let same = json!({"phase": "Active", "failedPhase": "", "tasks": [
            {"type": "t", "params": {"a": ""}, "maxRetries": 0, "status": "Pending"},
        ]});
        assert_eq!(plans(&plan, &same), []);
        let other = json!({"phase": "Active", "tasks": [{"type": "t", "params": {}}]});
        assert_eq!(paths(&plans(&plan, &other)), ["tasks[0:t].params.a"]);
        assert_eq!(plans(&Value::Null, &Value::Null), []);
        let status = json!({
            "conditions": [{"type": "A", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "t"}],
            "events": [{"type": "Normal", "reason": "B", "x": 1}, {"type": "Normal", "reason": "A"}],
        });
        let same = json!({
            "conditions": [{"type": "A", "status": "True", "reason": "R", "message": "other"}],
            "events": [{"type": "Normal", "reason": "A"}, {"type": "Normal", "reason": "B"}],
            "phase": "",
        });
        assert_eq!(statuses(&status, &same), []);
        let other = json!({"conditions": [{"type": "A", "status": "False", "reason": "R"}]});
        assert_eq!(paths(&statuses(&status, &other)), ["conditions.A.status", "events"]);
    }

    #[test]
    fn errors_hold_their_keywords() {
        let expected = "stage: planner\nkeywords: replayer, Peer\ngist: x\n";
        assert_eq!(field(expected, "stage"), Some("planner"));
        assert_eq!(missing_keywords(expected, "Replayer: no peers"), Vec::<String>::new());
        assert_eq!(missing_keywords(expected, "replayer"), ["Peer"]);
    }
}
