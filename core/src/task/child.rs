//! Tasks that apply child objects: ConfigMap of the proxy, StatefulSet, headless Service.
//!
//! Done when the live object is ours and says what we render; so an object that the Go operator left is taken as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{Step, Turn};
use crate::decision::Wake;
use crate::differ::{self, Standing};
use crate::draft::StatusDraft;
use crate::effect::{Base, Manifest, Op};
use crate::explain::WaitingOn;
use crate::owner::{self, Owner};
use crate::render;
use crate::world::{Seen, Topic};

/// How often an object in the way is looked at again.
const IN_THE_WAY: Duration = Duration::from_secs(15);

/// `apply-rbac-proxy-config`.
pub(super) fn rbac_proxy_config(turn: &Turn<'_>) -> Step {
    let manifest = Manifest::ConfigMap(render::rbac_proxy_config(turn.world.node));
    apply(turn, &turn.world.observed.config_map, manifest, Topic::ConfigMap)
}

/// `apply-service`.
pub(super) fn service(turn: &Turn<'_>) -> Step {
    let manifest = Manifest::Service(render::service(turn.world.node));
    apply(turn, &turn.world.observed.service, manifest, Topic::Service)
}

/// `apply-statefulset`: made inert (replicas 0), because absence can come back and a late create must start nothing;
/// on an object of ours `replicas` stays what it is (its rule is `scale`).
pub(super) fn statefulset(turn: &Turn<'_>, draft: &mut StatusDraft<'_>) -> Step {
    let seen = &turn.world.observed.statefulset;
    let replicas = seen.present().and_then(|s| s.spec.as_ref()).map_or(0, |s| s.replicas.unwrap_or(1));
    let rendered = match render::statefulset(turn.world.node, &turn.world.settings.platform, replicas) {
        Ok(rendered) => rendered,
        Err(error) => return Step::Wait(WaitingOn::RenderFailed(error.to_string()), Wake::OnChange),
    };
    let step = apply(turn, seen, Manifest::StatefulSet(rendered), Topic::StatefulSet);
    if let (Step::Done, Some(live)) = (&step, seen.present()) {
        draft.fields().stateful_set(turn.world.node.name(), owner::uid(&live.metadata).as_str());
    }
    step
}

/// Applies one object, unless it is right already, in the way, or not to be touched.
pub(super) fn apply<T>(turn: &Turn<'_>, seen: &Seen<T>, manifest: Manifest, topic: Topic) -> Step
where
    T: Serialize + Metadata<Ty = ObjectMeta>,
{
    let target = manifest.target();
    let live = match seen {
        Seen::Unknown(blind) => return turn.look(topic, blind),
        // The cache may not hold what is not labelled as ours, and may be behind: look before making anything.
        Seen::Absent if !turn.world.observed.has_looked(&topic) => {
            return Step::Look(BTreeSet::from([topic]));
        }
        Seen::Absent => {
            return turn.perform(Op::Apply { manifest: Box::new(manifest), base: Base::Absent }, &topic);
        }
        Seen::Present(live) => live,
    };
    let meta = live.metadata();
    match owner::of(meta, turn.world.node) {
        Owner::Ours => {}
        Owner::Previous => {
            return in_the_way(WaitingOn::PreviousOwner(target.kind, target.name), turn, topic);
        }
        Owner::Foreign => return in_the_way(WaitingOn::ForeignObject(target.kind, target.name), turn, topic),
    }
    if meta.deletion_timestamp.is_some() {
        return in_the_way(WaitingOn::Terminating(target.kind, target.name), turn, topic);
    }
    match differ::standing(&manifest.to_json(), live, turn.world.observed.has_looked(&topic)) {
        Standing::Right => return Step::Done,
        Standing::Unsure => return Step::Look(BTreeSet::from([topic])),
        Standing::Differs(_) => {}
    }
    turn.perform(Op::Apply { manifest: Box::new(manifest), base: owner::base(meta) }, &topic)
}

/// Waits for an object that may not be touched; what the cache says of it is checked past the cache first.
pub(super) fn in_the_way(why: WaitingOn, turn: &Turn<'_>, topic: Topic) -> Step {
    if turn.world.observed.has_looked(&topic) {
        Step::Wait(why, Wake::After(IN_THE_WAY))
    } else {
        Step::Look(BTreeSet::from([topic]))
    }
}
