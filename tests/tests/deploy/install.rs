//! The chart as somebody installs it, with the real helm, and the operator with the account, the flags and the
//! variables that it says.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::Api;
use kube::api::{ListParams, PostParams};
use seinode_core::api::NodePhase;
use seinode_tests::deploy_tools::Tool;
use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;
use serde_json::{Value, json};

use crate::{CHART, read, root, text};

/// Another name and place than everywhere else: nothing may depend on the usual ones.
const RELEASE: &str = "sei-op";
const SPACE: &str = "operators";
const NODES: &str = "installed";

/// How slow the pretend nodes are compared with real ones.
const SCALE: f64 = 0.02;

fn values() -> Value {
    let platform: Value = serde_yaml_ng::from_str(&read("deploy/kustomize/example/config.yaml")).unwrap();
    json!({
        "image": {"repository": "registry.example.net/seinode-operator"},
        "platform": platform,
        "nodeNamespaces": [NODES],
    })
}

/// A kubeconfig with token and namespace of the account, as a pod has them.
async fn kubeconfig(stage: &Stage, folder: &Path, account: &str) -> std::path::PathBuf {
    let accounts = Api::<ServiceAccount>::namespaced(stage.plane.client(), SPACE);
    let request = TokenRequest::default();
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    let token = answer.status.unwrap().token.unwrap();
    std::fs::write(folder.join("token"), token).unwrap();
    let admin = std::fs::read_to_string(stage.plane.kubeconfig()).unwrap();
    let mut config: Value = serde_yaml_ng::from_str(&admin).unwrap();
    config["users"][0]["user"] = json!({"tokenFile": folder.join("token")});
    config["contexts"][0]["context"]["namespace"] = SPACE.into();
    let path = folder.join("kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// What the Deployment starts its program with, moved from a pod to this machine: ports that are free, files that are
/// here.
fn start_line(deployment: &Deployment, config: &Path) -> (Vec<String>, BTreeMap<String, String>) {
    let pod = deployment.spec.clone().unwrap().template.spec.unwrap();
    let container = pod.containers.into_iter().next().unwrap();
    let mounted =
        container.volume_mounts.unwrap().into_iter().find(|m| m.name == "config").unwrap().mount_path;
    let arguments = container.args.unwrap().into_iter().map(|argument| match argument.split_once("=:") {
        Some((flag, _)) => format!("{flag}=127.0.0.1:0"),
        None => argument,
    });
    let variables = container.env.unwrap().into_iter().map(|variable| {
        let field = variable.value_from.and_then(|v| v.field_ref).map(|f| f.field_path);
        let value = match (variable.value, field.as_deref()) {
            (Some(value), _) => value.replace(&mounted, config.to_str().unwrap()),
            (None, Some("metadata.name")) => "sei-op-pod".to_owned(),
            (None, Some("metadata.namespace")) => SPACE.to_owned(),
            (None, other) => panic!("{}: from {other:?}", variable.name),
        };
        (variable.name, value)
    });
    (arguments.collect(), variables.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installed_chart_brings_three_nodes_up() -> Result<(), LiveError> {
    let stage = Stage::set(Path::new(env!("CARGO_BIN_EXE_operator")), SCALE).await?;
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name);
    stage.plane.prepare_namespace(NODES, &[]).await?;
    std::fs::write(here("values.yaml"), values().to_string()).unwrap();
    let (admin, file) = (stage.plane.kubeconfig(), here("values.yaml"));
    let install = [
        "install",
        RELEASE,
        CHART,
        "--namespace",
        SPACE,
        "--create-namespace",
        "--kubeconfig",
        admin.to_str().unwrap(),
        "--values",
        file.to_str().unwrap(),
    ];
    text(&Tool::Helm.run(&root(), &install).await?);

    let client = stage.plane.client();
    let deployment = Api::<Deployment>::namespaced(client.clone(), SPACE).get(RELEASE).await.unwrap();
    let pod = deployment.spec.clone().unwrap().template.spec.unwrap();
    let named = pod.volumes.unwrap().into_iter().find_map(|v| v.config_map).unwrap().name;
    let config = Api::<ConfigMap>::namespaced(client.clone(), SPACE).get(&named).await.unwrap();
    for (name, content) in config.data.unwrap() {
        std::fs::write(here(&name), content).unwrap();
    }
    let (mut arguments, variables) = start_line(&deployment, folder.path());
    let kubeconfig = kubeconfig(&stage, folder.path(), &pod.service_account_name.unwrap()).await;
    arguments.push(format!("--kubeconfig={}", kubeconfig.display()));
    arguments.extend(stage.sidecar_arguments());
    let operator = stage.installed_operator("installed", &arguments, &variables)?;

    let key = json!({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": "made-up"}}).to_string();
    let secret = json!({"metadata": {"name": "p2p"}, "stringData": {"node_key.json": key}});
    let secrets = Api::<Secret>::namespaced(client, NODES);
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let snapshot = json!({"stateSync": {}});
    let modes = [
        ("full", json!({"fullNode": {"snapshot": snapshot}})),
        ("archive", json!({"archive": {}})),
        ("seed", json!({"seed": {"nodeKey": {"secret": {"secretName": "p2p"}}}})),
    ];
    for (name, mode) in &modes {
        let mut spec = json!({"chainId": "atlantic-2", "image": "registry.example.net/seid:1"});
        seinode_core::patch::apply(&mut spec, mode);
        let node = json!({"apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "metadata": {"name": name}, "spec": spec});
        stage.create(NODES, &node).await.unwrap();
    }
    for (name, _) in &modes {
        let wait = ["wait", "--for=condition=Ready", "--timeout=100s", "--namespace", NODES];
        let node = format!("seinode/{name}");
        let output = stage.plane.kubectl(&[&wait[..], &[&node]].concat()).await?;
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), operator.log());
        let node = stage.nodes(NODES).get(name).await.unwrap();
        assert_eq!(node.status.phase, Some(NodePhase::Running), "{name} is Ready and not Running");
    }
    let status = operator.stop().unwrap();
    assert!(status.success(), "{status}");

    let uninstall = ["uninstall", RELEASE, "--namespace", SPACE, "--kubeconfig", admin.to_str().unwrap()];
    text(&Tool::Helm.run(&root(), &uninstall).await?);
    assert_eq!(
        stage.nodes(NODES).list(&ListParams::default()).await.unwrap().items.len(),
        3,
        "nodes outlive the chart"
    );
    Ok(())
}
