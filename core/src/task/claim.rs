//! `ensure-data-pvc`: the data volume claim exists and is ours, or the imported one is fit (`seinode.md` 10, 10.1).
//!
//! An existing claim is never changed. A claim of ours that is being deleted, lost or too small is not fit (S29); a
//! claim of an earlier node of this name is waited out (W12).

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use super::child::in_the_way;
use super::{Step, Turn, conclude};
use crate::api::condition::ConditionType;
use crate::api::mode::{self, Mode};
use crate::decision::Wake;
use crate::draft::StatusDraft;
use crate::effect::{Base, Kind, Manifest, Op};
use crate::explain::WaitingOn;
use crate::owner::{self, Owner};
use crate::quantity::Quantity;
use crate::render;
use crate::world::{Seen, Topic};

/// How often a claim that is not fit yet is looked at again (`seinode.md` 10: "polled every 5 s").
const CLAIM_POLL: Duration = Duration::from_secs(5);

/// The rule of the task.
pub(super) fn ensure(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    if mode::imported_claim_name(&turn.world.node.spec).is_some() {
        import(turn, draft)
    } else {
        create(turn)
    }
}

fn create(turn: &Turn<'_>) -> Step {
    let world = turn.world;
    let rendered = match render::data_pvc(world.node, &world.settings.platform) {
        Ok(rendered) => rendered,
        Err(error) => return Step::Wait(WaitingOn::RenderFailed(error.to_string()), Wake::OnChange),
    };
    let required = requested(&rendered);
    let manifest = Manifest::DataPvc(rendered);
    let name = manifest.target().name;
    let claim = match &world.observed.data_pvc {
        Seen::Unknown(blind) => return turn.look(Topic::DataPvc, blind),
        Seen::Absent if !world.observed.has_looked(&Topic::DataPvc) => {
            return Step::Look([Topic::DataPvc].into());
        }
        Seen::Absent => {
            return turn
                .perform(Op::Apply { manifest: Box::new(manifest), base: Base::Absent }, &Topic::DataPvc);
        }
        Seen::Present(claim) => claim,
    };
    let deleting = claim.metadata.deletion_timestamp.is_some();
    match owner::of(&claim.metadata, world.node) {
        Owner::Ours => {}
        Owner::Previous => {
            return in_the_way(
                WaitingOn::PreviousOwner(Kind::PersistentVolumeClaim, name),
                turn,
                Topic::DataPvc,
            );
        }
        Owner::Foreign if deleting => {
            return in_the_way(
                WaitingOn::Terminating(Kind::PersistentVolumeClaim, name),
                turn,
                Topic::DataPvc,
            );
        }
        Owner::Foreign => {
            return confirmed(turn, || {
                Step::Fail(format!(
                    "PersistentVolumeClaim {name} exists and is not controlled by this node: import it with \
                     spec.dataVolume.import.pvcName, or delete it"
                ))
            });
        }
    }
    if deleting {
        return in_the_way(WaitingOn::Terminating(Kind::PersistentVolumeClaim, name), turn, Topic::DataPvc);
    }
    if phase(claim) == "Lost" {
        return confirmed(turn, || {
            Step::Fail(format!("PersistentVolumeClaim {name} is Lost: its volume is gone"))
        });
    }
    match (required, requested(claim)) {
        (Some(required), Some(has)) if has < required => wait(format!(
            "PersistentVolumeClaim {name} asks for {has}, less than the {required} that this node needs: expand it"
        )),
        _ => Step::Done,
    }
}

fn import(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    conclude(draft, ConditionType::ImportPvcReady, "PVC", "the imported claim is fit", import_checks(turn))
}

/// The checks of `seinode.md` 10.1, in its order. The claim is never changed.
fn import_checks(turn: &Turn<'_>) -> Step {
    let world = turn.world;
    let name = mode::data_claim_name(world.node.name(), &world.node.spec);
    let claim = match &world.observed.data_pvc {
        Seen::Unknown(blind) => return turn.look(Topic::DataPvc, blind),
        Seen::Absent => {
            return confirmed(turn, || {
                wait(format!("PersistentVolumeClaim {name}, which is to be imported, does not exist"))
            });
        }
        Seen::Present(claim) => claim,
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return wait(format!("PersistentVolumeClaim {name} is being deleted"));
    }
    match phase(claim) {
        "Bound" => {}
        "Lost" => {
            return confirmed(turn, || {
                Step::Fail(format!("PersistentVolumeClaim {name} is Lost: its volume is gone"))
            });
        }
        other => {
            return wait(format!(
                "PersistentVolumeClaim {name} is {}, not Bound",
                if other.is_empty() { "new" } else { other }
            ));
        }
    }
    let modes = claim.spec.as_ref().and_then(|s| s.access_modes.clone()).unwrap_or_default();
    if !modes.iter().any(|m| m == "ReadWriteOnce" || m == "ReadWriteOncePod") {
        return confirmed(turn, || {
            Step::Fail(format!(
                "PersistentVolumeClaim {name} can't be written by one pod: its access modes are {modes:?}"
            ))
        });
    }
    let Some(mode) = Mode::of(&world.node.spec) else { return wait("the node has no mode".to_owned()) };
    let required = world.settings.platform.storage_size(mode).1;
    let Some(capacity) = capacity(claim.status.as_ref().and_then(|s| s.capacity.as_ref())) else {
        return wait(format!("PersistentVolumeClaim {name} does not report its capacity yet"));
    };
    if capacity < required {
        return confirmed(turn, || {
            Step::Fail(format!(
                "PersistentVolumeClaim {name} has {capacity}, less than the {required} that this node needs"
            ))
        });
    }
    let Some(volume_name) =
        claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).filter(|v| !v.is_empty())
    else {
        return wait(format!("PersistentVolumeClaim {name} names no volume yet"));
    };
    match &world.observed.volume {
        Seen::Unknown(blind) => turn.look(Topic::Volume, blind),
        Seen::Absent => wait(format!("PersistentVolume {volume_name} does not exist")),
        Seen::Present(volume) => volume_checks(turn, volume, capacity),
    }
}

fn volume_checks(turn: &Turn<'_>, volume: &PersistentVolume, claimed: Quantity) -> Step {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Failed") {
        return confirmed_by(turn, &Topic::Volume, || {
            Step::Fail(format!("PersistentVolume {name} is Failed"))
        });
    }
    match capacity(volume.spec.as_ref().and_then(|s| s.capacity.as_ref())) {
        Some(has) if has == claimed => Step::Done,
        has => confirmed_by(turn, &Topic::Volume, || {
            let has = has.map_or_else(|| "none".to_owned(), |q| q.to_string());
            Step::Fail(format!(
                "PersistentVolume {name} has capacity {has}, its claim {claimed}: they must be equal"
            ))
        }),
    }
}

/// A verdict that ends something is given only on a claim read past the cache.
fn confirmed(turn: &Turn<'_>, verdict: impl FnOnce() -> Step) -> Step {
    if turn.world.observed.has_looked(&Topic::DataPvc) {
        verdict()
    } else {
        Step::Look(std::collections::BTreeSet::from([Topic::DataPvc]))
    }
}

/// The same where the verdict rests on one more object.
fn confirmed_by(turn: &Turn<'_>, topic: &Topic, verdict: impl FnOnce() -> Step) -> Step {
    if turn.world.observed.has_looked(topic) {
        confirmed(turn, verdict)
    } else {
        Step::Look(std::collections::BTreeSet::from([topic.clone()]))
    }
}

fn wait(why: String) -> Step {
    Step::Wait(WaitingOn::Claim(why), Wake::After(CLAIM_POLL))
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

fn requested(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    capacity(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref())
}

fn capacity(of: Option<&std::collections::BTreeMap<String, WireQuantity>>) -> Option<Quantity> {
    of?.get("storage").and_then(|q| Quantity::parse(&q.0).ok())
}
