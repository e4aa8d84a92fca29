//! A stalled operator that wakes up late must not undo what another has done since.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seinode_core::effect::{Base, Effect, Fault, Manifest, Op};
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

pub(crate) async fn an_apply_on_what_has_changed_is_refused(stage: &Stage) -> Result<(), LiveError> {
    let space = "stale";
    stage.namespace(space).await?;
    let operator = stage.operator(space)?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    drop(operator);

    let stop = CancellationToken::new();
    let client = stage.plane.client_named("seinode-operator/stalled");
    let watches = controller::watches(&client, &stop);
    let live = Live::new(
        client.clone(),
        Arc::clone(&watches.caches),
        Sidecars::new(Sidecars::http(), "http://127.0.0.1:9/{namespace}/{name}".into(), TokenSource::None),
        Settings { platform: Platform::builtin() },
        RegistrySource::Text(String::new()),
        Clock::system(),
        Arc::new(Metrics::new()),
    );
    let services = Api::<Service>::namespaced(client, space);
    let seen = services.get("one").await.unwrap();
    let label = json!({"metadata": {"labels": {"touched": "yes"}}});
    let somebody = Api::<Service>::namespaced(stage.plane.client(), space);
    let touched = somebody.patch("one", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
    let uid = Uid::new(seen.metadata.uid.clone().unwrap());
    let version = ResourceVersion::new(seen.metadata.resource_version.clone().unwrap());
    for base in [Base::At { uid, version }, Base::Absent] {
        let manifest = Box::new(Manifest::Service(render::service(&node)));
        let effect = Effect { id: EffectId::new("late"), task: None, op: Op::Apply { manifest, base } };
        let outcomes = live.perform(&node, vec![effect]).await;
        assert!(matches!(outcomes[0].result, Err(Fault::Conflict(_))), "{outcomes:?}");
    }
    assert_eq!(services.get("one").await.unwrap(), touched, "a refused apply changes nothing");
    stop.cancel();
    Ok(())
}
