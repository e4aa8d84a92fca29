//! Sequences by chance.
//!
//! Answers: which sequence belongs to a seed. Refuses to know: what a server makes of it. Upholds: the same seed gives
//! the same sequence; bodies are valid for their kind, because validation of built-in kinds is not what is compared.

use std::collections::BTreeMap;

use fastrand::Rng;
use seinode_sim::store::Kind;
use serde_json::{Map, Value, json};

use super::sample::{self, Sample};
use super::step::{Sequence, Step, Verb};

/// A uid that no object has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// A sequence touches few names, so that its steps meet.
const NAMES: [&str; 2] = ["a", "b"];

const FEWEST: usize = 4;
const MOST: usize = 14;

/// The sequence of a seed.
pub(super) fn sequence(seed: u64) -> Sequence {
    let mut rng = Rng::with_seed(seed);
    let main = weighted(&mut rng, sample::all(), |sample| sample.weight);
    let other = (rng.u8(..100) < 20).then(|| weighted(&mut rng, sample::all(), |sample| sample.weight));
    let mut drawer = Drawer { rng, main, other, has_generated: false };
    let length = drawer.rng.usize(FEWEST..=MOST);
    let mut steps = vec![drawer.first()];
    steps.extend((1..length).map(|_| drawer.step()));
    Sequence { name: format!("seed-{seed}"), steps }
}

struct Drawer {
    rng: Rng,
    main: Sample,
    other: Option<Sample>,
    /// Whether a name was generated: two of them stand in an order of their own on each server.
    has_generated: bool,
}

impl Drawer {
    /// A sequence that begins with an object gets somewhere.
    fn first(&mut self) -> Step {
        let verb = if self.chance(60) { Verb::Create } else { Verb::Apply };
        self.of_verb(verb)
    }

    fn step(&mut self) -> Step {
        let verbs = [
            (Verb::Create, 12),
            (Verb::Get, 6),
            (Verb::List, 5),
            (Verb::Watch, 7),
            (Verb::Merge, 26),
            (Verb::Apply, 25),
            (Verb::Replace, 10),
            (Verb::Delete, 12),
            (Verb::DeleteCollection, 1),
        ];
        let verb = weighted(&mut self.rng, verbs.to_vec(), |(_, weight)| *weight).0;
        self.of_verb(verb)
    }

    fn of_verb(&mut self, verb: Verb) -> Step {
        let is_other = self.other.is_some() && self.chance(30);
        let main = std::mem::replace(&mut self.main, empty());
        let other = self.other.take();
        let sample = if is_other { other.as_ref().unwrap_or(&main) } else { &main };
        let name = if self.chance(75) { NAMES[0] } else { NAMES[1] };
        let owner = other.as_ref().map_or(main.kind, |other| if is_other { main.kind } else { other.kind });
        let step = self.build(verb, sample, name, owner);
        self.main = main;
        self.other = other;
        step
    }

    fn build(&mut self, verb: Verb, sample: &Sample, name: &str, owner: &str) -> Step {
        let mut step = Step {
            verb,
            kind: sample.kind.to_owned(),
            name: name.to_owned(),
            part: String::new(),
            query: BTreeMap::new(),
            body: Value::Null,
        };
        let has_status = !sample.status.is_empty();
        match verb {
            Verb::Create => {
                step.name = String::new();
                step.body = self.object(sample, name, owner);
                step.body = self.edited(step.body.take(), &sample.at_first, false);
                self.meddle(&mut step.body);
                if self.chance(4) {
                    step.body["metadata"]["resourceVersion"] = self.version(sample.kind, name);
                }
                // A Job has its name in labels too.
                if sample.kind != "Job" && !self.has_generated && self.chance(3) {
                    self.has_generated = true;
                    step.body["metadata"]["name"] = Value::Null;
                    step.body["metadata"]["generateName"] = json!("g-");
                }
            }
            Verb::Get => {}
            Verb::List => {
                step.name = String::new();
                if self.chance(30) {
                    step.query.insert("limit".into(), "1".into());
                    if self.chance(50) {
                        step.query.insert("continue".into(), format!("@continue {}", sample.kind));
                    }
                } else {
                    self.select(&mut step, true);
                }
            }
            Verb::Watch => {
                step.name = String::new();
                self.select(&mut step, false);
                if self.chance(60) {
                    step.query.insert("resourceVersion".into(), format!("@version {}/{name}", sample.kind));
                } else {
                    step.query.insert("sendInitialEvents".into(), "true".into());
                    step.query.insert("resourceVersionMatch".into(), "NotOlderThan".into());
                    step.query.insert("allowWatchBookmarks".into(), "true".into());
                }
            }
            Verb::Merge => {
                let is_status = has_status && self.chance(35);
                if is_status {
                    step.part = "status".into();
                }
                let edits = if is_status { &sample.status } else { &sample.edits };
                step.body = self.edited(json!({}), edits, true);
                if !is_status || self.chance(15) {
                    self.decorate(&mut step.body, true, owner);
                }
                self.meddle(&mut step.body);
                self.guard(&mut step.body, sample.kind, name, 30);
            }
            Verb::Apply => {
                let is_status = has_status && self.chance(15);
                step.query.insert("fieldManager".into(), self.manager());
                if self.chance(45) {
                    step.query.insert("force".into(), "true".into());
                }
                if is_status {
                    step.part = "status".into();
                    step.body = json!({});
                    step.body = self.edited(step.body.take(), &sample.status, false);
                    set_type(&mut step.body, sample, name);
                } else {
                    step.body = self.object(sample, name, owner);
                }
                self.guard(&mut step.body, sample.kind, name, 35);
            }
            Verb::Replace => {
                let is_status = has_status && self.chance(25);
                if is_status {
                    step.part = "status".into();
                }
                if self.chance(60) || !sample.is_replaceable || is_status {
                    let edits = if is_status { &sample.status } else { &sample.edits };
                    let mut with = self.edited(json!({}), edits, true);
                    if !is_status {
                        self.decorate(&mut with, true, owner);
                    }
                    if self.chance(25) {
                        with["metadata"]["resourceVersion"] = self.version(sample.kind, name);
                    }
                    step.body = json!({ "@last": format!("{}/{name}", sample.kind), "@with": with });
                } else {
                    step.body = self.object(sample, name, owner);
                    self.guard(&mut step.body, sample.kind, name, 60);
                }
            }
            Verb::Delete => step.body = self.deletion(sample, name),
            Verb::DeleteCollection => {
                step.name = String::new();
                self.select(&mut step, true);
            }
        }
        let is_write = !matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        if verb == Verb::Delete && step.body["propagationPolicy"].is_null() && self.chance(10) {
            step.body["dryRun"] = json!(["All"]);
        } else if is_write && verb != Verb::Delete && self.chance(5) {
            step.query.insert("dryRun".into(), "All".into());
        }
        let is_managed = is_write && !matches!(verb, Verb::Delete | Verb::DeleteCollection);
        if is_managed && !step.query.contains_key("fieldManager") && self.chance(60) {
            step.query.insert("fieldManager".into(), self.manager());
        }
        step
    }

    /// A whole object: what is needed, and some of what is possible.
    fn object(&mut self, sample: &Sample, name: &str, owner: &str) -> Value {
        let mut object = self.edited(sample.base.clone(), &sample.edits, false);
        self.decorate(&mut object, false, owner);
        set_type(&mut object, sample, name);
        object
    }

    /// The object with some of the edits; only a patch takes fields away.
    fn edited(&mut self, mut object: Value, edits: &[(&'static str, Vec<Value>)], is_patch: bool) -> Value {
        let share = if is_patch { 30 } else { 45 };
        for (path, values) in edits {
            if !self.chance(share) {
                continue;
            }
            let value = &values[self.rng.usize(..values.len())];
            if is_patch || !value.is_null() {
                put(&mut object, path, value.clone());
            }
        }
        object
    }

    /// Labels, annotations, finalizers and owners.
    fn decorate(&mut self, object: &mut Value, is_patch: bool, owner: &str) {
        for (map, key) in [("labels", "l1"), ("labels", "l2"), ("annotations", "a1")] {
            if self.chance(20) {
                let value = match self.rng.u8(..3) {
                    0 if is_patch => Value::Null,
                    0 | 1 => json!("x"),
                    _ => json!("y"),
                };
                put(object, &format!("metadata.{map}.{key}"), value);
            }
        }
        if self.chance(18) {
            let finalizers = match self.rng.u8(..5) {
                0 if is_patch => json!([]),
                1 if is_patch => Value::Null,
                0..=2 => json!(["t.io/f"]),
                3 => json!(["t.io/g"]),
                _ => json!(["t.io/f", "t.io/g"]),
            };
            put(object, "metadata.finalizers", finalizers);
        }
        if self.chance(10) {
            put(object, "metadata.ownerReferences", self.owners(owner, is_patch));
        }
    }

    /// What only the server may write.
    fn meddle(&mut self, object: &mut Value) {
        if self.chance(3) {
            let (field, value) = match self.rng.u8(..3) {
                0 => ("generation", json!(7)),
                1 => ("creationTimestamp", json!("2020-01-01T00:00:00Z")),
                _ => ("deletionTimestamp", json!("2020-01-01T00:00:00Z")),
            };
            put(object, &format!("metadata.{field}"), value);
        }
    }

    fn owners(&mut self, owner: &str, is_patch: bool) -> Value {
        let Ok(kind) = sample::resource(owner) else { return json!([]) };
        let mut reference = json!({
            "apiVersion": kind.api_version(), "kind": owner, "name": "b", "uid": format!("@uid {owner}/b"),
        });
        if self.chance(40) {
            reference["controller"] = json!(true);
        }
        if self.chance(30) {
            reference["blockOwnerDeletion"] = json!(true);
        }
        if is_patch && self.chance(30) { json!([]) } else { json!([reference]) }
    }

    /// What a write is based on.
    fn guard(&mut self, body: &mut Value, kind: &str, name: &str, share: u8) {
        if self.chance(share) {
            put(body, "metadata.resourceVersion", self.version(kind, name));
        }
        if self.chance(share) {
            put(body, "metadata.uid", self.uid(kind, name));
        }
    }

    fn version(&mut self, kind: &str, name: &str) -> Value {
        match self.rng.u8(..20) {
            0..=10 => json!(format!("@version {kind}/{name}")),
            11..=13 => json!(format!("@old-version {kind}/{name}")),
            14..=16 => json!("1"),
            17 => json!("0"),
            18 => json!("99999999999"),
            _ => json!("junk"),
        }
    }

    fn uid(&mut self, kind: &str, name: &str) -> Value {
        match self.rng.u8(..10) {
            0..=6 => json!(format!("@uid {kind}/{name}")),
            7 => json!(format!("@old-uid {kind}/{name}")),
            _ => json!(NOBODY),
        }
    }

    fn deletion(&mut self, sample: &Sample, name: &str) -> Value {
        let mut options = Map::new();
        let mut preconditions = Map::new();
        if self.chance(30) {
            preconditions.insert("uid".into(), self.uid(sample.kind, name));
        }
        if self.chance(30) {
            preconditions.insert("resourceVersion".into(), self.version(sample.kind, name));
        }
        if !preconditions.is_empty() {
            options.insert("preconditions".into(), Value::Object(preconditions));
        }
        if self.chance(50) {
            let policies = ["Background", "Foreground", "Orphan"];
            options.insert("propagationPolicy".into(), json!(policies[self.rng.usize(..3)]));
        }
        if self.chance(20) {
            let periods = [0, 1, 5, 60];
            options.insert("gracePeriodSeconds".into(), json!(periods[self.rng.usize(..4)]));
        }
        Value::Object(options)
    }

    fn select(&mut self, step: &mut Step, may_name: bool) {
        if self.chance(35) {
            let selectors = ["l1=x", "l1!=x", "l1 in (x,y)", "!l1", "l1", "l1=x,l2=x", "l1 notin (y),l2"];
            let selector = selectors[self.rng.usize(..selectors.len())];
            step.query.insert("labelSelector".into(), selector.into());
        }
        if self.chance(12) {
            let selector = if may_name && self.chance(50) { "metadata.name=a" } else { "metadata.name!=b" };
            step.query.insert("fieldSelector".into(), selector.into());
        }
    }

    fn manager(&mut self) -> String {
        ["m1", "m2"][self.rng.usize(..2)].to_owned()
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }
}

fn empty() -> Sample {
    Sample {
        kind: "",
        weight: 0,
        base: Value::Null,
        at_first: Vec::new(),
        edits: Vec::new(),
        status: Vec::new(),
        compared: &[],
        is_replaceable: false,
    }
}

fn set_type(object: &mut Value, sample: &Sample, name: &str) {
    object["apiVersion"] = json!(sample.resource().map(Kind::api_version).ok());
    object["kind"] = json!(sample.kind);
    put(object, "metadata.name", json!(name));
}

/// Writes a value at a dotted path; what stands in the way is replaced.
fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for part in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part];
    }
    *place = value;
}

fn weighted<T>(rng: &mut Rng, mut all: Vec<T>, weight: impl Fn(&T) -> u32) -> T {
    let total: u32 = all.iter().map(&weight).sum();
    let mut left = rng.u32(..total);
    let place = all.iter().position(|one| {
        let is_it = left < weight(one);
        left = left.wrapping_sub(weight(one));
        is_it
    });
    all.swap_remove(place.unwrap_or(0))
}
