//! An active plan: it is held, goes on, is replaced, and ends.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::condition::Condition;
use seinode_core::api::status::StoredPlan;
use seinode_core::api::{ConditionType, NodePhase, PlanPhase, Stamp, TaskStatus, TaskType};
use seinode_core::decision::Rest;
use seinode_core::effect::{Fault, Op, Outcome};
use seinode_core::ident::TaskId;
use seinode_core::testkit::{Scene, digest, law, node, object, story};
use seinode_core::world::{Seen, SidecarTaskStatus, Topic};
use serde_json::json;

/// The world after its next write, and whether there was one.
fn next(mut scene: Scene) -> (Scene, bool) {
    let stored = scene.commit();
    (scene, stored)
}

/// The plan that is stored after the next write.
fn plan(scene: &Scene) -> Option<StoredPlan> {
    next(scene.clone()).0.node.status.plan
}

fn types(plan: Option<&StoredPlan>) -> Vec<&str> {
    plan.iter().flat_map(|p| &p.tasks).map(|t| t.task_type.as_str()).collect()
}

/// What a condition says after the next write: status and reason.
fn shown(scene: &Scene, kind: &ConditionType) -> String {
    let Condition { status, reason, .. } = digest::condition(scene, kind).expect("it is there");
    format!("{status} {reason}")
}

/// How far the plan is, as the rest of the decision after the next write tells.
fn done(scene: &Scene) -> Option<usize> {
    let (mut scene, _) = next(scene.clone());
    let rest: Rest = match scene.settle()? {
        Decision::Act(act) => act.rest().clone(),
        Decision::Rest(rest) => rest,
        Decision::Commit(_) | Decision::Look(_) => return None,
    };
    rest.place.map(|place| place.done)
}

/// An update of the image is stored.
fn updating(image: &str) -> Scene {
    let mut scene = story::running(node::full());
    scene.edit(|node| image.clone_into(&mut node.spec.image));
    let (scene, stored) = next(scene);
    assert!(stored && types(scene.node.status.plan.as_ref()).contains(&"observe-image"));
    scene
}

/// The sidecar has completed the plan's mark-ready, or what it was sent in its place.
fn completed(scene: &mut Scene, what: &TaskType) {
    let plan = scene.node.status.plan.as_ref().expect("a plan");
    let task = plan.tasks.iter().find(|t| t.task_type == TaskType::MarkReady).expect("mark-ready");
    let record = story::record(&task.id, what, Some(json!({})), SidecarTaskStatus::Completed, scene.now);
    scene.observed.sidecar_tasks = Seen::Present([(TaskId::new(&task.id), record)].into());
}

fn another_chain(scene: &Scene) -> Scene {
    let mut scene = scene.clone();
    scene.node.spec.chain_id = "another".into();
    scene
}

#[test]
fn s04_a_held_plan_waits_unless_the_statefulset_was_applied() {
    let held = |scene: &Scene| {
        let (after, _) = next(another_chain(scene));
        digest::of(&after)
    };
    let early = story::at_task(node::full(), &TaskType::ApplyStatefulSet);
    assert!(held(&early).starts_with("rest on change: "), "{}", held(&early));
    assert!(held(&early).contains("chainId"), "{}", held(&early));
    let late = story::at_task(node::full(), &TaskType::ConfigureGenesis);
    assert!(held(&late).contains("submit configure-genesis"), "{}", held(&late));

    let repair = story::repairing(node::full());
    assert_eq!(types(repair.node.status.plan.as_ref()), ["apply-service"]);
    assert!(digest::of(&repair).starts_with("act, apply Service"), "{}", digest::of(&repair));
    assert!(held(&repair).starts_with("rest on change: "), "{}", held(&repair));
}

#[test]
fn a_decision_tells_how_far_the_plan_is() {
    for count in 1..6 {
        let scene = story::mid_plan(node::full(), count);
        assert!(done(&scene) >= Some(count), "{count}: {:?}", done(&scene));
    }
    let at = story::at_task(node::full(), &TaskType::ConfigureGenesis);
    let index = types(at.node.status.plan.as_ref()).iter().position(|t| *t == "configure-genesis");
    assert_eq!(done(&at), index);
    assert_eq!(done(&story::running(node::full())), None);
}

#[test]
fn s13_a_bootstrap_that_is_lost_is_started_anew_some_times_then_fails() {
    let mut counts = Vec::new();
    let mut scene = story::at_task(node::bootstrap(), &TaskType::AwaitBootstrapComplete);
    loop {
        let tasks = &mut scene.node.status.plan.as_mut().expect("a plan").tasks;
        let deploy = tasks.iter_mut().find(|t| t.task_type == TaskType::DeployBootstrapJob).expect("it");
        deploy.retry_count = counts.len().try_into().expect("a few");
        scene.observed.statefulset = Seen::Absent;
        scene.observed.service = Seen::Absent;
        scene.observed.job = Seen::Absent;
        scene.observed.pods = Seen::Present(Vec::new());
        let (after, _) = next(scene.clone());
        let plan = after.node.status.plan.expect("a plan");
        if plan.phase == PlanPhase::Failed {
            assert_eq!(after.node.status.phase, Some(NodePhase::Failed));
            let error = plan.failed_task_detail.expect("a detail").error;
            assert!(error.ends_with(&format!("it was started anew {} times", counts.len())), "{error}");
            break;
        }
        let deploy = plan.tasks.iter().find(|t| t.task_type == TaskType::DeployBootstrapJob).expect("it");
        counts.push(deploy.retry_count);
        assert!(counts.len() < 10, "it never ends");
    }
    assert_eq!(counts, [1, 2, 3]);
}

#[test]
fn an_update_that_is_replaced_says_what_it_has_become() {
    let kind = ConditionType::NodeUpdateInProgress;
    // Its StatefulSet was applied: from then on another image needs another plan.
    let mut scene = updating("registry.example.net/seid:v9");
    scene.observed = story::populated(scene.node.clone(), object::PodStage::Ready).observed;
    for task in &mut scene.node.status.plan.as_mut().expect("a plan").tasks {
        if matches!(task.task_type, TaskType::ApplyRbacProxyConfig | TaskType::ApplyStatefulSet) {
            task.status = TaskStatus::Complete;
        }
    }
    assert_eq!(shown(&scene, &kind), "True UpdateStarted");
    let first = plan(&scene).map(|p| p.id);

    let mut other = scene.clone();
    other.edit(|node| node.spec.image = "registry.example.net/seid:v10".into());
    let replaced = plan(&other);
    assert_ne!(replaced.as_ref().map(|p| p.id.clone()), first);
    assert!(types(replaced.as_ref()).contains(&"observe-image"));
    assert_eq!(shown(&other, &kind), "True UpdateStarted");

    // The old image is wanted again and still there, and what is left of the plan was sent by somebody else.
    let steady = story::running(node::full());
    scene.edit(|node| node.spec.image = steady.node.spec.image);
    scene.observed = steady.observed;
    for task in &mut scene.node.status.plan.as_mut().expect("a plan").tasks {
        let is_last = task.task_type == TaskType::MarkReady;
        task.status = if is_last { TaskStatus::Pending } else { TaskStatus::Complete };
    }
    completed(&mut scene, &TaskType::ConfigApply);
    assert_eq!(plan(&scene), None);
    assert_eq!(shown(&scene, &kind), "False UpdateComplete");
    scene.restart_sidecar();
    assert_eq!(types(plan(&scene).as_ref()), ["mark-ready"]);
    assert_eq!(shown(&scene, &kind), "False UpdateComplete");
}

#[test]
fn a_repair_that_an_update_replaces_says_that_an_update_has_begun() {
    let kind = ConditionType::NodeUpdateInProgress;
    let mut scene = story::repairing(node::full());
    assert_eq!(shown(&scene, &kind), "False NoUpdate");
    scene.edit(|node| node.spec.image = "registry.example.net/seid:v9".into());
    assert!(types(plan(&scene).as_ref()).contains(&"observe-image"), "{}", digest::of(&scene));
    assert_eq!(shown(&scene, &kind), "True UpdateStarted");
}

#[test]
fn only_a_plan_that_marked_the_sidecar_ready_says_so_at_its_end() {
    let kind = ConditionType::SidecarReady;
    // A repair ends while the sidecar's readiness is not known.
    let mut repair = story::repairing(node::full());
    repair.observed.service = story::running(node::full()).observed.service;
    repair.observed.pods = Seen::Present(Vec::new());
    repair.observed.health = Seen::default();
    let (ended, _) = next(repair.clone());
    assert_eq!(ended.node.status.plan, None, "it is cleared");
    assert_eq!(shown(&repair, &kind), "Unknown Unreachable");

    // The sidecar has restarted: the plan that marks it ready ends.
    let mut restarted = story::running(node::full());
    restarted.restart_sidecar();
    let (mut marking, _) = next(restarted);
    let plan = marking.node.status.plan.clone().expect("a plan");
    assert_eq!(types(Some(&plan)), ["mark-ready"]);
    let mut failed = marking.clone();
    for task in &mut failed.node.status.plan.as_mut().expect("a plan").tasks {
        task.status = TaskStatus::Failed;
    }
    assert_eq!(shown(&failed, &kind), "False NotReady");
    completed(&mut marking, &TaskType::MarkReady);
    assert_eq!(shown(&marking, &kind), "True Ready");
}

#[test]
fn the_end_of_a_first_plan_records_the_images_that_came_up() {
    let mut scene = story::at_task(node::full(), &TaskType::MarkReady);
    completed(&mut scene, &TaskType::MarkReady);
    assert_eq!(scene.node.status.current_image, None);
    let (after, _) = next(scene);
    assert_eq!(after.node.status.phase, Some(NodePhase::Running));
    assert_eq!(after.node.status.current_image, Some(after.node.spec.image.clone()));
}

#[test]
fn a_new_plan_is_stored_before_it_is_found_broken() {
    let mut scene = story::running(node::full());
    scene.restart_sidecar();
    // Somebody else has sent something under the id of the task that its plan will have.
    let (mut stored, _) = next(scene.clone());
    completed(&mut stored, &TaskType::ConfigApply);
    scene.observed.sidecar_tasks = stored.observed.sidecar_tasks.clone();
    let scene = scene.looking([Topic::Health, Topic::SidecarTasks, Topic::Pods, Topic::StatefulSet]);
    let wanted = stored.node.status.plan.clone();
    assert_eq!(types(wanted.as_ref()), ["mark-ready"]);
    assert_eq!(plan(&scene), wanted);
    let replaced = plan(&stored);
    assert_eq!(types(replaced.as_ref()), ["mark-ready"]);
    assert_ne!(replaced.map(|p| p.id), wanted.map(|p| p.id));
}

/// The sidecar refuses the withdrawal that has to come before a new plan, again and again.
#[test]
fn l05_a_withdrawal_that_is_refused_is_told_of_and_not_written_in_each_pass() {
    for serves in [true, false] {
        let mut scene = updating("registry.example.net/seid:v7");
        let tasks = scene.node.status.plan.iter_mut().flat_map(|p| &mut p.tasks);
        for task in tasks {
            if task.task_type != TaskType::ConfigPatch {
                task.status = TaskStatus::Complete;
                continue;
            }
            task.submitted_at = Some(Stamp::of(scene.now));
            let (params, kind) = (Some(task.params.clone()), &task.task_type);
            let record = story::record(&task.id, kind, params, SidecarTaskStatus::Running, scene.now);
            scene.observed.sidecar_tasks = Seen::Present([(TaskId::new(&task.id), record)].into());
            break;
        }
        if let (false, Seen::Present(pods)) = (serves, &mut scene.observed.pods) {
            for condition in pods.iter_mut().flat_map(|p| p.status.iter_mut()).flat_map(|s| &mut s.conditions)
            {
                condition.iter_mut().filter(|c| c.type_ == "Ready").for_each(|c| c.status = "False".into());
            }
        }
        scene.edit(|node| node.spec.image = "registry.example.net/seid:v8".into());
        let (mut writes, mut asked) = (0, 0);
        for second in 0..60 {
            scene.now = scene.now.checked_add(Duration::from_secs(2)).expect("a time");
            scene.observed.looked.clear();
            scene.observed.outcomes.clear();
            for _ in 0..4 {
                let Some(decision) = scene.settle() else { panic!("the same look again") };
                let before = scene.node.clone();
                if let Decision::Commit(commit) = &decision {
                    writes += 1;
                    let write = commit.write().clone();
                    scene.store(&write);
                }
                let withdrawn = law::effects(decision, &before)
                    .into_iter()
                    .find_map(|effect| matches!(effect.op, Op::Withdraw(_)).then_some(effect.id));
                let Some(effect) = withdrawn else { continue };
                asked += 1;
                let result = Err(Fault::Transient("answered 403".into()));
                scene.observed.outcomes = vec![Outcome { effect, result }];
            }
            assert!(writes < 8, "{writes} writes after {second} passes");
        }
        let ready = digest::condition(&scene, &ConditionType::Ready).expect("it is there");
        assert!(ready.message.contains("could not be cancelled: "), "{ready:?}");
        assert!(asked > 50, "it is asked {asked} times");
    }
}
