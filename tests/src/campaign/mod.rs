//! The large runs by name: each looks for an order of events that breaks a node, and reports counts.
//!
//! The normal test run plays a small share of each; `cargo run --release -p seinode-tests --bin campaign` the whole.

pub mod chaos;
pub mod conformance;
pub mod faults;

use std::fmt::Write as _;
use std::time::Duration;

/// What a campaign is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Chance comes from here alone: the same seed plays the same run.
    pub seed: u64,
    /// Which share of the campaign is played, above 0 and up to 1.
    pub share: f64,
    /// It stops, and says so, when this is over.
    pub limit: Duration,
    /// Only the parts with this in their name.
    pub only: String,
}

/// What one part of a campaign came to: a row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The part.
    pub name: String,
    /// What was counted, in the order of columns.
    pub counts: Vec<(&'static str, u64)>,
    /// How long it took.
    pub took: Duration,
    /// What is wrong, with what is needed to see it again.
    pub failure: Option<String>,
}

/// A campaign.
pub struct Campaign {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it guards.
    pub about: &'static str,
    /// Plays it.
    pub run: fn(&Options) -> Result<Vec<Row>, String>,
}

/// Every campaign.
pub const ALL: &[Campaign] = &[
    Campaign {
        name: "chaos",
        about: "nodes end as wanted although operators, API server and etcd are killed (real control plane)",
        run: chaos::run,
    },
    Campaign {
        name: "conformance",
        about: "the pretend API server answers as the real one does",
        run: conformance::run,
    },
    faults::CAMPAIGN,
    crate::model_campaigns::MODEL,
    crate::model_campaigns::MUTATIONS,
];

/// The rows as a Markdown table, for people and for `docs/testing.md`.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|r| &r.counts) {
        if !columns.contains(name) {
            columns.push(name);
        }
    }
    let mut out = format!("| part | {} | seconds | result |\n", columns.join(" | "));
    let _ = writeln!(out, "|---|{}---:|---|", "---:|".repeat(columns.len()));
    for row in rows {
        let _ = write!(out, "| {} |", row.name);
        for column in &columns {
            match row.counts.iter().find(|(name, _)| name == column) {
                Some((_, n)) => {
                    let _ = write!(out, " {n} |");
                }
                None => out.push_str(" |"),
            }
        }
        let result = if row.failure.is_some() { "FAILED" } else { "held" };
        let _ = writeln!(out, " {:.1} | {result} |", row.took.as_secs_f64());
    }
    for (row, failure) in rows.iter().filter_map(|r| r.failure.as_ref().map(|f| (r, f))) {
        let _ = write!(out, "\n{}: {failure}\n", row.name);
    }
    out
}
