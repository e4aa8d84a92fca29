//! The operator's entry point.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinode_operator::cli::program(std::env::args_os())
}
