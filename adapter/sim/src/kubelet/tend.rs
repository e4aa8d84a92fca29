//! What one pod, one claim, one volume needs right now.
//!
//! Answers: bind, mount, advance, report, remove; provision and reclaim.
//! Refuses to know: what woke it.
//! Upholds: containers start only after everything is mounted; a pod is removed only after its last container ended.

use super::act;
use super::agent::{Agent, is_unbound};
use super::cache::Name;
use super::chronicle::Violation;
use super::life::{Life, Setting, later};
use super::mounts::Mount;
use crate::sidecar::Volume;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Error;
use std::sync::Arc;
use std::time::Duration;

impl Agent {
    /// Everything that is due.
    pub(super) async fn work(&mut self) {
        let now = self.now();
        let due = self.lives.values().filter(|life| life.deadline.is_some_and(|at| at <= now));
        let mut due: Vec<_> = due.map(|life| life.uid.clone()).collect();
        due.extend(std::mem::take(&mut self.dirty));
        due.sort_unstable();
        due.dedup();
        for uid in due {
            self.tend(&uid).await;
        }
        self.tend_claims(now).await;
        for name in std::mem::take(&mut self.changed_volumes) {
            let Some(volume) = self.volumes.find(&name).cloned() else { continue };
            if let Err(error) = act::reclaim(&self.client, &volume).await {
                tracing::warn!(%error, volume = name.name, "can't reclaim");
            }
        }
        if let (Some(at), Some(period)) = (self.next_beat, self.beat_period())
            && at <= now
        {
            self.next_beat = Some(later(now, period));
            if let Err(error) = self.hosts.beat(&self.client, &self.options.clock.stamp()).await {
                tracing::warn!(%error, "no heartbeat");
            }
        }
    }

    /// How long nothing will be due by itself.
    pub(super) fn wait(&self) -> Duration {
        let lives = self.lives.values().filter_map(|life| life.deadline);
        let at = lives.chain(self.claimed.values().copied()).chain(self.next_beat).min();
        let now = self.now();
        at.map_or(NOTHING_DUE, |at| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
    }

    async fn tend(&mut self, uid: &str) {
        let Some(mut life) = self.lives.remove(uid) else { return };
        let pod = self.pods.find(&life.name).filter(|pod| pod.metadata.uid.as_deref() == Some(uid)).cloned();
        let now = self.now();
        let done = if let Some(pod) = &pod {
            self.tend_present(&mut life, pod).await
        } else {
            self.tend_absent(&mut life, now);
            Ok(())
        };
        if let Err(error) = done {
            tracing::warn!(%error, pod = life.name.name, "will try again");
            life.deadline = Some(later(now, self.timing.retry));
        }
        let service = Name::new(&life.name.namespace, &life.line);
        if pod.is_some() || life.over.is_none() {
            self.lives.insert(life.uid.clone(), life);
        }
        self.reroute(&service);
    }

    async fn tend_present(&mut self, life: &mut Life, pod: &Arc<Pod>) -> Result<(), Error> {
        let now = self.now();
        let is_stopping = pod.metadata.deletion_timestamp.is_some();
        let host = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        life.deadline = None;
        if host.is_empty() {
            return self.schedule(life, pod, now).await;
        }
        if life.host.is_empty() {
            self.shared.chronicle(|chronicle| {
                if let Some(entry) = chronicle.of(&life.uid) {
                    entry.host.clone_from(&host);
                }
            });
            life.host = host;
            life.next_try = Some(later(now, self.timing.mount));
        }
        let mut waits = None;
        if life.volume.is_none() && !is_stopping && life.over.is_none() {
            waits = self.mount(life, pod, now).await?;
        }
        life.pod_stops(pod.metadata.deletion_grace_period_seconds);
        let node = life.node.clone();
        let next = self.with_setting(pod, &node, |setting| life.advance(setting, is_stopping));
        life.add_deadline(next);
        self.settle(life, now);
        let status = life.report(waits.as_deref(), now);
        if life.written.as_ref() != Some(&status) {
            act::write_status(&self.client, &life.name, &life.uid, &status).await?;
            life.written = Some(status);
        }
        if is_stopping && life.over.is_some() && !life.is_removed {
            act::remove(&self.client, &life.name, &life.uid).await?;
            life.is_removed = true;
        }
        Ok(())
    }

    /// The server forgot the pod; its containers end all the same, without anybody to report to.
    fn tend_absent(&mut self, life: &mut Life, now: Timestamp) {
        let uid = life.uid.clone();
        self.shared.chronicle(|chronicle| {
            if let Some(entry) = chronicle.of(&uid) {
                entry.deleted.get_or_insert(now);
            }
        });
        life.deadline = life.stop(&self.timing, now);
        self.settle(life, now);
    }

    async fn schedule(&mut self, life: &mut Life, pod: &Pod, now: Timestamp) -> Result<(), Error> {
        let at = *life.next_try.get_or_insert_with(|| later(now, self.timing.schedule));
        if at > now {
            life.deadline = Some(at);
            return Ok(());
        }
        let missing = claims(pod).into_iter().find(|(claim, _)| self.claims.find(claim).is_none());
        let obstacle = match missing {
            Some((claim, _)) => Some(format!("persistentvolumeclaim {} not found", claim.name)),
            None if self.shared.conduct(|conduct| conduct.no_hosts) => {
                Some("0 hosts are available".to_owned())
            }
            None => None,
        };
        if let Some(obstacle) = obstacle {
            let status = life.report(Some(&obstacle), now);
            if life.written.as_ref() != Some(&status) {
                act::write_status(&self.client, &life.name, &life.uid, &status).await?;
                life.written = Some(status);
            }
            return Ok(());
        }
        let key = if life.node.is_empty() { &life.name.name } else { &life.node };
        let host = self.hosts.choose(key);
        // Should the watch not bring the outcome, it is tried again.
        life.deadline = Some(later(now, RETRY_BIND));
        act::bind(&self.client, &life.name, &life.uid, &host).await
    }

    /// Mounts everything or answers what is in the way.
    async fn mount(&mut self, life: &mut Life, pod: &Pod, now: Timestamp) -> Result<Option<String>, Error> {
        if let Some(at) = life.next_try.filter(|at| *at > now) {
            life.deadline = Some(at);
            return Ok(None);
        }
        let claims = claims(pod);
        let mut obstacle = None;
        for (claim, _) in &claims {
            obstacle = obstacle.or_else(|| self.obstacle(claim, &life.host));
        }
        if obstacle.is_none() {
            obstacle = act::missing(&self.client, pod).await?;
        }
        if obstacle.is_some() {
            life.deadline = Some(later(now, self.timing.retry));
            return Ok(obstacle);
        }
        let mut data = None;
        for (claim, is_read_only) in claims {
            let contents = self.contents(&claim);
            data = data.or(contents);
            if is_read_only {
                continue;
            }
            let mount = Mount { uid: life.uid.clone(), pod: life.name.name.clone(), host: life.host.clone() };
            for other in self.mounts.mount(&claim, mount) {
                let pods = [(other.pod, other.uid), (life.name.name.clone(), life.uid.clone())];
                let claim = (claim.namespace.clone(), claim.name.clone());
                self.shared
                    .chronicle(|chronicle| chronicle.violations.push(Violation { at: now, claim, pods }));
            }
        }
        life.volume = Some(data.unwrap_or_else(|| Volume::new(&life.uid)));
        Ok(None)
    }

    fn obstacle(&self, claim: &Name, host: &str) -> Option<String> {
        let found = self.claims.find(claim);
        let Some(found) = found else {
            return Some(format!("persistentvolumeclaim {} not found", claim.name));
        };
        let phase = found.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase != Some("Bound") || self.contents(claim).is_none() {
            return Some(format!("persistentvolumeclaim {} is not bound", claim.name));
        }
        let modes = found.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
        let mut modes = modes.map(String::as_str);
        let is_shared = modes.clone().any(|mode| mode == "ReadWriteMany");
        let is_for_one_pod = modes.any(|mode| mode == "ReadWriteOncePod");
        if is_shared { None } else { self.mounts.obstacle(claim, host, is_for_one_pod) }
    }

    fn contents(&self, claim: &Name) -> Option<Volume> {
        let volume = self.claims.find(claim)?.spec.as_ref()?.volume_name.clone()?;
        let uid = self.volumes.find(&Name::new("", &volume))?.metadata.uid.clone()?;
        Some(self.shared.contents(claim, &uid))
    }

    /// Keeps the chronicle and frees what an ended pod held.
    fn settle(&mut self, life: &Life, now: Timestamp) {
        self.shared.chronicle(|chronicle| {
            let Some(entry) = chronicle.of(&life.uid) else { return };
            entry.started = entry.started.or(life.started);
            if life.is_ready() {
                entry.ready.get_or_insert(now);
            }
            if life.over.is_some() {
                entry.stopped.get_or_insert(now);
            }
        });
        if life.over.is_some() {
            for claim in self.mounts.release(&life.uid) {
                self.mark_waiting(&claim);
            }
        }
    }

    async fn tend_claims(&mut self, now: Timestamp) {
        if self.shared.conduct(|conduct| conduct.no_volumes) {
            self.claimed.clear();
            return;
        }
        let due = self.claimed.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone());
        for name in due.collect::<Vec<_>>() {
            self.claimed.remove(&name);
            let Some(claim) = self.claims.find(&name).filter(|claim| is_unbound(claim)).cloned() else {
                continue;
            };
            if let Err(error) = act::provision(&self.client, &claim).await {
                tracing::warn!(%error, claim = name.name, "can't provision yet");
                self.claimed.insert(name, later(now, self.timing.retry));
            }
        }
    }

    pub(super) fn with_setting<R>(&self, pod: &Pod, node: &str, act: impl FnOnce(&Setting<'_>) -> R) -> R {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let director = self.shared.director(&Name::new(namespace, node));
        act(&Setting {
            pod,
            timing: &self.timing,
            shared: &self.shared,
            director: &director,
            bucket: &self.options.bucket,
            token: self.options.token.as_deref(),
            now: self.now(),
        })
    }
}

/// The claims of a pod in the order of its volumes, and whether they are mounted read-only.
pub(super) fn claims(pod: &Pod) -> Vec<(Name, bool)> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    sources.map(|source| (Name::new(namespace, &source.claim_name), source.read_only == Some(true))).collect()
}

/// With nothing due the loop sleeps until something happens.
const NOTHING_DUE: Duration = Duration::from_hours(24);
/// A binding shows in the watch long before this.
const RETRY_BIND: Duration = Duration::from_secs(10);
