//! Worlds at telling moments of a node's life.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

use super::object::{self, PodStage};
use super::scene::{Scene, noon};
use crate::api::status::{FailedTaskDetail, StoredPlan};
use crate::api::{NodePhase, PlanPhase, SeiNode, Stamp, TaskStatus, TaskType};
use crate::decision::Decision;
use crate::ident::TaskId;
use crate::plan::choose;
use crate::plan::recipe::{self, Inputs};
use crate::rivals::Neighbourhood;
use crate::task::wire;
use crate::world::{Health, Registry, Seen, SidecarTask, SidecarTaskStatus};

/// Nothing has happened and nothing exists; witnesses are known.
pub fn fresh(node: SeiNode) -> Scene {
    let mut scene = Scene::of(node);
    let observed = &mut scene.observed;
    observed.statefulset = Seen::Absent;
    observed.service = Seen::Absent;
    observed.config_map = Seen::Absent;
    observed.data_pvc = Seen::Absent;
    observed.volume = Seen::Absent;
    observed.job = Seen::Absent;
    observed.pods = Seen::Present(Vec::new());
    observed.peers = Seen::Present(Vec::new());
    observed.neighbourhood = Seen::Present(Neighbourhood::default());
    observed.registry = Registry::Entries(vec!["a.example.net:26657".into(), "b.example.net:26657".into()]);
    if crate::api::mode::imported_claim_name(&scene.node.spec).is_some() {
        observed.data_pvc = Seen::Present(object::claim(&scene.node, &scene.settings.platform));
        observed.volume = Seen::Present(object::volume(&scene.node, &scene.settings.platform));
    }
    observed.secrets = object::secret_names(&scene.node)
        .into_iter()
        .map(|name| (name, Seen::Present(object::fit_secret(&scene.node))))
        .collect();
    scene
}

/// Every child is there and right, the pod has come to `stage`, the sidecar has no records.
pub fn populated(node: SeiNode, stage: PodStage) -> Scene {
    let mut scene = fresh(node);
    let (node, platform) = (&scene.node, &scene.settings.platform);
    let sts = object::statefulset(node, platform, 1);
    let pod = object::pod(&sts, stage);
    let observed = &mut scene.observed;
    observed.data_pvc = Seen::Present(object::claim(node, platform));
    observed.service = Seen::Present(object::service(node));
    observed.config_map = Seen::Present(object::config_map(node));
    observed.pods = Seen::Present(vec![pod]);
    observed.statefulset = Seen::Present(sts);
    observed.sidecar_tasks = Seen::Present(BTreeMap::new());
    observed.health =
        Seen::Present(if stage == PodStage::Sidecar { Health::NotReady } else { Health::Ready });
    scene
}

/// The init plan of the node as its first pass stores it.
pub fn first_plan(node: &SeiNode) -> StoredPlan {
    let (peers, witnesses) = (&node.status.resolved_peers, &node.status.resolved_state_syncers);
    choose::by_spec(Inputs { node, peers, witnesses }, None).plan(node)
}

/// The plan that follows the first one once its tasks are complete: of a bootstrap, what comes after it.
pub fn plan_after(node: &SeiNode) -> StoredPlan {
    let (peers, witnesses) = (&node.status.resolved_peers, &node.status.resolved_state_syncers);
    let mut before = first_plan(node);
    before.tasks.iter_mut().for_each(|task| task.status = TaskStatus::Complete);
    choose::by_spec(Inputs { node, peers, witnesses }, Some(&before)).plan(node)
}

/// The update plan of the node. `answering`: its sidecar can be asked, so the config comes first.
pub fn update_plan(node: &SeiNode, answering: bool) -> StoredPlan {
    recipe::update::recipe(Inputs { node, peers: &node.status.resolved_peers, witnesses: &[] }, answering)
        .plan(node)
}

/// The plan that brings back the children of a node.
pub fn repair_plan(node: &SeiNode) -> StoredPlan {
    let tasks = vec![TaskType::ApplyRbacProxyConfig, TaskType::ApplyService, TaskType::ApplyStatefulSet];
    recipe::convergence::recipe(Inputs { node, peers: &[], witnesses: &[] }, tasks).plan(node)
}

/// The mark-ready plan of the node.
pub fn mark_ready_plan(node: &SeiNode) -> StoredPlan {
    recipe::mark_ready::recipe(Inputs { node, peers: &[], witnesses: &[] }).plan(node)
}

/// The init plan is under way: the first `done` tasks are complete, also in the sidecar; the pod's sidecar runs. The rest
/// of the status is what the first pass has stored.
pub fn mid_plan(node: SeiNode, done: usize) -> Scene {
    let mut first = fresh(node);
    let Some(Decision::Commit(commit)) = first.settle() else { return first };
    let write = commit.write().clone();
    first.store(&write);
    let mut node = first.node;
    let tasks = node.status.plan.iter_mut().flat_map(|plan| &mut plan.tasks).enumerate();
    for (index, task) in tasks {
        task.status = if index < done { TaskStatus::Complete } else { TaskStatus::Pending };
        task.submitted_at = (index < done).then(|| Stamp::of(noon()));
    }
    let mut scene = populated(node, PodStage::Sidecar);
    let tasks = scene.node.status.plan.as_ref().map(|p| p.tasks.clone()).unwrap_or_default();
    let records = tasks.iter().take(done).filter_map(|task| {
        let params = wire::params(&task.task_type, &task.params).ok()?;
        Some((
            TaskId::new(&task.id),
            record(&task.id, &task.task_type, params, SidecarTaskStatus::Completed, noon()),
        ))
    });
    scene.observed.sidecar_tasks = Seen::Present(records.collect());
    scene
}

/// The init plan is under way and a task of the given type is current.
pub fn at_task(node: SeiNode, task_type: &TaskType) -> Scene {
    let plan = first_plan(&node);
    let index =
        plan.tasks.iter().position(|t| t.task_type == *task_type).expect("the plan has a task of the type");
    mid_plan(node, index)
}

/// A record of the sidecar, started and ended at one moment.
pub fn record(
    id: &str,
    task_type: &TaskType,
    params: Option<serde_json::Value>,
    status: SidecarTaskStatus,
    at: Timestamp,
) -> SidecarTask {
    SidecarTask {
        id: id.to_owned(),
        task_type: task_type.to_string(),
        status,
        run: 1,
        params,
        error: (status == SidecarTaskStatus::Failed).then(|| "disk full".to_owned()),
        submitted_at: Some(Stamp::of(at)),
        completed_at: (status != SidecarTaskStatus::Running).then(|| Stamp::of(at)),
    }
}

/// Running and steady: one more decision writes nothing.
pub fn running(node: SeiNode) -> Scene {
    let mut node = node;
    let mut plan = first_plan(&node);
    plan.phase = PlanPhase::Complete;
    plan.tasks.iter_mut().for_each(|task| task.status = TaskStatus::Complete);
    node.status.plan = Some(plan);
    node.status.current_image = Some(node.spec.image.clone());
    node.status.phase = Some(NodePhase::Running);
    node.status.phase_transition_time = Some(Stamp::of(noon()));
    let mut scene = populated(node, PodStage::Ready);
    while let Some(Decision::Commit(commit)) = scene.settle() {
        let write = commit.write().clone();
        scene.store(&write);
    }
    scene.observed.looked.clear();
    scene
}

/// A Running node whose Service was taken away; the plan that brings it back is stored.
pub fn repairing(node: SeiNode) -> Scene {
    let mut scene = running(node);
    scene.observed.service = Seen::Absent;
    scene.commit();
    scene
}

/// The init plan has failed in its first task.
pub fn failed(mut node: SeiNode) -> Scene {
    let mut plan = first_plan(&node);
    plan.phase = PlanPhase::Failed;
    plan.failed_task_index = Some(0);
    let task = &mut plan.tasks[0];
    task.status = TaskStatus::Failed;
    task.error = Some("foreign claim".to_owned());
    plan.failed_task_detail = Some(FailedTaskDetail {
        task_type: task.task_type.to_string(),
        id: task.id.clone(),
        error: "foreign claim".to_owned(),
        ..FailedTaskDetail::default()
    });
    node.status.plan = Some(plan);
    node.status.phase = Some(NodePhase::Failed);
    node.status.phase_transition_time = Some(Stamp::of(noon()));
    fresh(node)
}

/// Running, and its deletion was asked for.
pub fn deleting(node: SeiNode) -> Scene {
    let mut scene = running(node);
    scene.node = object::deleting(scene.node, noon());
    scene
}

/// Running, and its pause was asked for.
pub fn pausing(node: SeiNode) -> Scene {
    let mut scene = running(node);
    scene.node.spec.paused = Some(true);
    scene.node.metadata.generation = Some(2);
    scene
}
