//! The book of `docs/`: what is made from the code is what the code gives, what it tells of exists, and links lead
//! somewhere. `SEINODE_UPDATE=1` writes the generated parts anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "docs/health.rs"]
mod health;
#[path = "docs/reasons.rs"]
mod reasons;
#[path = "docs/reference.rs"]
mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares what stands between two marks of a page with what the code gives, or writes it there.
fn is_generated(page: &str, part: &str, wanted: &str) {
    // Parts of one page are written by tests that run at the same time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (begin, end) = (format!("<!-- generated: {part} -->\n"), format!("<!-- end: {part} -->"));
    let text = read(page);
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (found, after))) = parts else { panic!("{page} has no part {part}") };
    if found != wanted && std::env::var_os("SEINODE_UPDATE").is_some() {
        fs::write(root().join(page), format!("{before}{begin}{wanted}{end}{after}")).unwrap();
        return;
    }
    assert!(
        found == wanted,
        "{part} of {page} is not what the code gives: run the test again with SEINODE_UPDATE=1"
    );
}

/// The text of all sources in a folder.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text.push_str(&sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    text
}

fn pages() -> BTreeSet<String> {
    let names =
        fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|e| e == "md")).collect()
}

/// Where the links of a text lead, code left out.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let prose: String = prose.split('`').step_by(2).collect();
    let after = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    after.map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_page_is_in_the_summary() {
    let listed: BTreeSet<String> = links(&read("docs/SUMMARY.md")).into_iter().collect();
    let mut pages = pages();
    pages.remove("SUMMARY.md");
    assert_eq!(pages.difference(&listed).collect::<Vec<_>>(), [] as [&String; 0], "not in docs/SUMMARY.md");
    assert_eq!(
        listed.difference(&pages).collect::<Vec<_>>(),
        [] as [&String; 0],
        "in docs/SUMMARY.md and not there"
    );
}

/// The anchor that mdBook gives a heading.
fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let pages = pages().into_iter().map(|page| format!("docs/{page}")).chain(["README.md".to_owned()]);
    for page in pages {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in links(&read(&page)) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, section) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            let headings = |text: &str| {
                text.lines()
                    .filter(|l| l.starts_with('#'))
                    .map(|l| anchor(l.trim_matches(['#', ' '])))
                    .collect::<Vec<_>>()
            };
            let is_there = target.exists()
                && (section.is_empty()
                    || headings(&fs::read_to_string(&target).unwrap()).iter().any(|h| h == section));
            if !is_there {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Pages of the book link to each other, and to files of the repository by their name only: a page must not lead out of
/// the book.
#[test]
fn the_book_stands_by_itself() {
    for page in pages() {
        for link in links(&read(&format!("docs/{page}"))) {
            let file = link.split('#').next().unwrap_or_default();
            let is_page = file.is_empty() || pages().contains(file);
            assert!(is_page || link.starts_with("https://"), "docs/{page}: {link}");
        }
    }
}
