//! Searches one scope of the model and prints what it came to as JSON; the campaign `mutations` builds it with a bug in it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use seinode_tests::model::{self, Bounds};

/// Exit code for a call that is not understood.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut err = std::io::stderr();
    let [scope, judged, states, seconds] = arguments.as_slice() else {
        let _ = writeln!(err, "error: usage: checker SCOPE true|false STATES SECONDS");
        return ExitCode::from(USAGE);
    };
    let (Ok(judges), Ok(states), Ok(seconds)) = (judged.parse(), states.parse(), seconds.parse()) else {
        let _ = writeln!(err, "error: usage: checker SCOPE true|false STATES SECONDS");
        return ExitCode::from(USAGE);
    };
    let Some(scope) = model::ALL.iter().find(|s| s.name == scope) else {
        let _ = writeln!(err, "error: there is no scope {scope}");
        return ExitCode::from(USAGE);
    };
    let bounds = Bounds { states, depth: None, time: Duration::from_secs(seconds), judges };
    let found = model::search(scope, bounds)
        .and_then(|found| serde_json::to_string(&found).map_err(|e| e.to_string()));
    match found {
        Ok(json) => {
            let _ = writeln!(std::io::stdout(), "{json}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(err, "error: {}: {error}", scope.name);
            ExitCode::FAILURE
        }
    }
}
