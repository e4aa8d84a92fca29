//! Bad manifests: exit code 2, nothing on stdout, and a text that names the field and the remedy.

use std::ffi::OsStr;
use std::fmt::Write as _;

use crate::{manifest, operator, recorded};

/// Manifests that no API server would take, and files that are none.
const BAD: &[&str] = &[
    "broken.yaml",
    "empty.yaml",
    "long-name.yaml",
    "missing.yaml",
    "nameless.yaml",
    "override-key.yaml",
    "override-number.yaml",
    "two-modes.yaml",
    "unknown-field.yaml",
    "unknown-kind.yaml",
];

#[test]
fn bad_manifests_are_refused_by_simulate() {
    let mut texts = String::new();
    for name in BAD {
        let ran = operator([OsStr::new("simulate"), manifest(name).as_os_str()]);
        let _ = writeln!(texts, "== {name}: {:?}{}\n{}", ran.code, ran.stdout, shortened(&ran.stderr));
    }
    snapshot("simulate", &texts);
}

/// The same manifests where a stored node is meant: only what no operator could read is refused.
#[test]
fn bad_manifests_are_refused_by_plan() {
    let platform = recorded("full-genesis-fresh", "platform.yaml");
    let mut texts = String::new();
    for name in BAD {
        let (file, platform) = (manifest(name), platform.as_os_str());
        let words =
            [OsStr::new("plan"), OsStr::new("-f"), file.as_os_str(), OsStr::new("--platform"), platform];
        let ran = operator(words);
        let _ = writeln!(texts, "== {name}: {:?}{}\n{}", ran.code, ran.stdout, shortened(&ran.stderr));
    }
    snapshot("plan", &texts);
}

/// Without the folder, which is another one on each machine.
fn shortened(text: &str) -> String {
    text.replace(&format!("{}/", manifest("").display().to_string().trim_end_matches('/')), "<folder>/")
}

fn snapshot(name: &str, texts: &str) {
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(format!("refusals-{name}"), texts);
    });
}
