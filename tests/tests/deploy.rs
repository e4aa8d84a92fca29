//! What is in `deploy/`: one source, no drift, and a real API server takes every object. `SEINODE_UPDATE=1` writes the
//! generated files anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "deploy/alerts.rs"]
mod alerts;
#[path = "deploy/dockerfile.rs"]
mod dockerfile;
#[path = "deploy/install.rs"]
mod install;
#[path = "deploy/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use seinode_core::api::crd;
use seinode_tests::deploy_tools::Tool;
use seinode_tests::live::LiveError;
use serde::Deserialize as _;
use serde_json::{Value, json};

/// Name of the release and of most of its objects.
const RELEASE: &str = "seinode-operator";
/// Where the operator lives.
const SYSTEM: &str = "seinode-system";

const CHART: &str = "deploy/helm/seinode-operator";
const BASE_VALUES: &str = "deploy/kustomize/values.yaml";
const MONITORING_VALUES: &str = "deploy/kustomize/monitoring-values.yaml";
const FULL_VALUES: &str = "tests/fixtures/chart/full.yaml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a generated file with what it should be, or writes it.
fn is_up_to_date(path: &str, wanted: &str) {
    if std::env::var_os("SEINODE_UPDATE").is_some() {
        fs::write(root().join(path), wanted).unwrap();
    }
    assert!(
        read(path) == wanted,
        "{path} is not what its source gives: run the test again with SEINODE_UPDATE=1"
    );
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn documents(yaml: &str) -> Vec<Value> {
    let all = serde_yaml_ng::Deserializer::from_str(yaml).map(|d| Value::deserialize(d).unwrap());
    all.filter(|v| !v.is_null()).collect()
}

/// Kind and name of an object.
fn id(object: &Value) -> (String, String) {
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    (word(&object["kind"]), word(&object["metadata"]["name"]))
}

async fn helm_template(values: &[&str], more: &[&str]) -> Result<Output, LiveError> {
    let mut arguments = vec!["template", RELEASE, CHART, "--namespace", SYSTEM];
    arguments.extend(values.iter().flat_map(|file| ["--values", file]));
    arguments.extend(more);
    Tool::Helm.run(&root(), &arguments).await
}

#[tokio::test]
async fn the_kustomize_base_is_the_chart() -> Result<(), LiveError> {
    let base = text(&helm_template(&[BASE_VALUES], &[]).await?);
    is_up_to_date("deploy/kustomize/base/operator.yaml", &base);
    let only = ["--show-only", "templates/monitoring.yaml"];
    let monitoring = text(&helm_template(&[BASE_VALUES, MONITORING_VALUES], &only).await?);
    is_up_to_date("deploy/kustomize/monitoring/monitoring.yaml", &monitoring);
    Ok(())
}

#[test]
fn the_definition_is_the_program_s() {
    let definition = serde_yaml_ng::to_string(&crd::custom_resource_definition()).unwrap();
    is_up_to_date("deploy/helm/seinode-operator/crds/seinodes.yaml", &definition);
    is_up_to_date("deploy/kustomize/base/crd.yaml", &definition);
}

#[test]
fn chart_and_program_have_one_version() {
    let chart: Value = serde_yaml_ng::from_str(&read(&format!("{CHART}/Chart.yaml"))).unwrap();
    let program = env!("CARGO_PKG_VERSION");
    assert_eq!((chart["version"].as_str(), chart["appVersion"].as_str()), (Some(program), Some(program)));
}

#[tokio::test]
async fn the_chart_lints_with_the_least_and_with_everything() -> Result<(), LiveError> {
    for values in [BASE_VALUES, FULL_VALUES] {
        text(&Tool::Helm.run(&root(), &["lint", "--strict", CHART, "--values", values]).await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_mistake_in_the_values_is_named() -> Result<(), LiveError> {
    let cases: [(&[&str], &str); 9] = [
        (&[], "'/image/repository'"),
        (&["image.repository=a"], "'/existingConfigMap'"),
        (&["image.repository=a", "platform.scheduling.nodepoolName=b"], "'/platform'"),
        (&["image.repository=a", "existingConfigMap=b", "imgae.tag=c"], "'imgae'"),
        (&["image.repository=a", "existingConfigMap=b", "replicas=two"], "'/replicas'"),
        (&["image.repository=a", "existingConfigMap=b", "log.level=loud"], "'/log/level'"),
        (&["image.repository=a", "existingConfigMap=b", "image.digest=latest"], "'/image/digest'"),
        (&["image.repository=a", "existingConfigMap=b", "gateway.domain="], "'/gateway/domain'"),
        (&["image.repository=a", "existingConfigMap=b", "probes.port=0"], "'/probes/port'"),
    ];
    for (set, named) in cases {
        let set: Vec<&str> = set.iter().flat_map(|pair| ["--set", pair]).collect();
        let output = helm_template(&[], &set).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(named), "{set:?} should name {named}: {error}");
    }
    // And with both of the two ways to give the platform's settings.
    let output = helm_template(&[FULL_VALUES], &["--set", "existingConfigMap=b"]).await?;
    assert!(!output.status.success(), "a platform that nobody would read is taken");
    Ok(())
}

/// The chart refuses what is missing before anything is installed, the operator at its start: they ask for the same.
#[test]
fn the_schema_asks_for_what_the_operator_asks_for() {
    let full: Value = serde_yaml_ng::from_str(&read(FULL_VALUES)).unwrap();
    let schema: Value = serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))).unwrap();
    let branches = schema.pointer("/properties/platform/anyOf").unwrap().as_array().unwrap();
    let platform = branches.iter().find(|b| b.get("properties").is_some()).unwrap();
    let sections = platform["properties"].as_object().unwrap();
    let whole = &full["platform"];
    let gives = |platform: &Value| {
        let text = serde_yaml_ng::to_string(platform).unwrap();
        seinode_core::platform::parse(&text).and_then(|file| file.check())
    };
    gives(whole).unwrap();
    let mut required = BTreeSet::new();
    for (section, shape) in sections {
        for key in shape["properties"].as_object().unwrap().keys() {
            let mut less = whole.clone();
            let Some(map) = less[section].as_object_mut() else { panic!("{FULL_VALUES} lacks {section}") };
            map.remove(key);
            let is_required = shape["required"]
                .as_array()
                .is_some_and(|names| names.iter().any(|n| n.as_str() == Some(key)));
            assert_eq!(gives(&less).is_err(), is_required, "{section}.{key}");
            if is_required {
                required.insert(format!("{section}.{key}"));
            }
        }
    }
    // And nothing that the operator asks for is unknown to the schema.
    assert_eq!(required.len(), seinode_core::platform::REQUIRED.len(), "{required:?}");
}

#[tokio::test]
async fn kustomize_builds_base_and_example() -> Result<(), LiveError> {
    let base = text(&Tool::Kustomize.run(&root(), &["build", "deploy/kustomize/base"]).await?);
    let rendered = documents(&read("deploy/kustomize/base/operator.yaml"));
    let mut wanted: BTreeSet<_> = rendered.iter().map(id).collect();
    wanted.insert(("Namespace".into(), SYSTEM.into()));
    wanted.insert(("CustomResourceDefinition".into(), "seinodes.sei.io".into()));
    assert_eq!(documents(&base).iter().map(id).collect::<BTreeSet<_>>(), wanted);
    for object in documents(&base) {
        if let Some(same) = rendered.iter().find(|o| id(o) == id(&object)) {
            assert_eq!(&object, same, "the base changes nothing");
        }
    }

    let example =
        documents(&text(&Tool::Kustomize.run(&root(), &["build", "deploy/kustomize/example"]).await?));
    let find = |kind: &str| example.iter().filter(|o| o["kind"] == kind).collect::<Vec<_>>();
    let [deployment] = find("Deployment")[..] else { panic!("not one Deployment") };
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], json!("registry.example.net/seinode-operator:0.1.0"));
    let config = pod["volumes"][0]["configMap"]["name"].as_str().unwrap();
    let [config] =
        find("ConfigMap").into_iter().filter(|o| o["metadata"]["name"] == config).collect::<Vec<_>>()[..]
    else {
        panic!("the Deployment mounts {config}, which is not made")
    };
    let file = seinode_core::platform::parse(config["data"]["config.yaml"].as_str().unwrap()).unwrap();
    file.check().unwrap();
    assert_eq!((find("ServiceMonitor").len(), find("PrometheusRule").len()), (1, 1));
    Ok(())
}
