//! A sample of the fault campaign: `cargo run --release -p seinode-tests --bin campaign -- faults` plays the whole.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use seinode_tests::campaign::{self, Options, faults};

/// The cases that are played in each run of the tests; another seed plays others.
const SEED: u64 = 20_261_125;
/// Of some 19,000 cases. Each takes half a second.
const SHARE: f64 = 0.003;

#[test]
fn l12_l13_l14_l15_whatever_goes_wrong_once_the_end_is_the_same() {
    let options = Options { seed: SEED, share: SHARE, limit: Duration::from_mins(20), only: String::new() };
    let rows = (faults::CAMPAIGN.run)(&options).unwrap();
    let played: u64 =
        rows.iter().flat_map(|row| &row.counts).filter(|(name, _)| *name == "cases").map(|(_, n)| n).sum();
    assert!(played > 20, "{}", campaign::table(&rows));
    assert!(rows.iter().all(|row| row.failure.is_none()), "{}", campaign::table(&rows));
}
