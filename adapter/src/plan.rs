//! `plan`: the plan that the operator would store for a node, without a cluster.

mod children;
pub mod given;
pub mod pass;
pub mod surroundings;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use k8s_openapi::jiff::Timestamp;
use seinode_core::api::{PlanPhase, mode};
use seinode_core::effect::{Effect, Op};
use seinode_core::plan::lint;
use serde_json::Value;

use self::given::{Brought, GivenNode, GivenPlatform};
use self::pass::Outcome;
use self::surroundings::Surroundings;
use crate::manifest;
use crate::run::EXIT_CONFIG;

/// Arguments of `plan`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The world: around a node that is not Running there is nothing; the children of a Running one \
exist as rendered for the images in its status, and its sidecar answers as condition SidecarReady says (True 200, False \
503, else not at all).\n\nWith --world the kinds that the files bring take the place of these: what is not among them \
is absent. The sidecar can be asked only if the node's pod runs its container.\n\nExit codes: 0 with a plan or null on \
stdout, 2 for an input that can't be used."
)]
pub struct PlanArgs {
    /// The SeiNode, as written or as stored
    #[arg(short = 'f', long = "node", value_name = "FILE")]
    pub node: PathBuf,
    /// The platform's settings
    #[arg(long, value_name = "FILE")]
    pub platform: PathBuf,
    /// Live objects: StatefulSet, Pod, PersistentVolumeClaim, PersistentVolume, Secret, Service, ConfigMap, Job, other
    /// SeiNodes; also lists of them
    #[arg(long, value_name = "FILE")]
    pub world: Vec<PathBuf>,
    /// The time, RFC 3339; now if absent
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
}

/// Prints the plan that would be stored, or `null` and the reason.
pub fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let read = given::node(&args.node).and_then(|given| {
        if given.zeroed.contains(&given::VERSION) && mode::validate(&given.node.spec).is_ok() {
            // Nobody has stored it yet: what `simulate` refuses is a mistake here too.
            manifest::nodes(&args.node)?;
        }
        Ok((given, given::platform(&args.platform)?, Brought::read(&args.world)?))
    });
    let (GivenNode { node, zeroed }, GivenPlatform { settings, file }, (brought, left_out)) = match read {
        Ok(read) => read,
        Err(error) => return Ok(refuse(&error)),
    };
    let platform = match settings {
        Ok(platform) => platform,
        Err(error) => return Ok(refuse(&error)),
    };
    for note in left_out {
        say("note", &note);
    }
    if !zeroed.is_empty() {
        say("note", &format!("ids are derived from zeros: the manifest has no {}", zeroed.join(" and no ")));
    }
    for finding in lint::status(&node.status) {
        say("note", &format!("the status that was given breaks law {}: {}", finding.law, finding.text));
    }
    let now = args.now.unwrap_or_else(Timestamp::now);
    let mut around = match Surroundings::around(&node, &platform, &file, &brought, now) {
        Ok(around) => around,
        Err(error) => return Ok(refuse(&error)),
    };
    let outcome = pass::pass(&node, &platform, &mut around, now)?;
    let plan = outcome.status.plan.as_ref().filter(|plan| plan.phase == PlanPhase::Active);
    let text = match plan {
        Some(plan) => serde_json::to_string_pretty(&serde_json::to_value(plan)?)?,
        None => Value::Null.to_string(),
    };
    if plan.is_none() {
        say("no plan", &reason(&outcome));
    }
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// Why there is no plan.
fn reason(outcome: &Outcome) -> String {
    if !outcome.why.is_empty() {
        return outcome.why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    }
    let first: Vec<&str> = outcome.effects.iter().filter(|e| is_change(e)).map(|e| e.op.verb()).collect();
    if first.is_empty() { "nothing to do".to_owned() } else { format!("first comes: {}", first.join(", ")) }
}

fn is_change(effect: &Effect) -> bool {
    !matches!(effect.op, Op::Announce(_))
}

pub(crate) fn say(what: &str, text: &str) {
    let _ = writeln!(std::io::stderr(), "{what}: {text}");
}

pub(crate) fn refuse(error: &dyn std::error::Error) -> ExitCode {
    say("error", &error.to_string());
    ExitCode::from(EXIT_CONFIG)
}
