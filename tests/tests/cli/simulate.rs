//! `simulate`: every example comes to Running.

use std::fs;
use std::thread;

use crate::{operator, repository};

#[test]
fn every_example_comes_to_running() {
    let mut examples: Vec<_> =
        fs::read_dir(repository("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    examples.sort();
    assert!(examples.len() >= 8, "an example got lost: {examples:?}");
    thread::scope(|scope| {
        let runs: Vec<_> = examples
            .iter()
            .map(|example| {
                let run = scope.spawn(move || {
                    let words = ["simulate", "--speed", "20", "--timeout", "120"].map(Into::into);
                    operator(words.into_iter().chain([example.clone().into_os_string()]))
                });
                (example, run)
            })
            .collect();
        for (example, run) in runs {
            let ran = run.join().unwrap();
            assert_eq!(ran.code, Some(0), "{}: {}", example.display(), ran.stderr);
            let shown: serde_yaml_ng::Value = serde_yaml_ng::from_str(&ran.stdout).unwrap();
            assert_eq!(shown["status"]["phase"], "Running", "{}", example.display());
        }
    });
}

#[test]
fn a_node_given_twice_is_refused() {
    let file = repository("examples/full-node.yaml");
    let ran = operator(["simulate".into(), file.clone().into_os_string(), file.into_os_string()]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("metadata.name: node default/full-node is given twice"), "{}", ran.stderr);
}
