//! `plan`: a plan or `null` on stdout, the reason on stderr.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use seinode_core::api::{SeiNode, TaskType};
use seinode_core::ident;
use seinode_core::platform;
use seinode_core::render;
use serde_json::{Value, json};

use crate::{Ran, operator, recorded};

/// The time of every case here.
const NOW: &str = "2026-01-02T04:00:00Z";

fn plan(node: &Path, platform: &str, world: &[&Path]) -> Ran {
    let mut words: Vec<OsString> = vec![
        "plan".into(),
        "-f".into(),
        node.into(),
        "--platform".into(),
        recorded(platform, "platform.yaml").into(),
        "--now".into(),
        NOW.into(),
    ];
    for file in world {
        words.extend(["--world".into(), (*file).into()]);
    }
    operator(words)
}

fn of(case: &str) -> Ran {
    plan(&recorded(case, "node.yaml"), case, &[])
}

fn types(ran: &Ran) -> Vec<String> {
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let tasks = plan["tasks"].as_array().into_iter().flatten();
    tasks.map(|task| task["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn ids_come_from_the_manifest_or_from_zeros_and_say_so() {
    let case = "full-genesis-fresh";
    let mut node: Value =
        serde_yaml_ng::from_str(&fs::read_to_string(recorded(case, "node.yaml")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.json");
    let uid = node["metadata"]["uid"].clone();
    for (uid, version, note) in [
        (uid.clone(), json!("4711"), ""),
        (
            uid,
            Value::Null,
            "note: ids are derived from zeros: the manifest has no metadata.resourceVersion\n",
        ),
        (
            Value::Null,
            Value::Null,
            "note: ids are derived from zeros: the manifest has no metadata.uid and no metadata.resourceVersion\n",
        ),
    ] {
        node["metadata"]["uid"] = uid.clone();
        node["metadata"]["resourceVersion"] = version.clone();
        fs::write(&file, node.to_string()).unwrap();
        let ran = plan(&file, case, &[]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), note));
        let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
        let mut stored = SeiNode::default();
        stored.metadata.uid = Some(uid.as_str().unwrap_or("00000000-0000-0000-0000-000000000000").to_owned());
        stored.metadata.resource_version = Some(version.as_str().unwrap_or("0").to_owned());
        let id = ident::plan_id(&stored, "init");
        assert_eq!(plan["id"], json!(id));
        assert_eq!(plan["tasks"][0]["id"], json!(ident::task_id(&id, &TaskType::EnsureDataPvc, 0)));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(of("validator-bootstrap-keys").stdout, of("validator-bootstrap-keys").stdout);
}

#[test]
fn no_plan_is_null_with_the_reason() {
    for (case, reason) in [
        ("full-paused-fresh", "paused by spec.paused; set it to false to go on"),
        ("full-statesync-blocked", "witnesses for chain"),
        ("full-phase-failed", "the node has failed"),
        ("full-running-steady", "nothing to do"),
        ("replayer-no-peers", "spec.peers is empty"),
    ] {
        let ran = of(case);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "null\n"), "{case}: {}", ran.stderr);
        let last = ran.stderr.lines().last().unwrap();
        assert!(last.starts_with("no plan: ") && last.contains(reason), "{case}: {}", ran.stderr);
    }
}

#[test]
fn an_active_plan_stays_the_plan() {
    let ran = of("full-init-plan-active");
    assert_eq!(types(&ran), ["ensure-data-pvc", "apply-statefulset"]);
    assert!(ran.stdout.contains("0b2f0c2e-6f0e-4a39-9a6a-0d6a3f7f2222"), "{}", ran.stdout);
}

#[test]
fn a_status_that_breaks_a_law_is_told_of() {
    let case = "full-running-steady";
    let text = fs::read_to_string(recorded(case, "node.yaml")).unwrap();
    let mut node: Value = serde_yaml_ng::from_str(&text).unwrap();
    let twice = json!({"type": "Ready", "status": "True", "reason": "PodReady", "message": ""});
    node["status"]["conditions"] = json!([twice, twice]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.json");
    fs::write(&file, node.to_string()).unwrap();
    let ran = plan(&file, case, &[]);
    let note = "note: the status that was given breaks law 11: a condition type appears twice";
    assert!(ran.stderr.lines().any(|line| line == note), "{}", ran.stderr);
    assert!(!of(case).stderr.contains("breaks law"), "{}", of(case).stderr);
}

/// Without a pod an update takes the order that replaces the pod first.
#[test]
fn live_objects_take_the_place_of_what_is_made_up() {
    let case = "full-running-image-drift";
    let made_up = types(&of(case));
    assert_eq!(made_up[..3], ["apply-statefulset", "apply-service", "config-patch"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("world.yaml");
    fs::write(&file, "apiVersion: v1\nkind: PodList\nitems: []\n---\nkind: Event\nmetadata: {name: e}\n")
        .unwrap();
    let ran = plan(&recorded(case, "node.yaml"), case, &[&file]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(types(&ran)[..4], ["apply-statefulset", "apply-service", "replace-pod", "observe-image"]);
    assert!(ran.stderr.contains("kind Event is not looked at"), "{}", ran.stderr);
}

/// A StatefulSet that is there already makes the first plan replace its pod.
#[test]
fn a_live_statefulset_has_a_say_in_the_first_plan() {
    let case = "full-genesis-fresh";
    let read = |file: &str| fs::read_to_string(recorded(case, file)).unwrap();
    let node: SeiNode = serde_yaml_ng::from_str(&read("node.yaml")).unwrap();
    let settings = platform::parse(&read("platform.yaml")).unwrap().check().unwrap();
    let live = render::statefulset(&node, &settings, 0).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("world.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [live]});
    fs::write(&file, list.to_string()).unwrap();
    assert!(!types(&of(case)).contains(&"replace-pod".to_owned()));
    let ran = plan(&recorded(case, "node.yaml"), case, &[&file]);
    assert_eq!(types(&ran)[2..5], ["apply-statefulset", "apply-service", "replace-pod"], "{}", ran.stderr);
}

#[test]
fn an_object_that_can_t_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("world.yaml");
    fs::write(&file, "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: alpha}\nspec: 5\n").unwrap();
    let ran = plan(&recorded("full-running-steady", "node.yaml"), "full-running-steady", &[&file]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("Pod p can't be read"), "{}", ran.stderr);
}
