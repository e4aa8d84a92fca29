//! Every order of events within the small scopes of the model, the first steps of the large ones, and the bugs that the
//! search is tried on.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

use std::path::Path;
use std::time::Duration;

use seinode_tests::model::{self, Bounds, Found, Scope, mutations};

/// Long enough on a machine that does other things too; what ends a search is that it has seen all.
const TIME: Duration = Duration::from_mins(5);

/// States of each large scope that walks ask, and where their chance comes from.
const WALKED: usize = 300;
const SEED: u64 = 20_261_201;

fn search(scope: &Scope, depth: Option<usize>) -> Found {
    let bounds = Bounds { states: usize::MAX, depth, time: TIME, judges: true };
    let found = model::search(scope, bounds).unwrap_or_else(|e| panic!("{}: {e}", scope.name));
    println!("{}: {} states, {} steps, {} decisions", scope.name, found.states, found.depth, found.decisions);
    if let Some(failure) = &found.failure {
        panic!("{}: {failure}", scope.name);
    }
    found
}

#[test]
fn l12_l14_l17_no_order_of_events_breaks_a_small_scope() {
    for scope in model::ALL.iter().filter(|s| s.is_small()) {
        let found = search(scope, None);
        assert!(found.complete, "{}: not all states were seen: {found:?}", scope.name);
        assert!(found.states >= 20, "{}: a scope of {} states asks nothing", scope.name, found.states);
    }
}

#[test]
fn l12_l14_l17_no_order_of_the_first_events_breaks_a_large_scope() {
    for scope in model::ALL.iter().filter(|s| !s.is_small()) {
        search(scope, Some(6));
    }
}

#[test]
fn l12_l14_l17_no_walk_by_chance_breaks_a_large_scope() {
    for scope in model::ALL.iter().filter(|s| !s.is_small()) {
        let bounds = Bounds { states: WALKED, depth: None, time: TIME, judges: true };
        let found = model::walk(scope, SEED, bounds).unwrap_or_else(|e| panic!("{}: {e}", scope.name));
        println!("{}: {} states of walks, {} steps", scope.name, found.states, found.depth);
        assert_eq!(found.failure, None, "{}", scope.name);
        assert!(found.states >= WALKED, "{}: {found:?}", scope.name);
    }
}

#[test]
fn every_bug_that_the_search_is_tried_on_can_still_be_put_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for mutation in mutations::ALL {
        mutations::check(mutation, &root).unwrap_or_else(|e| panic!("{e}"));
        assert!(model::ALL.iter().any(|s| s.name == mutation.scope), "{}: {}", mutation.name, mutation.scope);
    }
}
