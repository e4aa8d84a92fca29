//! The large runs of the model: every scope as far as the time goes, and every bug that was put in on purpose.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::campaign::{Campaign, Options, Row};
use crate::model::mutations::{self, Mutation};
use crate::model::{self, Bounds, Found};

/// Every scope of the model.
pub const MODEL: Campaign = Campaign {
    name: "model",
    about: "every order of events within a scope: stalls, crashes, old versions, lost answers, edits, mishaps",
    run: scopes,
};

/// Every bug that was put in on purpose.
pub const MUTATIONS: Campaign = Campaign {
    name: "mutations",
    about: "the model against bugs in the core, one for each class of hazard: each has to be found",
    run: bugs,
};

/// States of one scope in a whole run, beyond which it is left at that: the rest of the time is for the others.
const MOST: f64 = 8_000_000.0;

/// Which part of a scope's time is for the search; what it does not come to is walked through by chance in the rest.
const SEARCHED: f64 = 0.7;

/// Steps tried and states seen of one scope in the search for a bug.
const MOST_FOR_A_BUG: usize = 1_000_000;

fn scopes(options: &Options) -> Result<Vec<Row>, String> {
    let named = |name: &str| name == options.only;
    let exact = model::ALL.iter().any(|s| named(s.name));
    let chosen: Vec<_> = model::ALL
        .iter()
        .filter(|s| if exact { named(s.name) } else { s.name.contains(&options.only) })
        .collect();
    let started = Instant::now();
    let mut rows = Vec::new();
    for (at, scope) in chosen.iter().enumerate() {
        let left = options.limit.saturating_sub(started.elapsed());
        // What one scope leaves over is for those that follow.
        let time = left / u32::try_from(chosen.len() - at).unwrap_or(1);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is above 0")]
        let states = (MOST * options.share) as usize;
        let bounds = Bounds { states, depth: None, time: time.mul_f64(SEARCHED), judges: true };
        let found = model::search(scope, bounds)?;
        let mut row = Row {
            name: scope.name.to_owned(),
            counts: vec![
                ("states", count(found.states)),
                ("steps", count(found.depth)),
                ("decisions", count(found.decisions)),
                ("complete", u64::from(found.complete)),
            ],
            took: found.took,
            failure: found.failure,
        };
        if !found.complete && row.failure.is_none() {
            let bounds = Bounds { time: time.saturating_sub(found.took), ..bounds };
            let walked = model::walk(scope, options.seed, bounds)?;
            row.counts
                .extend([("states of walks", count(walked.states)), ("steps of walks", count(walked.depth))]);
            row.took += walked.took;
            row.failure = walked.failure;
        }
        rows.push(row);
    }
    Ok(rows)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn bugs(options: &Options) -> Result<Vec<Row>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/mutations");
    let chosen: Vec<_> = mutations::ALL.iter().filter(|m| m.name.contains(&options.only)).collect();
    let started = Instant::now();
    let mut rows = Vec::new();
    for mutation in chosen {
        if started.elapsed() > options.limit {
            return Err(format!("no time is left for {}", mutation.name));
        }
        let began = Instant::now();
        let copy = tempfile::tempdir().map_err(|e| e.to_string())?;
        bare_copy(&root, copy.path())?;
        mutations::apply(mutation, copy.path())?;
        let checker = build(copy.path(), &target)?;
        let blunt = check(&checker, mutation, false)?;
        let sharp = check(&checker, mutation, true)?;
        let states = |found: &Found| found.failure.as_ref().map_or(0, |_| count(found.states));
        let failure = if sharp.failure.is_none() && blunt.failure.is_none() {
            Some(format!("{} ({}) is not found in scope {}", mutation.name, mutation.class, mutation.scope))
        } else {
            None
        };
        let law = |found: &Found| {
            let text = found.failure.as_deref().unwrap_or("nothing").lines().next().unwrap_or_default();
            text.replace('|', "/")
        };
        rows.push(Row {
            name: format!(
                "{} in {}: {}; judged: {}",
                mutation.name,
                mutation.scope,
                law(&blunt),
                law(&sharp)
            ),
            counts: vec![("states, judged", states(&sharp)), ("states, outcome alone", states(&blunt))],
            took: began.elapsed(),
            failure,
        });
    }
    Ok(rows)
}

/// What the search is made of and no more, as a workspace of its own: the core and the model.
fn bare_copy(root: &Path, to: &Path) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("copying the workspace: {e}");
    for part in ["core/src", "tests/src/model"] {
        copy_folder(&root.join(part), &to.join(part)).map_err(fail)?;
    }
    fs::create_dir_all(to.join("tests/src/bin")).map_err(fail)?;
    for file in ["Cargo.lock", "rust-toolchain.toml", "core/Cargo.toml", "tests/src/bin/checker.rs"] {
        fs::copy(root.join(file), to.join(file)).map_err(|e| format!("copying {file}: {e}"))?;
    }
    let workspace = fs::read_to_string(root.join("Cargo.toml")).map_err(fail)?;
    let lines = workspace.lines().map(|line| match line {
        _ if line.starts_with("members = ") => "members = [\"core\", \"tests\"]",
        _ if line.starts_with("default-members = ") => "",
        _ if line.contains("{ path = \"adapter") => "",
        // The search is short, so the link is to be short too.
        _ if line.starts_with("lto = ") => "",
        other => other,
    });
    fs::write(to.join("Cargo.toml"), lines.collect::<Vec<_>>().join("\n")).map_err(fail)?;
    fs::write(to.join("tests/Cargo.toml"), MANIFEST).map_err(fail)?;
    fs::write(to.join("tests/src/lib.rs"), "//! The model alone.\npub mod model;\n").map_err(fail)
}

/// The package of the search alone.
const MANIFEST: &str = r#"[package]
name = "seinode-tests"
version.workspace = true
edition.workspace = true

[dependencies]
fastrand = "2.5"
k8s-openapi.workspace = true
seinode-core = { workspace = true, features = ["testkit"] }
serde.workspace = true
serde_json.workspace = true
stateright.workspace = true
"#;

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn build(workspace: &Path, target: &Path) -> Result<PathBuf, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--offline", "-p", "seinode-tests", "--bin", "checker"])
        .current_dir(workspace)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .map_err(|e| format!("cargo can't be started: {e}"))?;
    if !output.status.success() {
        return Err(format!("the checker does not build: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(target.join("release/checker"))
}

/// Longest search for one bug.
const LIMIT: Duration = Duration::from_mins(3);

fn check(checker: &Path, mutation: &Mutation, judges: bool) -> Result<Found, String> {
    let output = Command::new(checker)
        .args([
            mutation.scope.to_owned(),
            judges.to_string(),
            MOST_FOR_A_BUG.to_string(),
            LIMIT.as_secs().to_string(),
        ])
        .output()
        .map_err(|e| format!("the checker can't be started: {e}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // A bug that keeps a node from coming up at all is found before the search begins.
        return if error.contains("nothing will ever happen")
            || error.contains("no end after")
            || error.contains("breaks")
        {
            Ok(Found::before(error.trim()))
        } else {
            Err(format!("{}: {error}", mutation.name))
        };
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("the checker's answer: {e}"))
}
