//! Parity: what this operator makes of each recorded case is what the Go operator made of it, but for the differences
//! in one table. A difference that is not in the table fails, and so does a row that no case needs any more.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use seinode_core::render::compare;
use seinode_operator::render::{self, Rendered};
use serde_json::{Map, Value};

/// A difference that is known.
struct Known {
    /// The cases that show it.
    cases: &'static [&'static str],
    /// The file.
    file: &'static str,
    /// Where in it.
    path: &'static str,
    /// The row of `docs/differences.md` that says why.
    why: &'static str,
}

const fn differs(
    cases: &'static [&'static str],
    file: &'static str,
    path: &'static str,
    why: &'static str,
) -> Known {
    Known { cases, file, path, why }
}

/// Every known difference.
const KNOWN: &[Known] = &[
    differs(&["full-phase-failed"], STATUS, "events[0]", EVENTS),
    differs(&["workflow-statesync-plain"], "workflow-plan.json", WHOLE, NO_WORKFLOW),
    differs(
        &["workflow-statesync-plain", "workflow-target-rejected"],
        "workflow-status.json",
        "conditions",
        NO_WORKFLOW,
    ),
    differs(
        &["workflow-statesync-plain", "workflow-target-rejected"],
        "workflow-status.json",
        "phase",
        NO_WORKFLOW,
    ),
    differs(&["workflow-statesync-plain"], "workflow-status.json", "finalizers", NO_WORKFLOW),
    differs(&["workflow-statesync-plain", "workflow-target-rejected"], STATUS, "events", NO_WORKFLOW),
    differs(&["workflow-statesync-plain"], STATUS, "adoptedWorkflow", NO_WORKFLOW),
    differs(&["workflow-statesync-plain"], STATUS, "endpoint", NO_WORKFLOW),
    differs(&["workflow-statesync-plain"], STATUS, "conditions.SidecarReady.observedGeneration", NO_WORKFLOW),
    differs(&["workflow-statesync-plain"], STATUS, "conditions.WorkflowInProgress.reason", NO_WORKFLOW),
    differs(&["workflow-statesync-plain"], STATUS, "conditions.WorkflowInProgress.status", NO_WORKFLOW),
];

const STATUS: &str = "status.json";
const WHOLE: &str = "";

/// Events follow a stored change.
const EVENTS: &str = "V8";
/// No new workflow is adopted.
const NO_WORKFLOW: &str = "S27";

/// The time of every case: none depends on it.
const NOW: &str = "2026-01-02T04:00:00Z";

#[test]
fn every_recorded_case_but_for_the_table() {
    let mut unused: BTreeSet<(usize, &str)> = BTreeSet::new();
    for (row, difference) in KNOWN.iter().enumerate() {
        unused.extend(difference.cases.iter().map(|case| (row, *case)));
    }
    let (mut faults, mut files) = (Vec::new(), 0);
    let cases = folders();
    for folder in &cases {
        let case = folder.file_name().unwrap().to_str().unwrap();
        let rendered = rendered(folder);
        for file in OUTPUTS {
            let found = differences(folder, file, &rendered);
            files += usize::from(folder.join(file).exists());
            for (path, text) in found {
                let row =
                    KNOWN.iter().position(|d| d.cases.contains(&case) && d.file == file && d.path == path);
                match row {
                    Some(row) => {
                        unused.remove(&(row, KNOWN[row].cases.iter().find(|c| **c == case).unwrap()));
                    }
                    None => faults.push(format!("{case}/{file}: {text}")),
                }
            }
        }
    }
    for (row, case) in unused {
        let Known { file, path, why, .. } = &KNOWN[row];
        faults.push(format!(
            "{case}/{file}: {path} does not differ any more: strike it from the table ({why})"
        ));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert_eq!((cases.len(), files), (36, 219), "a case or a file got lost");
}

/// What the table calls a difference, people can read about.
#[test]
fn every_row_of_the_table_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md");
    let text = fs::read_to_string(path).unwrap();
    let is_there = |row: &str| text.lines().any(|line| line.starts_with(&format!("| {row} |")));
    let missing: BTreeSet<&str> = KNOWN.iter().map(|known| known.why).filter(|row| !is_there(row)).collect();
    assert_eq!(missing, BTreeSet::new(), "docs/differences.md has no such rows");
}

/// The files that a case can have, besides its inputs.
const OUTPUTS: [&str; 11] = [
    "statefulset.json",
    "service.json",
    "rbac-proxy-configmap.json",
    "pvc.json",
    "bootstrap-job.json",
    "bootstrap-service.json",
    "plan.json",
    STATUS,
    "workflow-plan.json",
    "workflow-status.json",
    "error.txt",
];

fn rendered(case: &Path) -> Rendered {
    let workflow = Some(case.join("workflow.yaml")).filter(|path| path.exists());
    let now: Timestamp = NOW.parse().unwrap();
    render::rendered(&case.join("node.yaml"), &case.join("platform.yaml"), workflow.as_deref(), now).unwrap()
}

/// Where a file differs from the recorded one, and how.
fn differences(case: &Path, file: &str, rendered: &Rendered) -> Vec<(String, String)> {
    let expected = fs::read_to_string(case.join(file)).ok();
    if file == "error.txt" {
        return of_rejection(expected.as_deref(), rendered);
    }
    let (expected, produced) = match (expected, rendered.files.get(file)) {
        (Some(expected), Some(produced)) => (serde_json::from_str(&expected).unwrap(), produced.clone()),
        (None, None) => return Vec::new(),
        (expected, _) => {
            let text = if expected.is_some() { "is missing" } else { "is one too many" };
            return vec![(WHOLE.to_owned(), text.to_owned())];
        }
    };
    let found = match file {
        "plan.json" | "workflow-plan.json" => compare::plans(&expected, &produced),
        "workflow-status.json" => compare::statuses(&expected, &produced),
        STATUS => {
            let (expected, produced) = comparable(expected, produced);
            compare::statuses(&expected, &produced)
        }
        _ => compare::objects(&expected, &produced),
    };
    found.into_iter().map(|d| (d.path.clone(), d.to_string())).collect()
}

fn of_rejection(expected: Option<&str>, rendered: &Rendered) -> Vec<(String, String)> {
    let produced = rendered.rejection.as_ref().map(render::Rejection::to_text);
    let (expected, produced) = match (expected, produced) {
        (Some(expected), Some(produced)) => (expected, produced),
        (None, None) => return Vec::new(),
        (_, produced) => {
            return vec![(WHOLE.to_owned(), format!("expected the other way, produced {produced:?}"))];
        }
    };
    let mut found: Vec<_> = compare::missing_keywords(expected, &produced)
        .into_iter()
        .map(|word| (format!("keyword {word}"), format!("{produced:?} lacks {word}")))
        .collect();
    let stage = |text| compare::field(text, "stage").map(str::to_owned);
    if stage(expected) != stage(&produced) {
        found.push((
            "stage".to_owned(),
            format!("expected {:?}, produced {:?}", stage(expected), stage(&produced)),
        ));
    }
    found
}

/// Drops what is not compared: when this operator applies the StatefulSet and walks a plan is its own affair, and it has
/// conditions that the Go operator does not have or has not yet seeded.
fn comparable(mut expected: Value, mut produced: Value) -> (Value, Value) {
    for status in [&mut expected, &mut produced] {
        let fields: &mut Map<String, Value> = status.as_object_mut().unwrap();
        fields.remove("statefulSetApplied");
        fields.remove("planExecuted");
    }
    let types = |status: &Value| -> BTreeSet<String> {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.filter_map(|c| c["type"].as_str().map(str::to_owned)).collect()
    };
    let known = types(&expected);
    if let Some(conditions) = produced["conditions"].as_array_mut() {
        conditions.retain(|c| c["type"].as_str().is_some_and(|t| known.contains(t)));
    }
    (expected, produced)
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fixtures/rendered");
    let mut folders: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}
