//! The laws that can be told from decisions alone, over any world the generators can draw.
//!
//! 256 worlds per law in a normal run; `PROPTEST_CASES` asks for more. What ever failed is kept in `laws.regressions`.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use seinode_core::Decision;
use seinode_core::api::SeiNode;
use seinode_core::testkit::sketch::{any_sketch, sketch_of, valid_spec};
use seinode_core::testkit::{Scene, Sketch, law, story};
use serde_json::{Value, json};

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 4096,
        ..ProptestConfig::default()
    }
}

fn any_mask() -> impl Strategy<Value = law::Mask> {
    prop_oneof![1 => Just([true; 9]), 3 => prop::array::uniform9(any::<bool>())]
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
