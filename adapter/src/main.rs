//! The operator's entry point: parse, start the runtime, map the result to an exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use seinode_operator::cli::{Cli, Command};
use seinode_operator::{run, settings};

fn main() -> ExitCode {
    let cli = Cli::parse_from(settings::normalized(std::env::args_os()));
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
