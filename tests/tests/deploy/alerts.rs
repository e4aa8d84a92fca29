//! Alerts and dashboard ask for metrics that there are, and each alert leads to a section of the runbook. What the
//! expressions do with series is checked by promtool, in `.ci/nightly alerts`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{CHART, read, root};

/// The prefix of everything that the operator counts.
const PREFIX: &str = "sei_controller_";

/// What the text format adds to the name of a metric.
const SUFFIXES: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

fn alerts() -> Vec<Value> {
    let file: Value = serde_yaml_ng::from_str(&read(&format!("{CHART}/files/alerts.yaml"))).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The metrics that a text names.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(PREFIX)).map(str::to_owned).collect()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The metrics that the operator has, as its sources and the page name them that a test compares with what it serves.
fn known() -> BTreeSet<String> {
    let mut text = String::new();
    sources(&root().join("adapter/src"), &mut text);
    text.push_str(&read("docs/metrics.md"));
    metrics(&text)
}

fn is_known(known: &BTreeSet<String>, name: &str) -> bool {
    let bare = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    known.contains(name) || bare.is_some_and(|bare| known.contains(bare))
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let known = known();
    assert!(known.len() > 5, "the sources name no metrics: {known:?}");
    for file in ["files/alerts.yaml", "files/dashboard.json"] {
        for name in metrics(&read(&format!("{CHART}/{file}"))) {
            assert!(is_known(&known, &name), "{file} asks for {name}, which the operator does not have");
        }
    }
    assert!(!is_known(&known, "sei_controller_no_such_metric_total"));
}

#[test]
fn every_alert_leads_to_its_section_of_the_runbook() {
    let runbook = read("docs/runbook.md");
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_owned();
        let link = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(link, format!("runbook.html#{}", name.to_lowercase()));
        assert!(runbook.contains(&format!("\n### {name}\n")), "docs/runbook.md has no section {name}");
        for part in ["summary", "description"] {
            assert!(alert["annotations"][part].is_string(), "{name} has no {part}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        assert!(names.insert(name), "two alerts of one name");
    }
    let sections =
        runbook.lines().filter_map(|line| line.strip_prefix("### ")).filter(|s| s.starts_with("Seinode"));
    for section in sections {
        assert!(names.contains(section), "docs/runbook.md tells about {section}, which is no alert");
    }
}

/// Each alert fires in a test of promtool, and stays silent in one.
#[test]
fn every_alert_has_a_test_both_ways() {
    let tests: Value = serde_yaml_ng::from_str(&read("tests/fixtures/alerts/alerts.test.yaml")).unwrap();
    let cases: Vec<&Value> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|t| t["alert_rule_test"].as_array().unwrap())
        .collect();
    for alert in alerts() {
        let name = &alert["alert"];
        let fires = |case: &&&Value| case["exp_alerts"].as_array().is_some_and(|a| !a.is_empty());
        let of: Vec<_> = cases.iter().filter(|case| case["alertname"] == *name).collect();
        assert!(of.iter().any(fires) && of.iter().any(|c| !fires(c)), "{name} has {} cases", of.len());
    }
}

#[test]
fn the_dashboard_is_complete() {
    let board: Value = serde_json::from_str(&read(&format!("{CHART}/files/dashboard.json"))).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        let targets = panel["targets"].as_array().unwrap();
        assert!(
            !targets.is_empty() && targets.iter().all(|t| !metrics(t["expr"].as_str().unwrap()).is_empty())
        );
    }
}
