//! `render`: which files it leaves.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::{Ran, operator, recorded};

fn render(case: &str, platform: &str, out: &Path) -> Ran {
    let words: [OsString; 7] = [
        "render".into(),
        "--node".into(),
        recorded(case, "node.yaml").into(),
        "--platform".into(),
        recorded(platform, "platform.yaml").into(),
        "--out".into(),
        out.into(),
    ];
    operator(words)
}

fn files(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

const OBJECTS: [&str; 4] = ["pvc.json", "rbac-proxy-configmap.json", "service.json", "statefulset.json"];

fn with_objects(others: &[&str]) -> BTreeSet<String> {
    OBJECTS.iter().chain(others).map(ToString::to_string).collect()
}

/// One folder, rendered into again and again: what does not apply any more goes, what is not ours stays.
#[test]
fn the_files_are_those_of_the_last_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/folder");
    let platform = "full-genesis-fresh";

    let ran = render("full-s3-bootstrap", platform, &out);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(
        files(&out),
        with_objects(&["bootstrap-job.json", "bootstrap-service.json", "plan.json", "status.json"])
    );

    fs::write(out.join("mine.txt"), "kept").unwrap();
    let ran = render("replayer-no-peers", platform, &out);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.starts_with("error: replayer: spec.peers is empty"), "{}", ran.stderr);
    assert_eq!(files(&out), with_objects(&["error.txt", "mine.txt"]));
    let error = fs::read_to_string(out.join("error.txt")).unwrap();
    assert!(error.starts_with("stage: planner\nerror: replayer: "), "{error}");

    let ran = render("full-genesis-fresh", "platform-missing-seed-pool", &out);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert_eq!(files(&out), BTreeSet::from(["error.txt".to_owned(), "mine.txt".to_owned()]));
    let error = fs::read_to_string(out.join("error.txt")).unwrap();
    assert!(error.starts_with("stage: platform\n") && error.contains("scheduling.nodepoolSeed"), "{error}");

    let ran = render("full-genesis-fresh", platform, &out);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(files(&out), with_objects(&["mine.txt", "plan.json", "status.json"]));
}

/// An input that can't be read at all leaves nothing.
#[test]
fn an_unusable_input_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let words: [OsString; 7] = [
        "render".into(),
        "--node".into(),
        crate::manifest("unknown-field.yaml").into(),
        "--platform".into(),
        recorded("full-genesis-fresh", "platform.yaml").into(),
        "--out".into(),
        out.clone().into(),
    ];
    let ran = operator(words);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("spec.fullNode.snapshots"), "{}", ran.stderr);
    assert!(!out.exists());
}
