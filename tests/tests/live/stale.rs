//! A stalled operator that wakes up late must not undo what another has done since.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seinode_core::api::SeiNode;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::effect::{Base, Effect, Fault, Field, Kind, Manifest, ObjectRef, Op};
use seinode_core::ident::{EffectId, ResourceVersion, Uid};
use seinode_core::platform::Platform;
use seinode_core::render;
use seinode_core::world::Settings;
use seinode_operator::clock::Clock;
use seinode_operator::controller;
use seinode_operator::live::{Live, RegistrySource};
use seinode_operator::ports::Ports;
use seinode_operator::sidecar::{Sidecars, TokenSource};
use seinode_operator::telemetry::Metrics;
use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::sample;

/// The hands of an operator that decided something a while ago.
fn stalled(stage: &Stage, stop: &CancellationToken) -> Live {
    let client = stage.plane.client_named("seinode-operator/stalled");
    let watches = controller::watches(&client, stop);
    Live::new(
        client,
        Arc::clone(&watches.caches),
        Sidecars::new(Sidecars::http(), "http://127.0.0.1:9/{namespace}/{name}".into(), TokenSource::None),
        Settings { platform: Platform::builtin(), asks_ec2: false },
        RegistrySource::Text(String::new()),
        Clock::system(),
        Arc::new(Metrics::new()),
    )
}

/// Carries an operation out late: it has to be refused.
async fn is_refused(live: &Live, node: &SeiNode, op: Op) {
    let outcomes = live.perform(node, vec![Effect { id: EffectId::new("late"), task: None, op }]).await;
    assert!(matches!(outcomes[0].result, Err(Fault::Conflict(_))), "{outcomes:?}");
}

/// Uid and version of an object.
fn guard(meta: &ObjectMeta) -> (Uid, ResourceVersion) {
    (Uid::new(meta.uid.clone().unwrap()), ResourceVersion::new(meta.resource_version.clone().unwrap()))
}

pub(crate) async fn an_apply_on_what_has_changed_is_refused(stage: &Stage) -> Result<(), LiveError> {
    let space = "stale";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    drop(operator);

    let stop = CancellationToken::new();
    let live = stalled(stage, &stop);
    let services = Api::<Service>::namespaced(stage.plane.client(), space);
    let (uid, version) = guard(&services.get("one").await.unwrap().metadata);
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    let touched = services.patch("one", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    for base in [Base::At { uid, version }, Base::Absent] {
        let manifest = Box::new(Manifest::Service(render::service(&node)));
        is_refused(&live, &node, Op::Apply { manifest, base }).await;
    }
    assert_eq!(services.get("one").await.unwrap(), touched, "a refused apply changes nothing");
    stop.cancel();
    Ok(())
}

pub(crate) async fn w09_a_resume_that_comes_late_is_refused_after_the_next_pause(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "stale-resume";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    sample::ready(stage, space, "one", &sample::full_node("one")).await?;
    let paused = |generation: i64| {
        move |n: &SeiNode| {
            let shown = sample::shows(ConditionType::Paused, ConditionStatus::True)(n);
            let kind = ConditionType::Paused;
            let at = condition::find(&n.status.conditions, &kind).and_then(|c| c.observed_generation);
            shown && at == Some(generation)
        }
    };
    let first = sample::edit(stage, space, "one", json!({"paused": true})).await.generation();
    stage.until(space, "one", "the node to be paused", paused(first)).await?;
    drop(operator);

    // One operator is told to go on, sees the StatefulSet at 0, and stalls. Then the node is paused again, and another
    // operator finds everything at 0 already.
    let resumed = sample::edit(stage, space, "one", json!({"paused": false})).await;
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    let (uid, version) = guard(&sets.get("one").await.unwrap().metadata);
    let second = sample::edit(stage, space, "one", json!({"paused": true})).await.generation();
    let _operator = stage.operator("stale-resume-again")?;
    stage.until(space, "one", "the node to be paused again", paused(second)).await?;

    let stop = CancellationToken::new();
    let live = stalled(stage, &stop);
    let target = ObjectRef { kind: Kind::StatefulSet, namespace: space.to_owned(), name: "one".to_owned() };
    is_refused(&live, &resumed, Op::Patch { target, field: Field::Replicas(1), uid, version }).await;
    assert_eq!(sets.get("one").await.unwrap().spec.unwrap().replicas, Some(0), "Paused is still true");
    stop.cancel();
    Ok(())
}
