//! Leadership through a Lease: one operator works, the others stand by.
//!
//! It is an economy, never what keeps nodes safe: every effect is guarded by itself, so two leaders do no harm. That is
//! why it may be short: a leader that was killed is replaced within five seconds.
//!
//! The rules are those of the Kubernetes client library for Go, so that this operator and the Go operator take turns on
//! one Lease: who holds it renews it; who does not watches the record by its own clock, and takes it once it has not
//! changed for as long as the *holder* said it lasts. Each write carries the resourceVersion that was read, so of two
//! that take it at once one is refused. No clock of another machine is ever compared with ours.

mod mandate;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use mandate::Mandate;

use crate::shard::Shard;
use crate::telemetry::Metrics;

/// The Lease of an operator that looks after all nodes; the Go operator's own.
pub const LEASE: &str = "bc1f5b0a.sei.io";

/// How leadership is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a leader that says nothing more is respected.
    pub lease: Duration,
    /// How long a leader goes on without a renewal that was answered. Less than `lease`, so that it has stopped before
    /// anybody else begins.
    pub renew: Duration,
    /// Time between two renewals; a standby looks twice as often.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(4), renew: Duration::from_secs(3), retry: Duration::from_secs(1) }
    }
}

/// Stands for election until stopped.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    /// A Lease that must be free too: of the operator that looks after all nodes, for one that looks after some.
    above: Option<&'static str>,
    identity: String,
    timing: Timing,
    mandate: Arc<Mandate>,
    metrics: Arc<Metrics>,
}

/// Why no term came about, or why one ended.
enum Outcome {
    /// Somebody else has it, or was faster.
    Taken,
    /// The API server refused or did not answer.
    Failed(String),
}

/// A record as it was last seen to change, by our own clock.
struct Sighting {
    spec: LeaseSpec,
    since: Instant,
}

/// Which records were seen, since when.
#[derive(Default)]
struct Sightings {
    ours: Option<Sighting>,
    above: Option<Sighting>,
}

impl Elector {
    /// An elector in the operator's own namespace.
    pub fn new(
        client: Client,
        namespace: &str,
        shard: Option<Shard>,
        timing: Timing,
        mandate: Arc<Mandate>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (name, above) = match shard {
            None => (LEASE.to_owned(), None),
            Some(shard) => (format!("{LEASE}-shard-{}-of-{}", shard.index(), shard.count()), Some(LEASE)),
        };
        let api = Api::namespaced(client, namespace);
        Self { api, name, above, identity: identity(), timing, mandate, metrics }
    }

    /// Takes the Lease whenever it is free, renews it, and gives it back when stopped. Ends only then.
    pub async fn run(self, stop: CancellationToken) {
        self.metrics.leader(&self.name, false);
        info!(lease = self.name, identity = self.identity, "standing by");
        let mut seen = Sightings::default();
        let mut trouble = None;
        loop {
            let now = Instant::now();
            let look = now + self.timing.retry / 2;
            // Not dropped halfway when stopped: what was taken has to be given back.
            let attempt = timeout_at(now + self.timing.renew, self.take(&mut seen)).await;
            match attempt.unwrap_or_else(|_| Err(Outcome::Failed("no answer in time".to_owned()))) {
                Ok(lease) => {
                    trouble = None;
                    info!(lease = self.name, "leading");
                    self.metrics.leader(&self.name, true);
                    let held = self.hold(lease, now, &mut seen, &stop).await;
                    self.mandate.revoke();
                    self.metrics.leader(&self.name, false);
                    let Some(held) = held else {
                        warn!(lease = self.name, "no longer leading; effects stop at once");
                        continue;
                    };
                    self.release(held).await;
                    if stop.is_cancelled() {
                        return;
                    }
                }
                Err(Outcome::Taken) => trouble = None,
                Err(Outcome::Failed(error)) => {
                    // Said again from time to time: a role that is missing keeps the operator from all work.
                    if trouble.is_none_or(|told: Instant| told.elapsed() >= REMINDER) {
                        warn!(lease = self.name, error, "the lease can't be had; trying on");
                        trouble = Some(now);
                    }
                }
            }
            // A record that runs out before the next look is looked at then.
            let expiry = seen.ours.as_ref().map(|s| self.expiry(s)).filter(|e| *e > Instant::now());
            let wake = expiry.map_or(look, |expiry| expiry.min(look));
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Takes the Lease if it is free.
    async fn take(&self, seen: &mut Sightings) -> Result<Lease, Outcome> {
        if self.is_held_above(seen).await? {
            return Err(Outcome::Taken);
        }
        let Some(found) = self.api.get_opt(&self.name).await.map_err(failed)? else {
            let mut lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(LeaseSpec::default()),
            };
            self.claim(&mut lease);
            return self.api.create(&PostParams::default(), &lease).await.map_err(refused);
        };
        if !self.is_free(&mut seen.ours, found.spec.clone().unwrap_or_default()) {
            return Err(Outcome::Taken);
        }
        let mut lease = found;
        self.claim(&mut lease);
        self.api.replace(&self.name, &PostParams::default(), &lease).await.map_err(refused)
    }

    /// Renews until stopped, or until it is no longer ours (`None`). What it gives back is ours and may be released.
    async fn hold(
        &self,
        mut lease: Lease,
        asked: Instant,
        seen: &mut Sightings,
        stop: &CancellationToken,
    ) -> Option<Lease> {
        // Counted from before the request: the others count from after it.
        let mut end = asked + self.timing.renew;
        self.mandate.grant(end);
        let mut next = asked + self.timing.retry;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Some(lease),
                () = sleep_until(next.min(end)) => {}
            }
            let asked = Instant::now();
            if asked >= end {
                return None;
            }
            match timeout_at(end, self.renew(&lease, seen)).await {
                Ok(Ok(Some(renewed))) => {
                    lease = renewed;
                    end = asked + self.timing.renew;
                    self.mandate.grant(end);
                    next = asked + self.timing.retry;
                }
                // The operator of all nodes is back: make room.
                Ok(Ok(None)) => return Some(lease),
                Ok(Err(Outcome::Taken)) => return None,
                Ok(Err(Outcome::Failed(error))) => {
                    warn!(lease = self.name, error, "the lease could not be renewed; trying on");
                    next = Instant::now() + self.timing.retry / 4;
                }
                Err(_) => return None,
            }
        }
    }

    /// Renews once. `None`: room is to be made.
    async fn renew(&self, lease: &Lease, seen: &mut Sightings) -> Result<Option<Lease>, Outcome> {
        if self.is_held_above(seen).await? {
            return Ok(None);
        }
        let mut next = lease.clone();
        self.claim(&mut next);
        match self.api.replace(&self.name, &PostParams::default(), &next).await {
            Ok(renewed) => return Ok(Some(renewed)),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
            Err(error) => return Err(failed(error)),
        }
        // Somebody wrote to it. If it still says us, only our version was old: our own answer may have been lost.
        match self.api.get_opt(&self.name).await.map_err(failed)? {
            Some(found) if holder(found.spec.as_ref()) == Some(self.identity.as_str()) => {
                let mut next = found;
                self.claim(&mut next);
                self.api.replace(&self.name, &PostParams::default(), &next).await.map(Some).map_err(refused)
            }
            Some(_) | None => Err(Outcome::Taken),
        }
    }

    /// Gives the Lease back, so that the next need not wait. If that does not work, it runs out by itself.
    async fn release(&self, mut lease: Lease) {
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        // As the Go library leaves it: its readers take a missing duration for a broken record.
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let how = PostParams::default();
        let put = self.api.replace(&self.name, &how, &lease);
        match timeout_at(Instant::now() + self.timing.renew, put).await {
            Ok(Ok(_)) => info!(lease = self.name, "released"),
            Ok(Err(error)) => {
                warn!(lease = self.name, %error, "the lease was not released; it runs out by itself");
            }
            Err(_) => warn!(lease = self.name, "the lease was not released in time; it runs out by itself"),
        }
    }

    /// Whether somebody leads for all nodes, which leaves nothing for a shard.
    async fn is_held_above(&self, seen: &mut Sightings) -> Result<bool, Outcome> {
        let Some(above) = self.above else { return Ok(false) };
        match self.api.get_opt(above).await.map_err(failed)? {
            None => Ok(false),
            Some(found) => {
                let free = self.is_free(&mut seen.above, found.spec.unwrap_or_default());
                if !free {
                    debug!(lease = above, "held by an operator that looks after all nodes");
                }
                Ok(!free)
            }
        }
    }

    /// Whether a record is nobody's, or has not changed for as long as its holder said it lasts.
    fn is_free(&self, seen: &mut Option<Sighting>, spec: LeaseSpec) -> bool {
        let holder = holder(Some(&spec));
        if holder.is_none() || holder == Some(self.identity.as_str()) {
            *seen = None;
            return true;
        }
        match seen {
            Some(sighting) if sighting.spec == spec => Instant::now() >= self.expiry(sighting),
            Some(_) | None => {
                *seen = Some(Sighting { spec, since: Instant::now() });
                false
            }
        }
    }

    fn expiry(&self, sighting: &Sighting) -> Instant {
        let said = sighting.spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
        sighting.since + said.map_or(self.timing.lease, Duration::from_secs)
    }

    /// Writes us, now, into a record.
    fn claim(&self, lease: &mut Lease) {
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            let others = spec.lease_transitions.unwrap_or(0);
            // Counts changes of hand: the first holder of a new record is none.
            let change = i32::from(spec.renew_time.is_some());
            spec.lease_transitions = Some(others.saturating_add(change));
            spec.acquire_time = Some(now.clone());
            spec.holder_identity = Some(self.identity.clone());
        }
        let seconds = self.timing.lease.as_secs_f64().ceil();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "checked to be less than an hour where flags are read"
        )]
        let seconds = seconds as i32;
        spec.lease_duration_seconds = Some(seconds);
        spec.renew_time = Some(now);
    }
}

/// How often a log says why the lease can't be had.
const REMINDER: Duration = Duration::from_mins(1);

fn holder(spec: Option<&LeaseSpec>) -> Option<&str> {
    spec.and_then(|s| s.holder_identity.as_deref()).filter(|h| !h.is_empty())
}

fn failed(error: kube::Error) -> Outcome {
    Outcome::Failed(error.to_string())
}

/// A refused write means that somebody else was faster.
fn refused(error: kube::Error) -> Outcome {
    match error {
        kube::Error::Api(status) if status.code == 409 => Outcome::Taken,
        other => failed(other),
    }
}

/// Host and chance: a program that starts again is somebody else, so that it never takes an earlier run's term for its
/// own.
fn identity() -> String {
    let host = std::env::var("POD_NAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "seinode-operator".to_owned());
    // The hasher of the standard library is seeded by the system.
    format!("{host}_{:016x}", RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests;
