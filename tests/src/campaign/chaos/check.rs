//! What must hold about a run, whatever happened in it.
//!
//! Answers: what is wrong, from the audit log, the journals of the sidecars and the chronicle of the kubelet. Refuses to
//! know: the script. Upholds: only what operators did is held against them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use seinode_sim::kubelet::PodLife;
use seinode_sim::sidecar::{Entry, Event};

use crate::live::AuditEvent;

/// What operators asked of the API server.
pub(super) fn of_operators(log: Vec<AuditEvent>) -> Vec<AuditEvent> {
    log.into_iter().filter(|event| event.user_agent.starts_with("seinode-operator/")).collect()
}

/// A task that was started again although its last run had not failed and nobody had withdrawn it. A new process that
/// takes up its own record does not count.
pub(super) fn started_twice(node: &str, journal: &[Entry]) -> Vec<String> {
    let mut last: BTreeMap<&str, Event> = BTreeMap::new();
    let mut out = Vec::new();
    for entry in journal {
        let before = last.insert(&entry.id, entry.event);
        let is_open =
            matches!(before, Some(Event::Started | Event::Resumed | Event::Completed | Event::Repeated));
        if entry.event == Event::Started && is_open {
            out.push(format!("{node}: task {} {} was started again after {before:?}", entry.kind, entry.id));
        }
    }
    out
}

/// Submissions that a sidecar took for a repetition, and did nothing about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeated {
    /// While two operators ran. Both may look before either submits, and a submission carries no guard.
    pub(super) beside_another: u64,
    /// Soon after a kill: the submission of the dead one was still on its way when its successor looked.
    pub(super) after_a_kill: u64,
    /// Without any such reason.
    pub(super) alone: u64,
}

impl Repeated {
    /// Counts those of one journal.
    pub(super) fn add(&mut self, journal: &[Entry], times: &Times) {
        for entry in journal.iter().filter(|entry| entry.event == Event::Repeated) {
            let is_within = |(from, to): &(Timestamp, Timestamp)| *from <= entry.at && entry.at <= *to;
            let is_soon = |kill: &Timestamp| *kill <= entry.at && entry.at.duration_since(*kill) < SOON;
            if times.double.is_some_and(|span| is_within(&span)) {
                self.beside_another += 1;
            } else if times.kills.iter().any(is_soon) {
                self.after_a_kill += 1;
            } else {
                self.alone += 1;
            }
        }
    }
}

/// Tasks that were submitted over and over, whatever the reason: each kill and each operator explains one repetition.
pub(super) fn pressed(node: &str, journal: &[Entry]) -> Vec<String> {
    let mut all: BTreeMap<(&str, &str), Vec<Timestamp>> = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry.event == Event::Repeated) {
        all.entry((&entry.kind, &entry.id)).or_default().push(entry.at);
    }
    let often = all.into_iter().filter(|(_, times)| times.len() > MOST_REPETITIONS);
    often
        .map(|((kind, id), times)| {
            let span = times.last().zip(times.first()).map(|(last, first)| last.duration_since(*first));
            let ends: Vec<String> = journal
                .iter()
                .filter(|entry| entry.id == id && entry.event != Event::Repeated)
                .map(|entry| format!("{:?} at {}", entry.event, entry.at))
                .collect();
            format!(
                "{node}: task {kind} {id} was submitted {} times more, from {:?} on, within {span:?}; besides: {}",
                times.len(),
                times.first(),
                ends.join(", ")
            )
        })
        .collect()
}

/// More than this is no accident.
const MOST_REPETITIONS: usize = 5;

/// When what happened to the operators.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// From the start of the second operator to its end.
    pub(super) double: Option<(Timestamp, Timestamp)>,
    /// The kills.
    pub(super) kills: Vec<Timestamp>,
}

/// A successor looks around within this time, on a busy machine too.
const SOON: SignedDuration = SignedDuration::from_secs(5);

/// Deletions of pods by operators that were granted, as name and uid, in their order.
fn deleted(log: &[AuditEvent]) -> Vec<(String, String)> {
    let deletions = log.iter().filter(|e| e.verb == "delete" && e.resource == "pods" && e.is_granted());
    let uid = |e: &AuditEvent| {
        let request = e.request.as_ref()?;
        request["preconditions"]["uid"].as_str().map(str::to_owned)
    };
    deletions.map(|e| (e.name.clone(), uid(e).unwrap_or_default())).collect()
}

/// Pods that operators deleted more often than they may: one pod twice, or one pod after the other that had the same
/// images.
pub(super) fn deleted_twice(log: &[AuditEvent], lives: &[PodLife]) -> Vec<String> {
    let deleted = deleted(log);
    let mut out = Vec::new();
    let mut uids = BTreeSet::new();
    for (name, uid) in &deleted {
        if uid.is_empty() {
            out.push(format!("pod {name} was deleted without its uid"));
        } else if !uids.insert(uid.as_str()) {
            out.push(format!("pod {name} {uid} was deleted twice"));
        }
    }
    let mut last: BTreeMap<&str, &PodLife> = BTreeMap::new();
    for life in lives {
        let before = last.insert(&life.name, life);
        let both = |before: &&PodLife| uids.contains(before.uid.as_str()) && uids.contains(life.uid.as_str());
        if before.filter(both).is_some_and(|before| before.images == life.images) {
            out.push(format!("pod {} was deleted twice for one revision: {:?}", life.name, life.images));
        }
    }
    out
}

/// Writes of operators to anything but what belongs to the nodes.
pub(super) fn foreign(log: &[AuditEvent], namespace: &str, nodes: &[String]) -> Vec<String> {
    let is_ours = |name: &str| {
        nodes.iter().any(|node| {
            let rest = name.strip_prefix("data-").unwrap_or(name).strip_prefix(node.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let writes = log.iter().filter(|e| e.is_write() && !matches!(e.resource.as_str(), "events" | "leases"));
    writes
        .filter(|e| e.namespace != namespace || !is_ours(&e.name))
        .map(|e| format!("{} {} {}/{} ({})", e.verb, e.resource, e.namespace, e.name, e.code))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn entry(event: Event) -> Entry {
        Entry { at: at(), id: "t1".into(), kind: "config-apply".into(), params: None, run: 1, event }
    }

    fn write(verb: &str, resource: &str, name: &str, request: Value) -> AuditEvent {
        AuditEvent {
            verb: verb.into(),
            user: String::new(),
            user_agent: "seinode-operator/1".into(),
            uri: String::new(),
            group: String::new(),
            resource: resource.into(),
            subresource: String::new(),
            namespace: "chaos".into(),
            name: name.into(),
            code: 200,
            at: at(),
            done: at(),
            request: Some(request),
        }
    }

    fn life(uid: &str, image: &str) -> PodLife {
        PodLife {
            namespace: "chaos".into(),
            name: "n1-0".into(),
            uid: uid.into(),
            node: "n1".into(),
            host: String::new(),
            created: at(),
            started: None,
            ready: None,
            stopped: None,
            deleted: None,
            images: BTreeMap::from([("seid".to_owned(), image.to_owned())]),
        }
    }

    #[test]
    fn a_task_may_start_again_only_after_it_failed_or_was_withdrawn() {
        use Event::{Completed, Deleted, Failed, Resumed, Started};
        for (events, bad) in [
            (vec![Started, Completed], 0),
            (vec![Started, Failed, Started, Completed], 0),
            (vec![Started, Deleted, Started], 0),
            (vec![Started, Resumed, Completed], 0),
            (vec![Started, Started], 1),
            (vec![Started, Completed, Started], 1),
        ] {
            let journal: Vec<Entry> = events.iter().copied().map(entry).collect();
            assert_eq!(started_twice("n1", &journal).len(), bad, "{events:?}");
        }
    }

    #[test]
    fn repetitions_are_told_apart_by_their_reason() {
        let second = |n: i64| at() + SignedDuration::from_secs(n);
        let times = Times { double: Some((second(100), second(200))), kills: vec![second(10), second(20)] };
        let journal =
            [9, 12, 24, 26, 100, 150, 201].map(|n| Entry { at: second(n), ..entry(Event::Repeated) });
        let mut repeated = Repeated::default();
        repeated.add(&journal, &times);
        assert_eq!(repeated, Repeated { beside_another: 2, after_a_kill: 2, alone: 3 });
    }

    #[test]
    fn a_pod_is_deleted_once_and_once_for_a_revision() {
        let delete = |uid: &str| write("delete", "pods", "n1-0", json!({ "preconditions": { "uid": uid } }));
        let lives = [life("a", "1"), life("b", "2"), life("c", "2")];
        assert!(deleted_twice(&[delete("a"), delete("b")], &lives).is_empty());
        assert_eq!(deleted_twice(&[delete("a"), delete("a")], &lives).len(), 1);
        assert_eq!(deleted_twice(&[delete("b"), delete("c")], &lives).len(), 1);
        assert_eq!(deleted_twice(&[write("delete", "pods", "n1-0", json!({}))], &lives).len(), 1);
    }

    #[test]
    fn writes_to_others_are_foreign() {
        let nodes = ["n1".to_owned()];
        let is_foreign = |resource: &str, name: &str| {
            !foreign(&[write("patch", resource, name, json!({}))], "chaos", &nodes).is_empty()
        };
        for name in ["n1", "n1-0", "data-n1", "n1-rbac-proxy-config"] {
            assert!(!is_foreign("configmaps", name), "{name}");
        }
        for name in ["n10", "foreign", "data-n10", "n2-0"] {
            assert!(is_foreign("configmaps", name), "{name}");
        }
    }
}
