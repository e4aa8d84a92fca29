//! What a platform team expects of an operator before it lets it near validators: leadership, metrics, a start in any
//! order, and that it outlives what is around it. On the real control plane, with the operator as a process of its own.
//!
//! The cases run one after the other, on one stage: some stop the API server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

#[path = "production/leader.rs"]
mod leader;
#[path = "production/outage.rs"]
mod outage;
#[allow(dead_code, reason = "the live cases use more of it")]
#[path = "live/sample.rs"]
mod sample;
#[path = "production/secrets.rs"]
mod secrets;
#[path = "production/shards.rs"]
mod shards;
#[path = "production/start.rs"]
mod start;
#[path = "production/turns.rs"]
mod turns;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seinode_tests::live::{ControlPlane, LiveError, wait_until};
use seinode_tests::stage::{Operator, Page, SOON, Stage};
use serde_json::json;

/// How slow the pretend nodes are compared with real ones.
const SCALE: f64 = 0.02;

/// Flags of an operator that stands for election and can be asked.
const ELECTED: [&str; 2] = ["--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"];

/// The Lease of an operator for all nodes.
const LEASE: &str = "bc1f5b0a.sei.io";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production() -> Result<(), LiveError> {
    let plane = Arc::new(ControlPlane::start().await?);
    let mut stage = Stage::bare(plane, Path::new(env!("CARGO_BIN_EXE_operator")), SCALE).await?;
    // One case alone, by a part of its name: for work on it by hand.
    let only = std::env::var("SEINODE_LIVE_CASE").unwrap_or_default();
    macro_rules! cases {
        ($($case:path),+ $(,)?) => {
            $(if stringify!($case).contains(&only) {
                let start = std::time::Instant::now();
                $case(&mut stage).await?;
                println!("{:<60} {:>6.1} s", stringify!($case), start.elapsed().as_secs_f64());
            })+
        };
    }
    // The first installs the definition; all others find it.
    if !"start::a_missing_definition_is_waited_for".contains(&only) {
        stage.plane.install_crd(&seinode_core::api::crd::custom_resource_definition()).await?;
    }
    cases![
        start::a_missing_definition_is_waited_for,
        start::v06_metrics_tell_a_life_and_forget_it,
        leader::a_killed_leader_is_replaced,
        leader::s02_a_stopped_leader_gives_the_lease_back_and_does_nothing_more,
        leader::s02_a_stalled_leader_does_nothing_when_it_wakes_up,
        leader::the_lease_of_the_go_operator_is_respected,
        shards::every_node_has_one_owner_and_two_do_no_harm,
        secrets::no_log_event_status_or_metric_shows_a_secret,
        start::witnesses_are_read_again_from_the_platform_file,
        start::an_expired_token_is_waited_for_and_a_new_one_taken_up,
        turns::s24_a_new_default_reaches_validators_one_by_one,
    ];
    // Before the API server is stopped: the record of versions ends with it.
    let (judged, broken) = stage.broken_laws().await?;
    println!("{judged} steps were judged by the laws");
    assert!(judged > 0 || !only.is_empty(), "operators have done something");
    assert!(broken.is_empty(), "{} broken laws:\n{}", broken.len(), broken.join("\n"));
    cases![outage::a_stalled_and_a_restarted_api_server_end_no_operator];
    assert!(stage.kubelet.violations().is_empty(), "two pods on one claim: {:?}", stage.kubelet.violations());
    Ok(())
}

/// Starts an operator that stands for election.
fn elected(stage: &Stage, name: &str, kubeconfig: &Path) -> Operator {
    stage.operator_with(name, kubeconfig, &ELECTED, &[]).unwrap()
}

/// A page of an operator, as soon as it has one.
async fn page(operator: &Operator, server: &str, path: &str) -> Result<Page, LiveError> {
    wait_until(&format!("{path} of an operator"), SOON, async || operator.page(server, path).await).await
}

/// Waits until the metrics of an operator are as wanted.
async fn metrics_until(
    operator: &Operator,
    what: &str,
    wanted: impl Fn(&Page) -> bool,
) -> Result<Page, LiveError> {
    wait_until(what, SOON, async || match operator.page("metrics", "/metrics").await {
        Ok(page) if wanted(&page) => Ok(page),
        Ok(page) => Err(page.text),
        Err(error) => Err(error.to_string()),
    })
    .await
}

/// Whether an operator says that it leads.
fn leads(page: &Page) -> bool {
    page.sum("sei_controller_leader") > 0.5
}

/// A kubeconfig of a user of this name who may do everything: in the audit log it is told apart from others.
async fn account(stage: &Stage, name: &str) -> Result<PathBuf, LiveError> {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    });
    let api = Api::<ClusterRoleBinding>::all(stage.plane.client());
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&binding)).await.unwrap();
    stage.plane.kubeconfig_as(name)
}
