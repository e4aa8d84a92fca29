//! What becomes of dependents when their owner is deleted, on both sides.
//!
//! Answers: do the garbage collector of the real controller manager and that of the pretend cluster leave the same objects?
//! Refuses to know: in which order they go about it. Upholds: between two deletions both come to rest, because a deletion
//! that meets a collection half way may end in two ways.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::StreamExt as _;
use kube::Client;
use seinode_sim::store::Kind;
use serde_json::{Value, json};

use super::player::Player;
use super::step::{Step, Verb};
use super::{AT_ONCE, Bench, pretend, sample};
use crate::campaign::{Options, Row};
use crate::live::wait_until;

/// How many families the whole campaign plays.
pub(super) const WHOLE: u32 = 300;

/// The collector looks at most objects within a second; at all of them again only after much longer.
const COLLECTED: Duration = Duration::from_mins(1);

/// The kinds of a family: one that is built in, one that is defined.
const KINDS: [&str; 2] = ["ConfigMap", "SeiNode"];

/// Objects that own each other, and the deletions that come over them, one after the other.
struct Family {
    members: Vec<Step>,
    deletions: Vec<Step>,
}

/// Draws and plays families.
pub(super) async fn row(bench: &Bench, options: &Options) -> Result<Row, String> {
    let start = Instant::now();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let count = (f64::from(WHOLE) * options.share).ceil() as u64;
    let seeds = (0..count).map(|index| options.seed.wrapping_add(index));
    let wanted = seeds
        .filter(|seed| format!("family-{seed}").contains(&options.only))
        .take_while(|_| start.elapsed() < options.limit);
    let mut running = futures::stream::iter(wanted)
        .map(async |seed| (seed, play(bench, seed).await))
        .buffer_unordered(AT_ONCE * 2);
    let (mut families, mut requests, mut kept, mut wrong) = (0, 0, 0, Vec::new());
    let mut ended = Vec::new();
    while let Some((seed, outcome)) = running.next().await {
        families += 1;
        match outcome? {
            Ok(played) => {
                requests += played.requests;
                kept += played.left.len() as u64;
                ended.push((seed, played.left));
            }
            Err(difference) => wrong.push(format!("\nfamily-{seed}: {difference}\n")),
        }
    }
    drop(running);
    // A collector that was slow to take one object too many has done so by now, at least in most families.
    for (seed, left) in ended {
        let now = look(&bench.client, &format!("family-{seed}")).await?;
        if now != left {
            wrong.push(format!("\nfamily-{seed}: at last real {}, pretend {}\n", json!(now), json!(left)));
        }
    }
    wrong.sort();
    let different = wrong.len() as u64;
    Ok(Row {
        name: "families".to_owned(),
        counts: vec![
            ("sequences", families),
            ("requests", requests),
            ("objects left", kept),
            ("different", different),
        ],
        took: start.elapsed(),
        failure: (!wrong.is_empty()).then(|| wrong.concat()),
    })
}

/// A family that ended alike on both sides.
struct Played {
    requests: u64,
    left: BTreeMap<String, Value>,
}

/// Plays the family of a seed; the inner error is a difference.
async fn play(bench: &Bench, seed: u64) -> Result<Result<Played, String>, String> {
    let namespace = format!("family-{seed}");
    bench.namespace(&namespace, false).await?;
    let (store, client) = pretend();
    let mut real = Player::new(&bench.client, &namespace);
    let mut pretended = Player::new(&client, &namespace);
    let family = draw(seed);
    let mut phases = vec![family.members];
    phases.extend(family.deletions.into_iter().map(|step| vec![step]));
    let mut requests = 0;
    let mut left = BTreeMap::new();
    for phase in &phases {
        for step in phase {
            real.play(step).await?;
            pretended.play(step).await?;
            requests += 1;
        }
        while store.collect_garbage() > 0 {}
        left = look(&client, &namespace).await?;
        let collected = wait_until("both sides to have the same objects", COLLECTED, async || {
            let found = look(&bench.client, &namespace).await?;
            if found == left {
                Ok(())
            } else {
                Err(format!("real {}, pretend {}", json!(found), json!(left)))
            }
        });
        if let Err(error) = collected.await {
            return Ok(Err(format!("{error}, after {}", json!(phases))));
        }
    }
    Ok(Ok(Played { requests, left }))
}

/// What is there, with what the collector goes by.
async fn look(client: &Client, namespace: &str) -> Result<BTreeMap<String, Value>, String> {
    let player = Player::new(client, namespace);
    let mut found = BTreeMap::new();
    for kind in KINDS {
        let list = step(Verb::List, kind, "", Value::Null);
        let answer = player.ask(&list).await?;
        for item in answer.body["items"].as_array().into_iter().flatten() {
            let metadata = &item["metadata"];
            let name = metadata["name"].as_str().unwrap_or_default();
            // The controller manager puts one into each namespace.
            if name == "kube-root-ca.crt" {
                continue;
            }
            let is_deleting = !metadata["deletionTimestamp"].is_null();
            // Whether one of two lost owners was forgotten before the other was lost is chance.
            let owners =
                metadata["ownerReferences"].as_array().filter(|_| !is_deleting).into_iter().flatten();
            let state = json!({
                "is deleting": is_deleting,
                "finalizers": metadata["finalizers"],
                "owners": owners.map(|owner| &owner["name"]).collect::<Vec<_>>(),
            });
            found.insert(format!("{kind}/{name}"), state);
        }
    }
    Ok(found)
}

fn draw(seed: u64) -> Family {
    let mut rng = Rng::with_seed(seed);
    let mut members: Vec<Step> = Vec::new();
    let mut names: Vec<Member> = Vec::new();
    for index in 0..rng.usize(3..7) {
        let kind = KINDS[rng.usize(..KINDS.len())];
        let name = format!("m{index}");
        let mut owners = Vec::new();
        if !names.is_empty() && rng.u8(..100) < 75 {
            let first = rng.usize(..names.len());
            owners.push(owner(&mut rng, &names[first], true));
            let second = rng.usize(..names.len());
            if second != first && rng.u8(..100) < 30 {
                owners.push(owner(&mut rng, &names[second], false));
            }
        }
        let mut object = sample::of(kind).map(|sample| sample.base).unwrap_or_default();
        object["apiVersion"] = json!(sample::resource(kind).map(Kind::api_version).ok());
        object["kind"] = json!(kind);
        object["metadata"] = json!({ "name": name, "ownerReferences": owners });
        let is_held = rng.u8(..100) < 10;
        if is_held {
            object["metadata"]["finalizers"] = json!(["t.io/f"]);
        }
        members.push(step(Verb::Create, kind, "", object));
        names.push(Member { kind, name, is_held });
    }
    let deletions = (0..rng.usize(1..4)).map(|_| {
        let Member { kind, name, .. } = &names[rng.usize(..names.len())];
        if rng.u8(..100) < 15 {
            return step(Verb::Merge, kind, name, json!({ "metadata": { "finalizers": null } }));
        }
        let body = match rng.u8(..4) {
            0 => json!({}),
            1 => json!({ "propagationPolicy": "Background" }),
            2 => json!({ "propagationPolicy": "Foreground" }),
            _ => json!({ "propagationPolicy": "Orphan" }),
        };
        step(Verb::Delete, kind, name, body)
    });
    let deletions = deletions.collect();
    Family { members, deletions }
}

struct Member {
    kind: &'static str,
    name: String,
    /// Whether a finalizer holds it.
    is_held: bool,
}

fn owner(rng: &mut Rng, Member { kind, name, is_held }: &Member, is_controller: bool) -> Value {
    let uid = if rng.u8(..100) < 5 {
        "00000000-0000-0000-0000-000000000000".to_owned()
    } else {
        format!("@uid {kind}/{name}")
    };
    json!({
        "apiVersion": sample::resource(kind).map(Kind::api_version).ok(),
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": is_controller,
        // What blocks nobody is collected only if it is looked at before its owner stops waiting. That is chance, and
        // shows where the owner stays.
        "blockOwnerDeletion": *is_held || rng.bool(),
    })
}

fn step(verb: Verb, kind: &str, name: &str, body: Value) -> Step {
    Step {
        verb,
        kind: kind.to_owned(),
        name: name.to_owned(),
        part: String::new(),
        query: BTreeMap::new(),
        body,
    }
}
