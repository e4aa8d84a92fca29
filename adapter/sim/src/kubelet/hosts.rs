//! The Node objects of the pretend hosts, and which pod goes where.
//!
//! Answers: names, labels, heartbeats, placement.
//! Refuses to know: capacity, taints and affinity.
//! Upholds: the same pod name gets the same host under `ByNode`.

use super::options::Placement;
use super::status::host_ip;
use crate::sidecar::scale;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use std::time::Duration;

/// The hosts that pods are placed on.
#[derive(Debug)]
pub(super) struct Hosts {
    count: usize,
    placement: Placement,
    turn: usize,
}

impl Hosts {
    pub(super) fn new(count: usize, placement: Placement) -> Self {
        Self { count: count.max(1), placement, turn: 0 }
    }

    /// The host for a pod; `key` is what its pods have in common.
    pub(super) fn choose(&mut self, key: &str) -> String {
        let number = match self.placement {
            Placement::ByNode => {
                key.bytes().fold(7_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte))
            }
            Placement::InTurn => {
                self.turn += 1;
                self.turn - 1
            }
        };
        name(number % self.count)
    }

    /// Makes the Node objects; those that exist stay.
    pub(super) async fn register(&self, client: &Client, stamp: &str) -> Result<(), Error> {
        let api: Api<Node> = Api::all(client.clone());
        for number in 0..self.count {
            let name = name(number);
            let node = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "spec": {},
            });
            let Ok(node) = serde_json::from_value(node) else { continue };
            match api.create(&PostParams::default(), &node).await {
                Ok(_) => {}
                Err(Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(error),
            }
            beat(&api, &name, stamp).await?;
        }
        Ok(())
    }

    /// Says that all hosts are alive.
    pub(super) async fn beat(&self, client: &Client, stamp: &str) -> Result<(), Error> {
        let api: Api<Node> = Api::all(client.clone());
        for number in 0..self.count {
            beat(&api, &name(number), stamp).await?;
        }
        Ok(())
    }
}

async fn beat(api: &Api<Node>, name: &str, stamp: &str) -> Result<(), Error> {
    let amount = json!({"cpu": "1024", "memory": "4096Gi", "pods": "1000"});
    let status: Value = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": host_ip(name)}, {"type": "Hostname", "address": name}],
        "allocatable": amount,
        "capacity": amount,
        "conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "pretend kubelet",
            "lastHeartbeatTime": stamp,
            "lastTransitionTime": stamp,
        }],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.map(|_| ())
}

fn name(number: usize) -> String {
    format!("host-{number}")
}

/// How often heartbeats go out when they go out at all.
pub(super) fn heartbeat(period: Option<Duration>, factor: f64) -> Option<Duration> {
    period.map(|period| scale(period, factor.min(1.0)).max(SHORTEST_BEAT))
}

/// A fast test should not spend its time on heartbeats.
const SHORTEST_BEAT: Duration = Duration::from_secs(1);
