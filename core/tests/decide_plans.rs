//! The catalogue of plans (5), the params of their tasks (6) and the config that they write (7), row by row.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeMap;

use seinode_core::Decision;
use seinode_core::api::status::{StoredPlan, StoredTask};
use seinode_core::api::{NodePhase, PlanPhase, SeiNode, TaskStatus, TaskType};
use seinode_core::plan::metric_kind;
use seinode_core::testkit::{Scene, node, object, story};
use seinode_core::world::{Health, Seen};
use serde_json::{Value, json};

fn types(plan: &StoredPlan) -> Vec<&str> {
    plan.tasks.iter().map(|t| t.task_type.as_str()).collect()
}

/// The plan that the next write stores, if it stores another one than there is.
fn planned(scene: &Scene) -> Option<StoredPlan> {
    let mut scene = scene.clone();
    let before = scene.node.status.plan.as_ref().map(|p| p.id.clone());
    match scene.settle() {
        Some(Decision::Commit(commit)) => {
            let plan = commit.write().status.plan.clone();
            plan.filter(|p| p.phase == PlanPhase::Active && Some(&p.id) != before.as_ref())
        }
        _ => None,
    }
}

fn first(node: SeiNode) -> StoredPlan {
    planned(&story::fresh(node)).unwrap_or_else(|| panic!("a fresh node gets a plan"))
}

/// A node with these fields merged into its spec.
fn changed(mut node: SeiNode, fields: &Value) -> SeiNode {
    let mut spec = serde_json::to_value(&node.spec).expect("a spec is JSON");
    seinode_core::patch::apply(&mut spec, fields);
    node.spec = object::parse(spec);
    node
}

/// A validator with every key that bootstraps.
fn bootstrapping_validator() -> SeiNode {
    let snapshot = json!({"s3": {"targetHeight": 7}, "bootstrapImage": "old", "rpcServers": ["a:1", "b:1"]});
    changed(node::validator(), &json!({"validator": {"snapshot": snapshot}}))
}

const KEYS: [&str; 3] = ["validate-signing-key", "validate-node-key", "validate-operator-keyring"];

#[test]
fn metrics_call_a_plan_by_whichever_of_its_tasks_tells_first() {
    let rows = [
        ("init", vec![TaskType::EnsureDataPvc, TaskType::ApplyStatefulSet, TaskType::MarkReady]),
        ("node-update", vec![TaskType::ApplyStatefulSet, TaskType::ObserveImage, TaskType::EnsureDataPvc]),
        ("mark-ready-reapply", vec![TaskType::MarkReady]),
        ("unknown", vec![TaskType::ApplyStatefulSet, TaskType::MarkReady]),
        ("unknown", vec![]),
    ];
    let some = story::mark_ready_plan(&node::full());
    for (wanted, types) in rows {
        let task = |task_type| StoredTask { task_type, ..some.tasks[0].clone() };
        let plan = StoredPlan { tasks: types.into_iter().map(task).collect(), ..some.clone() };
        assert_eq!(metric_kind(&plan), wanted, "{plan:?}");
    }
}

#[test]
fn each_row_of_which_plan_a_starting_node_gets() {
    let s3 = json!({"s3": {"targetHeight": 7}, "bootstrapImage": "old", "rpcServers": ["a:1", "b:1"]});
    let bootstraps = |plan: &StoredPlan| types(plan).contains(&"deploy-bootstrap-job");
    let founds = |plan: &StoredPlan| types(plan).contains(&"generate-gentx");
    let rows: Vec<(&str, SeiNode, bool, bool)> = vec![
        ("ceremony", node::ceremony(), false, true),
        (
            "the ceremony wins over the bootstrap",
            changed(node::ceremony(), &json!({"validator": {"snapshot": s3}})),
            false,
            true,
        ),
        ("full node that bootstraps", node::bootstrap(), true, false),
        (
            "replayer that bootstraps",
            changed(node::replayer(), &json!({"replayer": {"snapshot": s3}})),
            true,
            false,
        ),
        ("validator that bootstraps", bootstrapping_validator(), true, false),
        ("full node", node::full(), false, false),
        ("full node from S3", node::full_s3(), false, false),
        ("archive", node::archive(), false, false),
        ("seed", node::seed(), false, false),
        ("validator", node::validator(), false, false),
    ];
    for (word, node, bootstrap, genesis) in rows {
        for phase in [None, Some(NodePhase::Pending)] {
            let mut node = node.clone();
            node.status.phase = phase;
            let plan = first(node);
            assert_eq!((bootstraps(&plan), founds(&plan)), (bootstrap, genesis), "{word}");
            assert_eq!(
                (plan.target_phase, plan.failed_phase),
                (Some(NodePhase::Running), Some(NodePhase::Failed))
            );
            assert!(
                plan.tasks.iter().all(|t| t.status == TaskStatus::Pending && t.retry_count == 0),
                "{word}"
            );
        }
    }
}

#[test]
fn each_row_of_which_plan_a_running_node_gets() {
    let update = |plan: &StoredPlan| types(plan).contains(&"observe-image");
    let running = |change: fn(&mut Scene)| {
        let mut scene = story::running(node::full());
        change(&mut scene);
        planned(&scene)
    };
    let unready = |s: &mut Scene| {
        let sts = s.observed.statefulset.present().expect("a StatefulSet").clone();
        s.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Sidecar)]);
        s.observed.health = Seen::Present(Health::NotReady);
    };
    let nothing: [fn(&mut Scene); 6] = [
        |_| {},
        |s| s.node.spec.overrides = Some([("a.b".to_owned(), "c".to_owned())].into()),
        |s| s.node.spec.external_address = Some("h:1".into()),
        |s| s.node.spec.peers = Some(object::parse(json!([{"static": {"addresses": ["id@h:1"]}}]))),
        |s| s.node.status.current_sidecar_image = None,
        // S33: recorded without a plan, where the pod runs what is wanted.
        |s| s.node.status.current_image = None,
    ];
    for (row, change) in nothing.into_iter().enumerate() {
        assert_eq!(running(change), None, "row {row}");
    }
    let updates: [fn(&mut Scene); 4] = [
        |s| s.node.spec.image = "another".into(),
        |s| s.node.status.current_image = Some("another".into()),
        |s| s.node.spec.sidecar = Some(object::parse(json!({"image": "another"}))),
        |s| s.settings.platform.images.sidecar = "another".into(),
    ];
    for (row, change) in updates.into_iter().enumerate() {
        let plan = running(change).unwrap_or_else(|| panic!("row {row}"));
        assert!(update(&plan), "row {row}: {:?}", types(&plan));
        assert_eq!((plan.target_phase, plan.failed_phase), (Some(NodePhase::Running), None), "row {row}");
    }
    let plan = running(unready).expect("a plan");
    assert_eq!(types(&plan), ["mark-ready"]);
    assert_eq!((plan.target_phase, plan.failed_phase), (Some(NodePhase::Running), None));
    let mut both = story::running(node::full());
    unready(&mut both);
    both.node.spec.image = "another".into();
    assert!(update(&planned(&both).expect("a plan")), "an update wins over mark-ready");
}

#[test]
fn each_row_of_the_base_plan() {
    let rows: Vec<(SeiNode, &[&str], bool, bool)> = vec![
        (node::full(), &[], false, false),
        (node::full_s3(), &[], true, true),
        (node::full_state_sync(), &[], false, true),
        (node::archive(), &[], false, false),
        (node::replayer(), &[], true, true),
        (node::observer(), &[], false, false),
        (node::validator(), &KEYS, false, false),
        (
            changed(node::validator(), &json!({"validator": {"operatorKeyring": null}})),
            &KEYS[..2],
            false,
            false,
        ),
        (node::seed(), &["validate-node-key"], false, false),
        (node::importing(), &[], false, false),
    ];
    for (node, keys, restores, syncs) in rows {
        let mut wanted = vec!["ensure-data-pvc"];
        wanted.extend(keys);
        wanted.extend(["apply-rbac-proxy-config", "apply-statefulset", "apply-service"]);
        wanted.extend(restores.then_some("snapshot-restore"));
        wanted.extend(["configure-genesis", "config-apply"]);
        wanted.extend(syncs.then_some("configure-state-sync"));
        wanted.extend(["config-validate", "mark-ready"]);
        assert_eq!(types(&first(node.clone())), wanted, "{:?}", node.spec);
    }
}

#[test]
fn each_row_of_the_bootstrap_plan() {
    for (node, keys, length) in [(node::bootstrap(), &[][..], 18), (bootstrapping_validator(), &KEYS[..], 21)]
    {
        let mut wanted = vec!["ensure-data-pvc", "apply-rbac-proxy-config"];
        wanted.extend(keys);
        wanted.extend([
            "deploy-bootstrap-service",
            "deploy-bootstrap-job",
            "snapshot-restore",
            "configure-genesis",
        ]);
        wanted.extend(["config-apply", "configure-state-sync", "config-validate", "mark-ready"]);
        wanted.extend([
            "await-bootstrap-complete",
            "teardown-bootstrap",
            "apply-statefulset",
            "apply-service",
        ]);
        wanted.extend(["configure-genesis", "config-apply", "config-validate", "mark-ready"]);
        let plan = first(node);
        assert_eq!(types(&plan), wanted);
        assert_eq!(plan.tasks.len(), length);
        let intents: Vec<_> = plan.tasks.iter().filter(|t| t.task_type == TaskType::ConfigApply).collect();
        assert_eq!(intents[0].params, intents[1].params, "the second carries the same intent");
        assert_ne!(intents[0].id, intents[1].id);
    }
}

#[test]
fn the_ceremony_plan_is_fixed() {
    let wanted = [
        "ensure-data-pvc",
        "apply-rbac-proxy-config",
        "apply-statefulset",
        "apply-service",
        "generate-identity",
        "generate-gentx",
        "upload-genesis-artifacts",
        "configure-genesis",
        "config-apply",
        "set-genesis-peers",
        "config-validate",
        "mark-ready",
    ];
    let snapshot = json!({"s3": {"targetHeight": 7}, "rpcServers": ["a:1", "b:1"]});
    for fields in [json!({}), json!({"validator": {"snapshot": snapshot}})] {
        assert_eq!(types(&first(changed(node::ceremony(), &fields))), wanted, "{fields}");
    }
}

#[test]
fn each_row_of_the_update_plan() {
    let rows: [(SeiNode, &[&str]); 6] = [
        (node::full(), &[]),
        (node::archive(), &[]),
        (node::replayer(), &[]),
        (node::observer(), &[]),
        (node::validator(), &KEYS),
        (node::seed(), &["validate-node-key"]),
    ];
    for (node, keys) in rows {
        let mut scene = story::running(node);
        scene.node.spec.image = "another".into();
        let plan = planned(&scene).expect("an update");
        let mut wanted = keys.to_vec();
        wanted.extend([
            "apply-statefulset",
            "apply-service",
            "config-patch",
            "config-validate",
            "replace-pod",
        ]);
        wanted.extend(["observe-image", "mark-ready"]);
        assert_eq!(types(&plan), wanted);
    }
}

#[test]
fn no_first_plan_patches_and_no_update_applies_the_config() {
    for (word, node) in node::each() {
        assert!(!types(&first(node.clone())).contains(&"config-patch"), "{word}");
        assert!(!types(&story::update_plan(&node, true)).contains(&"config-apply"), "{word}");
    }
}

/// The params of every task of a plan, by type; the last one of a type counts.
fn params(plan: StoredPlan) -> BTreeMap<String, Value> {
    plan.tasks.into_iter().map(|t| (t.task_type.to_string(), t.params)).collect()
}

#[test]
fn each_row_of_the_params() {
    let node_only = json!({"nodeName": "alice", "namespace": "lab"});
    let mut found = BTreeMap::new();
    found.extend(params(first(node::ceremony())));
    found.extend(params(first(bootstrapping_validator())));
    found.extend(params(story::update_plan(&node::full(), true)));
    let (job, service) = (json!("alice-bootstrap"), json!("alice"));
    let ring = json!({
        "secretName": "keyring", "keyName": "node_admin", "passphraseSecretName": "passphrase",
        "passphraseSecretKey": "word", "namespace": "lab",
    });
    let rows: Vec<(&str, Value)> = vec![
        ("ensure-data-pvc", node_only.clone()),
        ("apply-statefulset", node_only.clone()),
        ("apply-service", node_only.clone()),
        ("apply-rbac-proxy-config", node_only.clone()),
        ("replace-pod", node_only.clone()),
        ("observe-image", node_only),
        ("validate-signing-key", json!({"secretName": "signing", "namespace": "lab"})),
        ("validate-node-key", json!({"secretName": "p2p", "namespace": "lab"})),
        ("validate-operator-keyring", ring),
        ("deploy-bootstrap-service", json!({"serviceName": service, "namespace": "lab"})),
        ("deploy-bootstrap-job", json!({"jobName": job, "namespace": "lab"})),
        ("await-bootstrap-complete", json!({"jobName": job, "namespace": "lab"})),
        ("teardown-bootstrap", json!({"jobName": job, "serviceName": service, "namespace": "lab"})),
        ("snapshot-restore", json!({"TargetHeight": 7})),
        ("configure-genesis", json!({"ExpectedGenesisHash": ""})),
        ("config-validate", json!({})),
        ("mark-ready", json!({})),
        ("set-genesis-peers", json!({})),
        ("generate-identity", json!({"ChainID": "alpha-1", "Moniker": "alice"})),
        (
            "generate-gentx",
            json!({"ChainID": "alpha-1", "StakingAmount": "10usei", "AccountBalance": "20usei"}),
        ),
        ("upload-genesis-artifacts", json!({"NodeName": "alice"})),
        (
            "config-patch",
            json!({"files": {"config.toml": {"p2p": {"external-address": "", "persistent-peers": ""}}}}),
        ),
    ];
    assert_eq!(found.len(), rows.len() + 2, "and the two below: {:?}", found.keys());
    for (kind, wanted) in rows {
        assert_eq!(found.get(kind), Some(&wanted), "{kind}");
    }
    // From S3 the node's own snapshot is used; a key name of the spec is taken.
    for (node, local, period, blocks) in
        [(node::full_s3(), true, "", 0), (node::full_state_sync(), false, "168h0m0s", 10)]
    {
        let found = params(first(node));
        let wanted = json!({
            "UseLocalSnapshot": local, "TrustPeriod": period, "BackfillBlocks": blocks,
            "RpcServers": ["one.example.net:26657", "two.example.net:26657"],
        });
        assert_eq!(found["configure-state-sync"], wanted);
    }
    let named = changed(
        node::validator(),
        &json!({"validator": {"operatorKeyring": {"secret": {"keyName": "mine"}}}}),
    );
    assert_eq!(params(first(named))["validate-operator-keyring"]["keyName"], "mine");
}

#[test]
fn each_row_of_the_config_intent() {
    let common = json!({"logging.level": "error", "network.p2p.persistent_peers": ""});
    let with = |more: Value| {
        let mut all = common.clone();
        seinode_core::patch::apply(&mut all, &more);
        all
    };
    let snapshots = json!({"snapshotGeneration": {"tendermint": {"keepRecent": 4}}});
    let of_full = with(json!({
        "storage.snapshot_interval": "2000", "storage.snapshot_keep_recent": "4",
        "storage.pruning_keep_recent": "50000", "storage.pruning_keep_every": "0", "chain.min_retain_blocks": "50000",
        "network.p2p.max_connections": "500", "network.p2p.send_rate": "20971520",
        "network.p2p.recv_rate": "20971520",
    }));
    let of_archive = with(json!({"storage.snapshot_interval": "2000", "storage.snapshot_keep_recent": "3"}));
    let of_replayer = with(json!({
        "network.p2p.persistent_peers": "aa@peer.example.net:26656",
        "storage.state_commit.async_commit_buffer": "100",
        "storage.state_commit.memiavl.snapshot_keep_recent": "2",
        "storage.state_commit.memiavl.snapshot_min_time_interval": "3600",
    }));
    let publishing =
        json!({"fullNode": {"snapshotGeneration": {"tendermint": {"keepRecent": 4, "publish": {}}}}});
    let own = json!({"logging.level": "info", "network.p2p.persistent_peers": "me@h:1", "storage.snapshot_interval": "9"});
    let rows: Vec<(&str, SeiNode, &str, Value)> = vec![
        ("full", node::full(), "full", common.clone()),
        (
            "full with snapshots",
            changed(node::full(), &json!({"fullNode": snapshots})),
            "full",
            of_full.clone(),
        ),
        ("publish adds nothing", changed(node::full(), &publishing), "full", of_full.clone()),
        ("archive with snapshots", node::archive(), "archive", of_archive),
        ("archive without", node::with_spec(&json!({"archive": {}})), "archive", common.clone()),
        ("replayer", node::replayer(), "full", of_replayer),
        ("validator", node::validator(), "validator", common.clone()),
        ("ceremony", node::ceremony(), "validator", common.clone()),
        ("seed", node::seed(), "seed", common.clone()),
        (
            "an address",
            changed(node::full(), &json!({"externalAddress": "h:1"})),
            "full",
            with(json!({"network.p2p.external_address": "h:1"})),
        ),
        ("an empty address", changed(node::full(), &json!({"externalAddress": ""})), "full", common.clone()),
        (
            "peers are joined",
            changed(node::full(), &json!({"peers": [{"static": {"addresses": ["b@h:1", "a@h:1"]}}]})),
            "full",
            with(json!({"network.p2p.persistent_peers": "a@h:1,b@h:1"})),
        ),
        (
            "the user wins over all",
            changed(node::full(), &json!({"fullNode": snapshots, "overrides": own})),
            "full",
            {
                let mut all = of_full.clone();
                seinode_core::patch::apply(&mut all, &own);
                all
            },
        ),
    ];
    for (word, node, mode, overrides) in rows {
        let found = params(first(node));
        assert_eq!(found["config-apply"], json!({"mode": mode, "overrides": overrides}), "{word}");
    }
}

#[test]
fn each_row_of_the_config_patch() {
    let patch = |fields: &Value, peers: &[&str]| {
        let mut node = changed(node::full(), fields);
        node.status.resolved_peers = peers.iter().map(ToString::to_string).collect();
        let patch = params(story::update_plan(&node, true)).remove("config-patch").expect("the task");
        let p2p = patch.pointer("/files/config.toml/p2p").expect("the table").clone();
        (p2p["external-address"].clone(), p2p["persistent-peers"].clone())
    };
    assert_eq!(patch(&json!({}), &[]), (json!(""), json!("")));
    let address = json!({"externalAddress": "h:1"});
    assert_eq!(patch(&address, &["a@h:1", "b@h:1"]), (json!("h:1"), json!("a@h:1,b@h:1")));
    // Deliberate difference (W11): the user's overrides of the two keys win.
    let own = json!({"externalAddress": "h:1", "overrides": {
        "network.p2p.external_address": "mine:2", "network.p2p.persistent_peers": "p@h:1",
    }});
    assert_eq!(patch(&own, &["a@h:1"]), (json!("mine:2"), json!("p@h:1")));
}
