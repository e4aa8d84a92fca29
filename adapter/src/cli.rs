//! The command line: one subcommand a line of work.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::plan::{PlanArgs, plan};
use crate::render::{RenderArgs, render};
use crate::run;
use crate::settings::{self, RunArgs};
use crate::simulate::{SimulateArgs, simulate};

/// The Rust operator for Sei nodes on Kubernetes
#[derive(Debug, Parser)]
#[command(name = "seinode-operator", version, about, propagate_version = true)]
pub struct Cli {
    /// What to do; `run` if none is given
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator against a cluster (the default)
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinition
    Crd,
    /// Print the plan that the operator would store for a node, or null and why there is none
    Plan(PlanArgs),
    /// Write the child objects, plan and status that the operator makes of a node, as files
    Render(RenderArgs),
    /// Run the same operator on a pretend cluster and show each task as it happens
    Simulate(SimulateArgs),
}

/// The whole program: parse, start the runtime, map the result to an exit code (2 for a usage or configuration error).
pub fn program(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(settings::normalized(arguments));
    match start(cli) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => runtime()?.block_on(run::run(*args)),
        Command::Plan(args) => plan(&args),
        Command::Render(args) => render(&args),
        Command::Simulate(args) => simulate(args),
        Command::Crd => {
            let text = serde_yaml_ng::to_string(&seinode_core::api::crd::custom_resource_definition())?;
            std::io::stdout().write_all(text.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
