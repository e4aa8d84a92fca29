//! What the pod of a node tells: which one it is, whether its sidecar runs, whether the proxy in front of it is ready.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};

use crate::api::{SeiNode, mode};
use crate::owner;
use crate::render::names;
use crate::world::Seen;

/// Container of the node software.
pub(crate) const SEID: &str = "seid";
/// Container of the sidecar.
pub(crate) const SIDECAR: &str = "sei-sidecar";
/// Container of the proxy in front of the sidecar; its readiness is the sidecar's.
pub(crate) const PROXY: &str = "kube-rbac-proxy";

/// The pod that a StatefulSet of ours runs: by controller uid, never by name alone.
pub(crate) fn of_statefulset<'a>(pods: &'a Seen<Vec<Pod>>, statefulset: &StatefulSet) -> Seen<&'a Pod> {
    let uid = statefulset.metadata.uid.as_deref().unwrap_or_default();
    controlled(pods, "StatefulSet", uid)
}

/// The pod of a Job of ours, by controller uid.
pub(crate) fn of_job<'a>(pods: &'a Seen<Vec<Pod>>, job: &Job) -> Seen<&'a Pod> {
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    controlled(pods, "Job", uid)
}

/// Whether the controller of a pod is of this kind and uid.
pub(crate) fn is_controlled_by(pod: &Pod, kind: &str, uid: &str) -> bool {
    owner::controller(&pod.metadata).is_some_and(|c| c.kind == kind && c.uid == uid)
}

fn controlled<'a>(pods: &'a Seen<Vec<Pod>>, kind: &str, uid: &str) -> Seen<&'a Pod> {
    match pods {
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        Seen::Absent => Seen::Absent,
        Seen::Present(pods) => {
            pods.iter().find(|p| is_controlled_by(p, kind, uid)).map_or(Seen::Absent, Seen::Present)
        }
    }
}

/// Whether a pod of the node's namespace concerns the node: it is of its StatefulSet or Job (by the names that these have),
/// or names its claim.
pub fn is_near(pod: &Pod, node: &SeiNode) -> bool {
    let is_of = |kind: &str, name: &str| {
        owner::controller(&pod.metadata).is_some_and(|c| c.kind == kind && c.name == name)
    };
    is_of("StatefulSet", node.name())
        || is_of("Job", &names::bootstrap_job(node.name()))
        || has_volume(pod, &mode::data_claim_name(node.name(), &node.spec))
}

/// Status of a container, init containers included.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .find(|c| c.name == name)
}

/// Whether a container's process runs.
pub(crate) fn is_running(pod: &Pod, name: &str) -> bool {
    container(pod, name).is_some_and(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
}

/// Whether a container runs, or has run.
pub(crate) fn has_begun(pod: &Pod, name: &str) -> bool {
    let has_ended = |c: &ContainerStatus| {
        let states = [c.state.as_ref(), c.last_state.as_ref()];
        states.into_iter().flatten().any(|s| s.terminated.is_some())
    };
    is_running(pod, name) || container(pod, name).is_some_and(has_ended)
}

/// Whether a container is ready.
pub(crate) fn is_ready(pod: &Pod, name: &str) -> bool {
    container(pod, name).is_some_and(|c| c.ready)
}

/// The containers of a pod, init containers first.
pub(crate) fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn image_of<'a>(spec: Option<&'a PodSpec>, name: &str) -> Option<&'a str> {
    containers(spec?).find(|c| c.name == name)?.image.as_deref()
}

/// The image of a container as the pod's spec has it (never `status.image`, which a runtime may rewrite).
pub(crate) fn image<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    image_of(pod.spec.as_ref(), name)
}

/// Label of a pod of a StatefulSet: the revision of the template it was made from.
pub(crate) const REVISION: &str = "controller-revision-hash";

/// The image that a container was asked to run: the template's where the pod was made from it (admission may rewrite the
/// pod's own, and that is no drift), else the pod's.
pub(crate) fn asked_image<'a>(pod: &'a Pod, statefulset: &'a StatefulSet, name: &str) -> Option<&'a str> {
    let status = statefulset.status.as_ref();
    let is_observed = status.and_then(|s| s.observed_generation) >= statefulset.metadata.generation;
    let wanted = status.and_then(|s| s.update_revision.as_ref()).filter(|r| is_observed && !r.is_empty());
    let made_from = pod.metadata.labels.as_ref().and_then(|l| l.get(REVISION));
    if wanted.is_some() && wanted == made_from { template_image(statefulset, name) } else { image(pod, name) }
}

/// The image of a container in the template of a StatefulSet.
pub(crate) fn template_image<'a>(statefulset: &'a StatefulSet, name: &str) -> Option<&'a str> {
    image_of(statefulset.spec.as_ref()?.template.spec.as_ref(), name)
}

/// Whether the pod mounts a claim and may still run.
pub(crate) fn mounts(pod: &Pod, claim: &str) -> bool {
    !has_succeeded(pod) && has_volume(pod, claim)
}

/// Whether a pod has run to its end, and will not run again.
pub(crate) fn has_succeeded(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Succeeded"))
}

/// Whether the pod names a claim among its volumes, running or not.
pub(crate) fn has_volume(pod: &Pod, claim: &str) -> bool {
    pod.spec.as_ref().is_some_and(|s| {
        s.volumes
            .iter()
            .flatten()
            .any(|v| v.persistent_volume_claim.as_ref().is_some_and(|c| c.claim_name == claim))
    })
}

/// Name of a pod.
pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// Why the sidecar of a pod does not run yet, from the pod's own status.
pub(crate) fn why_not_running(pod: &Pod, name: &str) -> String {
    let pod_name = self::name(pod);
    let init = pod.status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
    let waiting = init
        .filter_map(|c| Some((c, c.state.as_ref()?.waiting.as_ref()?)))
        .find(|(_, w)| w.reason.as_deref().is_some_and(|r| r != "PodInitializing"));
    if let Some((container, waiting)) = waiting {
        return format!(
            "pod {pod_name}: container {} waits: {}",
            container.name,
            waiting.reason.as_deref().unwrap_or("?")
        );
    }
    let unscheduled = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    if let Some(c) = unscheduled.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "False") {
        return format!(
            "pod {pod_name} is not scheduled: {}",
            c.message.as_deref().or(c.reason.as_deref()).unwrap_or("?")
        );
    }
    format!("pod {pod_name}: container {name} does not run yet")
}
