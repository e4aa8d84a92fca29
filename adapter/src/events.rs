//! Core `v1` Events on nodes, folded and rate limited. An event that can't be written is logged and dropped: events are
//! for people, nothing depends on them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use seinode_core::api::{self, SeiNode};
use seinode_core::effect::Notice;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::perform::limited;

/// Source component of every event (`seinode.md` 1).
pub(crate) const COMPONENT: &str = "seinode-controller";
/// Events of one node that may come at once; as the reference event recorder has it.
const BURST: f64 = 25.0;
/// Time after which one more may come.
const REFILL: Duration = Duration::from_mins(5);
/// Most equal events that are remembered for folding.
const REMEMBERED: usize = 4096;

/// Writes events.
pub struct Announcer {
    client: Client,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    budgets: HashMap<String, (f64, Instant)>,
    counts: HashMap<String, i32>,
}

impl Announcer {
    /// An announcer over a client.
    pub fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock, state: Mutex::new(State::default()) }
    }

    /// Publishes an event on a node; an equal one is counted up.
    pub async fn announce(&self, node: &SeiNode, notice: &Notice) {
        let name = event_name(node, notice);
        let Some(count) = self.admit(node, &name) else {
            debug!(reason = notice.reason, "too many events on this node; dropped");
            return;
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), node.namespace());
        let now = Time(self.clock.now());
        if count > 1 {
            let body = json!({"count": count, "lastTimestamp": now, "message": notice.message});
            match limited(async { api.patch(&name, &PatchParams::default(), &Patch::Merge(&body)).await })
                .await
            {
                Ok(_) => return,
                // Events expire; then it is made anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    warn!(%error, reason = notice.reason, "an event could not be counted up");
                    return;
                }
            }
        }
        let event = event(node, notice, &name, &now);
        match limited(async { api.create(&PostParams::default(), &event).await }).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // An earlier run of the operator has made it.
                let body = json!({"count": 2, "lastTimestamp": now});
                let patched =
                    limited(async { api.patch(&name, &PatchParams::default(), &Patch::Merge(&body)).await })
                        .await;
                if let Err(error) = patched {
                    warn!(%error, reason = notice.reason, "an event could not be counted up");
                }
            }
            Err(error) => warn!(%error, reason = notice.reason, "an event could not be written"),
        }
    }

    /// Takes one from the node's budget; gives how often the event has come by now.
    fn admit(&self, node: &SeiNode, name: &str) -> Option<i32> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.counts.len() > REMEMBERED {
            state.counts.clear();
            state.budgets.retain(|_, (left, at)| *left < BURST && now.duration_since(*at) < REFILL * 25);
        }
        let (left, at) = state.budgets.entry(node.uid().to_owned()).or_insert((BURST, now));
        *left = (*left + now.duration_since(*at).as_secs_f64() / REFILL.as_secs_f64()).min(BURST);
        *at = now;
        if *left < 1.0 {
            return None;
        }
        *left -= 1.0;
        let count = state.counts.entry(name.to_owned()).or_default();
        *count += 1;
        Some(*count)
    }
}

/// The name of an event follows from what it says, so that equal ones fold over restarts too.
fn event_name(node: &SeiNode, notice: &Notice) -> String {
    let what = format!("{}/{}/{}", node.uid(), notice.reason, notice.message);
    format!(
        "{}.{}",
        node.name(),
        &seinode_core::ident::task_id("event", &api::TaskType::Other(what), 0)[..13]
    )
}

fn event(node: &SeiNode, notice: &Notice, name: &str, now: &Time) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(node.namespace().to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api::API_VERSION.to_owned()),
            kind: Some(api::KIND.to_owned()),
            name: Some(node.name().to_owned()),
            namespace: Some(node.namespace().to_owned()),
            uid: Some(node.uid().to_owned()),
            resource_version: Some(node.resource_version().to_owned()),
            field_path: None,
        },
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(notice.reason.to_owned()),
        message: Some(notice.message.clone()),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: None }),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now.clone()),
        ..Event::default()
    }
}
