//! Scripts under `tests/scenarios/`, played through the program, against the output that stands beside each.
//!
//! `SEINODE_ACCEPT=1` writes the output instead of comparing it; read it before you commit it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

/// What a play came to.
struct Played {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn play(script: &Path) -> Played {
    let output = Command::new(env!("CARGO_BIN_EXE_operator"))
        .args(["simulate", "--script"])
        .arg(script)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    Played {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    scripts.sort();
    scripts
}

/// The first line that differs, with what is around it.
fn difference(wanted: &str, found: &str) -> String {
    let lines: Vec<(&str, &str)> = {
        let (a, b) = (wanted.lines().count(), found.lines().count());
        let pad = |text: &'static str, n: usize| std::iter::repeat_n(text, n);
        let a_lines = wanted.lines().chain(pad("(nothing)", b.saturating_sub(a)));
        a_lines.zip(found.lines().chain(pad("(nothing)", a.saturating_sub(b)))).collect()
    };
    let place = lines.iter().position(|(a, b)| a != b).unwrap_or(0);
    let shown = lines.iter().skip(place).take(8);
    shown.fold(format!("from line {} on:\n", place + 1), |text, (a, b)| format!("{text}- {a}\n+ {b}\n"))
}

#[test]
fn every_script_prints_what_stands_beside_it() {
    let scripts = scripts(&folder());
    assert!(scripts.len() >= 60, "a script got lost: {} are left", scripts.len());
    let accepts = std::env::var_os("SEINODE_ACCEPT").is_some();
    let queue = Mutex::new(scripts.iter());
    let failures = Mutex::new(BTreeMap::new());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(script) = queue.lock().unwrap().next() else { return };
                    let golden = script.with_extension("txt");
                    let played = play(script);
                    if accepts {
                        fs::write(&golden, &played.stdout).unwrap();
                    }
                    let wanted = fs::read_to_string(&golden).unwrap_or_default();
                    let text = if played.code != Some(0) {
                        let last = played.stdout.lines().last().unwrap_or_default().to_owned();
                        format!("exit code {:?}: {last}{}", played.code, played.stderr)
                    } else if wanted != played.stdout {
                        difference(&wanted, &played.stdout)
                    } else {
                        continue;
                    };
                    failures.lock().unwrap().insert(script.clone(), text);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    let text = failures.iter().fold(String::new(), |all, (script, text)| {
        format!("{all}{}: {text}\n", script.file_name().unwrap().display())
    });
    assert!(failures.is_empty(), "{} of {} scripts:\n{text}", failures.len(), scripts.len());
}

#[test]
fn l09_a_script_prints_the_same_twice() {
    for script in ["update.yaml", "bootstrap.yaml", "validator.yaml"] {
        let script = folder().join(script);
        let (first, second) = (play(&script), play(&script));
        assert_eq!(first.stdout, second.stdout, "{}", script.display());
    }
}

/// A script that is refused: exit code 2, nothing on stdout, and these words on stderr.
fn is_refused(text: &str, words: &[&str]) {
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("script.yaml");
    let manifest = folder().join("../../examples/full-node.yaml");
    fs::write(&script, text.replace("MANIFEST", manifest.to_str().unwrap())).unwrap();
    let played = play(&script);
    assert_eq!((played.code, played.stdout.as_str()), (Some(2), ""), "{text}\n{}", played.stderr);
    for word in words {
        assert!(played.stderr.contains(word), "{word:?} is not in {}", played.stderr);
    }
}

#[test]
fn a_bad_script_is_refused_with_step_field_and_remedy() {
    let steps = |steps: &str| format!("about: x\nmanifests: [MANIFEST]\nsteps:\n{steps}");
    let cases: &[(&str, &[&str])] = &[
        ("  - jump-around: 3", &["step 1 (jump-around):", "expected one of", "`create`, `put`"]),
        ("  - create: full-node\n  - wait: soon", &["step 2 (wait):", "no span of time", "10s, 5m"]),
        ("  - create: full-node\n  - wait: -5s", &["step 2 (wait):", "not negative"]),
        ("  - create: ful-node", &["step 1: node:", "default/ful-node", "write one of default/full-node"]),
        ("  - until: {phase: Running, fase: x}", &["step 1 (until):", "fase", "`phase`"]),
        ("  - expect: {within: 5m}", &["step 1 (expect): within:", "write until"]),
        ("  - api: {kind: Potato, trouble: hang}", &["step 1 (api): kind:", "Potato", "StatefulSet"]),
        ("  - api: {trouble: {answer: x}}", &["step 1 (api): trouble.answer:", "u16"]),
        ("  - sidecar: {what: dance}", &["step 1 (sidecar): what", "dance", "hang"]),
        ("  - platform: {images: {sidecars: x}}", &["step 1 (platform): images.sidecars", "no such key"]),
        ("  - {wait: 5s, create: full-node}", &["step 1:", "one word"]),
    ];
    for (text, words) in cases {
        is_refused(&steps(text), words);
    }
    is_refused("about: x\nsteps: [{wait: 1s}]\n", &["manifests:", "name at least one"]);
    is_refused("about: x\nmanifests: [MANIFEST]\nsteps: []\n", &["steps: there is none"]);
    is_refused("about: x\nmanifests: [MANIFEST]\npace: 0\nsteps: [{wait: 1s}]\n", &["pace: 0", "0.001"]);
    is_refused("about: x\nstep: []\n", &["step", "a script has about, steps"]);
    is_refused("about: [\n", &["is no YAML", "indentation"]);
}

#[test]
fn a_step_that_does_not_come_out_ends_the_play_with_1() {
    let place = tempfile::tempdir().unwrap();
    let script = place.path().join("script.yaml");
    let manifest = folder().join("../../examples/full-node.yaml");
    let text = format!(
        "about: x\nmanifests: [{}]\nsteps:\n  - create: full-node\n  - until: {{phase: Failed, within: 10m}}\n  - wait: 5m\n",
        manifest.display()
    );
    fs::write(&script, text).unwrap();
    let played = play(&script);
    assert_eq!(played.code, Some(1), "{}", played.stdout);
    assert!(played.stdout.ends_with("FAILED    step 2: not so within 600s: phase is Running, not Failed\n"));
}
