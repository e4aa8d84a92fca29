//! A Running node: what is shown of it, in or between plans.
//!
//! Answers: is the sidecar told to let seid start, does the pod serve, where do clients find it. Readiness is read from
//! the pod; the sidecar itself is asked only when the proxy in front of it is not ready.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::api::condition::{Condition, ConditionStatus, ConditionType};
use crate::api::mode::Mode;
use crate::api::status::Endpoint;
use crate::api::{NodePhase, SeiNode};
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::explain::WaitingOn;
use crate::plan::supersede::SILENCE;
use crate::pod;
use crate::retry;
use crate::task::sidecar;
use crate::world::{Blind, Health, Seen, Topic, World};

/// How often a sidecar that is not ready is asked about it, at most.
pub const HEALTH_POLL: Duration = Duration::from_mins(1);
/// After this time a pod that is not Ready is looked at past the cache, each time: what was missed of it would keep it so.
pub(crate) const UNREADY: Duration = Duration::from_mins(5);
/// How soon a sidecar that gave no answer is asked again, at first.
pub const HEALTH_RETRY: Duration = Duration::from_secs(1);

/// The pod of the node, if its StatefulSet is known.
fn own_pod(world: World<'_>) -> Seen<&Pod> {
    match &world.observed.statefulset {
        Seen::Unknown(blind) => Seen::Unknown(blind.clone()),
        Seen::Absent => Seen::Absent,
        Seen::Present(sts) => pod::of_statefulset(&world.observed.pods, sts),
    }
}

/// Shows whether the sidecar is ready. `Some` asks for a look first.
pub(crate) fn sidecar_ready(world: World<'_>, draft: &mut StatusDraft<'_>) -> Option<BTreeSet<Topic>> {
    let unreachable = (ConditionStatus::Unknown, "Unreachable", "the sidecar can't be asked");
    let (status, reason, message) = match own_pod(world) {
        // Nothing is known: what is shown stays.
        Seen::Unknown(_) => return None,
        Seen::Absent => unreachable,
        Seen::Present(pod) if pod::is_ready(pod, pod::PROXY) => {
            (ConditionStatus::True, "Ready", "the sidecar lets seid run")
        }
        Seen::Present(pod) if !pod::is_running(pod, pod::SIDECAR) => unreachable,
        Seen::Present(_) if !world.observed.has_looked(&Topic::Health) => {
            return Some(BTreeSet::from([Topic::Health]));
        }
        Seen::Present(_) => match &world.observed.health {
            Seen::Present(Health::Ready) => (ConditionStatus::True, "Ready", "the sidecar lets seid run"),
            Seen::Present(Health::NotReady) => {
                (ConditionStatus::False, "NotReady", "the sidecar was restarted and waits to be marked ready")
            }
            Seen::Unknown(Blind::NotAsked) => return None,
            Seen::Absent | Seen::Unknown(_) => unreachable,
        },
    };
    draft.condition(ConditionType::SidecarReady, status, reason, message);
    None
}

/// Whether the sidecar of a Running node can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CanBeAsked {
    /// It answers.
    Yes,
    /// Nobody is there, or nobody has answered for long.
    No,
    /// It does not answer now; it is given this much more time.
    Unsure(Duration),
}

/// Whether the sidecar of a Running node can be asked, from what is shown of it.
pub(crate) fn can_be_asked(world: World<'_>, draft: &StatusDraft<'_>) -> CanBeAsked {
    // A proxy can be ready in front of a sidecar that is not (S9).
    if world.observed.silence >= SILENCE {
        return CanBeAsked::No;
    }
    let Some(shown) = draft.find(&ConditionType::SidecarReady) else { return CanBeAsked::Unsure(SILENCE) };
    if shown.status != ConditionStatus::Unknown {
        return CanBeAsked::Yes;
    }
    if sidecar::nobody_to_ask(world, false).is_some() {
        return CanBeAsked::No;
    }
    let left = SILENCE.saturating_sub(shown_for(world, shown));
    if left.is_zero() { CanBeAsked::No } else { CanBeAsked::Unsure(left) }
}

/// Shows whether the node serves, and where; says what is waited for.
pub(crate) fn show(world: World<'_>, draft: &mut StatusDraft<'_>) -> Option<WaitingOn> {
    if draft.status().phase == Some(NodePhase::Running) {
        draft.fields().endpoint(endpoint(world.node));
    }
    show_revision(world, draft);
    let text = match own_pod(world) {
        Seen::Unknown(_) => return None,
        Seen::Absent => "the pod does not exist".to_owned(),
        Seen::Present(pod) if is_pod_ready(pod) => {
            draft.condition(ConditionType::Ready, ConditionStatus::True, "PodReady", "the pod is ready");
            return None;
        }
        Seen::Present(pod) if !pod::is_running(pod, pod::SIDECAR) => pod::why_not_running(pod, pod::SIDECAR),
        Seen::Present(pod) => format!("pod {} is not ready: seid starts or catches up", pod::name(pod)),
    };
    let why = WaitingOn::PodNotReady(text);
    draft.condition(ConditionType::Ready, ConditionStatus::False, why.reason(), &why.to_string());
    Some(why)
}

/// Shows whether the pod is at the template of its StatefulSet.
fn show_revision(world: World<'_>, draft: &mut StatusDraft<'_>) {
    let (Some(sts), Seen::Present(pod)) = (world.observed.statefulset.present(), own_pod(world)) else {
        return;
    };
    let status = sts.status.as_ref();
    let Some(update) = status.and_then(|s| s.update_revision.as_deref()).filter(|r| !r.is_empty()) else {
        return;
    };
    if status.and_then(|s| s.observed_generation) < sts.metadata.generation {
        return;
    }
    let at = pod.metadata.labels.as_ref().and_then(|l| l.get("controller-revision-hash"));
    let kind = ConditionType::PodOutdated;
    if at.is_some_and(|at| at == update) {
        draft.condition(
            kind,
            ConditionStatus::False,
            "UpToDate",
            "the pod is at the template of its StatefulSet",
        );
    } else {
        let text = "the pod runs an older template; it gets the new one when it is next replaced";
        draft.condition(kind, ConditionStatus::True, "OldRevision", text);
    }
}

/// When a Running node without a plan is looked at again, if nothing changes: a pod that is seen ready tells by itself when
/// it is not any more. Anything else is asked soon, and then ever more slowly.
pub(crate) fn wake(world: World<'_>, draft: &StatusDraft<'_>) -> Wake {
    match own_pod(world) {
        Seen::Present(pod) if pod::is_ready(pod, pod::PROXY) => return Wake::OnChange,
        // Nobody is there to be asked.
        Seen::Absent => return Wake::After(HEALTH_POLL),
        Seen::Present(_) | Seen::Unknown(_) => {}
    }
    let shown = draft.find(&ConditionType::SidecarReady).map_or(Duration::ZERO, |c| shown_for(world, c));
    Wake::After(retry::poll(shown, HEALTH_RETRY, HEALTH_POLL))
}

/// How long a node is shown not to be Ready, if it is.
pub(crate) fn unready_for(world: World<'_>, draft: &StatusDraft<'_>) -> Option<Duration> {
    let ready = draft.find(&ConditionType::Ready).filter(|c| c.status == ConditionStatus::False)?;
    Some(shown_for(world, ready))
}

/// How long a condition has had its status; no time at all where that is not stored.
fn shown_for(world: World<'_>, shown: &Condition) -> Duration {
    let since = shown.since().unwrap_or(world.now);
    retry::elapsed(since, world.now)
}

/// Records the images that the pod was asked to run.
pub(crate) fn record_images(world: World<'_>, draft: &mut StatusDraft<'_>) {
    if let Seen::Present(sts) = &world.observed.statefulset
        && let Seen::Present(pod) = own_pod(world)
        && let (Some(seid), Some(sidecar)) =
            (pod::asked_image(pod, sts, pod::SEID), pod::asked_image(pod, sts, pod::SIDECAR))
    {
        draft.fields().images(seid.to_owned(), sidecar.to_owned());
    }
}

fn is_pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Where clients reach a node (`seinode.md` 2): full nodes and archives only.
fn endpoint(node: &SeiNode) -> Option<Endpoint> {
    if !matches!(Mode::of(&node.spec), Some(Mode::FullNode | Mode::Archive)) {
        return None;
    }
    let host = format!("{}.{}.svc", node.name(), node.namespace());
    Some(Endpoint {
        evm_json_rpc: Some(format!("http://{host}:8545")),
        evm_ws: Some(format!("ws://{host}:8546")),
        tendermint_rpc: Some(format!("http://{host}:26657")),
        tendermint_rest: Some(format!("http://{host}:1317")),
        ..Endpoint::default()
    })
}
