//! Waits for the definition of SeiNode, and says so: the operator may be installed before it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::live::{Caches, Definition};
use crate::perform::limited;
use crate::telemetry::Metrics;

/// How often a log says that the definition is still missing.
const REMINDER: Duration = Duration::from_mins(1);
/// What to do about it.
const REMEDY: &str = "the CustomResourceDefinition seinodes.sei.io is not installed: apply what `seinode-operator crd` \
                      prints; the operator waits and goes on by itself";

/// Whom the event is about.
#[derive(Clone, Debug)]
pub struct Place {
    /// Namespace of the operator.
    pub namespace: String,
    /// Name of the operator's pod, where it runs in one that says so; else the event is about the lease.
    pub pod: Option<String>,
}

/// Tells by log, event and metric whether the API server knows SeiNodes, until stopped.
pub async fn report(
    client: Client,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    place: Place,
    stop: CancellationToken,
) {
    let mut changes = caches.definition.subscribe();
    let mut missing = false;
    loop {
        let now = *changes.borrow_and_update();
        match (missing, now) {
            (false, Definition::Missing) => {
                missing = true;
                metrics.definition_missing(true);
                error!("{REMEDY}");
                announce(&client, &place).await;
            }
            (true, Definition::Missing) => error!("still waiting: {REMEDY}"),
            (true, Definition::Served) => {
                missing = false;
                metrics.definition_missing(false);
                info!("the CustomResourceDefinition seinodes.sei.io is served now");
            }
            (_, Definition::Unknown) | (false, Definition::Served) => {}
        }
        let reminder =
            async { if missing { tokio::time::sleep(REMINDER).await } else { std::future::pending().await } };
        tokio::select! {
            () = stop.cancelled() => return,
            () = reminder => {}
            // The caches that are told outlive this, so a change always comes from them.
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

async fn announce(client: &Client, place: &Place) {
    let (api_version, kind, name) = match &place.pod {
        Some(pod) => ("v1", "Pod", pod.as_str()),
        None => ("coordination.k8s.io/v1", "Lease", crate::leader::LEASE),
    };
    let now = Time(Timestamp::now());
    let event = Event {
        metadata: ObjectMeta {
            generate_name: Some("seinode-operator.".to_owned()),
            namespace: Some(place.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version.to_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
            namespace: Some(place.namespace.clone()),
            ..ObjectReference::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some("DefinitionMissing".to_owned()),
        message: Some(REMEDY.to_owned()),
        source: Some(EventSource { component: Some(crate::events::COMPONENT.to_owned()), host: None }),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), &place.namespace);
    if let Err(error) = limited(async { api.create(&PostParams::default(), &event).await }).await {
        warn!(%error, "the event about the missing definition could not be written");
    }
}
