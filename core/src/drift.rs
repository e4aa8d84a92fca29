//! Whether a Running node runs what its spec asks for.
//!
//! Told by what was recorded, by the live template and by the pod itself: a template or a pod at another image than the
//! wanted one is drift too, so that a change of mind in the middle of an update never leaves either behind (W2-W4).

use crate::api::mode;
use crate::draft::StatusDraft;
use crate::owner::{self, Owner};
use crate::pod;
use crate::world::{Seen, World};

/// What differs, for people; `None` if nothing does.
pub(crate) fn of(world: World<'_>, draft: &StatusDraft<'_>) -> Option<String> {
    let spec = &world.node.spec;
    let (seid, sidecar) =
        (spec.image.as_str(), mode::sidecar_image(spec, &world.settings.platform.images.sidecar));
    let status = draft.status();
    let recorded = status.current_image.as_deref().unwrap_or_default();
    if recorded != seid {
        return Some(format!("image: spec has {seid}, the node {}", shown(recorded)));
    }
    // Empty means not observed yet, which is no drift (`seinode.md` 5.1).
    let recorded = status.current_sidecar_image.as_deref().unwrap_or_default();
    if !recorded.is_empty() && recorded != sidecar {
        return Some(format!("sidecar image: spec has {sidecar}, the node {recorded}"));
    }
    let sts =
        world.observed.statefulset.present().filter(|s| owner::of(&s.metadata, world.node) == Owner::Ours)?;
    let wanted = [(pod::SEID, seid), (pod::SIDECAR, sidecar)];
    for (container, image) in wanted {
        if let Some(has) = pod::template_image(sts, container).filter(|has| *has != image) {
            return Some(format!("image of {container}: spec has {image}, the StatefulSet {has}"));
        }
    }
    if let Seen::Present(pod) = pod::of_statefulset(&world.observed.pods, sts) {
        for (container, image) in wanted {
            if let Some(has) = pod::asked_image(pod, sts, container).filter(|has| *has != image) {
                return Some(format!("image of {container}: spec has {image}, the pod {has}"));
            }
        }
    }
    None
}

/// Whether nothing but the platform's default image of the sidecar differs: no edit of the node has asked for that.
pub(crate) fn is_by_default(world: World<'_>, draft: &StatusDraft<'_>) -> bool {
    let spec = &world.node.spec;
    if !mode::sidecar_image(spec, "").is_empty() {
        return false;
    }
    let as_wanted = |has: Option<&str>| has.is_none_or(|has| has == spec.image);
    let sts = world.observed.statefulset.present();
    let pod = sts.map(|sts| (sts, pod::of_statefulset(&world.observed.pods, sts)));
    let asked = match &pod {
        Some((sts, Seen::Present(pod))) => pod::asked_image(pod, sts, pod::SEID),
        _ => None,
    };
    as_wanted(draft.status().current_image.as_deref())
        && as_wanted(sts.and_then(|sts| pod::template_image(sts, pod::SEID)))
        && as_wanted(asked)
}

/// A Running node whose images were never recorded (S33): they are, where its pod runs what is wanted.
pub(crate) fn record_unobserved(world: World<'_>, draft: &mut StatusDraft<'_>) {
    if draft.status().current_image.as_deref().is_some_and(|i| !i.is_empty()) {
        return;
    }
    let spec = &world.node.spec;
    let sidecar = mode::sidecar_image(spec, &world.settings.platform.images.sidecar).to_owned();
    let Some(sts) = world.observed.statefulset.present() else { return };
    let Seen::Present(pod) = pod::of_statefulset(&world.observed.pods, sts) else { return };
    let at = |name: &str| pod::asked_image(pod, sts, name).unwrap_or_default().to_owned();
    let (seid, has_sidecar) = (at(pod::SEID), at(pod::SIDECAR));
    if seid == spec.image && has_sidecar == sidecar && pod::is_running(pod, pod::SEID) {
        draft.fields().images(seid, has_sidecar);
    }
}

fn shown(image: &str) -> &str {
    if image.is_empty() { "none yet" } else { image }
}
