//! `docs/requirements.md` has one row for each requirement, and the tests that it names exist.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Letter and highest number of each family.
const FAMILIES: [(char, u32); 4] = [('P', 60), ('W', 12), ('S', 34), ('V', 13)];

/// The sections of the contract of which each row is listed; the ids are section and place, as in `10-3`.
const SECTIONS: [u32; 9] = [4, 5, 6, 7, 10, 13, 14, 16, 17];

/// A row of one of the tables.
struct Row {
    id: String,
    tests: String,
    state: String,
}

#[test]
fn every_requirement_has_one_row() {
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows_of_the_page() {
        *rows.entry(row.id).or_default() += 1;
    }
    let wanted = FAMILIES.iter().flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}")));
    rows.retain(|id, _| section(id).is_none());
    assert_eq!(rows, wanted.map(|id| (id, 1)).collect());
}

#[test]
fn every_listed_section_has_its_rows_in_order() {
    let mut found: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for row in rows_of_the_page() {
        if let Some((section, place)) = section(&row.id) {
            found.entry(section).or_default().push(place);
        }
    }
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), SECTIONS);
    for (section, places) in found {
        let in_order: Vec<u32> = (1..).take(places.len()).collect();
        assert_eq!(places, in_order, "section {section}");
        assert!(places.len() >= 6, "section {section} has lost rows: {} are left", places.len());
    }
}

#[test]
fn every_named_test_exists() {
    let mut faults = Vec::new();
    for Row { id, tests, .. } in rows_of_the_page() {
        for named in named(&tests) {
            let Some((file, name)) = named.split_once("::") else {
                faults.push(format!("{id}: `{named}` is not file::name"));
                continue;
            };
            match fs::read_to_string(root().join(file)) {
                Ok(text) if text.contains(&format!("fn {name}(")) => {}
                Ok(_) => faults.push(format!("{id}: {file} has no fn {name}")),
                Err(error) => faults.push(format!("{id}: {file}: {error}")),
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_state_is_borne_out() {
    let mut faults = Vec::new();
    for Row { id, tests, state } in rows_of_the_page() {
        let (word, reason) = state.split_once(": ").unwrap_or((&state, ""));
        match (word, named(&tests).is_empty()) {
            ("shown", true) => faults.push(format!("{id}: shown by no test")),
            ("shown" | "open", _) => {}
            ("partly", _) if !reason.is_empty() => {}
            _ => faults.push(format!("{id}: state {state:?}")),
        }
        if named(&tests).is_empty() && tests != "-" {
            faults.push(format!("{id}: tests {tests:?}"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Section and place of a row that is of a section of the contract.
fn section(id: &str) -> Option<(u32, u32)> {
    let (section, place) = id.split_once('-')?;
    Some((section.parse().ok()?, place.parse().ok()?))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every row of every table, heads and rules aside.
fn rows_of_the_page() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/requirements.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|'));
    rows.filter(|line| !line.starts_with("| id |") && !line.starts_with("|--")).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [id, _, tests, state] = cells[..] else { panic!("not four cells: {line}") };
    Row { id: id.to_owned(), tests: tests.to_owned(), state: state.to_owned() }
}

/// What stands between backticks.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
