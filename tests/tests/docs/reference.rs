//! The reference of flags, variables and keys is made from the code that reads them.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use seinode_core::platform::{GATEWAY_VARIABLES, KEYS, REQUIRED};
use seinode_operator::cli::Cli;
use seinode_operator::settings::CONFIG_VARIABLE;

use crate::{is_generated, read, root, sources};

const PAGE: &str = "docs/configuration.md";

/// In a cell a bar would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn flags(command: &Command, hidden: bool) -> String {
    let mut out = String::from("| flag | default | meaning |\n|---|---|---|\n");
    let mut all: Vec<_> = command.get_arguments().filter(|a| a.is_hide_set() == hidden).collect();
    all.retain(|a| a.get_id() != "help" && a.get_id() != "version");
    all.sort_by_key(|a| (a.is_positional(), a.get_id().to_string()));
    for argument in all {
        let value = argument
            .get_value_names()
            .and_then(|names| names.first())
            .map(ToString::to_string)
            .unwrap_or_default();
        let name = argument.get_long().map_or_else(|| value.clone(), |long| format!("--{long}"));
        let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let defaults = argument.get_default_values().iter().map(|d| format!("`{}`", d.to_string_lossy()));
        let default = defaults.collect::<Vec<_>>().join(", ");
        let mut meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let words: Vec<_> =
            argument.get_possible_values().iter().map(|v| format!("`{}`", v.get_name())).collect();
        if !words.is_empty() && words != ["`true`", "`false`"] {
            let _ = write!(meaning, ": {}", words.join(", "));
        }
        let _ = writeln!(out, "| {short}`{name}` | {} | {} |", cell(&default), cell(&meaning));
    }
    out
}

fn of(name: &str) -> Command {
    Cli::command().get_subcommands().find(|c| c.get_name() == name).unwrap().clone()
}

#[test]
fn the_flags_of_run() {
    is_generated(PAGE, "run", &flags(&of("run"), false));
    is_generated(PAGE, "compatible", &flags(&of("run"), true));
}

#[test]
fn the_other_commands() {
    let mut out = String::new();
    let program = Cli::command();
    for command in program.get_subcommands().filter(|c| c.get_name() != "run") {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(out, "### {}\n\n{about}.\n\n", command.get_name());
        if command.get_arguments().any(|a| !a.is_hide_set()) {
            let _ = writeln!(out, "{}", flags(command, false));
        }
    }
    is_generated(PAGE, "commands", &out);
}

#[test]
fn the_keys_of_the_platform_file() {
    let mut out = String::from("| key | without it | meaning |\n|---|---|---|\n");
    for key in KEYS {
        let without = match (REQUIRED.contains(&key.name), key.built_in) {
            (true, _) => "**required**".to_owned(),
            (false, "") => "none".to_owned(),
            (false, value) => format!("`{value}`"),
        };
        let _ = writeln!(out, "| `{}` | {without} | {} |", key.name, key.meaning);
    }
    is_generated(PAGE, "keys", &out);
}

/// Variables are read in several places: each that the code names is on the page.
#[test]
fn every_variable_is_told() {
    let page = read(PAGE);
    for name in GATEWAY_VARIABLES.into_iter().chain([CONFIG_VARIABLE]) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in {PAGE}");
    }
    let sources = sources(&root().join("adapter/src"));
    let literals = sources.split('"').skip(1).step_by(2);
    let variables = literals
        .filter(|l| l.len() > 3 && l.contains('_') && l.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    // What the compiler is asked for is no variable of the program.
    let variables = variables.filter(|l| !l.starts_with("CARGO_"));
    for name in variables {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in {PAGE}");
    }
}
