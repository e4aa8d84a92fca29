//! Laws about status writes and rests: 3, 4, 5, 8, 10 and 11.

use std::collections::BTreeSet;

use crate::api::{NodePhase, PlanPhase, SeiNode};
use crate::plan::lint;

use super::{Broken, Step, Trace};

/// Laws 3, 8, 11 and what else the linter tells from one stored status and the next.
pub(super) fn l03_l08_l11_each_step(trace: &Trace) -> Vec<Broken> {
    let mut out = Vec::new();
    for (at, step) in trace.steps.iter().enumerate() {
        let Step::Stored { before, answer, .. } = step else { continue };
        let known = lint::status(&before.status);
        let new = lint::status(&answer.status).into_iter().filter(|f| !known.contains(f));
        let findings = lint::step(&before.status, &answer.status).into_iter().chain(new);
        out.extend(findings.map(|f| Broken::new(f.law, at, f.text)));
    }
    out
}

/// Law 4: a write is stored only against the version it was decided on, and at most once per version.
pub(super) fn l04_one_guarded_write(trace: &Trace) -> Vec<Broken> {
    let mut out = Vec::new();
    let mut used = BTreeSet::new();
    for (at, step) in trace.steps.iter().enumerate() {
        let Step::Stored { before, write, answer } = step else { continue };
        let guarded =
            write.version.as_str() == before.resource_version() && write.uid.as_str() == before.uid();
        let fresh = used.insert((before.uid().to_owned(), write.version.to_string()));
        if !guarded || !fresh || answer.uid() != before.uid() {
            out.push(Broken::new(
                4,
                at,
                format!("stored on version {:?}, which was not the newest", write.version.as_str()),
            ));
        }
    }
    out
}

/// Law 5: once nothing is new, nothing is written.
pub(super) fn l05_silence(trace: &Trace) -> Vec<Broken> {
    let quiet = trace.steps.iter().position(|step| matches!(step, Step::Quiet)).unwrap_or(trace.steps.len());
    let late = trace.steps.iter().enumerate().skip(quiet);
    late.filter_map(|(at, step)| match step {
        Step::Stored { .. } | Step::Refused(_) => Some(Broken::new(5, at, "a write although nothing is new")),
        Step::Performed { effect, changed: true } => {
            Some(Broken::new(5, at, format!("{} although nothing is new", effect.op.verb())))
        }
        Step::Read(_) | Step::Performed { .. } | Step::Rested(_) | Step::Quiet => None,
    })
    .collect()
}

/// Law 10: a node that is not settled rests for a reason.
pub(super) fn l10_never_silent(trace: &Trace) -> Vec<Broken> {
    let mut out = Vec::new();
    let mut node: Option<&SeiNode> = None;
    for (at, step) in trace.steps.iter().enumerate() {
        match step {
            Step::Read(read) => node = Some(read),
            Step::Stored { answer, .. } => node = Some(answer),
            Step::Rested(why) if why.is_empty() && node.is_some_and(is_unsettled) => {
                out.push(Broken::new(10, at, "it rests without a reason"));
            }
            Step::Rested(_) | Step::Refused(_) | Step::Performed { .. } | Step::Quiet => {}
        }
    }
    out
}

fn is_unsettled(node: &SeiNode) -> bool {
    let active = node.status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Active);
    let gone = node.is_deleting() && !node.has_finalizer();
    !gone && (active || node.status.phase != Some(NodePhase::Running))
}
