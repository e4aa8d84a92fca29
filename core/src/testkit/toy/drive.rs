//! Passes of an operator over the toy world, with one crash wherever it is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::law;
use super::Toy;
use crate::api::condition::{ConditionStatus, ConditionType};
use crate::api::{NodePhase, TaskStatus, TaskType};
use crate::decision::{Act, Decision, Rest, Wake};
use crate::effect::{Effect, Outcome};

/// Most decisions of one pass; the longest is a look per Secret and claim, then child after child.
const ROUNDS: usize = 40;

/// Where the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// At which port call, from 0.
    pub at: usize,
    /// Whether the call was made; its outcome is lost either way.
    pub done: bool,
}

/// Where a life has come to, names and times aside.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// Phase.
    pub phase: Option<NodePhase>,
    /// Tasks of the plan.
    pub tasks: Vec<(TaskType, TaskStatus, i64)>,
    /// Conditions.
    pub conditions: BTreeMap<ConditionType, (ConditionStatus, String)>,
    /// Rows of the sidecar by type: how many, and runs in all.
    pub rows: BTreeMap<String, (usize, i64)>,
    /// Children that exist: StatefulSet, Service, ConfigMap, claim.
    pub children: [bool; 4],
    /// Finalizers of the node.
    pub finalizers: Vec<String>,
}

/// The operator has died.
struct Died;

impl Toy {
    /// Passes and ticks until nothing moves and nothing is awaited; how many passes it took, `None` if more than `most`.
    pub fn live(&mut self, most: usize) -> Option<usize> {
        for n in 0..most {
            let rest = self.pass();
            let moved = self.tick();
            match rest.map(|r| r.wake) {
                Some(Wake::OnChange) if !moved => return Some(n),
                Some(Wake::After(delay)) => self.wait(delay.max(Duration::from_millis(100))),
                Some(Wake::OnChange) | None => self.wait(Duration::from_millis(100)),
            }
        }
        None
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).unwrap_or(self.now);
    }

    /// One pass: decide and carry out until it rests. `None` if the operator died, or did not come to rest.
    pub fn pass(&mut self) -> Option<Rest> {
        let (mut looked, mut outcomes) = (BTreeSet::new(), Vec::new());
        for _ in 0..ROUNDS {
            let scene = self.observe(&looked, &outcomes);
            let decision = scene.decide();
            self.broken.extend(law::judge(&scene, &decision));
            let act = match decision {
                Decision::Rest(rest) => return Some(rest),
                Decision::Look(topics) => {
                    looked.extend(topics);
                    continue;
                }
                Decision::Act(act) => act,
                Decision::Commit(commit) => match self.call(|toy| toy.store(commit.write())) {
                    Err(Died) => return None,
                    Ok(false) => {
                        outcomes = Vec::new();
                        continue;
                    }
                    Ok(true) => commit.stored(&self.node).ok()?,
                },
            };
            let (effects, rest) = Act::into_parts(act);
            if effects.is_empty() && rest.wake != Wake::After(Duration::ZERO) {
                return Some(rest);
            }
            outcomes = self.perform_all(effects).ok()?;
            looked = BTreeSet::new();
        }
        self.broken.push("law 6: a pass does not come to rest".to_owned());
        None
    }

    fn perform_all(&mut self, effects: Vec<Effect>) -> Result<Vec<Outcome>, Died> {
        let mut outcomes = Vec::new();
        for effect in effects {
            let result = self.call(|toy| toy.perform(&effect))?;
            outcomes.push(Outcome { effect: effect.id, result });
        }
        Ok(outcomes)
    }

    /// A call to the outside, before or after which the operator may die.
    fn call<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> Result<T, Died> {
        let crash = self.crash.filter(|c| c.at == self.calls);
        self.calls += 1;
        if crash.is_some_and(|c| !c.done) {
            return Err(Died);
        }
        let answer = act(self);
        if crash.is_some() { Err(Died) } else { Ok(answer) }
    }

    /// Port calls so far.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Where this life has come to.
    pub fn ending(&self) -> Ending {
        let status = &self.node.status;
        let tasks = status.plan.iter().flat_map(|p| &p.tasks);
        let mut rows: BTreeMap<String, (usize, i64)> = BTreeMap::new();
        for row in self.sidecar.records.values() {
            let entry = rows.entry(row.task_type.clone()).or_default();
            *entry = (entry.0 + 1, entry.1 + row.run);
        }
        Ending {
            phase: status.phase.clone(),
            tasks: tasks.map(|t| (t.task_type.clone(), t.status.clone(), t.retry_count)).collect(),
            conditions: status
                .conditions
                .iter()
                .map(|c| (c.condition_type.clone(), (c.status.clone(), c.reason.clone())))
                .collect(),
            rows,
            children: [
                self.statefulset.is_some(),
                self.service.is_some(),
                self.config_map.is_some(),
                self.claim.is_some(),
            ],
            finalizers: self.node.metadata.finalizers.clone().unwrap_or_default(),
        }
    }
}
