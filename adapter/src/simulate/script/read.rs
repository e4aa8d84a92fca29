//! Reads a script and refuses what can't be played.

use std::path::{Path, PathBuf};

use seinode_sim::sidecar::Kind as TaskKind;
use serde::Deserialize;
use serde_json::Value;

use super::step::{STEPS, Step};
use super::{Script, ScriptError, Scripted};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    #[serde(default)]
    manifests: Vec<PathBuf>,
    #[serde(default = "real")]
    pace: f64,
    /// Lines of earlier steps are not printed.
    #[serde(default, rename = "printFrom")]
    print_from: usize,
    steps: Vec<Value>,
}

fn real() -> f64 {
    1.0
}

/// Reads a script.
pub(in super::super) fn read(path: &Path) -> Result<Script, ScriptError> {
    let refuse = |text: String| ScriptError { path: path.to_owned(), text };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("can't be read: {error}")))?;
    let value: Value = serde_yaml_ng::from_str(&text)
        .map_err(|error| refuse(format!("is no YAML: {error}; check indentation and quotes there")))?;
    let file: File = serde_path_to_error::deserialize(value).map_err(|error| refuse(explain(&error)))?;
    if !file.pace.is_finite() || !(0.001..=100.0).contains(&file.pace) {
        return Err(refuse(format!("pace: {} is no factor; write one between 0.001 and 100", file.pace)));
    }
    if file.steps.is_empty() {
        return Err(refuse("steps: there is none; write at least one".to_owned()));
    }
    let steps = file.steps.into_iter().enumerate();
    let steps = steps.map(|(i, step)| one(step).map_err(|text| refuse(format!("step {}{text}", i + 1))));
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Script {
        path: path.to_owned(),
        about: file.about.trim().to_owned(),
        pace: file.pace,
        print_from: file.print_from,
        manifests: file.manifests.iter().map(|manifest| folder.join(manifest)).collect(),
        steps: steps.collect::<Result<_, _>>()?,
    })
}

/// A step is a map with one key, its name.
fn one(step: Value) -> Result<Scripted, String> {
    let name = match &step {
        Value::Object(map) if map.len() == 1 => map.keys().next().cloned().unwrap_or_default(),
        _ => {
            return Err(format!(
                ": a step is one word with what it takes, as `wait: 10s`; write one of {STEPS}"
            ));
        }
    };
    let text = written(&name, &step[&name]);
    let step = serde_path_to_error::deserialize(step).map_err(|error| {
        let path = error.path().to_string();
        let text = error.inner().to_string();
        let field = path.strip_prefix(&name).unwrap_or(&path).trim_start_matches('.');
        let field = if field.is_empty() { String::new() } else { format!(" {field}:") };
        format!(" ({name}):{field} {text}")
    })?;
    match &step {
        Step::Expect(state) if state.within.is_some() => {
            Err(" (expect): within: a state is expected now; write until to wait for it".to_owned())
        }
        Step::Until(state) | Step::Expect(state) => {
            let strange = state.runs.keys().find(|name| TaskKind::parse(name).is_none());
            strange.map_or(Ok(()), |name| Err(format!(" ({name}): runs: {}", no_task(name))))?;
            Ok(Scripted { text, step })
        }
        Step::Task(plan) if TaskKind::parse(&plan.task_type).is_none() => {
            Err(format!(" ({name}): type: {}", no_task(&plan.task_type)))
        }
        _ => Ok(Scripted { text, step }),
    }
}

fn no_task(name: &str) -> String {
    format!("there is no sidecar task {name:?}; write one as snapshot-restore or config-apply")
}

/// A step on one line. Of an object that is put, kind and name say enough.
fn written(name: &str, value: &Value) -> String {
    let of_object = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
    match value {
        Value::String(text) => format!("{name}: {text}"),
        Value::Object(_) if name == "put" => {
            format!("{name}: {} {}", of_object("/kind"), of_object("/metadata/name"))
        }
        other => {
            let text = other.to_string().replace("\":", ": ").replace(",\"", ", ").replace('"', "");
            format!("{name}: {text}")
        }
    }
}

fn explain(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { format!("{path}: ") };
    format!(
        "{path}{}; a script has about, steps and, if need be, manifests, pace and printFrom",
        error.inner()
    )
}
