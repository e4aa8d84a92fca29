//! The steps as data.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use seinode_core::patch;
use seinode_core::platform::{self, Platform};
use seinode_sim::api::{PatchType, Verb};
use seinode_sim::sidecar::{Ending, Fault};
use seinode_sim::store::Kind;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::state::{Named, State};

/// One step.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Step {
    Create(String),
    Put(Value),
    Patch(PatchObject),
    Remove(Named),
    Edit(Edit),
    Delete(String),
    Wait(Span),
    Until(State),
    Expect(State),
    Quiet(Span),
    Start(String),
    Kill(String),
    Evict(String),
    ForceDelete(String),
    FailPod(String),
    RestartSidecar(String),
    CrashSeid(String),
    Sidecar(SidecarTrouble),
    Task(TaskPlan),
    Forget(String),
    Witnesses(Witnesses),
    Api(ApiTrouble),
    Lag(Lag),
    Heal(Heal),
    Registry(Registry),
    Platform(Box<PlatformChange>),
    Cluster(ClusterChange),
    Jump(SignedSpan),
    Show(String),
}

/// The names of all steps, for errors.
pub(super) const STEPS: &str = "create, put, patch, remove, edit, delete, wait, until, expect, quiet, start, kill, evict, \
                                forceDelete, failPod, restartSidecar, crashSeid, sidecar, task, forget, witnesses, api, \
                                lag, heal, registry, platform, cluster, jump, show";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchObject {
    pub(super) kind: KindName,
    pub(super) name: String,
    pub(super) patch: Value,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    #[serde(default)]
    pub(super) node: String,
    #[serde(default)]
    pub(super) spec: Option<Value>,
    #[serde(default)]
    pub(super) annotations: Option<Value>,
    #[serde(default)]
    pub(super) labels: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SidecarTrouble {
    #[serde(default)]
    pub(super) node: String,
    pub(super) what: Fault,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) times: Option<u32>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskPlan {
    #[serde(default)]
    pub(super) node: String,
    #[serde(rename = "type")]
    pub(super) task_type: String,
    #[serde(default)]
    pub(super) runs: Vec<Ending>,
    pub(super) lasts: Option<Span>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Witnesses {
    #[serde(default)]
    pub(super) node: String,
    pub(super) silent: Vec<String>,
}

/// What goes wrong with requests of an operator to the API server, for the next of them that fit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiTrouble {
    #[serde(default = "first_operator")]
    pub(super) client: String,
    pub(super) verb: Option<VerbName>,
    pub(super) kind: Option<KindName>,
    pub(super) name: Option<String>,
    /// `status`, or the object itself.
    pub(super) part: Option<PartName>,
    #[serde(default)]
    pub(super) when: When,
    pub(super) trouble: TroubleName,
    pub(super) times: Option<u32>,
}

fn first_operator() -> String {
    super::player::OPERATOR.to_owned()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum When {
    /// Nothing has happened yet.
    #[default]
    Before,
    /// It has happened, and the answer is lost.
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum PartName {
    Main,
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum VerbName {
    Get,
    List,
    Watch,
    Create,
    Apply,
    Merge,
    Delete,
}

impl VerbName {
    pub(super) fn of(verb: Verb) -> Option<Self> {
        Some(match verb {
            Verb::Get => Self::Get,
            Verb::List => Self::List,
            Verb::Watch => Self::Watch,
            Verb::Create => Self::Create,
            Verb::Patch(PatchType::Apply) => Self::Apply,
            Verb::Patch(PatchType::Merge) => Self::Merge,
            Verb::Delete => Self::Delete,
            Verb::DeleteCollection | Verb::Discover | Verb::Patch(PatchType::Json) | Verb::Update => {
                return None;
            }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum TroubleName {
    /// No answer, ever.
    Hang,
    /// The connection breaks.
    Lose,
    /// This code is the answer.
    Answer(u16),
    /// It takes this long.
    Delay(Span),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lag {
    #[serde(default = "first_operator")]
    pub(super) client: String,
    pub(super) kind: Option<KindName>,
    pub(super) by: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Heal {
    Api,
    Sidecar,
    All,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Registry {
    Text(String),
    Unreadable(String),
}

/// The built-in platform file with some values changed.
#[derive(Clone, Debug)]
pub(super) struct PlatformChange(pub(super) Platform);

impl<'de> Deserialize<'de> for PlatformChange {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let change = Value::deserialize(from)?;
        let builtin: Value = serde_yaml_ng::from_str(platform::BUILTIN).map_err(D::Error::custom)?;
        let with = |change: &Value| {
            let mut file = builtin.clone();
            patch::apply(&mut file, change);
            // JSON is YAML.
            platform::parse(&file.to_string()).map_err(D::Error::custom)
        };
        // An operator passes over keys that it does not know; here one is a slip of the pen.
        let unchanged = with(&json!({}))?;
        for (path, single) in singles(&change) {
            if with(&single)? == unchanged {
                return Err(D::Error::custom(format!(
                    "{path} changes nothing: the platform file has no such key, or has that value already"
                )));
            }
        }
        with(&change)?.check().map(Self).map_err(D::Error::custom)
    }
}

/// Each value of a change alone, with its path.
fn singles(change: &Value) -> Vec<(String, Value)> {
    let Value::Object(map) = change else { return vec![(String::new(), change.clone())] };
    let of = |(key, value): (&String, &Value)| {
        let join = |path: String| if path.is_empty() { key.clone() } else { format!("{key}.{path}") };
        singles(value)
            .into_iter()
            .map(|(path, inner)| (join(path), json!({ key: inner })))
            .collect::<Vec<_>>()
    };
    map.iter().flat_map(of).collect()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterChange {
    /// Images that can't be pulled.
    pub(super) missing_images: Option<Vec<String>>,
    /// Whether pods get hosts.
    pub(super) hosts: Option<bool>,
    /// Whether claims get volumes.
    pub(super) volumes: Option<bool>,
    /// How Jobs end, by name.
    #[serde(default)]
    pub(super) jobs: BTreeMap<String, JobEnd>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobEnd {
    /// Never, if absent.
    pub(super) after: Option<Span>,
    #[serde(default)]
    pub(super) exit: i32,
}

/// A length of time, as `10s`, `5m` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let span = SignedSpan::deserialize(from)?;
        Duration::try_from(span.0)
            .map(Self)
            .map_err(|_| D::Error::custom("write a span that is not negative"))
    }
}

/// The same, also negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignedSpan(pub(super) SignedDuration);

impl<'de> Deserialize<'de> for SignedSpan {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(|_| {
            D::Error::custom(format!("{text:?} is no span of time; write one as 500ms, 10s, 5m or 1h30m"))
        })
    }
}

/// A kind of object that the pretend API server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindName(pub(super) Kind);

impl<'de> Deserialize<'de> for KindName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Kind::all().find(|kind| kind.name() == text).map(Self).ok_or_else(|| {
            let known: Vec<&str> = Kind::all().map(Kind::name).collect();
            D::Error::custom(format!("there is no kind {text:?}; write one of {}", known.join(", ")))
        })
    }
}
