//! The laws that can be told from decisions alone, over any world the generators can draw.
//!
//! 256 worlds per law in a normal run; `PROPTEST_CASES` asks for more. What ever failed is kept in `laws.regressions`.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, RngSeed, TestRunner};
use seinode_core::Decision;
use seinode_core::api::SeiNode;
use seinode_core::effect::{Effect, Kind, Op};
use seinode_core::testkit::sketch::{any_sketch, sketch_of, valid_spec};
use seinode_core::testkit::{Scene, Sketch, law, node, story};
use serde_json::{Value, json};

fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 4096,
        // The same worlds in every run, unless others are asked for.
        rng_seed: if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(SEED) } else { asked.rng_seed },
        ..asked
    }
}

/// Where the worlds of an ordinary run come from.
const SEED: u64 = 20_261_201;

fn any_mask() -> impl Strategy<Value = law::Mask> {
    prop_oneof![1 => Just([true; 10]), 3 => prop::array::uniform10(any::<bool>())]
}

/// JSON that looks like a node on the outside and is anything inside.
fn any_json_node() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zA-Z0-9/._-]{0,8}".prop_map(Value::from),
        Just(json!("Active")),
        Just(json!("Running")),
        Just(json!("mark-ready")),
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "finalizers",
        "deletionTimestamp",
        "spec",
        "status",
        "plan",
        "tasks",
        "type",
        "id",
        "params",
        "phase",
        "conditions",
        "fullNode",
        "validator",
        "snapshot",
        "s3",
        "targetHeight",
        "peers",
        "static",
        "addresses",
        "paused",
        "retryCount",
        "submittedAt",
        "lastTransitionTime",
        "reason",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

fn fails(found: &[String], scene: &Scene) -> Result<(), TestCaseError> {
    if found.is_empty() {
        return Ok(());
    }
    let mut scene = scene.clone();
    let decided = scene.settle().map(|d| d.show().to_string()).unwrap_or_default();
    Err(TestCaseError::fail(format!(
        "{found:#?}\ndecided: {}",
        decided.chars().take(1500).collect::<String>()
    )))
}

/// Drawn worlds; enough to come to everything below, and always the same.
const DRAWN: usize = 4_000;

/// A law proves nothing of what no world leads to.
#[test]
fn drawn_worlds_lead_to_every_kind_of_effect() {
    let mut runner = TestRunner::deterministic();
    let strategy = any_sketch();
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..DRAWN {
        let mut scene = strategy.new_tree(&mut runner).expect("any world can be drawn").current().scene();
        let effects = scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default();
        for effect in effects {
            *found.entry(kind(&effect)).or_default() += 1;
        }
    }
    let wanted = [
        "apply PersistentVolumeClaim",
        "apply ConfigMap",
        "apply StatefulSet",
        "apply Service",
        "apply Job",
        "delete PersistentVolumeClaim",
        "delete Pod",
        "delete Job",
        "delete Service",
        "patch StatefulSet",
        "patch Job",
        "submit",
        "withdraw",
        "finalizer",
        "workflow",
        "announce",
    ];
    let missing: Vec<_> = wanted.iter().filter(|kind| !found.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "no world leads to {missing:?}, of {found:#?}");
}

/// The longest plan there is, of a node that asks for as much as any does, with each text at its longest.
#[test]
fn l18_the_largest_plan_stays_small_too() {
    let mut node = node::with_spec(&json!({"validator": {
        "snapshot": {"s3": {"targetHeight": 1000}, "bootstrapImage": "registry.example.net/seid:v5"},
        "signingKey": {"secret": {"secretName": "signing"}},
        "nodeKey": {"secret": {"secretName": "p2p"}},
        "operatorKeyring": {"secret": {
            "secretName": "keyring", "passphraseSecretRef": {"secretName": "passphrase", "key": "word"},
        }},
    }}));
    let addresses: Vec<_> = (0..100).map(|i| format!("{i:040x}@peer-{i}.example.net:26656")).collect();
    node.spec.peers = serde_json::from_value(json!([{"static": {"addresses": addresses}}])).ok();
    node.spec.overrides = Some((0..100).map(|i| (format!("section.key-{i}"), "v".repeat(100))).collect());
    let mut scene = story::fresh(node);
    assert!(scene.commit(), "it gets a plan");
    let plan = scene.node.status.plan.as_mut().expect("it");
    assert!(plan.tasks.len() > 20, "{} tasks", plan.tasks.len());
    plan.tasks.iter_mut().for_each(|task| task.error = Some("e".repeat(2048)));
    for condition in &mut scene.node.status.conditions {
        condition.message = "m".repeat(2048);
    }
    let size = serde_json::to_vec(&scene.node).expect("a node is JSON").len();
    // Of the 1.5 MiB that the API server stores.
    assert!(size < 256 * 1024, "{size} bytes");
}

fn kind(effect: &Effect) -> String {
    let of = |verb: &str, kind: Kind| format!("{verb} {kind:?}");
    match &effect.op {
        Op::Apply { manifest, .. } => of("apply", manifest.target().kind),
        Op::Delete { target, .. } => of("delete", target.kind),
        Op::Patch { target, .. } => of("patch", target.kind),
        Op::Submit(_) => "submit".to_owned(),
        Op::Withdraw(_) => "withdraw".to_owned(),
        Op::Finalizer { .. } => "finalizer".to_owned(),
        Op::Workflow(_) => "workflow".to_owned(),
        Op::Announce(_) => "announce".to_owned(),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn l01_to_l11_hold_for_one_decision_on_any_world(sketch in any_sketch()) {
        let scene = sketch.scene();
        fails(&law::broken(&scene), &scene)?;
    }

    #[test]
    fn l01_to_l11_hold_for_one_decision_on_a_valid_node(sketch in sketch_of(valid_spec())) {
        let scene = sketch.scene();
        fails(&law::broken(&scene), &scene)?;
    }

    #[test]
    fn l06_an_unchanged_world_comes_to_rest(sketch in any_sketch()) {
        let scene = sketch.scene();
        fails(&law::restless(&scene), &scene)?;
    }

    #[test]
    fn l07_darkness_settles_nothing(sketch in any_sketch(), mask in any_mask()) {
        let scene = sketch.scene();
        let found: Vec<String> = law::new_verdict(&scene, mask).into_iter().collect();
        fails(&found, &scene)?;
    }

    #[test]
    fn l15_a_clock_that_jumps_keeps_every_law(sketch in any_sketch(), jump in -1_000_000_000_i64..1_000_000_000) {
        let moved = Sketch { clock: sketch.clock.saturating_add(jump), ..sketch };
        let scene = moved.scene();
        fails(&law::broken(&scene), &scene)?;
    }

    #[test]
    fn l16_a_status_reads_as_it_was_written(sketch in any_sketch()) {
        let node = sketch.node();
        let text = serde_json::to_string(&node).expect("a node is JSON");
        prop_assert_eq!(serde_json::from_str::<SeiNode>(&text).expect("and reads as one"), node);
    }

    #[test]
    fn l18_the_stored_object_stays_small(sketch in any_sketch()) {
        if let Some(Decision::Commit(commit)) = sketch.scene().settle() {
            let size = serde_json::to_vec(&commit.write().body()).expect("a body is JSON").len();
            prop_assert!(size < 128 * 1024, "{size} bytes");
        }
    }

    #[test]
    fn any_json_that_decodes_has_an_answer(json in any_json_node()) {
        if let Ok(node) = serde_json::from_value::<SeiNode>(json) {
            let (bare, fresh) = (Scene::of(node.clone()), story::fresh(node));
            prop_assert_eq!(bare.decide().show(), bare.decide().show());
            prop_assert_eq!(fresh.decide().show(), fresh.decide().show());
        }
    }
}
