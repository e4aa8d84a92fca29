//! The pretend API server answers as the real one does: every difference that was ever found, and some hundred sequences
//! by chance. `cargo run --release -p seinode-tests --bin campaign -- conformance` plays ten thousand.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it played"
)]

use std::time::Duration;

use seinode_tests::campaign::conformance::Bench;
use seinode_tests::campaign::{Options, table};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_servers_answer_alike() {
    let mut bench = Bench::set().await.unwrap();
    let options = Options { seed: 1, share: 0.03, limit: Duration::from_mins(5), only: String::new() };
    let rows = bench.compare(&options).await.unwrap();
    let told = table(&rows);
    println!("{told}");
    assert!(rows.iter().all(|row| row.failure.is_none()), "{told}");
    for row in &rows {
        let requests = row.counts.iter().find(|(name, _)| *name == "requests").unwrap().1;
        assert!(requests > 0, "{} played nothing", row.name);
    }
}
