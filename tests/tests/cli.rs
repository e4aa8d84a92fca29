//! The command line, through the built program: exit codes, what goes to stdout and what to stderr.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/refusal.rs"]
mod refusal;
#[path = "cli/render.rs"]
mod render;
#[path = "cli/simulate.rs"]
mod simulate;
#[path = "cli/start.rs"]
mod start;
#[path = "cli/stored.rs"]
mod stored;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// What a run of the program came to.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program, without anything of this machine's environment that it would read.
fn operator<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    operator_with(&[], arguments)
}

/// The same with variables.
fn operator_with<A: AsRef<OsStr>>(variables: &[(&str, &str)], arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_operator"));
    for name in [
        "SEI_CONTROLLER_CONFIG",
        "SEI_GATEWAY_NAME",
        "SEI_GATEWAY_NAMESPACE",
        "SEI_GATEWAY_DOMAIN",
        "KUBECONFIG",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).args(arguments).output().unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// A file of a recorded case.
fn recorded(case: &str, file: &str) -> PathBuf {
    repository("core/fixtures/rendered").join(case).join(file)
}

/// A manifest among the fixtures of these tests.
fn manifest(name: &str) -> PathBuf {
    repository("tests/fixtures/manifests").join(name)
}
