//! The command line: one subcommand a line of work.

use clap::{Parser, Subcommand};

use crate::settings::RunArgs;

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
}
