//! The sidecar: one row per id; readiness is in memory only.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use crate::api::{Stamp, TaskType};
use crate::effect::Submit;
use crate::ident::TaskId;
use crate::world::{SidecarTask, SidecarTaskStatus};

/// The sidecar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sidecar {
    /// Rows.
    pub records: BTreeMap<TaskId, SidecarTask>,
    /// Whether a mark-ready has run in this process.
    pub ready: bool,
    /// How many more runs of a type will fail.
    pub failures: BTreeMap<TaskType, i64>,
    /// How many runs of an id have failed.
    pub failed: BTreeMap<TaskId, i64>,
}

impl Sidecar {
    /// A submit: an unknown id runs, a failed one runs again, a running or completed one is left alone.
    pub fn submit(&mut self, submit: &Submit, now: Timestamp) {
        let row = self.records.entry(submit.id.clone()).or_insert_with(|| SidecarTask {
            id: submit.id.as_str().to_owned(),
            task_type: submit.task_type.clone(),
            status: SidecarTaskStatus::Failed,
            run: 0,
            params: submit.params.clone(),
            error: None,
            submitted_at: None,
            completed_at: None,
        });
        if row.status != SidecarTaskStatus::Failed {
            return;
        }
        row.status = SidecarTaskStatus::Running;
        row.run += 1;
        row.error = None;
        row.completed_at = None;
        row.submitted_at = Some(Stamp::of(now));
    }

    /// What runs comes to its end. Whether anything did.
    pub fn finish(&mut self, now: Timestamp) -> bool {
        let mut moved = false;
        for row in self.records.values_mut().filter(|r| r.status == SidecarTaskStatus::Running) {
            moved = true;
            row.completed_at = Some(Stamp::of(now));
            let task_type = TaskType::from(row.task_type.clone());
            if let Some(left) = self.failures.get_mut(&task_type).filter(|left| **left > 0) {
                *left -= 1;
                *self.failed.entry(TaskId::new(&row.id)).or_default() += 1;
                row.status = SidecarTaskStatus::Failed;
                row.error = Some("it was told to fail".to_owned());
            } else {
                row.status = SidecarTaskStatus::Completed;
                self.ready |= task_type == TaskType::MarkReady;
            }
        }
        moved
    }

    /// The process starts again: rows stay, readiness is lost.
    pub fn restart(&mut self) {
        self.ready = false;
    }

    /// Ids that ran more often than once plus once per failure.
    pub fn surplus_runs(&self) -> Vec<&TaskId> {
        let due = |id: &TaskId| 1 + self.failed.get(id).copied().unwrap_or_default();
        self.records.iter().filter(|(id, row)| row.run > due(id)).map(|(id, _)| id).collect()
    }
}
