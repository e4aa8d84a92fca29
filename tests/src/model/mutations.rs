//! Bugs that were put into the core on purpose, one for each class of hazard, and the scopes that have to find them.
//!
//! A search that finds nothing proves nothing. Each bug is a list of exact replacements of text; a copy of the workspace is
//! built with it, and the search has to come to a broken law.

use std::path::Path;

/// A bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// Its name.
    pub name: &'static str,
    /// Which class of hazard it is.
    pub class: &'static str,
    /// The scope that is searched for it.
    pub scope: &'static str,
    /// What is replaced by what.
    pub edits: &'static [Edit],
}

/// A replacement of text that occurs exactly once in its file.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// What stands there.
    pub text: &'static str,
    /// What stands there instead.
    pub instead: &'static str,
}

/// Every bug.
pub const ALL: &[Mutation] = &[
    Mutation {
        name: "act-before-store",
        class: "effects before the plan that asks for them is stored (W1, S1, law 1)",
        scope: "small-update",
        edits: &[Edit {
            file: "core/src/decide.rs",
            text: "    match draft.write() {\n        Some(write) => {\n            effects.extend(",
            instead: "    match draft.write().filter(|_| effects.is_empty()) {\n        Some(write) => {\n            effects.extend(",
        }],
    },
    Mutation {
        name: "unguarded-status-write",
        class: "a status write without the version it was decided on (law 4)",
        scope: "small-start",
        edits: &[Edit {
            file: "core/src/draft.rs",
            text: "version: ResourceVersion::new(self.node.resource_version()),",
            instead: "version: ResourceVersion::new(\"\"),",
        }],
    },
    Mutation {
        name: "cached-rollout",
        class: "a pod is deleted by what the cache says of its template (S1, S14)",
        scope: "small-update",
        edits: &[
            Edit {
                file: "core/src/task/rollout.rs",
                text: "let wanted = BTreeSet::from([Topic::StatefulSet, Topic::Pods]);",
                instead: "let wanted = BTreeSet::new();",
            },
            // The same is told by the plan as a whole otherwise.
            Edit {
                file: "core/src/plan/supersede.rs",
                text: "    template_differs(world, plan).or_else(",
                instead: "    template_differs(world, plan).filter(String::is_empty).or_else(",
            },
        ],
    },
    Mutation {
        name: "pod-by-name",
        class: "a pod is deleted by name, without its uid (W8)",
        scope: "update",
        edits: &[Edit {
            file: "core/src/task/rollout.rs",
            text: "op: Op::Delete { target, uid, version: None },",
            instead: "op: Op::Delete { target, uid: crate::ident::Uid::new(\"\"), version: None },",
        }],
    },
    Mutation {
        name: "current-revision",
        class: "a rollout by currentRevision, which OnDelete does not advance (W2)",
        scope: "small-update",
        edits: &[Edit {
            file: "core/src/task/rollout.rs",
            text: "let revision = status.and_then(|s| s.update_revision.as_deref())",
            instead: "let revision = status.and_then(|s| s.current_revision.as_deref())",
        }],
    },
    Mutation {
        name: "resubmit-failed",
        class: "a failed task is submitted again before the retry is stored (W5)",
        scope: "small-failing",
        edits: &[Edit {
            file: "core/src/task/sidecar.rs",
            text: "SidecarTaskStatus::Failed => failed(turn, record),",
            instead: "SidecarTaskStatus::Failed if record.run == i64::MAX => failed(turn, record),\n        SidecarTaskStatus::Failed => send(turn, submit, poll),",
        }],
    },
    Mutation {
        name: "retry-not-stored",
        class: "a failed attempt is not counted (W5)",
        scope: "small-failing",
        edits: &[Edit {
            file: "core/src/draft.rs",
            text: "            task.retry_count = count;\n",
            instead: "            let _ = count;\n",
        }],
    },
    Mutation {
        name: "others-on-the-claim",
        class: "a start does not wait until nothing else mounts the claim (W1, invariant 1)",
        scope: "bootstrap-paused-one",
        edits: &[Edit {
            file: "core/src/scale.rs",
            text: "Seen::Present(pods) => pods.iter().find(|p| pod::mounts(p, &claim)).map(|other| {",
            instead: "Seen::Present(pods) => pods.iter().find(|p| pod::mounts(p, &claim) && claim.is_empty()).map(|other| {",
        }],
    },
    Mutation {
        name: "teardown-not-awaited",
        class: "the bootstrap counts as removed while its pod is there (S10)",
        scope: "small-bootstrap-edited",
        edits: &[
            Edit {
                file: "core/src/plan/supersede.rs",
                text: "Removal::Wait(why) => Rest::Wait(why, Wake::After(AGAIN)),",
                instead: "Removal::Wait(_) => Rest::AtRest,",
            },
            Edit {
                file: "core/src/scale.rs",
                text: "Seen::Present(pods) => pods.iter().find(|p| pod::mounts(p, &claim)).map(|other| {",
                instead: "Seen::Present(pods) => pods.iter().find(|p| pod::mounts(p, &claim) && claim.is_empty()).map(|other| {",
            },
        ],
    },
    Mutation {
        name: "rivals-ignored",
        class: "a key that another node has does not hold a start back (S3)",
        scope: "small-rivals",
        edits: &[Edit {
            file: "core/src/rivals.rs",
            text: "        Standing::HeldBy(text) => Permit::Refused(WaitingOn::Rival(text), Wake::After(HELD_POLL)),",
            instead: "        Standing::HeldBy(_) => Permit::Granted,",
        }],
    },
    Mutation {
        name: "rivals-not-awaited",
        class: "the winner starts before the loser has stepped back (S3)",
        scope: "small-rivals-late",
        edits: &[Edit {
            file: "core/src/rivals.rs",
            text: "        Standing::NotYet(text) => Permit::Refused(WaitingOn::Rival(text), Wake::After(WINNER_POLL)),",
            instead: "        Standing::NotYet(_) => Permit::Granted,",
        }],
    },
    Mutation {
        name: "held-ignored",
        class: "an edit that a live node can't do is applied (S4, S5)",
        scope: "small-held",
        edits: &[Edit {
            file: "core/src/gate/held.rs",
            text: "    if fields.is_empty() {",
            instead: "    if fields.len() < 9 {",
        }],
    },
    Mutation {
        name: "pause-unmarked",
        class: "a pause is acknowledged without a write that refuses an earlier start (W9)",
        scope: "pause-two",
        edits: &[Edit {
            file: "core/src/scale.rs",
            text: "if replicas(sts) != 0 || marked.is_none_or(|m| *m != generation.to_string()) {",
            instead: "if replicas(sts) != 0 {",
        }],
    },
    Mutation {
        name: "claim-of-anybody",
        class: "a deletion takes a claim that is not the node's (W7, W8)",
        scope: "delete-two",
        edits: &[Edit {
            file: "core/src/deletion.rs",
            text: "Seen::Present(claim) if owner::of(&claim.metadata, node) != Owner::Ours => Claim::Settled,",
            instead: "Seen::Present(claim) if owner::of(&claim.metadata, node) == Owner::Foreign => Claim::Settled,",
        }],
    },
    Mutation {
        name: "drift-by-record",
        class: "drift is told by what was recorded alone (W3, W4)",
        scope: "small-roll-back",
        edits: &[Edit {
            file: "core/src/drift.rs",
            text: "    let wanted = [(pod::SEID, seid), (pod::SIDECAR, sidecar)];",
            instead: "    let wanted: [(&str, &str); 0] = [];",
        }],
    },
    Mutation {
        name: "no-timer",
        class: "something that nobody watches is waited for without a timer (law 14, law 17)",
        scope: "small-start",
        edits: &[Edit {
            file: "core/src/task/sidecar.rs",
            text: "                Wake::After(retry::poll(age, FIRST_POLL, LAST_POLL)),",
            instead: "                if age.is_zero() || !age.is_zero() { Wake::OnChange } else { Wake::After(LAST_POLL) },",
        }],
    },
];

/// Puts a bug into a copy of the workspace.
///
/// # Errors
///
/// A text does not occur exactly once in its file, or a file can't be read or written.
pub fn apply(mutation: &Mutation, root: &Path) -> Result<(), String> {
    for edit in mutation.edits {
        let text = mutated(mutation, edit, root)?;
        std::fs::write(root.join(edit.file), text).map_err(|e| format!("{}: {e}", edit.file))?;
    }
    Ok(())
}

/// Tells whether a bug can be put in.
///
/// # Errors
///
/// A text does not occur exactly once in its file, or a file can't be read.
pub fn check(mutation: &Mutation, root: &Path) -> Result<(), String> {
    mutation.edits.iter().try_for_each(|edit| mutated(mutation, edit, root).map(|_| ()))
}

fn mutated(mutation: &Mutation, edit: &Edit, root: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(root.join(edit.file)).map_err(|e| format!("{}: {e}", edit.file))?;
    let times = text.matches(edit.text).count();
    if times != 1 {
        return Err(format!(
            "{}: the text occurs {times} times in {}, not once: {}",
            mutation.name, edit.file, edit.text
        ));
    }
    Ok(text.replace(edit.text, edit.instead))
}
