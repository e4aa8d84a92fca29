//! Plays the large runs by name and prints what they came to.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seinode_tests::campaign::{self, Options};

/// Large runs that look for an order of events that breaks a node
#[derive(Debug, Parser)]
#[command(name = "campaign", version, after_help = list())]
struct Arguments {
    /// Which to play; they are listed below, and if none is given
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Chance comes from here alone
    #[arg(long, default_value_t = 20_261_125)]
    seed: u64,
    /// Which share of each campaign is played
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    share: f64,
    /// Stop each campaign after this many seconds
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    limit: u64,
    /// Only the parts with this in their name
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
}

/// The campaigns, one a line.
fn list() -> String {
    let lines = campaign::ALL.iter().map(|c| format!("  {:<12} {}", c.name, c.about));
    format!("Campaigns:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("a share is above 0 and at most 1".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout();
    if arguments.names.is_empty() {
        let _ = writeln!(out, "{}", list());
        return ExitCode::SUCCESS;
    }
    let options = Options {
        seed: arguments.seed,
        share: arguments.share,
        limit: Duration::from_secs(arguments.limit),
        only: arguments.only,
    };
    let mut code = ExitCode::SUCCESS;
    for name in &arguments.names {
        let Some(campaign) = campaign::ALL.iter().find(|c| c.name == name) else {
            let _ = writeln!(
                std::io::stderr(),
                "error: there is no campaign {name}; call it without a name for a list"
            );
            return ExitCode::from(2);
        };
        match (campaign.run)(&options) {
            Ok(rows) => {
                let _ = writeln!(
                    out,
                    "{name}, seed {}, share {}\n\n{}",
                    options.seed,
                    options.share,
                    campaign::table(&rows)
                );
                if rows.iter().any(|r| r.failure.is_some()) {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "error: {name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
