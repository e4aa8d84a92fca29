//! Objects of somebody else that have the names a node needs: left alone, and named (S13, S23).

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::DeleteParams;
use seinode_core::api::FIELD_MANAGER;
use seinode_core::api::condition::ConditionType;
use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;
use serde_json::json;

use crate::sample;

/// Who it is, what is asked of it, and that nobody of ours ever wrote to it.
fn untouched(before: &ObjectMeta, after: &ObjectMeta) {
    assert_eq!((&before.uid, before.generation), (&after.uid, after.generation));
    assert_eq!((&before.labels, &after.owner_references), (&after.labels, &None));
    assert!(after.deletion_timestamp.is_none());
    let mut managers = after.managed_fields.iter().flatten().filter_map(|e| e.manager.as_deref());
    assert!(managers.all(|manager| manager != FIELD_MANAGER));
}

pub(crate) async fn s13_s23_foreign_objects_of_the_wanted_names_are_left_alone(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "s23";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let client = stage.plane.client();
    let template = json!({"metadata": {"labels": {"app": "other"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "registry.example.net/other:1"}]}});
    let mut of_set = template.clone();
    of_set["spec"]["restartPolicy"] = json!("Always");
    let set: StatefulSet = sample::make(
        stage,
        space,
        json!({"metadata": {"name": "a"}, "spec": {"replicas": 0, "serviceName": "a",
            "selector": {"matchLabels": {"app": "other"}}, "template": of_set}}),
    )
    .await;
    let service: Service =
        sample::make(stage, space, json!({"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}]}}))
            .await;
    let job: Job = sample::make(
        stage,
        space,
        json!({"metadata": {"name": "c-bootstrap"}, "spec": {"suspend": true, "template": template}}),
    )
    .await;
    stage.create(space, &sample::full_node("a")).await.unwrap();
    stage.create(space, &sample::full_node("b")).await.unwrap();
    stage.create(space, &sample::bootstrapping("c")).await.unwrap();
    for (node, object) in [("a", "StatefulSet a"), ("b", "Service b"), ("c", "Job c-bootstrap")] {
        let named = |n: &seinode_core::api::SeiNode| {
            sample::says(ConditionType::Ready, "ForeignObject")(n)
                && sample::message(n, &ConditionType::Ready).contains(object)
        };
        stage.until(space, node, &format!("{object} to be named"), named).await?;
        stage.nodes(space).delete(node, &DeleteParams::background()).await.unwrap();
        sample::gone(stage, space, node).await?;
    }
    let sets = Api::<StatefulSet>::namespaced(client.clone(), space);
    untouched(&set.metadata, &sets.get("a").await.unwrap().metadata);
    let services = Api::<Service>::namespaced(client.clone(), space);
    untouched(&service.metadata, &services.get("b").await.unwrap().metadata);
    let jobs = Api::<Job>::namespaced(client, space);
    untouched(&job.metadata, &jobs.get("c-bootstrap").await.unwrap().metadata);
    Ok(())
}
