//! Shows how far nodes are: bars on a terminal, lines elsewhere; always on stderr.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use seinode_core::api::{NodePhase, PlanPhase, SeiNode, TaskStatus};
use seinode_core::decision::Rest;
use seinode_core::ident::NodeKey;

use crate::live::Audience;

/// Shows progress: bars on a terminal, lines elsewhere; always on stderr.
pub(super) struct Display {
    bars: Option<indicatif::MultiProgress>,
    nodes: Mutex<BTreeMap<NodeKey, Shown>>,
    many: bool,
    start: tokio::time::Instant,
}

/// What was shown of a node.
struct Shown {
    bar: Option<indicatif::ProgressBar>,
    plan: String,
    done: usize,
    phase: Option<NodePhase>,
    waiting: String,
}

impl Audience for Display {
    // Before it is stored.
    fn progress(&self, node: &SeiNode, rest: &Rest) {
        let key = NodeKey::of(node);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = nodes.get_mut(&key) else { return };
        if let (Some(plan), Some(place)) = (&node.status.plan, &rest.place)
            && plan.id == place.plan
        {
            let types: Vec<String> = plan.tasks.iter().map(|t| t.task_type.to_string()).collect();
            self.advance(&key, shown, &plan.id, &types, place.done);
        }
        let waiting = rest.why.first().map(ToString::to_string).unwrap_or_default();
        if let Some(bar) = &shown.bar {
            bar.set_message(waiting.clone());
        }
        shown.waiting = waiting;
    }
}

impl Display {
    pub(super) fn new(nodes: &[SeiNode]) -> Self {
        let bars = std::io::stderr().is_terminal().then(indicatif::MultiProgress::new);
        let shown = nodes.iter().map(|node| {
            let key = NodeKey::of(node);
            let bar = bars.as_ref().map(|bars| {
                let bar = bars.add(indicatif::ProgressBar::new(1));
                if let Ok(style) =
                    indicatif::ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len} {wide_msg}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(key.to_string());
                bar
            });
            (key, Shown { bar, plan: String::new(), done: 0, phase: None, waiting: String::new() })
        });
        let nodes_shown = shown.collect();
        Self {
            bars,
            nodes: Mutex::new(nodes_shown),
            many: nodes.len() > 1,
            start: tokio::time::Instant::now(),
        }
    }

    pub(super) fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => {
                let _ = bars.println(text);
            }
            None => {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
        }
    }

    fn line(&self, key: &NodeKey, text: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        let who = if self.many { format!("{key}: ") } else { String::new() };
        self.note(&format!("[{seconds:6.2} s] {who}{text}"));
    }

    fn advance(&self, key: &NodeKey, shown: &mut Shown, plan: &str, types: &[String], done: usize) {
        if shown.plan != plan {
            plan.clone_into(&mut shown.plan);
            shown.done = 0;
            if let Some(bar) = &shown.bar {
                bar.set_length(types.len() as u64);
                bar.set_position(0);
            }
            self.line(key, &format!("plan of {} tasks: {}", types.len(), types.join(", ")));
        }
        for (i, task) in types.iter().enumerate().take(done).skip(shown.done) {
            self.line(key, &format!("{:2}/{} {task}", i + 1, types.len()));
            if let Some(bar) = &shown.bar {
                bar.inc(1);
            }
        }
        shown.done = shown.done.max(done);
    }

    /// What the stored status shows.
    pub(super) fn stored(&self, node: &SeiNode) {
        let key = NodeKey::of(node);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = nodes.get_mut(&key) else { return };
        if let Some(plan) = &node.status.plan {
            let types: Vec<String> = plan.tasks.iter().map(|t| t.task_type.to_string()).collect();
            let done = plan.tasks.iter().take_while(|t| t.status == TaskStatus::Complete).count();
            self.advance(&key, shown, &plan.id, &types, done);
            if plan.phase == PlanPhase::Failed
                && let Some(detail) = &plan.failed_task_detail
                && shown.phase != node.status.phase
            {
                self.line(&key, &format!("task {} failed: {}", detail.task_type, detail.error));
            }
        }
        if shown.phase != node.status.phase {
            shown.phase.clone_from(&node.status.phase);
            if let Some(phase) = &node.status.phase {
                self.line(&key, &format!("phase {phase}"));
            }
        }
    }

    pub(super) fn end(&self) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in nodes.values().filter_map(|s| s.bar.as_ref()) {
            bar.finish_and_clear();
        }
    }
}
