//! Edits that a live node can't follow: nothing is applied until they are taken back (S4, S5).

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use seinode_core::api::SeiNode;
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;
use serde_json::{Value, json};

use crate::sample;

/// An edit is held and named, also when it came in two steps; taken back, the node is free again, and was never touched.
async fn is_held(
    stage: &Stage,
    space: &str,
    edits: &[Value],
    field: &str,
    back: &[Value],
) -> Result<(), LiveError> {
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    let before = sets.get("one").await.unwrap();
    let plan = stage.nodes(space).get("one").await.unwrap().status.plan;
    let mut generation = 0;
    for edit in edits {
        generation = sample::edit(stage, space, "one", edit.clone()).await.generation();
    }
    let held = |n: &SeiNode| {
        sample::shows(ConditionType::SpecHeld, ConditionStatus::True)(n)
            && sample::message(n, &ConditionType::SpecHeld).contains(field)
            && n.status.conditions.iter().any(|c| {
                c.condition_type == ConditionType::SpecHeld && c.observed_generation == Some(generation)
            })
    };
    let node = stage.until(space, "one", &format!("the edit of {field} to be held"), held).await?;
    let message = sample::message(&node, &ConditionType::SpecHeld);
    assert!(message.contains("take the edit back") && message.contains("import its volume"), "{message}");
    assert!(sample::is_running(&node) && node.status.plan == plan, "no plan for a held edit");
    for edit in back {
        sample::edit(stage, space, "one", edit.clone()).await;
    }
    let free = sample::shows(ConditionType::SpecHeld, ConditionStatus::False);
    stage.until(space, "one", "the node to be free", free).await?;
    let after = sets.get("one").await.unwrap();
    assert_eq!(after.metadata.generation, before.metadata.generation, "{field}: nothing was applied");
    Ok(())
}

pub(crate) async fn s04_a_key_that_is_removed_and_added_again_is_held(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "s04";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let names = [("signing", "signing"), ("other", "signing"), ("p2p", "p2p"), ("other-p2p", "p2p")];
    sample::secrets(stage, space, &names).await;
    let node = sample::ready(stage, space, "one", &sample::validator("one", "signing", "p2p")).await?;
    let keys = |signing: &str, p2p: &str| {
        let spec = &sample::validator("one", signing, p2p)["spec"]["validator"];
        json!({"validator": spec})
    };
    // The rule of the definition compares old and new Secret; without an old one there is nothing to compare.
    let removed = json!({"validator": {"signingKey": null, "nodeKey": null}});
    let (other, back) = (keys("other", "other-p2p"), keys("signing", "p2p"));
    let first = [removed.clone()];
    let of_key = |n: &SeiNode| {
        let kinds = [ConditionType::SigningKeyReady, ConditionType::NodeKeyReady];
        kinds.map(|kind| condition::find(&n.status.conditions, &kind).unwrap().reason.clone())
    };
    assert_eq!(of_key(&node), ["SigningKeyValidated", "NodeKeyValidated"]);
    is_held(stage, space, &first, "the Secret of the signing key", std::slice::from_ref(&back)).await?;
    is_held(stage, space, &[removed.clone(), other], "the Secret of the node key", &[removed.clone(), back])
        .await?;
    // V9: conditions of keys that the spec has no more say so, and do not keep what was true once.
    sample::edit(stage, space, "one", removed).await;
    let gone = |n: &SeiNode| of_key(n) == ["NotApplicable", "NotApplicable"];
    stage.until(space, "one", "the conditions of the keys not to apply", gone).await.map(|_| ())
}

pub(crate) async fn s05_an_edit_of_mode_or_import_is_held(stage: &Stage) -> Result<(), LiveError> {
    let space = "s05-more";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let first = sample::full_node("one");
    sample::ready(stage, space, "one", &first).await?;
    let mode = json!({"fullNode": null, "archive": {}});
    let back = json!({"fullNode": first["spec"]["fullNode"], "archive": null});
    is_held(stage, space, &[mode], "the mode in spec", &[back]).await?;
    let import = json!({"dataVolume": {"import": {"pvcName": "elsewhere"}}});
    is_held(stage, space, &[import], "spec.dataVolume.import", &[json!({"dataVolume": null})]).await
}

pub(crate) async fn s05_an_edit_of_the_chain_is_held(stage: &Stage) -> Result<(), LiveError> {
    let space = "s05";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    sample::ready(stage, space, "one", &sample::full_node("one")).await?;
    // The new image beside it waits too.
    let edit = |chain: &str, tag: &str| json!({"chainId": chain, "image": sample::image(tag)});
    is_held(stage, space, &[edit("pacific-1", "2")], "spec.chainId", &[edit("atlantic-2", "1")]).await
}
