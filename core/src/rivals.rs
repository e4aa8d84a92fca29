//! Safety across nodes (S3): one key, one node; one claim, one node.
//!
//! Rivals are nodes of one namespace that name, or mount in a live StatefulSet, Job or pod of theirs, one key Secret or one
//! claim. The right is per key and per claim: a node keeps what its live StatefulSet or Job mounts and is a newcomer for
//! anything else. Among newcomers the older one wins; a loser stores the hold on itself, and the winner starts only once
//! a live list shows that every rival carries a hold that names it, and that nothing of anyone else mounts what it wants.

mod neighbourhood;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::api::condition::{self, ConditionStatus, ConditionType};
use crate::api::node::SeiNodeSpec;
use crate::api::{SeiNode, mode};
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::explain::WaitingOn;
pub use crate::rivals::neighbourhood::{Mount, Neighbourhood, mounted, names_any, node_uid};
use crate::world::{Seen, Topic, World};

/// Something that only one node may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusive {
    /// A Secret that holds a signing key or a node key.
    Key(String),
    /// A data volume claim.
    Claim(String),
}

impl std::fmt::Display for Exclusive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(name) => write!(f, "key Secret {name}"),
            Self::Claim(name) => write!(f, "claim {name}"),
        }
    }
}

/// What a spec names.
pub fn named(node_name: &str, spec: &SeiNodeSpec) -> BTreeSet<Exclusive> {
    let keys = [mode::signing_key_secret(spec), mode::node_key_secret(spec)];
    keys.into_iter()
        .flatten()
        .map(|name| Exclusive::Key(name.to_owned()))
        .chain([Exclusive::Claim(mode::data_claim_name(node_name, spec))])
        .collect()
}

/// How a node stands with its rivals.
#[derive(Debug, PartialEq)]
pub(crate) enum Standing {
    /// Nobody else has, or may get, what it wants.
    Clear,
    /// Another node has the right.
    HeldBy(String),
    /// It has the right, but the others have not stepped back yet, or something still mounts what it wants.
    NotYet(String),
    /// It runs, and so does another one with the same key or claim.
    Shared(String),
}

/// How the node stands, from what was seen of its namespace.
pub(crate) fn standing(node: &SeiNode, around: &Neighbourhood) -> Standing {
    let wants = named(node.name(), &node.spec);
    let kept = templates_of(node.uid(), around);
    let mut not_yet = None;
    for thing in
        wants.union(&kept).filter(|thing| wants.contains(*thing) || is_key_of_anyone(thing, node, around))
    {
        let keeps = kept.contains(thing);
        for mount in
            around.mounts.iter().filter(|m| m.what.contains(thing) && m.node.as_deref() != Some(node.uid()))
        {
            match (&mount.node, keeps) {
                (Some(_), true) if mount.live => {
                    return Standing::Shared(format!("{thing} is also mounted by {}", mount.object));
                }
                (_, true) => {}
                (Some(other), false) if mount.template => {
                    return Standing::HeldBy(format!(
                        "{thing} is mounted by {} of node {other}",
                        mount.object
                    ));
                }
                // A pod of anybody, or an object that belongs to no node.
                (_, false) => not_yet = Some(format!("{thing} is mounted by {}", mount.object)),
            }
        }
        if keeps {
            continue;
        }
        for rival in
            around.nodes.iter().filter(|r| r.uid() != node.uid() && named(r.name(), &r.spec).contains(thing))
        {
            if templates_of(rival.uid(), around).contains(thing) {
                continue;
            }
            if rival.is_deleting() {
                continue;
            }
            if age(rival) < age(node) {
                return Standing::HeldBy(format!(
                    "{thing} is wanted by the older node {} ({})",
                    rival.name(),
                    rival.uid()
                ));
            }
            if !has_hold_by(rival, node.uid()) {
                not_yet =
                    Some(format!("node {} wants {thing} too and has not stepped back yet", rival.name()));
            }
        }
    }
    not_yet.map_or(Standing::Clear, Standing::NotYet)
}

/// A Secret among a pod's volumes counts only if a node names it as a key.
fn is_key_of_anyone(thing: &Exclusive, node: &SeiNode, around: &Neighbourhood) -> bool {
    let all = around.nodes.iter().chain([node]);
    matches!(thing, Exclusive::Claim(_)) || all.into_iter().any(|n| named(n.name(), &n.spec).contains(thing))
}

fn templates_of(uid: &str, around: &Neighbourhood) -> BTreeSet<Exclusive> {
    let own = around.mounts.iter().filter(|m| m.template && m.node.as_deref() == Some(uid));
    own.flat_map(|m| m.what.iter().cloned()).collect()
}

fn age(node: &SeiNode) -> (Option<k8s_openapi::jiff::Timestamp>, &str) {
    (node.metadata.creation_timestamp.as_ref().map(|t| t.0), node.uid())
}

/// Whether a node carries a stored hold that names another.
fn has_hold_by(node: &SeiNode, winner: &str) -> bool {
    condition::find(&node.status.conditions, &ConditionType::KeyConflict).is_some_and(|c| {
        c.status == ConditionStatus::True && c.reason == HELD_BY && c.message.contains(winner)
    })
}

/// Reason of a loser's hold.
const HELD_BY: &str = "HeldBy";

/// How often a held node looks whether it is free.
const HELD_POLL: Duration = Duration::from_secs(10);
/// How often a winner looks whether the others have stepped back.
const WINNER_POLL: Duration = Duration::from_secs(2);

/// What may be done about a start.
pub(crate) enum Permit {
    /// Start.
    Granted,
    /// Look first: node, then neighbourhood.
    Look(BTreeSet<Topic>),
    /// Not now.
    Refused(WaitingOn, Wake),
}

/// Before each write after which a pod may come: asked of live lists only, and shown on the node.
pub(crate) fn permit(world: World<'_>, draft: &mut StatusDraft<'_>) -> Permit {
    let wanted = BTreeSet::from([Topic::Node, Topic::Neighbourhood]);
    if !wanted.is_subset(&world.observed.looked) {
        return Permit::Look(wanted);
    }
    let around = match &world.observed.neighbourhood {
        Seen::Present(around) => around,
        Seen::Absent => return Permit::Granted,
        Seen::Unknown(blind) => {
            return Permit::Refused(
                WaitingOn::Blind(Topic::Neighbourhood, blind.clone()),
                Wake::After(WINNER_POLL),
            );
        }
    };
    let standing = standing(world.node, around);
    show(draft, &standing);
    match standing {
        // A node that runs beside another is not stopped, and may come back after a pause; the user has to decide.
        Standing::Clear => Permit::Granted,
        Standing::Shared(text) => Permit::Refused(WaitingOn::Rival(text), Wake::After(HELD_POLL)),
        Standing::HeldBy(text) => Permit::Refused(WaitingOn::Rival(text), Wake::After(HELD_POLL)),
        Standing::NotYet(text) => Permit::Refused(WaitingOn::Rival(text), Wake::After(WINNER_POLL)),
    }
}

/// Shows a standing as a condition.
pub(crate) fn show(draft: &mut StatusDraft<'_>, standing: &Standing) {
    let kind = ConditionType::KeyConflict;
    match standing {
        Standing::Clear | Standing::NotYet(_) => {
            draft.condition(
                kind,
                ConditionStatus::False,
                "NoConflict",
                "no other node has a key or the claim of this one",
            );
        }
        Standing::HeldBy(text) => draft.condition(kind, ConditionStatus::True, HELD_BY, text),
        Standing::Shared(text) => draft.condition(kind, ConditionStatus::True, "Shared", text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, age: &str, key: &str) -> SeiNode {
        let named = |n: &str| json!({"secret": {"secretName": n}});
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "creationTimestamp": age},
            "spec": {"chainId": "c", "image": "i", "validator": {"signingKey": named(key), "nodeKey": named(&format!("{name}-p2p"))}},
        }))
        .expect("a node")
    }

    fn mount(node: Option<&str>, what: Exclusive, template: bool) -> Mount {
        let node = node.map(|n| format!("uid-{n}"));
        Mount { object: "an object".into(), node, template, what: BTreeSet::from([what]), live: true }
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-01-02T00:00:00Z";

    fn key() -> Exclusive {
        Exclusive::Key("k".into())
    }

    #[test]
    fn s03_of_two_newcomers_the_older_wins_once_the_other_has_stepped_back() {
        let (old, new) = (node("a", OLD, "k"), node("b", NEW, "k"));
        let around = |other: &SeiNode| Neighbourhood { nodes: vec![other.clone()], mounts: Vec::new() };
        assert!(matches!(standing(&new, &around(&old)), Standing::HeldBy(_)));
        assert!(matches!(standing(&old, &around(&new)), Standing::NotYet(_)));
        let mut held = new.clone();
        let Standing::HeldBy(text) = standing(&new, &around(&old)) else { unreachable!() };
        condition::set(
            &mut held.status.conditions,
            ConditionType::KeyConflict,
            ConditionStatus::True,
            HELD_BY,
            &text,
            1,
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        );
        assert_eq!(standing(&old, &around(&held)), Standing::Clear);
    }

    #[test]
    fn s03_what_a_live_statefulset_mounts_is_kept_against_an_older_node() {
        let (old, new) = (node("a", OLD, "k"), node("b", NEW, "k"));
        let mounts = vec![mount(Some("b"), key(), true)];
        assert!(matches!(
            standing(&old, &Neighbourhood { nodes: vec![new.clone()], mounts: mounts.clone() }),
            Standing::HeldBy(_)
        ));
        assert_eq!(standing(&new, &Neighbourhood { nodes: vec![old], mounts }), Standing::Clear);
    }

    #[test]
    fn s03_two_that_run_with_one_key_are_shown_as_sharing_it() {
        let (a, b) = (node("a", OLD, "k"), node("b", NEW, "k"));
        let mounts = vec![mount(Some("a"), key(), true), mount(Some("b"), key(), true)];
        assert!(matches!(standing(&a, &Neighbourhood { nodes: vec![b], mounts }), Standing::Shared(_)));
    }

    #[test]
    fn s03_a_claim_that_another_node_imports_and_a_stray_pod_hold_a_start_back() {
        let a = node("a", OLD, "k");
        let claim = Exclusive::Claim("data-a".into());
        let stray = Neighbourhood { nodes: Vec::new(), mounts: vec![mount(None, claim.clone(), false)] };
        assert!(matches!(standing(&a, &stray), Standing::NotYet(_)));
        let mut importer = node("b", NEW, "other");
        importer.spec.data_volume =
            serde_json::from_value(json!({"import": {"pvcName": "data-a"}})).expect("an import");
        let around = Neighbourhood { nodes: vec![importer], mounts: vec![mount(Some("b"), claim, true)] };
        assert!(matches!(standing(&a, &around), Standing::HeldBy(_)));
    }
}
