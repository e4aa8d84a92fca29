//! The recorded cases: for each node and platform file, our objects are the recorded ones, except for the
//! differences that are listed here with their reason.
#![allow(clippy::disallowed_methods, reason = "a test reads its fixtures")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use std::fs;
use std::path::{Path, PathBuf};

use seinode_core::api::SeiNode;
use seinode_core::api::mode;
use seinode_core::platform::{self, Platform};
use seinode_core::render;
use serde_json::Value;

#[path = "../src/render/compare.rs"]
#[allow(dead_code, unreachable_pub, reason = "a module of the library, of which this test uses a part")]
mod compare;

/// A difference from the recorded objects that is wanted.
struct Deliberate {
    case: &'static str,
    file: &'static str,
    path: &'static str,
    reason: &'static str,
}

/// Every wanted difference; a row that no case needs any more fails the test. None is needed today: imported
/// claims in the bootstrap pod (S11) and refused pod labels (S34) appear in no recorded case.
const DELIBERATE: &[Deliberate] = &[];

#[test]
fn the_recorded_objects() {
    let mut used = vec![false; DELIBERATE.len()];
    let mut faults = Vec::new();
    let (mut cases, mut files) = (0, 0);
    for case in folders() {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        cases += 1;
        let Some(platform) = platform_of(&case, &mut faults) else { continue };
        let node = node_of(&case);
        for (file, produced) in render_all(&node, &platform) {
            let expected = read(&case.join(file)).map(|text| serde_json::from_str::<Value>(&text).unwrap());
            let (expected, produced) = match (expected, produced) {
                (Some(expected), Some(produced)) => (expected, produced),
                (None, None) => continue,
                (expected, _) => {
                    let which = if expected.is_some() { "is missing" } else { "is one too many" };
                    faults.push(format!("{name}/{file} {which}"));
                    continue;
                }
            };
            files += 1;
            for difference in compare::objects(&expected, &produced) {
                let row = DELIBERATE
                    .iter()
                    .position(|row| (row.case, row.file, row.path) == (&name, file, &difference.path));
                match row {
                    Some(row) => used[row] = true,
                    None => faults.push(format!("{name}/{file}: {difference}")),
                }
            }
        }
    }
    for (row, used) in DELIBERATE.iter().zip(used) {
        if !used {
            faults.push(format!("unused: {}/{} {}: {}", row.case, row.file, row.path, row.reason));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert_eq!((cases, files), (36, 147), "a case or a file got lost");
}

/// Objects may not lose what their recorded form has when read back: the types know every field.
#[test]
fn the_recorded_objects_survive_the_types() {
    for case in folders() {
        for (file, again) in [
            ("statefulset.json", again::<k8s_openapi::api::apps::v1::StatefulSet> as fn(&str) -> Value),
            ("bootstrap-job.json", again::<k8s_openapi::api::batch::v1::Job>),
        ] {
            let Some(text) = read(&case.join(file)) else { continue };
            let expected: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(compare::objects(&expected, &again(&text)), [], "{}", case.display());
        }
    }
}

fn again<T: serde::de::DeserializeOwned + serde::Serialize>(text: &str) -> Value {
    serde_json::to_value(serde_json::from_str::<T>(text).unwrap()).unwrap()
}

/// What the planner rejects, it rejects with the recorded words; the objects are rendered all the same.
#[test]
fn the_recorded_rejections() {
    let (mut rejected, mut missing) = (0, Vec::new());
    for case in folders() {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let expected =
            read(&case.join("error.txt")).filter(|e| compare::field(e, "stage") == Some("planner"));
        match (mode::validate(&node_of(&case).spec), expected) {
            (Err(error), Some(expected)) => {
                rejected += 1;
                let words = compare::missing_keywords(&expected, &error.to_string());
                missing.extend(words.into_iter().map(|word| (name.clone(), word)));
            }
            (result, None) => assert!(result.is_ok(), "{name}: {result:?}"),
            (Ok(_), Some(_)) => panic!("{name} passes"),
        }
    }
    assert_eq!((rejected, missing), (3, Vec::new()));
}

/// The platform of a case, or a check of the refusal that it expects.
fn platform_of(case: &Path, faults: &mut Vec<String>) -> Option<Platform> {
    let text = read(&case.join("platform.yaml")).unwrap();
    let expected =
        read(&case.join("error.txt")).filter(|error| compare::field(error, "stage") == Some("platform"));
    let checked = platform::parse(&text).and_then(|file| file.check());
    match (checked, expected) {
        (Ok(platform), None) => return Some(platform),
        (Err(error), Some(expected)) => {
            let missing = compare::missing_keywords(&expected, &error.to_string());
            faults.extend(missing.iter().map(|word| format!("{}: {error} lacks {word}", case.display())));
        }
        (Ok(_), Some(_)) => faults.push(format!("{}: the platform file passes", case.display())),
        (Err(error), None) => faults.push(format!("{}: {error}", case.display())),
    }
    None
}

fn render_all(node: &SeiNode, platform: &Platform) -> Vec<(&'static str, Option<Value>)> {
    let replicas = i32::from(node.spec.paused != Some(true));
    let imports = mode::imported_claim_name(&node.spec).is_some();
    let bootstraps = mode::needs_bootstrap(&node.spec);
    vec![
        ("statefulset.json", Some(json(&render::statefulset(node, platform, replicas).unwrap()))),
        ("service.json", Some(json(&render::service(node)))),
        ("rbac-proxy-configmap.json", Some(json(&render::rbac_proxy_config(node)))),
        ("pvc.json", (!imports).then(|| json(&render::data_pvc(node, platform).unwrap()))),
        (
            "bootstrap-job.json",
            bootstraps.then(|| json(&render::bootstrap_job(node, platform, false).unwrap())),
        ),
        ("bootstrap-service.json", bootstraps.then(|| json(&render::bootstrap_service(node)))),
    ]
}

fn json(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

fn node_of(case: &Path) -> SeiNode {
    serde_yaml_ng::from_str(&read(&case.join("node.yaml")).unwrap()).unwrap()
}

fn read(path: &Path) -> Option<String> {
    path.exists().then(|| fs::read_to_string(path).unwrap())
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rendered");
    let mut folders: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}
