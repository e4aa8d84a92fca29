//! `ensure-data-pvc`: the claim that is made, and the checks of an imported one in the order of the contract (10.1).
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use seinode_core::api::ConditionType;
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen};
use serde_json::{Value, json};

/// A node whose plan is stored and stands at its first task.
fn at_claim(node: seinode_core::api::SeiNode) -> Scene {
    story::mid_plan(node, 0)
}

fn changed<T: serde::Serialize + serde::de::DeserializeOwned>(object: &T, patch: &Value) -> T {
    let mut json = serde_json::to_value(object).expect("an object is JSON");
    seinode_core::patch::apply(&mut json, patch);
    object::parse(json)
}

fn claim(scene: &Scene) -> PersistentVolumeClaim {
    scene.observed.data_pvc.present().expect("a claim").clone()
}

#[test]
fn a_claim_of_its_own() {
    let owner = |api: &str, uid: &str| {
        json!({"metadata": {"ownerReferences": [
            {"apiVersion": api, "kind": "SeiNode", "name": "alice", "uid": uid, "controller": true},
        ]}})
    };
    let rows: Vec<(&str, Option<Value>, &str)> = vec![
        ("absent: made", None, "act, apply PersistentVolumeClaim"),
        ("ours", Some(json!({})), "act, submit configure-genesis"),
        (
            "ours, not bound yet: the pod binds it",
            Some(json!({"status": {"phase": "Pending"}})),
            "act, submit configure-genesis",
        ),
        (
            "W12: of an earlier node",
            Some(owner("sei.io/v1alpha1", "old")),
            "rest 15000ms: PersistentVolumeClaim data-alice belongs to an earlier node of this name and is about to be collected",
        ),
        ("of somebody else: final", Some(owner("apps.example.net/v1", "other")), "commit Failed Failed"),
        ("of nobody: final", Some(json!({"metadata": {"ownerReferences": null}})), "commit Failed Failed"),
        (
            "of nobody, being deleted",
            Some(json!({"metadata": {"ownerReferences": null, "deletionTimestamp": "2026-11-24T12:00:00Z"}})),
            "rest 15000ms: PersistentVolumeClaim data-alice is being deleted",
        ),
        (
            "S29: ours, being deleted",
            Some(json!({"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})),
            "rest 15000ms: PersistentVolumeClaim data-alice is being deleted",
        ),
        ("S29: ours, lost: final", Some(json!({"status": {"phase": "Lost"}})), "commit Failed Failed"),
    ];
    for (word, patch, expected) in rows {
        let mut scene = at_claim(node::full());
        scene.observed.data_pvc = match patch {
            None => Seen::Absent,
            Some(patch) => Seen::Present(changed(&claim(&scene), &patch)),
        };
        assert_eq!(digest::of(&scene), expected, "{word}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn s29_a_claim_of_ours_that_is_too_small_is_waited_for() {
    let mut scene = at_claim(node::full());
    let small = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    scene.observed.data_pvc = Seen::Present(changed(&claim(&scene), &small));
    let line = digest::of(&scene);
    assert!(
        line.starts_with("rest 5000ms: PersistentVolumeClaim data-alice asks for 1Gi, less than"),
        "{line}"
    );
}

#[test]
fn l07_an_unknown_claim_is_looked_at_and_then_waited_for() {
    let mut scene = at_claim(node::full());
    scene.observed.data_pvc = Seen::Unknown(Blind::NotSynced);
    assert_eq!(digest::first(&scene), "look DataPvc");
    assert_eq!(digest::of(&scene), "rest 1000ms: can't tell about DataPvc: the cache is not filled yet");
}

#[test]
fn final_verdicts_come_only_after_a_look_past_the_cache() {
    let mut scene = at_claim(node::full());
    let foreign = changed(&claim(&scene), &json!({"metadata": {"ownerReferences": null}}));
    scene.observed.data_pvc = Seen::Present(foreign);
    assert_eq!(digest::first(&scene), "look DataPvc");
}

type Case = (&'static str, Option<Value>, Option<Value>, &'static str, &'static str);

/// Word, change of the claim (`None`: absent), change of the volume (`None`: absent), outcome, reason of the condition.
fn imports() -> Vec<Case> {
    let (same, wait) = (|| Some(json!({})), "PVCNotReady");
    let rests = |_| "rest 5000ms";
    vec![
        ("fit", same(), same(), "act, submit configure-genesis", "PVCValidated"),
        (
            "ReadWriteOncePod is fit",
            Some(json!({"spec": {"accessModes": ["ReadWriteOncePod"]}})),
            same(),
            "act, submit configure-genesis",
            "PVCValidated",
        ),
        ("absent", None, same(), rests(0), wait),
        (
            "being deleted",
            Some(json!({"metadata": {"deletionTimestamp": "2026-11-24T12:00:00Z"}})),
            same(),
            rests(0),
            wait,
        ),
        ("lost", Some(json!({"status": {"phase": "Lost"}})), same(), "commit Failed Failed", "PVCInvalid"),
        ("pending", Some(json!({"status": {"phase": "Pending"}})), same(), rests(0), wait),
        ("no phase", Some(json!({"status": {"phase": null}})), same(), rests(0), wait),
        (
            "read-only",
            Some(json!({"spec": {"accessModes": ["ReadOnlyMany"]}})),
            same(),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        (
            "no access mode",
            Some(json!({"spec": {"accessModes": null}})),
            same(),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        ("no capacity yet", Some(json!({"status": {"capacity": null}})), same(), rests(0), wait),
        (
            "too small",
            Some(json!({"status": {"capacity": {"storage": "1Gi"}}})),
            same(),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        ("no volume named", Some(json!({"spec": {"volumeName": ""}})), same(), rests(0), wait),
        ("volume absent", same(), None, rests(0), wait),
        (
            "volume failed",
            same(),
            Some(json!({"status": {"phase": "Failed"}})),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        (
            "volume without capacity",
            same(),
            Some(json!({"spec": {"capacity": null}})),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        (
            "volume of another size",
            same(),
            Some(json!({"spec": {"capacity": {"storage": "9Ti"}}})),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        (
            "pending comes before read-only",
            Some(json!({"status": {"phase": "Pending"}, "spec": {"accessModes": []}})),
            same(),
            rests(0),
            wait,
        ),
        (
            "read-only comes before capacity",
            Some(json!({"status": {"capacity": null}, "spec": {"accessModes": []}})),
            same(),
            "commit Failed Failed",
            "PVCInvalid",
        ),
        (
            "too small comes before no volume",
            Some(json!({"status": {"capacity": {"storage": "1"}}, "spec": {"volumeName": ""}})),
            same(),
            "commit Failed Failed",
            "PVCInvalid",
        ),
    ]
}

#[test]
fn each_check_of_an_imported_claim() {
    for (word, of_claim, of_volume, expected, reason) in imports() {
        let mut scene = at_claim(node::importing());
        let volume: PersistentVolume = scene.observed.volume.present().expect("a volume").clone();
        scene.observed.data_pvc =
            of_claim.map_or(Seen::Absent, |p| Seen::Present(changed(&claim(&scene), &p)));
        scene.observed.volume = of_volume.map_or(Seen::Absent, |p| Seen::Present(changed(&volume, &p)));
        let line = digest::of(&scene);
        assert!(line.starts_with(expected), "{word}: {line}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
        // The condition rides along with the next write; the mark of a long wait is one.
        let later = Scene { now: scene::noon(), ..scene }.later(std::time::Duration::from_secs(15));
        let shown =
            digest::condition(&later, &ConditionType::ImportPvcReady).map(|c| c.reason).unwrap_or_default();
        if !line.starts_with("act") {
            assert_eq!(shown, reason, "{word}");
        }
    }
}

#[test]
fn a_verdict_about_the_volume_comes_only_after_a_look_at_the_volume() {
    let mut scene = at_claim(node::importing()).looking([seinode_core::world::Topic::DataPvc]);
    let volume = scene.observed.volume.present().expect("a volume").clone();
    scene.observed.volume = Seen::Present(changed(&volume, &json!({"status": {"phase": "Failed"}})));
    assert_eq!(digest::first(&scene), "look Volume");
}

#[test]
fn an_imported_claim_is_never_applied() {
    let mut scene = story::fresh(node::importing());
    scene.observed.data_pvc = Seen::Absent;
    assert_eq!(digest::of(&scene), "commit Active Initializing");
}
