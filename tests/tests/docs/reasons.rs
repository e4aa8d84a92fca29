//! Each condition, reason and event of the code is told with what to do about it, and the other way round.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use seinode_core::api::ConditionType;

use crate::{read, root, sources};

const PAGE: &str = "docs/conditions.md";

/// Words of the core that look like reasons and are none: kinds, states and fields of Kubernetes, fields of stored tasks,
/// values of YAML.
const NO_REASONS: &[&str] = &[
    "AppendedAtRuntime",
    "BackfillBlocks",
    "Bound",
    "Complete",
    "ConfigMap",
    "DisruptionTarget",
    "Evicted",
    "Failed",
    "False",
    "Job",
    "Lost",
    "Mi",
    "Gi",
    "Ki",
    "Ti",
    "Pi",
    "Ei",
    "Moniker",
    "NodeName",
    "Null",
    "Off",
    "On",
    "OrderedReady",
    "PersistentVolumeClaim",
    "Pod",
    "PodInitializing",
    "PodScheduled",
    "Active",
    "Apply",
    "ChainID",
    "Pending",
    "Raw",
    "String",
    "ReadWriteOnce",
    "ReadWriteOncePod",
    "RpcServers",
    "Running",
    "SeiNode",
    "Service",
    "StakingAmount",
    "AccountBalance",
    "StatefulSet",
    "Succeeded",
    "TargetHeight",
    "True",
    "TrustPeriod",
    "Unknown",
    "UseLocalSnapshot",
    "Yes",
    "No",
    "ExpectedGenesisHash",
    "GigaStore",
    "SeiNodeTaskWorkflow",
];

/// The part of a file that is not test.
fn production(text: &str) -> &str {
    text.split_once("#[cfg(test)]").map_or(text, |(before, _)| before)
}

fn collect(folder: &Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // What is rendered, defined or made up for tests holds words of Kubernetes, no reasons.
            if !["testkit", "render", "crd", "platform"].contains(&name) {
                collect(&path, out);
            }
        } else if path.extension().is_some_and(|e| e == "rs")
            && !["tests.rs", "crd.rs", "quantity.rs", "differ.rs"].contains(&name)
        {
            out.push(production(&fs::read_to_string(&path).unwrap()).to_owned());
        }
    }
}

fn is_camel(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && word.chars().nth(1).is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_alphanumeric())
}

/// String literals of the core that are one CamelCase word.
fn literals() -> BTreeSet<String> {
    let mut files = Vec::new();
    collect(&root().join("core/src"), &mut files);
    let lines =
        files.iter().flat_map(|text| text.lines()).filter(|line| !line.trim_start().starts_with("//"));
    let words = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    words.filter(|word| is_camel(word)).map(str::to_owned).collect()
}

/// Words between backticks.
fn told() -> BTreeSet<String> {
    let page = read(PAGE);
    page.split('`').skip(1).step_by(2).map(|word| word.trim_start_matches('.').to_owned()).collect()
}

#[test]
fn every_condition_has_its_row() {
    let told = told();
    for kind in ConditionType::KNOWN {
        assert!(told.contains(kind.as_str()), "{PAGE} does not tell of condition {kind}");
    }
}

#[test]
fn every_reason_is_told() {
    let told = told();
    // `SigningKey` + `Validated` and the like are put together; each half is told as part of a whole.
    let is_told = |word: &str| told.iter().any(|t| t == word || t.starts_with(word) || t.ends_with(word));
    let lacking: Vec<_> = literals()
        .into_iter()
        .filter(|word| !NO_REASONS.contains(&word.as_str()) && !is_told(word))
        .collect();
    assert!(
        lacking.is_empty(),
        "{PAGE} does not tell of {lacking:?}; if one is no reason, say so in this test"
    );
}

#[test]
fn every_reason_that_is_told_exists() {
    let literals = literals();
    let known = |word: &str| {
        literals.contains(word)
            || ConditionType::KNOWN.iter().any(|kind| kind.as_str() == word)
            || literals
                .iter()
                .any(|l| word.strip_prefix(l.as_str()).is_some_and(|rest| literals.contains(rest)))
            || literals.iter().any(|l| word.strip_prefix("PVC").is_some_and(|rest| rest == l))
    };
    let rows = read(PAGE);
    let rows = rows.lines().filter(|line| line.starts_with('|'));
    // Type, status and reason come before the meaning.
    let cells = rows.flat_map(|row| row.split('|').skip(1).take(3).map(str::to_owned).collect::<Vec<_>>());
    let words: BTreeSet<String> =
        cells.flat_map(|c| c.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect();
    let made_up: Vec<_> = words.iter().filter(|w| is_camel(w) && !known(w)).collect();
    let of_adapter = sources(&root().join("adapter/src"));
    let made_up: Vec<_> = made_up.into_iter().filter(|w| !of_adapter.contains(&format!("\"{w}\""))).collect();
    assert!(made_up.is_empty(), "{PAGE} tells of {made_up:?}, which the code does not have");
}

#[test]
fn every_event_is_told() {
    let source = read("core/src/notice.rs");
    let mut events = BTreeSet::new();
    for call in ["normal(\"", "warning(\""] {
        events
            .extend(source.split(call).skip(1).filter_map(|rest| rest.split_once('"')).map(|(word, _)| word));
    }
    assert!(events.len() >= 6, "{events:?}");
    let page = read(PAGE);
    let (_, section) = page.split_once("\n## Events\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    for event in events {
        assert!(section.contains(&format!("`{event}`")), "{PAGE} does not tell of event {event}");
    }
}
