//! Mishaps of a Running node: its StatefulSet is deleted while writes are refused (W8), its spec stopped being valid (S21),
//! and who wrote what (P8, P23, P24, P26).

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use seinode_core::api::condition::{self, ConditionType};
use seinode_core::api::{FIELD_MANAGER, SeiNode, crd};
use seinode_tests::live::{AuditMark, LiveError, wait_until};
use seinode_tests::stage::{SOON, Stage};
use serde_json::{Value, json};

use crate::sample;

/// Deletes the StatefulSet, as somebody does by hand, and waits for the next one.
async fn lose_the_statefulset(stage: &Stage, space: &str) -> Result<StatefulSet, LiveError> {
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    let old = sets.get("one").await.unwrap().metadata.uid;
    sets.delete("one", &DeleteParams::background()).await.unwrap();
    wait_until("another StatefulSet", SOON, async || match sets.get_opt("one").await {
        Ok(Some(set)) if set.metadata.uid != old => Ok(set),
        other => Err(format!("{:?}", other.map(|s| s.map(|s| s.metadata.uid)))),
    })
    .await
}

/// The StatefulSet that was made is the one that stays: one was made, none deleted, and its pod is let go.
async fn it_stays(stage: &Stage, space: &str, made: &StatefulSet, mark: AuditMark) -> Result<(), LiveError> {
    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let owner = made.metadata.uid.clone().unwrap();
    wait_until("its pod", SOON, async || match pods.get_opt("one-0").await {
        Ok(Some(pod)) if pod.owner_references().iter().any(|o| o.uid == owner) => Ok(()),
        other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata.owner_references)))),
    })
    .await?;
    let settled = |n: &SeiNode| sample::is_running(n) && sample::is_ready(n) && n.status.plan.is_none();
    let node = stage.until(space, "one", "the node to be Ready again", settled).await?;
    let sets = Api::<StatefulSet>::namespaced(stage.plane.client(), space);
    assert_eq!(sets.get("one").await.unwrap().metadata.uid, made.metadata.uid);
    assert_eq!(node.status.stateful_set.unwrap().uid, owner, "and the node knows it");
    let log = sample::of_operators(stage.plane.audit_since(mark)?);
    let of_sets: Vec<_> =
        log.iter().filter(|e| e.resource == "statefulsets" && e.is_write() && e.is_granted()).collect();
    let made = of_sets.iter().filter(|e| e.code == 201).count();
    let deleted = of_sets.iter().filter(|e| e.verb == "delete").count();
    assert_eq!((made, deleted), (1, 0), "{:?}", of_sets.iter().map(|e| sample::line(e)).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn w08_a_statefulset_made_while_status_writes_are_refused_stays(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "w08";
    stage.namespace(space).await?;
    let rights = stage.rights(space).await?;
    let _operator = stage.operator_as(space, rights.kubeconfig())?;
    sample::ready(stage, space, "one", &sample::full_node("one")).await?;

    // No status write goes through from when the StatefulSet was made until three were refused.
    let mark = stage.plane.audit_mark()?;
    let made = lose_the_statefulset(stage, space).await?;
    rights.deny("sei.io", "seinodes/status", "patch").await?;
    let denied = stage.plane.audit_mark()?;
    wait_until("status writes to be refused", SOON, async || {
        let log = sample::of_operators(stage.plane.audit_since(denied).map_err(|e| e.to_string())?);
        let refused = log.iter().filter(|e| e.subresource == "status" && e.code == 403).count();
        if refused >= 3 { Ok(()) } else { Err(format!("{refused} were refused")) }
    })
    .await?;
    rights.allow("sei.io", "seinodes/status", "patch").await?;
    it_stays(stage, space, &made, mark).await?;

    // Somebody else writes to the node all the time, so that most status writes come too late.
    let mark = stage.plane.audit_mark()?;
    let nodes = stage.nodes(space);
    let busybody = tokio::spawn(async move {
        for n in 0..150 {
            let note = Patch::Merge(json!({"metadata": {"annotations": {"note": n.to_string()}}}));
            nodes.patch("one", &PatchParams::default(), &note).await.unwrap();
        }
    });
    let made = lose_the_statefulset(stage, space).await?;
    busybody.await.unwrap();
    it_stays(stage, space, &made, mark).await
}

pub(crate) async fn s21_a_pod_of_a_node_whose_spec_is_not_valid_any_more_comes_back(
    stage: &Stage,
) -> Result<(), LiveError> {
    let space = "s21";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let peer = "9c1de50b8a2f4437b6a5e0c1d2f38897a4b6cd10@a.example.net:26656";
    let snapshot =
        json!({"s3": {"targetHeight": 5}, "rpcServers": ["a.example.net:26657", "b.example.net:26657"]});
    let replayer = json!({"peers": [{"static": {"addresses": [peer]}}], "replayer": {"snapshot": snapshot}});
    sample::ready(stage, space, "one", &sample::node("one", &replayer)).await?;

    // A definition without its rules lets through what older objects may be.
    let mut lax = crd::custom_resource_definition();
    without_rules(&mut lax);
    stage.plane.install_crd(&lax).await?;
    let nodes = stage.nodes(space);
    wait_until("the edit to be accepted", SOON, async || {
        let none = Patch::Merge(json!({"spec": {"peers": null}}));
        nodes.patch("one", &PatchParams::default(), &none).await.map(|_| ())
    })
    .await?;
    stage.plane.install_crd(&crd::custom_resource_definition()).await?;
    wait_until("the rules to hold again", SOON, async || {
        let fresh = serde_json::from_value(sample::node("two", &json!({"replayer": {"snapshot": snapshot}})));
        let how = kube::api::PostParams { dry_run: true, ..kube::api::PostParams::default() };
        match nodes.create(&how, &fresh.unwrap()).await {
            Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
            other => Err(format!("{:?}", other.map(|n| n.metadata))),
        }
    })
    .await?;

    let pods = Api::<Pod>::namespaced(stage.plane.client(), space);
    let first = pods.get("one-0").await.unwrap();
    stage.kubelet.evict(space, "one-0").await.unwrap();
    wait_until("another pod", SOON, async || match pods.get_opt("one-0").await {
        Ok(Some(pod)) if pod.metadata.uid != first.metadata.uid => Ok(()),
        other => Err(format!("{:?}", other.map(|p| p.map(|p| p.metadata.uid)))),
    })
    .await?;
    sample::started(stage, space, "one", "mark-ready", 2).await?;
    let node = stage.until(space, "one", "the node to be Ready again", sample::is_ready).await?;
    assert!(node.spec.peers.is_none(), "its spec is still not valid");
    Ok(())
}

/// Takes every rule out of a definition.
fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("x-kubernetes-validations");
            map.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

/// Every manager but those of the control plane and the kubelet, with what it did: `Apply`, or `Update` of a subresource.
fn managers(meta: &ObjectMeta) -> Vec<String> {
    let entries = meta.managed_fields.iter().flatten();
    let mut out: Vec<_> = entries
        .map(|e| {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            format!("{} {}{}", text(&e.manager), text(&e.operation), text(&e.subresource))
        })
        .filter(|e| !e.starts_with("kube-") && !e.starts_with("unknown"))
        .collect();
    out.sort();
    out
}

pub(crate) async fn p26_one_manager_for_all_that_is_written(stage: &Stage) -> Result<(), LiveError> {
    let space = "managers";
    stage.namespace(space).await?;
    let _operator = stage.operator(space)?;
    let mark = stage.plane.audit_mark()?;
    let node = sample::ready(stage, space, "one", &sample::full_node("one")).await?;
    assert_eq!(FIELD_MANAGER, "seinode-controller", "the name that the Go operator's objects carry");
    let client = stage.plane.client();
    let set = Api::<StatefulSet>::namespaced(client.clone(), space).get("one").await.unwrap().metadata;
    let service = Api::<Service>::namespaced(client.clone(), space).get("one").await.unwrap().metadata;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), space);
    let map = maps.get("one-rbac-proxy-config").await.unwrap().metadata;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client, space);
    let claim = claims.get("data-one").await.unwrap().metadata;
    for (what, meta) in [("StatefulSet", &set), ("Service", &service), ("ConfigMap", &map), ("claim", &claim)]
    {
        let ours: Vec<_> = managers(meta).into_iter().filter(|m| m.ends_with(" Apply")).collect();
        assert_eq!(ours, ["seinode-controller Apply"], "{what}");
        let owners = meta.owner_references.clone().unwrap();
        let [owner] = &owners[..] else { panic!("{what}: {owners:?}") };
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("SeiNode", node.uid()), "{what}");
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)), "{what}");
    }
    // Replicas are set outside plans, by the same manager.
    assert_eq!(managers(&set), ["seinode-controller Apply", "seinode-controller Update"]);
    let of_node: Vec<_> =
        managers(&node.metadata).into_iter().filter(|m| m.starts_with("seinode-")).collect();
    assert_eq!(of_node, ["seinode-controller Update", "seinode-controller Updatestatus"]);
    // V9: every condition is there.
    let missing: Vec<_> = ConditionType::KNOWN
        .iter()
        // Of nodes that name EC2 alone.
        .filter(|kind| **kind != ConditionType::Ec2PeersResolved)
        .filter(|kind| condition::find(&node.status.conditions, kind).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // S31: what is written to the node itself is its finalizers, and never the spec as this version reads it.
    let log = sample::of_operators(stage.plane.audit_since(mark)?);
    let to_node = log.iter().filter(|e| e.is_write() && e.resource == "seinodes" && e.subresource.is_empty());
    let bodies: Vec<_> = to_node.map(|e| (e.verb.as_str(), e.request.clone().unwrap())).collect();
    let [("patch", body)] = &bodies[..] else { panic!("{bodies:?}") };
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(body), ["metadata"]);
    assert_eq!(keys(&body["metadata"]), ["finalizers", "resourceVersion", "uid"]);
    Ok(())
}
