//! What a pod's life looks like in its status.
//!
//! Answers: phase, conditions, container statuses.
//! Refuses to know: how the life got there.
//! Upholds: a transition time moves exactly when its condition does.

use super::container::{Run, stamp};
use super::life::{End, Life};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

impl Life {
    /// The status as it should stand on the API server.
    pub(super) fn report(&mut self, waits: Option<&str>, now: Timestamp) -> Value {
        let is_bound = !self.host.is_empty();
        let is_over = self.over.is_some();
        let facts = [
            ("PodReadyToStartContainers", is_bound && self.volume.is_some() && !is_over),
            ("Initialized", is_bound && self.volume.is_some() && self.is_initialised()),
            ("Ready", self.is_ready() && is_bound),
            ("ContainersReady", self.is_ready() && is_bound),
            ("PodScheduled", is_bound),
        ];
        let shown = if is_bound { &facts[..] } else { &facts[4..] };
        let conditions: Vec<_> =
            shown.iter().map(|(name, is)| self.condition(name, *is, waits, now)).collect();
        let mut status = json!({"phase": self.phase(), "conditions": conditions});
        if !is_bound {
            return status;
        }
        if let Some(End::Failed(reason)) = self.over {
            status["reason"] = json!(reason);
        }
        let of = |is_init: bool| -> Vec<Value> {
            let chosen = self.containers.iter().filter(|container| container.is_init == is_init);
            chosen.map(|container| container.to_status(&self.uid)).collect()
        };
        status["initContainerStatuses"] = Value::Array(of(true));
        status["containerStatuses"] = Value::Array(of(false));
        status["hostIP"] = json!(host_ip(&self.host));
        status["hostIPs"] = json!([{"ip": host_ip(&self.host)}]);
        if let Some(started) = self.started {
            status["startTime"] = json!(stamp(started));
            status["podIP"] = json!(self.ip);
            status["podIPs"] = json!([{"ip": self.ip}]);
        }
        status
    }

    fn phase(&self) -> &'static str {
        let main = || self.containers.iter().filter(|container| !container.is_init);
        match self.over {
            Some(End::Ran) if main().all(|container| matches!(container.run, Run::Ended { exit: 0, .. })) => {
                "Succeeded"
            }
            Some(End::Ran | End::Failed(_)) => "Failed",
            None if main().all(|container| !matches!(container.run, Run::Waiting(_))) => "Running",
            None => "Pending",
        }
    }

    fn condition(&mut self, name: &'static str, is: bool, waits: Option<&str>, now: Timestamp) -> Value {
        let entry = self.conditions.entry(name).or_insert((is, now));
        if entry.0 != is {
            *entry = (is, now);
        }
        let mut shown = json!({
            "type": name,
            "status": if is { "True" } else { "False" },
            "lastTransitionTime": stamp(entry.1),
        });
        if !is {
            let (reason, message) = match name {
                "PodScheduled" => ("Unschedulable", waits.unwrap_or("no host fits")),
                "Initialized" => {
                    ("ContainersNotInitialized", waits.unwrap_or("init containers have not ended"))
                }
                "PodReadyToStartContainers" => return shown,
                _ if self.over.is_some() => ("PodCompleted", "containers have ended"),
                _ => ("ContainersNotReady", waits.unwrap_or("containers are not ready")),
            };
            shown["reason"] = json!(reason);
            shown["message"] = json!(message);
        }
        shown
    }
}

/// An address per host, from its number.
pub(super) fn host_ip(host: &str) -> String {
    let number: u32 = host.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    format!("10.0.{}.{}", number / 250, number % 250 + 1)
}
