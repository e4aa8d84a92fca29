//! Is the pretend cluster honest? The same requests go to it and to the real API server, and what they say is compared.
//!
//! Answers: where the two differ, as a sequence that is as short as it gets. Refuses to know: controllers, the garbage
//! collector apart; while sequences are played the real controller manager is stopped, so that nobody else writes.
//! Upholds: a difference that was found once is kept as a case in `cases.json` and tried in every run.

mod draw;
mod garbage;
mod normal;
mod player;
mod sample;
mod shrink;
pub mod step;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use seinode_core::api::{admission, crd};
use seinode_sim::api::{ApiServer, Recorder};
use seinode_sim::error::FieldError;
use seinode_sim::store::{Clock, Kind, Store, Validator};
use serde_json::Value;

use self::step::{Sequence, Verb};
use super::{Options, Row};
use crate::live::{Component, ControlPlane, LiveError};

/// How many sequences the whole campaign plays.
pub const WHOLE: u32 = 10_000;

/// Differences that were found once.
const CASES: &str = include_str!("cases.json");

/// Sequences in flight; the servers are the bottleneck.
const AT_ONCE: usize = 8;

/// Differences that are told in full; the first few tell what is wrong.
const TOLD: usize = 12;

/// The campaign: every kept case, and the given share of [`WHOLE`] sequences.
pub fn run(options: &Options) -> Result<Vec<Row>, String> {
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("cannot start a runtime: {error}"))?;
    runtime.block_on(async {
        let mut bench = Bench::set().await.map_err(|error| format!("{error:?}"))?;
        bench.compare(options).await
    })
}

/// The real API server, alone.
pub struct Bench {
    plane: ControlPlane,
    client: Client,
}

impl Bench {
    /// Starts it, with the definition of nodes.
    pub async fn set() -> Result<Self, LiveError> {
        let mut plane = ControlPlane::start().await?;
        plane.install_crd(&crd::custom_resource_definition()).await?;
        // It asks for the kinds that there are when it starts, and then only twice a minute.
        plane.stop(Component::ControllerManager).await?;
        plane.resume(Component::ControllerManager).await?;
        let client = plane.client();
        Ok(Self { plane, client })
    }

    /// Plays families with the controller manager; then, without it, the kept cases and as many sequences as wanted.
    pub async fn compare(&mut self, options: &Options) -> Result<Vec<Row>, String> {
        let cases: Vec<Sequence> = serde_json::from_str(CASES)
            .map_err(|error| format!("cases.json is no list of sequences: {error}"))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let count = (f64::from(WHOLE) * options.share).ceil() as u64;
        let drawn = (0..count).map(|index| draw::sequence(options.seed.wrapping_add(index)));
        let families = garbage::row(self, options).await?;
        let stopped = self.plane.stop(Component::ControllerManager).await;
        stopped.map_err(|error| format!("{error:?}"))?;
        Ok(vec![
            families,
            self.row("cases", cases.into_iter(), options).await?,
            self.row("sequences", drawn, options).await?,
        ])
    }

    async fn row(
        &self,
        name: &str,
        sequences: impl Iterator<Item = Sequence>,
        options: &Options,
    ) -> Result<Row, String> {
        let start = Instant::now();
        let mut count = Count::default();
        let mut failures = Vec::new();
        let wanted = sequences
            .filter(|sequence| sequence.name.contains(&options.only))
            .enumerate()
            .take_while(|_| start.elapsed() < options.limit);
        let mut running = futures::stream::iter(wanted)
            .map(async |(index, sequence)| {
                let namespace = format!("{name}-{index}");
                let outcome = self.both(&namespace, &sequence).await;
                (sequence, outcome)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((sequence, outcome)) = running.next().await {
            let sides = outcome.map_err(|error| format!("{}: {error}", sequence.name))?;
            count.add(&sequence, &sides);
            if let Some(sort) = sides.sort(&sequence) {
                count.different += 1;
                failures.push((sort, sequence));
            }
        }
        drop(running);
        // One of each sort, the shortest.
        failures.sort_by_key(|(sort, sequence)| (sort.clone(), sequence.steps.len(), sequence.name.clone()));
        failures.dedup_by(|next, first| next.0 == first.0);
        let mut told = String::new();
        for (index, (_, sequence)) in failures.iter().take(TOLD).enumerate() {
            told.push_str(&shrink::told(self, &format!("{name}-shrink-{index}"), sequence).await?);
        }
        Ok(Row {
            name: name.to_owned(),
            counts: count.columns(),
            took: start.elapsed(),
            failure: (!failures.is_empty()).then_some(told),
        })
    }

    /// Plays a sequence on both sides. The namespace must be new.
    async fn both(&self, namespace: &str, sequence: &Sequence) -> Result<Sides, String> {
        let has_pods = sequence.steps.iter().any(|step| step.kind == "Pod");
        self.namespace(namespace, has_pods).await?;
        let real = player::play(&self.client, namespace, sequence)
            .await
            .map_err(|error| format!("on the real server: {error}"))?;
        let pretend = player::play(&pretend().1, namespace, sequence)
            .await
            .map_err(|error| format!("on the pretend server: {error}"))?;
        Ok(Sides { real: normal::normal(sequence, &real), pretend: normal::normal(sequence, &pretend) })
    }

    /// Pods want the default account, which nobody else makes here.
    async fn namespace(&self, name: &str, has_pods: bool) -> Result<(), String> {
        let failed = |error: kube::Error| format!("cannot make namespace {name}: {error}");
        let how = PostParams::default();
        let named = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        Api::all(self.client.clone()).create(&how, &namespace).await.map_err(failed)?;
        if has_pods {
            let account = ServiceAccount { metadata: named("default"), ..ServiceAccount::default() };
            Api::namespaced(self.client.clone(), name).create(&how, &account).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// What both servers said, step by step.
struct Sides {
    real: Vec<Value>,
    pretend: Vec<Value>,
}

impl Sides {
    /// The first step that they answer differently. Events of a watch come later than anything that follows its step, so
    /// watches are looked at last.
    fn difference(&self) -> Option<usize> {
        let mut differing: Vec<usize> =
            (0..self.real.len()).filter(|index| self.real[*index] != self.pretend[*index]).collect();
        differing.sort_by_key(|index| (self.real[*index]["body"].is_array(), *index));
        differing.first().copied()
    }

    /// What kind of difference it is: a smaller sequence has to show the same.
    fn sort(&self, sequence: &Sequence) -> Option<Sort> {
        let index = self.difference()?;
        let shown = |answer: &Value| format!("{} {}", answer["code"], answer["body"]["reason"]);
        let verb = sequence.steps.get(index)?.verb;
        Some(Sort(verb, shown(&self.real[index]), shown(&self.pretend[index])))
    }
}

/// What kind of difference it is: the verb, and code and reason of both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sort(Verb, String, String);

/// A pretend API server that is new: its store, and a client.
fn pretend() -> (Store, Client) {
    let store = Store::new(Clock::starting_at(Timestamp::now()));
    let definition = crd::custom_resource_definition();
    store.declare(Kind::SeiNode, &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    store.validate_with(Kind::SeiNode, Validator::new(judge));
    let server = ApiServer::new(&store).with_recorder(Recorder::silent()).serving("conformance");
    let client = Client::new(server, "default");
    (store, client)
}

/// Schema, defaults and rules of the definition. The check of a status write does not look at metadata.
fn judge(new: &Value, old: Option<&Value>) -> Result<Value, Vec<FieldError>> {
    let result = match old {
        None => admission::check(new),
        Some(old) if old.get("status") != new.get("status") => admission::check_status(old, new),
        Some(old) => admission::check_update(old, new),
    };
    let errors = match result {
        Ok(mut judged) => {
            judged["metadata"] = new["metadata"].clone();
            return Ok(judged);
        }
        Err(errors) => errors,
    };
    let told = errors.into_iter().map(|error| FieldError {
        message: error.to_string(),
        field: error.path,
        cause: "FieldValueInvalid",
    });
    Err(told.collect())
}

/// What was played.
#[derive(Default)]
struct Count {
    sequences: u64,
    requests: u64,
    refused: u64,
    events: u64,
    different: u64,
    verbs: BTreeMap<Verb, u64>,
}

impl Count {
    fn add(&mut self, sequence: &Sequence, sides: &Sides) {
        self.sequences += 1;
        for (step, answer) in sequence.steps.iter().zip(&sides.real) {
            self.requests += 1;
            self.refused += u64::from(answer["code"].as_u64() >= Some(300));
            self.events += answer["body"].as_array().map_or(0, Vec::len) as u64;
            *self.verbs.entry(step.verb).or_default() += 1;
        }
    }

    fn columns(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("sequences", self.sequences),
            ("requests", self.requests),
            ("refused", self.refused),
            ("watch events", self.events),
            ("applies", self.verbs.get(&Verb::Apply).copied().unwrap_or_default()),
            ("different", self.different),
        ]
    }
}
