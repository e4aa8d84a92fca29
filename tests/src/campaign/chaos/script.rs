//! What happens, in which order, by chance.
//!
//! Answers: the events of a seed, and what every node is to be in the end. Refuses to know: how long anything takes.
//! Upholds: the same seed and size give the same script; a script asks only for what makes sense when it comes (no image
//! for a node that is not there).

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::live::Component;

/// How much is to happen.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Times that an operator is killed.
    pub kills: usize,
    /// Times that each of API server and etcd is away.
    pub outages: usize,
    /// Changes to a node after it was made, on average.
    pub changes: usize,
}

/// What a node is to be in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) image: u32,
    pub(super) paused: bool,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    /// A node is made.
    Create(usize, u32),
    /// Its image changes.
    Image(usize, u32),
    /// It is paused, or goes on.
    Pause(usize, bool),
    /// It is deleted.
    Delete(usize),
    /// Its pod is drained, as by a person.
    Evict(usize),
    /// Its sidecar crashes.
    RestartSidecar(usize),
    /// One of the operators is killed, and started again after this time.
    Kill(usize, Duration),
    /// A second operator begins, beside the first.
    StartSecond,
    /// The second operator ends for good.
    StopSecond,
    /// A component is away; kills in between.
    Outage(Component, Vec<Duration>),
}

/// The events, with the pause before each.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) events: Vec<(Duration, Event)>,
    /// Nodes that are there in the end.
    pub(super) wishes: BTreeMap<usize, Wish>,
}

/// The name of a node.
pub(super) fn name(node: usize) -> String {
    format!("n{node}")
}

/// The manifest of a node; every fifth comes up with a bootstrap, others from state sync, genesis or as an archive.
pub(super) fn manifest(node: usize, image: u32) -> Value {
    let witnesses = json!(["a.example.net:26657", "b.example.net:26657"]);
    let mode = match node % 5 {
        0 => json!({ "fullNode": { "snapshot": {
            "s3": { "targetHeight": 5 }, "bootstrapImage": "registry.example.net/seid:0", "rpcServers": witnesses,
        } } }),
        1 | 2 => json!({ "fullNode": { "snapshot": { "stateSync": {}, "rpcServers": witnesses } } }),
        3 => json!({ "fullNode": {} }),
        _ => json!({ "archive": {} }),
    };
    let mut spec = json!({ "chainId": "atlantic-2", "image": image_name(image) });
    seinode_core::patch::apply(&mut spec, &mode);
    json!({ "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": { "name": name(node) }, "spec": spec })
}

/// The image of this number.
pub(super) fn image_name(image: u32) -> String {
    format!("registry.example.net/seid:{image}")
}

/// The script of a seed.
pub(super) fn write(seed: u64, size: Size) -> Script {
    let mut rng = Rng::with_seed(seed);
    let mut wishes = BTreeMap::new();
    let mut made = 0;
    let mut events = Vec::new();
    // Nodes come in while others change already; kills and outages come at any time after the first.
    let mut parts = Vec::new();
    parts.extend(std::iter::repeat_n(Part::Create, size.nodes - 1));
    parts.extend(std::iter::repeat_n(Part::Change, size.nodes * size.changes));
    let inside = size.outages * 2 * KILLS_IN_AN_OUTAGE;
    parts.extend(std::iter::repeat_n(Part::Kill, size.kills.saturating_sub(inside)));
    for component in [Component::ApiServer, Component::Etcd] {
        parts.extend(std::iter::repeat_n(Part::Outage(component), size.outages));
    }
    rng.shuffle(&mut parts);
    let second = parts.len() / 3;
    let alone = parts.len() * 5 / 6;
    parts.insert(0, Part::Create);
    let mut is_double = false;
    for (index, part) in parts.into_iter().enumerate() {
        if index == second || index == alone {
            is_double = index == second;
            let event = if is_double { Event::StartSecond } else { Event::StopSecond };
            events.push((pause(&mut rng), event));
        }
        let event = match part {
            Part::Create => {
                let image = rng.u32(1..4);
                wishes.insert(made, Wish { image, paused: false });
                made += 1;
                Event::Create(made - 1, image)
            }
            Part::Change => change(&mut rng, &mut wishes, made),
            Part::Kill => Event::Kill(rng.usize(..=usize::from(is_double)), down(&mut rng)),
            Part::Outage(component) => {
                let kills = (0..KILLS_IN_AN_OUTAGE).map(|_| Duration::from_millis(rng.u64(200..3000)));
                Event::Outage(component, kills.collect())
            }
        };
        events.push((pause(&mut rng), event));
    }
    Script { events, wishes }
}

/// Operators are killed this often while a component is away.
const KILLS_IN_AN_OUTAGE: usize = 2;

#[derive(Clone, Copy)]
enum Part {
    Create,
    Change,
    Kill,
    Outage(Component),
}

/// A change to a node that is there, or a node that was deleted comes back.
fn change(rng: &mut Rng, wishes: &mut BTreeMap<usize, Wish>, made: usize) -> Event {
    let node = rng.usize(..made);
    let Some(wish) = wishes.get_mut(&node) else {
        let image = rng.u32(1..4);
        wishes.insert(node, Wish { image, paused: false });
        return Event::Create(node, image);
    };
    match rng.u8(..100) {
        0..45 => {
            wish.image = wish.image % 3 + 1;
            Event::Image(node, wish.image)
        }
        45..70 => {
            wish.paused = !wish.paused;
            Event::Pause(node, wish.paused)
        }
        70..80 => {
            wishes.remove(&node);
            Event::Delete(node)
        }
        80..90 => Event::Evict(node),
        _ => Event::RestartSidecar(node),
    }
}

/// Short against a plan, so that events meet; sometimes nothing at all.
fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(if rng.u8(..4) == 0 { 0 } else { rng.u64(20..1200) })
}

fn down(rng: &mut Rng) -> Duration {
    Duration::from_millis(if rng.bool() { 0 } else { rng.u64(..1500) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_script() {
        let size = Size { nodes: 20, kills: 60, outages: 3, changes: 5 };
        let (one, again, other) = (write(1, size), write(1, size), write(2, size));
        assert_eq!((&one.events, &one.wishes), (&again.events, &again.wishes));
        assert_ne!(one.events, other.events);
        let kills = one.events.iter().map(|(_, event)| match event {
            Event::Kill(..) => 1,
            Event::Outage(_, kills) => kills.len(),
            _ => 0,
        });
        assert_eq!(kills.sum::<usize>(), size.kills);
    }
}
