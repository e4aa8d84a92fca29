//! A few nodes whose operators, API server and etcd are killed, and who still end as wanted.
//! `target/release/campaign chaos` plays twenty nodes and sixty kills.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it played"
)]

use std::path::Path;
use std::time::Duration;

use seinode_tests::campaign::chaos::{Size, play};
use seinode_tests::campaign::table;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l12_l13_killed_operators_and_lost_servers_change_when_and_never_what() {
    let operator = Path::new(env!("CARGO_BIN_EXE_operator"));
    let size = Size { nodes: 3, kills: 8, outages: 1, changes: 4 };
    let row = play(operator, 1, size, Duration::from_mins(5)).await.unwrap();
    let told = table(std::slice::from_ref(&row));
    println!("{told}");
    assert!(row.failure.is_none(), "{told}");
    let count = |wanted: &str| row.counts.iter().find(|(name, _)| *name == wanted).unwrap().1;
    assert_eq!((count("nodes"), count("kills"), count("outages")), (3, 8, 2));
    assert!(count("task runs") > 0 && count("operator writes") > 0);
}
