//! Measures what a fleet costs, and prints it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use seinode_tests::load::{self, Options};

/// What a fleet of nodes costs: requests, writes, time, CPU and memory of the operator
#[derive(Debug, Parser)]
#[command(name = "load", version)]
struct Arguments {
    /// How many nodes
    #[arg(long, default_value_t = 100)]
    nodes: usize,
    /// How many namespaces they are spread over
    #[arg(long, default_value_t = 1)]
    namespaces: usize,
    /// Use the pretend control plane instead of the real one
    #[arg(long)]
    pretend: bool,
    /// How slow pods and sidecars are, as a part of a real one's time
    #[arg(long, default_value_t = 0.01)]
    scale: f64,
    /// How long the fleet is watched at rest, and after a restart
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    idle: u64,
    /// Give up on the start after this time
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    limit: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        nodes: arguments.nodes,
        namespaces: arguments.namespaces,
        is_pretend: arguments.pretend,
        scale: arguments.scale,
        idle: Duration::from_secs(arguments.idle),
        limit: Duration::from_secs(arguments.limit),
    };
    let operator = std::env::current_exe().map(|path| path.with_file_name("operator"));
    let outcome = match operator {
        Ok(path) if path.exists() => load::measure(&path, &options).await.map_err(|error| error.to_string()),
        Ok(path) => Err(format!(
            "{} is missing: build it with `cargo build --release -p seinode-tests --bins`",
            path.display()
        )),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(report) => {
            let _ = write!(std::io::stdout(), "{}", report.table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
