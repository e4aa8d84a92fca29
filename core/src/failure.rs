//! Failures and what follows them: how long to wait, and what makes a failed node start over.
//!
//! No status field of its own holds this, because an older CustomResourceDefinition would prune it. `PlanFailed`, while
//! True, carries the generation of the last failing write, and since when plans have failed. `RetryHandled` turns False
//! with each failing write and True with the next plan; its message is the value of the annotation that is used up.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::api::SeiNode;
use crate::api::condition::{self, Condition, ConditionStatus, ConditionType};
use crate::draft::StatusDraft;
use crate::retry;

/// Annotation whose new value makes a failed node start over.
pub const RETRY: &str = "sei.io/retry";

/// Shortest and longest wait after a failure.
const LEAST: Duration = Duration::from_mins(1);
const MOST: Duration = Duration::from_hours(1);

/// Longest annotation value that is kept as it is.
const LONGEST_VALUE: usize = 256;

/// Both conditions are there from the first pass on.
pub(crate) fn seed(draft: &mut StatusDraft<'_>) {
    draft.seed(ConditionType::PlanFailed, ConditionStatus::False, "NoFailure", "no plan has failed");
    draft.seed(ConditionType::RetryHandled, ConditionStatus::True, "NoFailure", "");
}

/// A plan has failed, in the draft.
pub(crate) fn failed(draft: &mut StatusDraft<'_>) {
    // A value that is there now counts as used: it did not help.
    let value = annotation(draft.node());
    draft.condition(ConditionType::RetryHandled, ConditionStatus::False, "PlanFailed", &value);
}

/// A new plan takes over, in the draft.
pub(crate) fn handled(draft: &mut StatusDraft<'_>) {
    if draft.find(&ConditionType::RetryHandled).is_some_and(|c| c.status == ConditionStatus::False) {
        let value = annotation(draft.node());
        draft.condition(ConditionType::RetryHandled, ConditionStatus::True, "NewPlan", &value);
    }
}

/// Whether the last plan has failed, and none has taken over since, as stored.
pub(crate) fn is_unhandled(node: &SeiNode) -> bool {
    condition::find(&node.status.conditions, &ConditionType::RetryHandled)
        .is_some_and(|c| c.status == ConditionStatus::False)
}

fn annotation(node: &SeiNode) -> String {
    let value = node.metadata.annotations.as_ref().and_then(|a| a.get(RETRY)).cloned().unwrap_or_default();
    if value.chars().count() <= LONGEST_VALUE {
        return value;
    }
    Sha256::digest(value.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write;
        // Writing to a text can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether a failed node was asked to start over: by a newer generation, or by a new value of the annotation.
pub(crate) fn asked_to_start_over(draft: &StatusDraft<'_>) -> bool {
    let node = draft.node();
    let Some(failed) = draft.find(&ConditionType::PlanFailed).filter(|c| c.status == ConditionStatus::True)
    else {
        return false;
    };
    let used = draft.find(&ConditionType::RetryHandled).map(|c| c.message.clone()).unwrap_or_default();
    let value = annotation(node);
    failed.observed_generation.is_some_and(|g| node.generation() > g) || (!value.is_empty() && value != used)
}

/// A failed node without a record of its failure was left by an older operator: it is recorded at today's generation.
pub(crate) fn adopt(draft: &mut StatusDraft<'_>, message: &str) {
    if draft.find(&ConditionType::PlanFailed).is_none_or(|c| c.status != ConditionStatus::True) {
        draft.condition(ConditionType::PlanFailed, ConditionStatus::True, "TaskFailed", message);
        failed(draft);
    }
}

/// How long until work that has failed may be tried again: as long as the failures have lasted, within bounds, counted
/// from the last one. Zero where nothing has failed.
pub(crate) fn back_off(draft: &StatusDraft<'_>) -> Duration {
    wait(draft, draft.find(&ConditionType::RetryHandled).filter(|c| c.status == ConditionStatus::False))
}

/// The same for updates, while another plan is under way that began since.
pub(crate) fn back_off_of_updates(draft: &StatusDraft<'_>) -> Duration {
    wait(draft, draft.find(&ConditionType::RetryHandled))
}

fn wait(draft: &StatusDraft<'_>, last: Option<&Condition>) -> Duration {
    let first = draft.find(&ConditionType::PlanFailed).filter(|c| c.status == ConditionStatus::True);
    let (Some(first), Some(last)) = (first.and_then(Condition::since), last.and_then(Condition::since))
    else {
        return Duration::ZERO;
    };
    // A failure in the far future was stamped by a clock that has jumped: nothing is known of its age.
    if retry::elapsed(draft.now(), last) > retry::CLOCK_SKEW {
        return Duration::ZERO;
    }
    let wait = retry::elapsed(first, last).clamp(LEAST, MOST);
    wait.saturating_sub(retry::elapsed(last, draft.now()))
}
