//! Start in any order, and what the metrics tell of a life.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use seinode_core::api::condition::{self, ConditionType};
use seinode_core::api::{SeiNode, crd};
use seinode_sim::sidecar::Script;
use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::{Value, json};

use crate::{ELECTED, elected, leads, metrics_until, page, sample};

pub(crate) async fn a_missing_definition_is_waited_for(stage: &mut Stage) -> Result<(), LiveError> {
    let mut operator = stage
        .operator_with("early", &stage.plane.kubeconfig(), &ELECTED, &[("POD_NAME", "operator-0")])
        .unwrap();
    metrics_until(&operator, "the metric of the missing definition", |page| {
        page.value("sei_controller_definition_missing") == Some(1.0)
    })
    .await?;
    let ready = page(&operator, "probes", "/readyz").await?;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("seinodes.sei.io is not installed"), "{}", ready.text);
    assert_eq!(page(&operator, "probes", "/healthz").await?.status, 200, "a restart would not help");
    let log = operator.log();
    assert!(log.contains("apply what `seinode-operator crd` prints"), "{log}");
    let events = Api::<Event>::namespaced(stage.plane.client(), "default");
    wait_until("the event", SOON, async || {
        let list = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let ours: Vec<_> =
            list.items.into_iter().filter(|e| e.reason.as_deref() == Some("DefinitionMissing")).collect();
        match ours.as_slice() {
            [one] if one.involved_object.name.as_deref() == Some("operator-0") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    stage.plane.install_crd(&crd::custom_resource_definition()).await?;
    let space = "early";
    stage.namespace(space).await?;
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    metrics_until(&operator, "the metric to be 0 again", |page| {
        page.value("sei_controller_definition_missing") == Some(0.0)
    })
    .await?;
    assert_eq!(page(&operator, "probes", "/readyz").await?.status, 200);
    assert!(!operator.has_ended().unwrap());
    assert!(operator.stop().unwrap().success());
    Ok(())
}

pub(crate) async fn v06_metrics_tell_a_life_and_forget_it(stage: &mut Stage) -> Result<(), LiveError> {
    let space = "metrics";
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director
        .direct(|script| *script = Script::default().lasting("config-apply", Duration::from_millis(1500)));
    let operator = elected(stage, space, &stage.plane.kubeconfig());
    stage.create(space, &sample::full_node("one")).await.unwrap();
    metrics_until(&operator, "the active plan and what it waits for", |page| {
        page.value(r#"sei_controller_plan_active{controller="seinode",namespace="metrics",name="one"}"#)
            == Some(1.0)
            && page.value(r#"sei_controller_waiting_nodes{reason="TaskRunning"}"#) == Some(1.0)
    })
    .await?;
    stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    let told = metrics_until(&operator, "a ready sidecar", |page| {
        page.value(r#"sei_controller_seinode_sidecar_ready{namespace="metrics",name="one"}"#) == Some(1.0)
    })
    .await?;
    let is = |series: &str, value: f64| {
        let found = told.value(series);
        assert_eq!(found, Some(value), "{series} in\n{}", told.text);
    };
    is(r#"sei_controller_seinode_phase{namespace="metrics",name="one",phase="Running"}"#, 1.0);
    is(r#"sei_controller_seinode_phase{namespace="metrics",name="one",phase="Initializing"}"#, 0.0);
    is(r#"sei_controller_plan_active{controller="seinode",namespace="metrics",name="one"}"#, 0.0);
    is(
        r#"sei_controller_seinode_phase_transitions_total{controller="seinode",namespace="metrics",from_phase="Initializing",to_phase="Running"}"#,
        1.0,
    );
    is(
        r#"sei_controller_seinode_phase_duration_seconds_count{namespace="metrics",chain_id="atlantic-2",phase="Initializing"}"#,
        1.0,
    );
    is(
        r#"sei_controller_plan_duration_seconds_count{controller="seinode",namespace="metrics",plan_type="init",outcome="complete"}"#,
        1.0,
    );
    is(r#"sei_controller_leader{lease="bc1f5b0a.sei.io"}"#, 1.0);
    is("sei_controller_reconcile_panics_total", 0.0);
    for name in [
        "sei_controller_reconcile_duration_seconds_count",
        "sei_controller_queue_wait_seconds_count",
        "sei_controller_behind_own_writes_seconds_count",
        "sei_controller_status_writes_total",
        "sei_controller_sidecar_request_duration_seconds_count",
        "sei_controller_api_requests_total",
        "sei_controller_effects_total",
        "sei_controller_build_info",
    ] {
        assert!(told.sum(name) > 0.0, "{name} in\n{}", told.text);
    }
    for series in [
        r#"sei_controller_api_requests_total{verb="patch",kind="StatefulSet",code="201"}"#,
        r#"sei_controller_api_requests_total{verb="update",kind="Lease",code="200"}"#,
        r#"sei_controller_sidecar_request_duration_seconds_count{operation="submit",outcome="ok"}"#,
    ] {
        assert!(told.value(series).is_some_and(|n| n > 0.0), "{series} in\n{}", told.text);
    }

    stage.nodes(space).delete("one", &DeleteParams::default()).await.unwrap();
    metrics_until(&operator, "the series of the node to be gone", |page| {
        !page.text.contains(r#"namespace="metrics",name="one""#) && leads(page)
    })
    .await?;
    assert!(operator.stop().unwrap().success());
    Ok(())
}

/// The one part of the platform file that is read again while the operator runs.
pub(crate) async fn witnesses_are_read_again_from_the_platform_file(
    stage: &mut Stage,
) -> Result<(), LiveError> {
    let space = "registry";
    stage.namespace(space).await?;
    let file = stage.file("platform.yaml");
    let before = std::fs::read_to_string(&file).unwrap();
    let operator = elected(stage, space, &stage.plane.kubeconfig());
    let mode = json!({"chainId": "new-chain-1", "fullNode": {"snapshot": {"stateSync": {}}}});
    stage.create(space, &sample::node("one", &mode)).await.unwrap();
    let waits = |reason: &'static str| {
        move |node: &SeiNode| {
            condition::find(&node.status.conditions, &ConditionType::StateSyncReady)
                .is_some_and(|c| c.reason == reason)
        }
    };
    stage.until(space, "one", "the lack of witnesses to show", waits("NoSyncersConfigured")).await?;
    std::fs::write(&file, "stateSync: [").unwrap();
    stage.until(space, "one", "the broken file to show", waits("SyncerSourceError")).await?;
    let witnesses = "    new-chain-1: [a.example.net:26657, b.example.net:26657]\n";
    std::fs::write(&file, before.replace("  syncers:\n", &format!("  syncers:\n{witnesses}"))).unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    assert_eq!(node.status.resolved_state_syncers.len(), 2);
    std::fs::write(&file, before).unwrap();
    assert!(operator.stop().unwrap().success());
    Ok(())
}

/// A token that no server knows, then a good one, then another while the first is revoked: no restart, no lost node.
pub(crate) async fn an_expired_token_is_waited_for_and_a_new_one_taken_up(
    stage: &mut Stage,
) -> Result<(), LiveError> {
    let space = "token";
    stage.namespace(space).await?;
    let client = stage.plane.client();
    let named =
        |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), space);
    let account = serde_json::from_value(named("ServiceAccount", "operator")).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": space},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": space}],
    });
    let bindings = Api::<ClusterRoleBinding>::all(client.clone());
    bindings.patch(space, &PatchParams::apply("test"), &Patch::Apply(&binding)).await.unwrap();
    let secrets = Api::<Secret>::namespaced(client, space);
    let mut tokens = Vec::new();
    for name in ["first", "second"] {
        // A token that is bound to an object ends with it: the way to revoke one.
        let secret = serde_json::from_value(named("Secret", name)).unwrap();
        secrets.create(&PostParams::default(), &secret).await.unwrap();
        let bound = ["--bound-object-kind=Secret", &format!("--bound-object-name={name}")];
        let made =
            stage.plane.kubectl(&["create", "token", "operator", "-n", space, bound[0], bound[1]]).await?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        tokens.push(String::from_utf8(made.stdout).unwrap().trim().to_owned());
    }
    let file = stage.file("operator.token");
    let mut kubeconfig: Value =
        serde_json::from_str(&std::fs::read_to_string(stage.plane.kubeconfig()).unwrap()).unwrap();
    kubeconfig["users"][0]["user"] = json!({"tokenFile": file});
    let path = stage.file("token.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();

    std::fs::write(&file, "an-expired-token").unwrap();
    let mut operator = elected(stage, space, &path);
    wait_until("the refusal to be told", SOON, async || {
        if operator.log().contains("Unauthorized") { Ok(()) } else { Err(operator.log()) }
    })
    .await?;
    assert_eq!(page(&operator, "probes", "/healthz").await?.status, 200);
    std::fs::write(&file, &tokens[0]).unwrap();
    stage.create(space, &sample::full_node("one")).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);

    std::fs::write(&file, &tokens[1]).unwrap();
    secrets.delete("first", &DeleteParams::default()).await.unwrap();
    let refused = stage.plane.audit_mark()?;
    stage.create(space, &sample::full_node("two")).await.unwrap();
    let node = stage.until(space, "two", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    let asked = sample::of_operators(stage.plane.audit_since(refused)?);
    assert!(asked.iter().any(|e| e.is_granted() && e.user == "system:serviceaccount:token:operator"));
    assert!(!operator.has_ended().unwrap());
    assert!(operator.stop().unwrap().success());
    Ok(())
}
