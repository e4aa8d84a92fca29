//! Laws about effects: 1, 2 and 13.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::SeiNode;
use crate::effect::{Base, Effect, ObjectRef, Op, Replay};

use super::{Broken, Step, Trace};

/// Law 1: when an effect of a task runs, a plan that names the task is stored already. Effects outside plans are free, or
/// follow from the object itself.
pub(super) fn l01_stored_before_done(trace: &Trace) -> Vec<Broken> {
    let mut stored: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    for (at, step) in trace.steps.iter().enumerate() {
        match step {
            Step::Read(node) => stored.extend(tasks(node)),
            Step::Stored { answer, .. } => stored.extend(tasks(answer)),
            Step::Performed { effect, .. } => {
                let named = effect.task.as_ref().map(|task| stored.contains(task.as_str()));
                if named == Some(false) {
                    out.push(Broken::new(
                        1,
                        at,
                        format!("{} of a task that is stored nowhere", effect.op.verb()),
                    ));
                }
                if named.is_none() && !follows_from_the_object(effect) {
                    out.push(Broken::new(1, at, format!("{} outside of a plan", effect.op.verb())));
                }
            }
            Step::Refused(_) | Step::Rested(_) | Step::Quiet => {}
        }
    }
    out
}

fn tasks(node: &SeiNode) -> impl Iterator<Item = String> + '_ {
    node.status.plan.iter().flat_map(|plan| &plan.tasks).map(|task| task.id.clone())
}

fn follows_from_the_object(effect: &Effect) -> bool {
    match effect.op {
        Op::Announce(_) | Op::Finalizer { .. } | Op::Workflow(_) | Op::Patch { .. } | Op::Delete { .. } => {
            true
        }
        Op::Apply { .. } | Op::Submit(_) | Op::Withdraw(_) => false,
    }
}

/// Law 2: every effect that is not free carries what it was decided on.
pub(super) fn l02_keyed_and_guarded(trace: &Trace) -> Vec<Broken> {
    let performed = trace.steps.iter().enumerate().filter_map(|(at, step)| match step {
        Step::Performed { effect, .. } => Some((at, effect)),
        Step::Read(_) | Step::Stored { .. } | Step::Refused(_) | Step::Rested(_) | Step::Quiet => None,
    });
    performed
        .filter(|(_, effect)| !is_guarded(effect))
        .map(|(at, effect)| Broken::new(2, at, format!("{} without a guard", effect.op.verb())))
        .collect()
}

fn is_guarded(effect: &Effect) -> bool {
    match &effect.op {
        Op::Announce(_) => true,
        Op::Apply { base: Base::Absent, .. } => true,
        Op::Apply { base: Base::At { uid, version }, .. } | Op::Patch { uid, version, .. } => {
            !uid.as_str().is_empty() && !version.as_str().is_empty()
        }
        Op::Delete { uid, .. } => !uid.as_str().is_empty(),
        Op::Finalizer { version, .. } => !version.as_str().is_empty(),
        Op::Workflow(write) => !write.uid.as_str().is_empty() && !write.version.as_str().is_empty(),
        Op::Submit(submit) => !submit.id.as_str().is_empty(),
        Op::Withdraw(id) => !id.as_str().is_empty(),
    }
}

/// Laws 12 and 13: a keyed effect changes the cluster once. The same id may be tried again; it may not take hold again.
pub(super) fn l13_nothing_is_done_twice(trace: &Trace) -> Vec<Broken> {
    let mut done: BTreeMap<(&str, String), usize> = BTreeMap::new();
    let mut out = Vec::new();
    for (at, step) in trace.steps.iter().enumerate() {
        let Step::Performed { effect, changed: true } = step else { continue };
        if effect.op.replay() == Replay::Free {
            continue;
        }
        // The guard is part of the key: what is decided anew on a newer version is another deed.
        let key = (effect.id.as_str(), guard(effect));
        let Some(first) = done.insert(key, at) else { continue };
        // What is made where nothing is can only be made again once it is gone; by whom is what matters.
        let between = trace.steps.get(first..at).unwrap_or_default();
        if created(effect).is_none_or(|target| between.iter().any(|step| deletes(step, &target))) {
            out.push(Broken::new(13, at, format!("{} took hold at step {first} already", effect.id)));
        }
    }
    out
}

/// What an effect makes where nothing is.
fn created(effect: &Effect) -> Option<ObjectRef> {
    match &effect.op {
        Op::Apply { manifest, base: Base::Absent } => Some(manifest.target()),
        _ => None,
    }
}

fn deletes(step: &Step, wanted: &ObjectRef) -> bool {
    // Also where its answer was lost.
    let Step::Performed { effect, .. } = step else { return false };
    matches!(&effect.op, Op::Delete { target, .. } if target == wanted)
}

fn guard(effect: &Effect) -> String {
    match &effect.op {
        Op::Apply { base: Base::At { uid, version }, .. } | Op::Patch { uid, version, .. } => {
            format!("{uid}/{version}")
        }
        Op::Apply { manifest, base: Base::Absent } => format!("new {:?}", manifest.target()),
        Op::Delete { uid, .. } => uid.to_string(),
        Op::Finalizer { version, .. } => version.to_string(),
        Op::Workflow(write) => write.version.to_string(),
        // A bootstrap that is kept ready has a task of its own for each process.
        Op::Submit(submit) => submit.id.to_string(),
        Op::Announce(_) | Op::Withdraw(_) => String::new(),
    }
}
