//! The operator, as the tests start it: the very program, so that a test target finds it beside itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    seinode_operator::cli::program(std::env::args_os())
}
