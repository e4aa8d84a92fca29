//! Peers from EC2 instances, found by their tags.

use std::collections::BTreeMap;

use crate::api::SeiNode;
use crate::api::condition::{Condition, ConditionStatus, ConditionType};
use crate::draft::{StatusDraft, cut};
use crate::world::{Seen, Topic, World};

/// A running EC2 instance, as far as a peer is told by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Where it can be reached, the best first: public name, public address, private name, private address. Empty texts are
    /// none.
    pub hosts: [String; 4],
}

/// Tag with the node id of an instance.
const NODE_ID: &str = "sei.io/node-id";
/// Tag with the port of an instance where it is not the usual one.
const PORT: &str = "sei.io/p2p-port";
/// Port of P2P.
const P2P: u32 = 26656;

impl Instance {
    /// The instance as a peer; `None` where it can't be one (`seinode.md` 14).
    pub fn peer(&self) -> Option<String> {
        let id = self.tags.get(NODE_ID).filter(|id| is_node_id(id))?;
        let host = self.hosts.iter().find(|host| !host.is_empty())?;
        if host.chars().any(|c| c == ',' || c.is_whitespace() || c.is_control()) {
            return None;
        }
        let port =
            self.tags.get(PORT).and_then(|text| text.parse::<i32>().ok()).and_then(|p| u32::try_from(p).ok());
        Some(format!("{id}@{host}:{}", port.filter(|p| *p > 0).unwrap_or(P2P)))
    }
}

/// 40 hexadecimal digits, in small letters.
fn is_node_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a spec names peers by EC2 tags.
pub(super) fn is_named(node: &SeiNode) -> bool {
    node.spec.peers.iter().flatten().any(|source| source.ec2_tags.is_some())
}

/// Shows whether EC2 was asked for the peers that the spec names by tags.
pub(crate) fn show(world: World<'_>, draft: &mut StatusDraft<'_>) {
    use ConditionStatus::{False, True, Unknown};
    let kind = ConditionType::Ec2PeersResolved;
    if !is_named(world.node) {
        if draft.find(&kind).is_some() {
            draft.condition(kind, False, "NotApplicable", "the spec names no peers by EC2 tags");
        }
        return;
    }
    if !world.settings.asks_ec2 {
        let text = "this build of the operator does not ask EC2: peers that were resolved earlier are kept, and no new ones \
                    are found. Run a build with the feature ec2, or name the peers by static or label";
        draft.condition(kind, False, "NotAsked", text);
        return;
    }
    if !world.observed.has_looked(&Topic::Peers) {
        // What EC2 told stays until it is asked again; what was said before anybody could ask it is not true any more.
        let was_asked = |c: &Condition| matches!(c.reason.as_str(), "Resolved" | "AskFailed");
        if !draft.find(&kind).is_some_and(was_asked) {
            draft.condition(
                kind,
                Unknown,
                "NotResolved",
                "EC2 is asked when the peers are resolved for a plan",
            );
        }
        return;
    }
    let sources = world.node.spec.peers.iter().flatten().filter_map(|source| source.ec2_tags.as_ref());
    let answers = world.observed.ec2.iter().map(Some).chain(std::iter::repeat(None));
    let failed = sources.zip(answers).find_map(|(source, answer)| match answer {
        Some(Seen::Present(_) | Seen::Absent) => None,
        Some(Seen::Unknown(blind)) => Some((source, blind.to_string())),
        None => Some((source, "there was no answer".to_owned())),
    });
    match failed {
        None => draft.condition(kind, True, "Resolved", "EC2 has told the instances of every source"),
        Some((source, why)) => {
            let text = format!(
                "EC2 in {} was asked in vain, peers that were resolved earlier are kept: {why}",
                source.region
            );
            draft.condition(kind, False, "AskFailed", &cut(&text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn instance(tags: &[(&str, &str)], hosts: [&str; 4]) -> Instance {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Instance { tags, hosts: hosts.map(str::to_owned) }
    }

    #[test]
    fn each_row_of_an_instance() {
        let at = |host: &str, port: &str| Some(format!("{ID}@{host}:{port}"));
        let id = (NODE_ID, ID);
        let rows = [
            (
                "public name first",
                instance(&[id], ["a.example.net", "1.2.3.4", "b", "10.0.0.1"]),
                at("a.example.net", "26656"),
            ),
            ("public address", instance(&[id], ["", "1.2.3.4", "b", "10.0.0.1"]), at("1.2.3.4", "26656")),
            ("private name", instance(&[id], ["", "", "b", "10.0.0.1"]), at("b", "26656")),
            ("private address", instance(&[id], ["", "", "", "10.0.0.1"]), at("10.0.0.1", "26656")),
            ("no host", instance(&[id], ["", "", "", ""]), None),
            ("a comma in the host", instance(&[id], ["a,b", "1.2.3.4", "", ""]), None),
            ("a blank in the host", instance(&[id], ["a b", "", "", ""]), None),
            ("a control character in the host", instance(&[id], ["a\u{7}", "", "", ""]), None),
            ("a port of its own", instance(&[id, (PORT, "27000")], ["h", "", "", ""]), at("h", "27000")),
            ("port 0", instance(&[id, (PORT, "0")], ["h", "", "", ""]), at("h", "26656")),
            ("a negative port", instance(&[id, (PORT, "-1")], ["h", "", "", ""]), at("h", "26656")),
            ("a port that is no number", instance(&[id, (PORT, "p2p")], ["h", "", "", ""]), at("h", "26656")),
            (
                "a port of more than 32 bits",
                instance(&[id, (PORT, "4294967296")], ["h", "", "", ""]),
                at("h", "26656"),
            ),
            ("no id", instance(&[], ["h", "", "", ""]), None),
            ("a short id", instance(&[(NODE_ID, "0123")], ["h", "", "", ""]), None),
            ("an id in capitals", instance(&[(NODE_ID, &ID.to_uppercase())], ["h", "", "", ""]), None),
        ];
        for (word, instance, expected) in rows {
            assert_eq!(instance.peer(), expected, "{word}");
        }
    }
}
