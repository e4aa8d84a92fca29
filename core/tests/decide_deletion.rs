//! Deletion: phase, claim, finalizer, in this order; only a claim of ours, only after a look.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]
#![allow(clippy::type_complexity, clippy::large_stack_arrays, reason = "tables of rows, read top down")]

use seinode_core::api::{NodePhase, SeiNode};
use seinode_core::effect::{Fault, Op, Outcome};
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen};

/// A node that is being deleted, its phase stored.
fn terminating(node: SeiNode) -> Scene {
    let mut scene = story::deleting(node);
    scene.node.status.phase = Some(NodePhase::Terminating);
    scene
}

#[test]
fn the_phase_comes_first_whatever_the_node_was_doing() {
    let worlds = [
        story::deleting(node::full()),
        Scene {
            node: object::deleting(story::failed(node::full()).node, scene::noon()),
            ..story::failed(node::full())
        },
        Scene {
            node: object::deleting(story::mid_plan(node::full(), 3).node, scene::noon()),
            ..story::mid_plan(node::full(), 3)
        },
    ];
    for mut scene in worlds {
        scene.node.spec.paused = Some(true);
        let line = digest::of(&scene);
        assert!(line.ends_with("Terminating"), "{line}");
        assert_eq!(law::broken(&scene), Vec::<String>::new());
    }
}

#[test]
fn each_kind_of_claim() {
    let done = "act, finalizers []";
    let owned = |api: &'static str, uid: &'static str| {
        move |s: &mut Scene| {
            let claim = s.observed.data_pvc.present().expect("a claim").clone();
            s.observed.data_pvc =
                Seen::Present(object::owned_by(claim, Some((api, "SeiNode", "alice", uid))));
        }
    };
    let rows: Vec<(&str, Box<dyn Fn(&mut Scene)>, &str)> = vec![
        ("ours", Box::new(|_| {}), "act, delete PersistentVolumeClaim data-alice"),
        (
            "ours, being deleted",
            Box::new(|s| {
                let claim = s.observed.data_pvc.present().expect("a claim").clone();
                s.observed.data_pvc = Seen::Present(object::deleting(claim, scene::noon()));
            }),
            done,
        ),
        ("gone", Box::new(|s| s.observed.data_pvc = Seen::Absent), done),
        ("W7: of somebody else", Box::new(owned("apps.example.net/v1", "x")), done),
        ("of an earlier node", Box::new(owned("sei.io/v1alpha1", "old")), done),
        (
            "W7: of nobody",
            Box::new(|s| {
                let claim = s.observed.data_pvc.present().expect("a claim").clone();
                s.observed.data_pvc = Seen::Present(object::owned_by(claim, None));
            }),
            done,
        ),
        (
            "law 7: unknown",
            Box::new(|s| s.observed.data_pvc = Seen::Unknown(Blind::NotSynced)),
            "rest 2000ms: can't tell about the data volume claim: the cache is not filled yet",
        ),
        (
            "kept by --cascade=orphan",
            Box::new(|s| {
                s.node.metadata.finalizers.get_or_insert_default().push("orphan".to_owned());
            }),
            "act, finalizers [\"orphan\"]",
        ),
    ];
    for (word, change, expected) in rows {
        let mut scene = terminating(node::full());
        change(&mut scene);
        assert_eq!(digest::of(&scene), expected, "{word}");
        assert_eq!(law::broken(&scene), Vec::<String>::new(), "{word}");
    }
}

#[test]
fn w7_an_imported_claim_is_not_even_looked_at() {
    assert_eq!(digest::first(&terminating(node::importing())), "look Workflows", "and so not the claim");
    assert_eq!(digest::of(&terminating(node::importing())), "act, finalizers []");
}

#[test]
fn w7_nothing_is_deleted_that_was_only_seen_in_the_cache() {
    assert_eq!(digest::first(&terminating(node::full())), "look DataPvc");
}

#[test]
fn l02_a_delete_carries_uid_and_version() {
    let mut scene = terminating(node::full());
    let effects = scene.settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    let Op::Delete { uid, version, .. } = &effects[0].op else { panic!("a delete") };
    assert_eq!(
        (uid.as_str(), version.as_ref().map(seinode_core::ident::ResourceVersion::as_str)),
        ("uid-claim", Some("204"))
    );
}

#[test]
fn other_finalizers_stay_and_without_ours_there_is_nothing_to_do() {
    let mut scene = terminating(node::full());
    scene.observed.data_pvc = Seen::Absent;
    scene.node.metadata.finalizers.get_or_insert_default().insert(0, "example.net/backup".to_owned());
    assert_eq!(digest::of(&scene), "act, finalizers [\"example.net/backup\"]");
    scene.node.metadata.finalizers = Some(vec!["example.net/backup".to_owned()]);
    assert_eq!(digest::of(&scene), "rest on change: ");
}

#[test]
fn a_refused_delete_waits_and_the_finalizer_stays() {
    let mut scene = terminating(node::full());
    let mut looked = scene.clone();
    let effects = looked.settle().map(|d| law::effects(d, &scene.node)).expect("a decision");
    for fault in [Fault::Conflict, Fault::Transient, Fault::Terminal, Fault::Ambiguous] {
        scene.observed.outcomes =
            vec![Outcome { effect: effects[0].id.clone(), result: Err(fault("no".to_owned())) }];
        assert_eq!(digest::of(&scene), "rest 2000ms: no");
    }
}

#[test]
fn p58_the_finalizer_comes_before_anything_else() {
    let mut scene = story::fresh(node::full());
    scene.node.metadata.finalizers = None;
    assert_eq!(digest::first(&scene), "act, finalizers [\"sei.io/seinode-finalizer\"]");
    scene.node.spec.paused = Some(true);
    assert_eq!(digest::first(&scene), "act, finalizers [\"sei.io/seinode-finalizer\"]");
}
