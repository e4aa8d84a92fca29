//! Bodies of the fuzz targets, so that the ordinary test run replays their corpus on the stable compiler.
//!
//! Each takes bytes that may be anything and panics only where a law is broken.

use serde_json::Value;

use super::law;
use super::object::PodStage;
use super::scene::{Scene, stored};
use super::story;
use crate::api::{SeiNode, SeiNodeStatus, mode};
use crate::patch;

/// Any JSON that decodes as a node, in an empty and in a populated world.
pub fn decide(bytes: &[u8]) {
    let Ok(node) = serde_json::from_slice::<SeiNode>(bytes) else { return };
    keeps_laws(&Scene::of(node.clone()));
    keeps_laws(&story::fresh(node.clone()));
    keeps_laws(&story::populated(node, PodStage::Sidecar));
}

/// Any JSON that decodes as a status, on a valid node.
pub fn stored_status(bytes: &[u8]) {
    let Ok(status) = serde_json::from_slice::<SeiNodeStatus>(bytes) else { return };
    let again = serde_json::to_value(&status).and_then(serde_json::from_value::<SeiNodeStatus>);
    assert_eq!(again.ok().as_ref(), Some(&status), "a status reads as it was written");
    let mut node = super::node::validator();
    node.status = status;
    keeps_laws(&story::populated(node, PodStage::Sidecar));
}

/// Two JSON values in a list: the patch between them leads from one to the other.
pub fn merge_patch(bytes: &[u8]) {
    let Ok((from, to)) = serde_json::from_slice::<(Value, Value)>(bytes) else { return };
    let mut result = from.clone();
    match patch::between(&from, &to) {
        None => assert_eq!(from, to, "no patch where something differs"),
        Some(patch) => {
            patch::apply(&mut result, &patch);
            assert_eq!(without_nulls(&result), without_nulls(&to), "the patch leads elsewhere");
            let mut again = result.clone();
            patch::apply(&mut again, &patch);
            assert_eq!(again, result, "a patch applied twice is applied once");
        }
    }
}

/// A member that is null is the same as none: a merge patch can't set one.
fn without_nulls(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
}

/// Any JSON that decodes as a spec: checked and rendered without a panic, and decided.
pub fn spec(bytes: &[u8]) {
    let Ok(spec) = serde_json::from_slice(bytes) else { return };
    let mut node = super::node::full();
    node.spec = spec;
    let checked = mode::validate(&node.spec);
    assert_eq!(checked.ok(), mode::validate(&node.spec).ok(), "one spec, one answer");
    keeps_laws(&story::fresh(node.clone()));
    keeps_laws(&story::populated(node, PodStage::Sidecar));
}

fn keeps_laws(scene: &Scene) {
    // Twice the same condition can't be stored: the list is a map by type.
    let status = &scene.node.status;
    let types: std::collections::BTreeSet<_> = status.conditions.iter().map(|c| &c.condition_type).collect();
    let broken = if types.len() == status.conditions.len() { law::broken(scene) } else { Vec::new() };
    assert!(broken.is_empty(), "{broken:#?}");
    if let Some(crate::Decision::Commit(commit)) = scene.clone().settle() {
        let answer = stored(&scene.node, commit.write());
        let text = serde_json::to_string(&answer).expect("a node is JSON");
        let read: SeiNode = serde_json::from_str(&text).expect("what is stored can be read");
        assert!(commit.stored(&read).is_ok(), "what was stored is recognised");
    }
}
