//! What a sidecar is told to do other than well: durations, outcomes and mishaps, as data.
//!
//! Answers: how long a run takes, how it ends, whether a request is answered at all.
//! Refuses to know: the time and the state of any sidecar.
//! Upholds: the default script changes nothing; an outcome or a counted mishap is used up once.

use super::kind::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The script of one node's sidecar. It outlives processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Script {
    /// Multiplies every duration; 0.01 makes a live test a hundred times faster.
    pub scale: f64,
    /// Per task type.
    pub tasks: BTreeMap<String, TaskScript>,
    /// Tried in order, the first that fits a request is used.
    pub mishaps: Vec<Mishap>,
    /// State-sync witnesses that do not answer.
    pub silent_witnesses: BTreeSet<String>,
}

/// The script of one task type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct TaskScript {
    /// Overrides the usual duration.
    #[serde(rename = "durationMs", with = "millis", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// For the next runs, first one first; later runs do what the handler does.
    pub runs: VecDeque<Ending>,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// As the handler decides.
    Natural,
    /// Well, without the handler's effects or checks.
    Succeed,
    /// Badly, without the handler's effects.
    Fail {
        /// The text of the failure.
        error: String,
        /// A result beside it, as governance tasks have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
    },
    /// Never, until the process restarts or the record is deleted.
    Hang,
    /// The handler panics, which the server turns into a failure.
    Panic,
}

/// Something that goes wrong with requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mishap {
    /// What happens.
    pub what: Fault,
    /// Only to this method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Only to paths that start so, for example `/v0/healthz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How often; without a count until the script changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// The kinds of mishap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// No answer, and the request does nothing.
    Hang,
    /// Connection refused.
    Refuse,
    /// The request is carried out but its answer never arrives.
    LoseAnswer,
    /// The task database is emptied, then the request is carried out.
    Amnesia,
    /// The task database can be read but not written.
    Locked,
    /// The proxy answers in the sidecar's place, for example 401, 403, 502 or 503.
    Status(u16),
}

impl Default for Script {
    fn default() -> Self {
        Self { scale: 1.0, tasks: BTreeMap::new(), mishaps: Vec::new(), silent_witnesses: BTreeSet::new() }
    }
}

impl Script {
    /// Adds endings for the next runs of a type.
    #[must_use]
    pub fn runs(mut self, kind: &str, endings: impl IntoIterator<Item = Ending>) -> Self {
        self.tasks.entry(kind.to_owned()).or_default().runs.extend(endings);
        self
    }

    /// Sets how long a type takes.
    #[must_use]
    pub fn lasting(mut self, kind: &str, duration: Duration) -> Self {
        self.tasks.entry(kind.to_owned()).or_default().duration = Some(duration);
        self
    }

    /// Adds a mishap for every request, without end.
    #[must_use]
    pub fn always(mut self, what: Fault) -> Self {
        self.mishaps.push(Mishap { what, method: None, path: None, times: None });
        self
    }

    pub(super) fn duration(&self, kind: Kind) -> Duration {
        let scripted = self.tasks.get(kind.name()).and_then(|task| task.duration);
        scale(scripted.unwrap_or_else(|| kind.usual_duration()), self.scale)
    }

    pub(super) fn take_ending(&mut self, kind: Kind) -> Ending {
        let scripted = self.tasks.get_mut(kind.name()).and_then(|task| task.runs.pop_front());
        scripted.unwrap_or(Ending::Natural)
    }

    pub(super) fn take_mishap(&mut self, method: &str, path: &str) -> Option<Fault> {
        let index = self.mishaps.iter().position(|mishap| mishap.fits(method, path))?;
        let mishap = self.mishaps.get_mut(index)?;
        let what = mishap.what;
        if let Some(times) = &mut mishap.times {
            *times -= 1;
        }
        Some(what)
    }
}

impl Mishap {
    fn fits(&self, method: &str, path: &str) -> bool {
        self.times != Some(0)
            && self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.path.as_deref().is_none_or(|wanted| path.starts_with(wanted))
    }
}

/// Scales a duration; factors that are no use (negative, infinite) leave it as it is.
pub(crate) fn scale(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(duration)
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => to.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may end early")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_as_data() {
        let script: Script = serde_json::from_value(json!({
            "tasks": {"config-apply": {"durationMs": 7, "runs": [{"fail": {"error": "no"}}, "hang"]}},
            "mishaps": [{"what": {"status": 502}, "times": 1}, {"what": "refuse", "path": "/v0/healthz"}],
        }))
        .unwrap();
        assert_eq!(script.duration(Kind::ConfigApply), Duration::from_millis(7));
        let again: Script = serde_json::from_value(serde_json::to_value(&script).unwrap()).unwrap();
        assert_eq!(again, script);
    }

    #[test]
    fn mishaps_are_used_up() {
        let mut script = Script::default();
        script.mishaps.push(Mishap { what: Fault::Hang, method: None, path: None, times: Some(2) });
        let seen: Vec<_> = (0..3).map(|_| script.take_mishap("GET", "/v0/status")).collect();
        assert_eq!(seen, [Some(Fault::Hang), Some(Fault::Hang), None]);
    }
}
