//! Whole lives of nodes in a toy world: every valid node comes up, whatever fails within its budget and wherever the
//! operator dies, and then nothing is written any more.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use seinode_core::api::{NodePhase, SeiNode, TaskType};
use seinode_core::testkit::node;
use seinode_core::testkit::sketch::valid_spec;
use seinode_core::testkit::toy::{Crash, Toy};

/// Passes that the longest life may take: some twenty tasks, each started, polled and retried a few times.
const PASSES: usize = 400;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// A valid node, not paused, with a finalizer or without.
fn any_node() -> impl Strategy<Value = SeiNode> {
    (valid_spec(), any::<bool>()).prop_map(|(spec, is_new)| {
        let mut node = node::full();
        node.spec = spec;
        node.spec.paused = None;
        if is_new {
            node.metadata.finalizers = None;
        }
        node
    })
}

/// Failures that stay within the budget of each type.
fn failures() -> impl Strategy<Value = BTreeMap<TaskType, i64>> {
    let of = |kind: TaskType, most: i64| (Just(kind), 0..=most);
    (
        of(TaskType::ConfigureGenesis, 6),
        of(TaskType::ConfigureStateSync, 6),
        of(TaskType::SetGenesisPeers, 6),
        of(TaskType::UploadGenesisArtifacts, 6),
        of(TaskType::SnapshotRestore, 5),
    )
        .prop_map(|(a, b, c, d, e)| BTreeMap::from([a, b, c, d, e]))
}

/// Lives a node to its end and looks at it an hour later: it serves, nothing is written, no task ran without need.
fn comes_up(toy: &mut Toy) -> Result<(), TestCaseError> {
    let passes = toy.live(PASSES);
    let story =
        || format!("{:#?}\n{:#}", toy.ending(), serde_json::to_value(&toy.node.status).expect("a status"));
    prop_assert!(toy.broken.is_empty(), "{:#?}", toy.broken);
    prop_assert!(passes.is_some(), "does not come to rest: {}", story());
    prop_assert_eq!(&toy.node.status.phase, &Some(NodePhase::Running), "{}", story());
    prop_assert_eq!(toy.sidecar.surplus_runs(), Vec::<&seinode_core::ident::TaskId>::new());
    is_still(toy)
}

/// Law 5: an idle hour has no write and no effect.
fn is_still(toy: &mut Toy) -> Result<(), TestCaseError> {
    let before = (toy.writes, toy.performed.len());
    for _ in 0..6 {
        toy.wait(Duration::from_mins(10));
        toy.pass();
        toy.tick();
    }
    prop_assert_eq!((toy.writes, toy.performed.len()), before, "an idle hour");
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn l17_every_valid_node_comes_up_and_rests(node in any_node()) {
        comes_up(&mut Toy::of(node))?;
    }

    #[test]
    fn l17_failures_within_the_budget_only_take_time(node in any_node(), failures in failures()) {
        let mut toy = Toy::of(node);
        toy.sidecar.failures = failures;
        comes_up(&mut toy)?;
    }

    #[test]
    fn l12_a_crash_anywhere_changes_nothing(node in any_node(), failures in failures(), at in 0_usize..120, done in any::<bool>()) {
        let mut toy = Toy::of(node);
        toy.sidecar.failures = failures;
        let mut dying = toy.clone().crashing(Crash { at, done });
        comes_up(&mut toy)?;
        comes_up(&mut dying)?;
        prop_assert_eq!(dying.ending(), toy.ending());
    }
}

#[test]
fn l12_one_node_of_each_mode_dies_at_each_call() {
    for (word, node) in node::each() {
        let mut toy = Toy::of(node);
        toy.sidecar.failures = BTreeMap::from([(TaskType::ConfigureGenesis, 2)]);
        let mut calm = toy.clone();
        comes_up(&mut calm).unwrap_or_else(|e| panic!("{word}: {e}"));
        for at in 0..calm.calls() {
            for done in [false, true] {
                let mut dying = toy.clone().crashing(Crash { at, done });
                comes_up(&mut dying).unwrap_or_else(|e| panic!("{word}, dead at {at}, done {done}: {e}"));
                assert_eq!(dying.ending(), calm.ending(), "{word}, dead at {at}, done {done}");
            }
        }
    }
}

#[test]
fn a_restarted_sidecar_is_marked_ready_once_more() {
    let mut toy = Toy::of(node::full());
    comes_up(&mut toy).expect("a full node comes up");
    let rows = toy.sidecar.records.len();
    toy.sidecar.restart();
    toy.tick();
    comes_up(&mut toy).expect("and comes up again");
    assert_eq!(toy.sidecar.records.len(), rows + 1, "one new mark-ready");
    assert!(toy.node.status.plan.is_none(), "a completed convergence plan is removed (P10)");
}

#[test]
fn a_paused_node_stops_and_a_resumed_one_starts() {
    let mut toy = Toy::of(node::validator());
    comes_up(&mut toy).expect("a validator comes up");
    toy.node.spec.paused = Some(true);
    toy.node.metadata.generation = Some(2);
    toy.live(PASSES).expect("a pause comes to rest");
    assert_eq!(toy.pod, None);
    is_still(&mut toy).expect("a paused node is still");
    toy.node.spec.paused = None;
    toy.node.metadata.generation = Some(3);
    toy.sidecar.restart();
    comes_up(&mut toy).expect("and comes up again");
}

#[test]
fn w7_a_deleted_node_takes_its_claim_along_and_nothing_else() {
    for (word, node, kept) in [("full", node::full(), false), ("importing", node::importing(), true)] {
        let mut toy = Toy::of(node);
        comes_up(&mut toy).expect("a full node comes up");
        toy.node = seinode_core::testkit::object::deleting(toy.node, toy.now);
        toy.live(PASSES).expect("a deletion comes to rest");
        assert_eq!(toy.claim.is_some(), kept, "{word}");
        assert_eq!(toy.ending().finalizers, Vec::<String>::new(), "{word}");
        assert_eq!(toy.node.status.phase, Some(NodePhase::Terminating), "{word}");
        assert!(toy.broken.is_empty(), "{word}: {:#?}", toy.broken);
    }
}

#[test]
fn a_pause_in_the_middle_of_a_first_plan_changes_nothing_in_the_end() {
    let mut calm = Toy::of(node::full_s3());
    comes_up(&mut calm).expect("a full node comes up");
    for passes in 1..12 {
        let mut toy = Toy::of(node::full_s3());
        for _ in 0..passes {
            toy.pass();
            toy.tick();
            toy.wait(Duration::from_millis(500));
        }
        toy.node.spec.paused = Some(true);
        toy.node.metadata.generation = Some(2);
        toy.live(PASSES).expect("a pause comes to rest");
        assert_eq!(toy.pod, None, "paused after {passes} passes");
        toy.node.spec.paused = None;
        toy.node.metadata.generation = Some(3);
        toy.sidecar.restart();
        comes_up(&mut toy).unwrap_or_else(|e| panic!("paused after {passes} passes: {e}"));
        assert_eq!(toy.ending().phase, calm.ending().phase, "paused after {passes} passes");
    }
}

/// Changes the image of a node as a user would.
fn edit_image(toy: &mut Toy, image: &str) {
    image.clone_into(&mut toy.node.spec.image);
    toy.node.metadata.generation = toy.node.metadata.generation.map(|g| g + 1);
    seinode_core::testkit::scene::bump(&mut toy.node);
}

#[test]
fn w2_an_update_and_its_way_back_reach_the_pod() {
    for (word, node) in node::each() {
        let first = node.spec.image.clone();
        let mut toy = Toy::of(node);
        comes_up(&mut toy).unwrap_or_else(|e| panic!("{word}: {e}"));
        for image in ["registry.example.net/seid:v7", "registry.example.net/seid:v8", &first] {
            edit_image(&mut toy, image);
            comes_up(&mut toy).unwrap_or_else(|e| panic!("{word} to {image}: {e}"));
            assert_eq!(toy.node.status.current_image.as_deref(), Some(image), "{word}");
        }
    }
}

#[test]
fn w4_an_edit_at_any_moment_of_an_update_is_reached_too() {
    let mut up = Toy::of(node::validator());
    comes_up(&mut up).expect("a validator comes up");
    for passes in 0..20 {
        let mut toy = up.clone();
        edit_image(&mut toy, "registry.example.net/seid:v7");
        for _ in 0..passes {
            toy.pass();
            toy.tick();
            toy.wait(Duration::from_millis(500));
        }
        edit_image(&mut toy, "registry.example.net/seid:v8");
        comes_up(&mut toy).unwrap_or_else(|e| panic!("edited after {passes} passes: {e}"));
        assert_eq!(
            toy.node.status.current_image.as_deref(),
            Some("registry.example.net/seid:v8"),
            "after {passes} passes"
        );
    }
}

#[test]
fn l12_an_update_survives_a_crash_at_each_call() {
    let mut up = Toy::of(node::full());
    comes_up(&mut up).expect("a full node comes up");
    edit_image(&mut up, "registry.example.net/seid:v7");
    let mut calm = up.clone();
    comes_up(&mut calm).expect("and is updated");
    for at in up.calls()..calm.calls() {
        for done in [false, true] {
            let mut dying = up.clone().crashing(Crash { at, done });
            comes_up(&mut dying).unwrap_or_else(|e| panic!("dead at {at}, done {done}: {e}"));
            assert_eq!(dying.ending(), calm.ending(), "dead at {at}, done {done}");
        }
    }
}

#[test]
fn a_field_that_somebody_else_sets_back_is_not_fought_over_without_pause() {
    let mut toy = Toy::of(node::full());
    toy.contested = Some("theirs".to_owned());
    assert_eq!(toy.live(60), None, "the first plan waits");
    assert!(toy.broken.is_empty(), "{:#?}", toy.broken);
    let minutes = toy.now.duration_since(seinode_core::testkit::scene::noon()).as_secs() / 60;
    let applies = i64::try_from(toy.performed.len()).expect("few");
    assert!(applies < 20 + 10 * (minutes + 1), "{applies} effects in {minutes} minutes");
    // They give up: so does the wait.
    toy.contested = None;
    comes_up(&mut toy).expect("the node comes up");
}

#[test]
fn an_image_that_admission_rewrites_is_no_endless_update() {
    let mut toy = Toy::of(node::full());
    toy.rewritten_image = Some("mirror.example.net/seid:v6".to_owned());
    comes_up(&mut toy).expect("a full node comes up, and then nothing is written");
    edit_image(&mut toy, "registry.example.net/seid:v7");
    comes_up(&mut toy).expect("an update comes to its end");
    assert_eq!(toy.node.status.current_image.as_deref(), Some("registry.example.net/seid:v7"));
}
