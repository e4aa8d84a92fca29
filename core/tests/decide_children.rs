//! `apply-rbac-proxy-config`, `apply-statefulset`, `apply-service` (10), and the comparison of a Running node's children
//! (S22), row by row.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, NamespaceResourceScope};
use seinode_core::Decision;
use seinode_core::api::{ConditionType, FIELD_MANAGER, TaskType};
use seinode_core::effect::{Base, Effect, Fault, Op, Outcome};
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, Seen, Topic};
use serde_json::{Value, json};

/// The three tasks: kind, name and the words of what follows.
const TASKS: [(TaskType, &str, &str, &str); 3] = [
    (TaskType::ApplyRbacProxyConfig, "ConfigMap", "alice-rbac-proxy-config", "act, submit configure-genesis"),
    (TaskType::ApplyStatefulSet, "StatefulSet", "alice", "act, submit configure-genesis"),
    (TaskType::ApplyService, "Service", "alice", "act, submit configure-genesis"),
];

/// Changes the child of a task.
fn change(scene: &mut Scene, task: &TaskType, change: impl Fn(&mut Value)) {
    fn on<K>(seen: &mut Seen<K>, change: impl Fn(&mut Value))
    where
        K: serde::Serialize + serde::de::DeserializeOwned + Metadata<Ty = ObjectMeta>,
        K: k8s_openapi::Resource<Scope = NamespaceResourceScope>,
    {
        let Seen::Present(child) = seen else { panic!("a child") };
        let mut json = serde_json::to_value(&*child).expect("an object is JSON");
        change(&mut json);
        *child = object::parse(json);
    }
    let observed = &mut scene.observed;
    match task {
        TaskType::ApplyRbacProxyConfig => on(&mut observed.config_map, change),
        TaskType::ApplyStatefulSet => on(&mut observed.statefulset, change),
        _ => on(&mut observed.service, change),
    }
}

fn unseen(scene: &mut Scene, task: &TaskType, blind: Option<Blind>) {
    let observed = &mut scene.observed;
    match task {
        TaskType::ApplyRbacProxyConfig => observed.config_map = blind.map_or(Seen::Absent, Seen::Unknown),
        TaskType::ApplyStatefulSet => observed.statefulset = blind.map_or(Seen::Absent, Seen::Unknown),
        _ => observed.service = blind.map_or(Seen::Absent, Seen::Unknown),
    }
}

fn effects(scene: &Scene) -> Vec<Effect> {
    let mut scene = scene.clone();
    scene.settle().map(|d| law::effects(d, &scene.node)).unwrap_or_default()
}

/// Spoils a field that every child of this kind has rendered.
fn spoil(task: &TaskType, json: &mut Value) {
    match task {
        TaskType::ApplyRbacProxyConfig => json["data"]["config.yaml"] = json!("{}"),
        TaskType::ApplyStatefulSet => json["spec"]["template"]["spec"]["serviceAccountName"] = json!("other"),
        _ => json["spec"]["publishNotReadyAddresses"] = json!(false),
    }
}

#[test]
fn each_row_of_the_three_applies() {
    for (task, kind, name, next) in TASKS {
        let at = || story::at_task(node::full(), &task);
        let changed = |f: &dyn Fn(&mut Value)| {
            let mut scene = at();
            change(&mut scene, &task, f);
            digest::of(&scene)
        };
        let without = |blind| {
            let mut scene = at();
            unseen(&mut scene, &task, blind);
            digest::of(&scene)
        };
        assert_eq!(digest::of(&at()), next, "{kind}: as rendered, nothing to do");
        assert!(
            without(None).starts_with(&format!("act, apply {kind}")),
            "{kind}: absent: {}",
            without(None)
        );
        let differs = changed(&|json| spoil(&task, json));
        assert!(differs.starts_with(&format!("act, apply {kind}")), "{kind}: differs: {differs}");
        let dark = without(Some(Blind::Forbidden));
        assert!(dark.starts_with("rest 1000ms: can't tell about"), "{kind}: {dark}");
        let owner = |reference: Value| {
            move |json: &mut Value| json["metadata"]["ownerReferences"] = reference.clone()
        };
        let foreign = format!(
            "rest 15000ms: {kind} {name} exists and is not controlled by this node; it is left alone: rename or remove it"
        );
        assert_eq!(changed(&owner(Value::Null)), foreign);
        let other =
            json!([{"apiVersion": "apps/v1", "kind": "Other", "name": "x", "uid": "y", "controller": true}]);
        assert_eq!(changed(&owner(other)), foreign);
        let earlier = json!([{
            "apiVersion": "sei.io/v1alpha1", "kind": "SeiNode", "name": "alice", "uid": "old", "controller": true,
        }]);
        assert_eq!(
            changed(&owner(earlier)),
            format!(
                "rest 15000ms: {kind} {name} belongs to an earlier node of this name and is about to be collected"
            )
        );
        assert_eq!(
            changed(&|json| json["metadata"]["deletionTimestamp"] = json!("2026-11-24T12:00:00Z")),
            format!("rest 15000ms: {kind} {name} is being deleted")
        );
    }
}

#[test]
fn p25_no_fault_of_the_api_server_fails_a_plan() {
    for (task, kind, ..) in TASKS {
        let mut scene = story::at_task(node::full(), &task);
        unseen(&mut scene, &task, None);
        let effect = effects(&scene).remove(0);
        for (fault, line) in [
            (Fault::Transient("500: internal".to_owned()), format!("rest 1000ms: {task}: 500: internal")),
            (Fault::Terminal("403: no".to_owned()), format!("rest 1000ms: {task}: 403: no")),
            (Fault::Ambiguous("timeout".to_owned()), format!("rest 1000ms: {task}: timeout")),
            (Fault::Conflict("moved".to_owned()), format!("act, apply {kind}")),
        ] {
            scene.observed.outcomes = vec![Outcome { effect: effect.id.clone(), result: Err(fault) }];
            assert_eq!(digest::of(&scene), line);
        }
    }
}

#[test]
fn what_was_applied_and_is_still_to_be_done_is_looked_at_once_then_waited_for() {
    for (task, kind, ..) in TASKS {
        let mut scene = story::at_task(node::full(), &task);
        let topic = match task {
            TaskType::ApplyRbacProxyConfig => Topic::ConfigMap,
            TaskType::ApplyStatefulSet => Topic::StatefulSet,
            _ => Topic::Service,
        };
        change(&mut scene, &task, |json| spoil(&task, json));
        assert!(
            digest::first(&scene).starts_with(&format!("act, apply {kind}")),
            "{}",
            digest::first(&scene)
        );
        let effects = law::effects(scene.decide(), &scene.node);
        scene.observed.outcomes = vec![Outcome { effect: effects[0].id.clone(), result: Ok(()) }];
        assert_eq!(digest::first(&scene), format!("look {topic:?}"));
        scene.observed.looked.insert(topic);
        let line = format!("rest 1000ms: {task}: it was applied, and somebody else has set it back");
        assert_eq!(digest::of(&scene), line);
    }
}

#[test]
fn s04_a_held_node_gets_no_service_either() {
    let mut scene = story::at_task(node::full(), &TaskType::ApplyService);
    unseen(&mut scene, &TaskType::ApplyService, None);
    assert!(digest::of(&scene).starts_with("act, apply Service"), "{}", digest::of(&scene));
    scene.node.spec.chain_id = "another".into();
    assert!(!digest::of(&scene).contains("apply Service"), "{}", digest::of(&scene));
}

#[test]
fn p20_params_of_the_applies_are_for_readers_only() {
    // In a plan that stands alone they are not even compared.
    let mut scene = story::running(node::full());
    change(&mut scene, &TaskType::ApplyService, |json| spoil(&TaskType::ApplyService, json));
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("a convergence plan") };
    let write = commit.write().clone();
    scene.store(&write);
    let before = effects(&scene);
    assert!(matches!(&before[0].op, Op::Apply { .. }), "{before:?}");
    let plan = scene.node.status.plan.as_mut().expect("a plan");
    assert_eq!(plan.tasks[0].params, json!({"nodeName": "alice", "namespace": "lab"}));
    plan.tasks[0].params = json!({"nodeName": "bob", "namespace": "elsewhere"});
    assert_eq!(effects(&scene), before);

    // A first plan with wrong ones is replaced, and what is applied is the same.
    for (task, ..) in TASKS.into_iter().chain([(TaskType::EnsureDataPvc, "", "", "")]) {
        let mut scene = story::at_task(node::full(), &task);
        if task == TaskType::EnsureDataPvc {
            scene.observed.data_pvc = Seen::Absent;
        } else {
            unseen(&mut scene, &task, None);
        }
        let targets = |effects: Vec<Effect>| -> Vec<Value> {
            let manifests = effects.into_iter().filter_map(|e| match e.op {
                Op::Apply { manifest, .. } => Some(manifest.to_json()),
                _ => None,
            });
            manifests.collect()
        };
        let wanted = targets(effects(&scene));
        assert_eq!(wanted.len(), 1, "{task}");
        let plan = scene.node.status.plan.as_mut().expect("a plan");
        let stored = plan.tasks.iter_mut().find(|t| t.task_type == task).expect("the task");
        stored.params = json!({"nodeName": "bob", "namespace": "elsewhere"});
        let mut found = Vec::new();
        for _ in 0..6 {
            let mut next = scene.clone();
            match next.settle() {
                Some(Decision::Commit(commit)) => {
                    let write = commit.write().clone();
                    scene.store(&write);
                    found = targets(effects(&scene));
                }
                _ => found = targets(effects(&scene)),
            }
            if !found.is_empty() {
                break;
            }
        }
        assert_eq!(found, wanted, "{task}");
    }
}

/// Makes our apply the last entry of managedFields, and another manager's after it if named.
fn managed(json: &mut Value, ours: Value, other: Option<&str>) {
    let mut entries = vec![json!({
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": ours, "time": "2026-11-24T11:59:00Z",
    })];
    entries.extend(other.map(|name| {
        json!({
            "manager": name, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {}, "time": "2026-11-24T11:59:30Z",
        })
    }));
    json["metadata"]["managedFields"] = Value::Array(entries);
}

fn planned(scene: &Scene) -> Vec<String> {
    let mut scene = scene.clone();
    match scene.settle() {
        Some(Decision::Commit(commit)) => {
            let plan = commit.write().status.plan.clone().filter(|p| p.phase.as_str() == "Active");
            plan.into_iter().flat_map(|p| p.tasks).map(|t| t.task_type.to_string()).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn s22_each_child_that_is_gone_or_changed_is_applied_again_by_a_plan() {
    for (task, kind, ..) in TASKS {
        let steady = story::running(node::full());
        assert_eq!(planned(&steady), Vec::<String>::new(), "{kind}");
        let mut gone = steady.clone();
        unseen(&mut gone, &task, None);
        let applies = planned(&gone);
        assert_eq!(applies.first(), Some(&task.to_string()), "{kind} is gone: {applies:?}");
        let mut changed = steady.clone();
        change(&mut changed, &task, |json| spoil(&task, json));
        assert_eq!(planned(&changed), [task.to_string()], "{kind} was changed");
        // A label that we set once and render no more goes; the same label set by somebody else stays.
        let labelled = |owned: &Value| {
            let mut scene = steady.clone();
            change(&mut scene, &task, |json| {
                json["metadata"]["labels"]["team"] = json!("blue");
                managed(json, owned.clone(), Some("meddler"));
            });
            scene
        };
        let ours = labelled(&json!({"f:metadata": {"f:labels": {"f:team": {}}}}));
        assert_eq!(planned(&ours), [task.to_string()], "{kind}: ours, not rendered any more");
        let mut applying = ours;
        assert!(applying.commit(), "{kind}: a plan");
        applying.observed.looked.extend([Topic::ConfigMap, Topic::StatefulSet, Topic::Service]);
        assert!(
            digest::of(&applying).contains(&format!("apply {kind}")),
            "{kind}: {}",
            digest::of(&applying)
        );
        assert_eq!(
            planned(&labelled(&json!({}))),
            Vec::<String>::new(),
            "{kind}: a label of somebody else's"
        );
        // What is not ours or is going is left alone.
        for spare in [json!({"ownerReferences": null}), json!({"deletionTimestamp": "2026-11-24T12:00:00Z"})]
        {
            let mut scene = story::running(node::full());
            change(&mut scene, &task, |json| {
                spoil(&task, json);
                seinode_core::patch::apply(&mut json["metadata"], &spare);
            });
            assert_eq!(planned(&scene), Vec::<String>::new(), "{kind} {spare}");
        }
        // What can't be told about is left alone.
        let mut dark = steady;
        unseen(&mut dark, &task, Some(Blind::Forbidden));
        assert_eq!(planned(&dark), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn s22_what_is_set_back_is_left_alone_for_an_hour_or_until_an_edit() {
    let mut scene = story::running(node::full());
    let set_back = |scene: &mut Scene| {
        change(scene, &TaskType::ApplyService, |json| {
            spoil(&TaskType::ApplyService, json);
            managed(json, json!({}), Some("meddler"));
        });
    };
    set_back(&mut scene);
    assert_eq!(planned(&scene), ["apply-service"], "the first time it is repaired");
    assert!(scene.commit(), "a plan");
    scene.node.status.plan = None;
    assert_eq!(planned(&scene), Vec::<String>::new());
    let shown = digest::condition(&scene, &ConditionType::ChildContested).expect("a condition");
    assert_eq!((shown.status.as_str(), shown.reason.as_str()), ("True", "SetBack"));
    assert!(shown.message.contains("spec.publishNotReadyAddresses (set by meddler)"), "{}", shown.message);
    assert!(scene.commit(), "it is shown");
    assert_eq!(planned(&scene), Vec::<String>::new(), "and not written again");
    let minutes = |n| std::time::Duration::from_mins(n);
    assert_eq!(planned(&scene.clone().later(minutes(58))), Vec::<String>::new());
    assert_eq!(planned(&scene.clone().later(minutes(59))), ["apply-service"], "an hour after the repair");
    scene.node.metadata.generation = Some(2);
    assert_eq!(planned(&scene), ["apply-service"], "at a new generation");
    assert_eq!(scene.now, scene::noon());
}

#[test]
fn p41_an_apply_names_the_object_that_it_was_decided_on() {
    for (task, kind, ..) in TASKS {
        let mut scene = story::at_task(node::full(), &task);
        change(&mut scene, &task, |json| spoil(&task, json));
        let Op::Apply { base, .. } = effects(&scene).remove(0).op else { panic!("an apply") };
        let Base::At { uid, version } = base else { panic!("{kind}: {base:?}") };
        assert!(uid.as_str().starts_with("uid-") && version.as_str().starts_with("20"), "{kind}");
        unseen(&mut scene, &task, None);
        let Op::Apply { base, .. } = effects(&scene).remove(0).op else { panic!("an apply") };
        assert_eq!(base, Base::Absent, "{kind}");
    }
}
