//! A sequence that is answered differently, made small.
//!
//! Answers: which steps and fields are needed for the difference. Refuses to know: why it is there. Upholds: what is told
//! can be put into `cases.json` as it stands.

use serde_json::Value;

use super::step::Sequence;
use super::{Bench, Sides, sample};

/// Tries before it gives up; each plays both sides.
const TRIES: usize = 200;

/// The smallest sequence found, and both answers to the step that differs.
pub(super) async fn told(bench: &Bench, space: &str, sequence: &Sequence) -> Result<String, String> {
    let mut best = sequence.clone();
    let mut tries = 0;
    let mut sides = bench.both(&format!("{space}-first"), sequence).await?;
    let sort = sides.sort(sequence);
    if sort.is_none() {
        return Ok(format!(
            "\n{} differed once and not again; the sequence:\n{}\n",
            sequence.name,
            text(sequence)
        ));
    }
    'smaller: loop {
        for candidate in candidates(&best) {
            if tries == TRIES {
                break 'smaller;
            }
            tries += 1;
            // A candidate that can't be played is no smaller case.
            let Ok(found) = bench.both(&format!("{space}-{tries}"), &candidate).await else { continue };
            if found.sort(&candidate) == sort {
                best = candidate;
                sides = found;
                continue 'smaller;
            }
        }
        break;
    }
    Ok(format!(
        "\n{} is answered differently; made small:\n{}\n{}",
        sequence.name,
        text(&best),
        differing(&sides)
    ))
}

fn text(sequence: &Sequence) -> String {
    let steps = sequence.steps.iter().map(|step| serde_json::to_string(step).unwrap_or_default());
    format!(
        "{{\"name\":\"{}\",\"steps\":[\n  {}\n]}}",
        sequence.name,
        steps.collect::<Vec<_>>().join(",\n  ")
    )
}

fn differing(sides: &Sides) -> String {
    let Some(index) = sides.difference() else { return String::new() };
    format!(
        "step {index}:\n  real    {}\n  pretend {}\n  at {}\n",
        sides.real[index],
        sides.pretend[index],
        place(&sides.real[index], &sides.pretend[index], ""),
    )
}

/// The places where two values differ.
pub(super) fn place(real: &Value, pretend: &Value, path: &str) -> String {
    match (real, pretend) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            let differing = keys.filter(|key| a.get(*key) != b.get(*key)).map(|key| {
                let (real, pretend) =
                    (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                place(real, pretend, &format!("{path}/{key}"))
            });
            differing.collect::<Vec<_>>().join("; ")
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let differing = a.iter().zip(b).enumerate().filter(|(_, (real, pretend))| real != pretend);
            let told =
                differing.map(|(index, (real, pretend))| place(real, pretend, &format!("{path}/{index}")));
            told.collect::<Vec<_>>().join("; ")
        }
        _ => format!("{path}: {real} here, {pretend} there"),
    }
}

/// The sequence with one thing less, the large things first.
fn candidates(sequence: &Sequence) -> Vec<Sequence> {
    let mut out = Vec::new();
    for index in (0..sequence.steps.len()).rev() {
        let mut smaller = sequence.clone();
        smaller.steps.remove(index);
        out.push(smaller);
    }
    for (index, step) in sequence.steps.iter().enumerate() {
        for name in step.query.keys() {
            let mut smaller = sequence.clone();
            smaller.steps[index].query.remove(name);
            out.push(smaller);
        }
        let base = sample::of(&step.kind).map(|sample| sample.base).unwrap_or_default();
        // Without what its kind needs, an object is refused for another reason.
        for path in fields(&step.body, "").into_iter().filter(|path| base.pointer(path).is_none()) {
            let mut smaller = sequence.clone();
            if let Some((parent, field)) = path.rsplit_once('/')
                && let Some(Value::Object(map)) = smaller.steps[index].body.pointer_mut(parent)
            {
                map.remove(field);
                out.push(smaller);
            }
        }
    }
    out
}

/// Pointers to every field that an object can do without.
fn fields(value: &Value, path: &str) -> Vec<String> {
    let Value::Object(map) = value else { return Vec::new() };
    let mut out = Vec::new();
    for (name, inner) in map {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        // Taken away whole, before anything inside it.
        let is_needed = ["/apiVersion", "/kind", "/metadata", "/metadata/name", "/spec", "/@last", "/@with"];
        if !is_needed.contains(&path.as_str()) {
            out.push(path.clone());
        }
        out.extend(fields(inner, &path));
    }
    out
}
