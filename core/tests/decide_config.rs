//! What the config of a node has and what its spec asks for: fresh peers in a first plan (S20), edits of a Running node (S19),
//! values of a ceremony that are kept.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]

use std::collections::BTreeMap;
use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::condition::Condition;
use seinode_core::api::{ConditionType, SeiNode, StoredPlan, TaskStatus, TaskType};
use seinode_core::decision::StatusWrite;
use seinode_core::effect::Op;
use seinode_core::ident::{self, TaskId};
use seinode_core::testkit::{Scene, digest, law, node, object, scene, story};
use seinode_core::world::{Blind, PeerNode, Seen, SidecarTaskStatus, Topic};
use serde_json::{Value, json};

fn commit(scene: &Scene) -> StatusWrite {
    match scene.clone().settle() {
        Some(Decision::Commit(commit)) => commit.write().clone(),
        other => panic!("no write but {:?}", other.map(|d| d.show())),
    }
}

/// Whether another decision finds nothing to store.
fn is_silent(scene: &Scene) -> bool {
    !matches!(scene.clone().settle(), Some(Decision::Commit(_)))
}

fn types(plan: &StoredPlan) -> Vec<&str> {
    plan.tasks.iter().map(|t| t.task_type.as_str()).collect()
}

fn peer(name: &str) -> PeerNode {
    PeerNode {
        namespace: "sei".into(),
        name: name.into(),
        chain_id: node::full().spec.chain_id,
        labels: BTreeMap::from([("app".into(), "x".into())]),
        external_address: Some(format!("{name}.example.net:26656")),
        deleting: false,
        node_id: Seen::Present(format!("id-of-{name}")),
    }
}

/// A full node with label peers, whose config was written before it knew of any, at its check.
fn alone_at_check(fields: &Value) -> Scene {
    let mut spec =
        json!({"fullNode": {}, "peers": [{"label": {"namespace": "sei", "selector": {"app": "x"}}}]});
    if let (Some(spec), Some(fields)) = (spec.as_object_mut(), fields.as_object()) {
        spec.extend(fields.clone());
    }
    story::at_task(node::with_spec(&spec), &TaskType::ConfigValidate)
}

#[test]
fn s20_peers_that_came_after_the_config_are_patched_in_before_its_check() {
    let mut scene = alone_at_check(&json!({}));
    scene.observed.peers = Seen::Present(vec![peer("bob")]);
    let before = scene.node.status.plan.clone().expect("a plan");
    let write = commit(&scene);
    let after = write.status.plan.clone().expect("a plan");
    let at = before.tasks.iter().position(|t| t.task_type == TaskType::ConfigValidate).expect("a check");
    let patch = &after.tasks[at];
    assert_eq!(patch.task_type, TaskType::ConfigPatch);
    assert_eq!(patch.id, ident::task_id(&after.id, &TaskType::ConfigPatch, at));
    assert_eq!(
        patch.params,
        json!({"files": {"config.toml": {"p2p": {
            "external-address": "", "persistent-peers": "id-of-bob@bob.example.net:26656"}}}})
    );
    assert_eq!(write.status.resolved_peers, ["id-of-bob@bob.example.net:26656"]);
    let others: Vec<_> = after.tasks.iter().filter(|t| t.id != patch.id).map(|t| &t.id).collect();
    assert_eq!(others, before.tasks.iter().map(|t| &t.id).collect::<Vec<_>>(), "the other ids stay");

    // It is sent only once it is stored, and no second one follows, whoever else comes.
    scene.store(&write);
    assert_eq!(digest::of(&scene), "act, submit config-patch");
    scene.observed.peers = Seen::Present(vec![peer("bob"), peer("carol")]);
    let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
    let params = Some(patch.params.clone());
    let done =
        story::record(&patch.id, &TaskType::ConfigPatch, params, SidecarTaskStatus::Completed, scene.now);
    records.insert(TaskId::new(&patch.id), done);
    assert_eq!(digest::of(&scene), "act, submit config-validate");
}

#[test]
fn s20_nothing_is_patched_where_nothing_is_new() {
    let rows: Vec<(&str, Scene, Vec<PeerNode>)> = vec![
        ("nobody came", alone_at_check(&json!({})), vec![]),
        (
            "the user's own list wins",
            alone_at_check(&json!({"overrides": {"network.p2p.persistent_peers": "mine@h:1"}})),
            vec![peer("bob")],
        ),
    ];
    for (name, mut scene, peers) in rows {
        scene.observed.peers = Seen::Present(peers);
        assert_eq!(digest::of(&scene), "act, submit config-validate", "{name}");
    }
}

#[test]
fn s20_a_check_that_was_sent_already_is_not_preceded_by_anything() {
    let mut scene = alone_at_check(&json!({}));
    scene.observed.peers = Seen::Present(vec![peer("bob")]);
    let plan = scene.node.status.plan.clone().expect("a plan");
    let check = plan.tasks.iter().find(|t| t.task_type == TaskType::ConfigValidate).expect("a check");
    let Seen::Present(records) = &mut scene.observed.sidecar_tasks else { panic!("records") };
    let record = story::record(&check.id, &check.task_type, None, SidecarTaskStatus::Running, scene.now);
    records.insert(TaskId::new(&check.id), record);
    assert_eq!(digest::of(&scene), "rest 100ms: the sidecar is carrying out config-validate");
}

#[test]
fn s20_a_bootstrap_patches_each_config_that_it_writes() {
    let mut node = node::bootstrap();
    node.spec.peers =
        serde_json::from_value(json!([{"label": {"namespace": "sei", "selector": {"app": "x"}}}])).ok();
    let mut scene = story::mid_plan(node, 16);
    scene.observed.peers = Seen::Present(vec![peer("bob")]);
    let after = commit(&scene).status.plan.expect("a plan");
    assert_eq!(
        types(&after)[15..18],
        ["config-apply", "config-patch", "config-validate"],
        "{:?}",
        types(&after)
    );
}

/// What a plan has as Complete the sidecar has done: nothing is put before a check that only the end of the Job tells of.
#[test]
fn s20_nothing_is_patched_into_a_bootstrap_whose_job_has_ended() {
    let mut node = node::bootstrap();
    node.spec.peers =
        serde_json::from_value(json!([{"label": {"namespace": "sei", "selector": {"app": "x"}}}])).ok();
    for (end, patches) in [(None, true), (Some("Complete"), false), (Some("Failed"), false)] {
        let mut scene = story::mid_plan(node.clone(), 8);
        scene.observed.peers = Seen::Present(vec![peer("bob")]);
        scene.observed.statefulset = Seen::Absent;
        let mut job = object::job(&scene.node, &scene.settings.platform, false).expect("a Job");
        if let Some(end) = end {
            job.status = object::parse(json!({"conditions": [{"type": end, "status": "True"}]}));
        }
        scene.observed.pods = Seen::Present(vec![object::job_pod(&job, object::PodStage::Ready)]);
        scene.observed.job = Seen::Present(job);
        let after = commit(&scene).status.plan.expect("a plan");
        let patch = types(&after).iter().take(10).any(|kind| *kind == "config-patch");
        assert_eq!(patch, patches, "{end:?}: {:?}", types(&after));
    }
}

/// The judge asks it of each submission; here are some that it has to be asked of.
#[test]
fn invariant_7_the_users_overrides_win_in_each_config_write() {
    let mine = [
        ("network.p2p.persistent_peers", "mine@h:1"),
        ("network.p2p.external_address", "mine:2"),
        ("logging.level", "debug"),
        ("storage.snapshot_interval", "7"),
    ];
    let submitted = |scene: &Scene| {
        let mut scene = scene.clone();
        let decided = scene.settle().expect("no look without end");
        law::effects(decided, &scene.node).into_iter().find_map(|effect| match effect.op {
            Op::Submit(submit) => Some(submit),
            _ => None,
        })
    };
    let (mut applied, mut patched) = (0, 0);
    for (name, mut node) in node::each() {
        node.spec.external_address = Some("theirs:3".to_owned());
        node.spec.overrides = Some(mine.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        if let Some(submit) = submitted(&story::at_task(node.clone(), &TaskType::ConfigApply)) {
            let params = submit.params.unwrap_or_default();
            for (key, value) in mine {
                assert_eq!(params["overrides"][key], value, "{name}: {key}");
            }
            applied += 1;
        }
        let mut scene = story::running(node);
        let mut plan = story::update_plan(&scene.node, true);
        let before = plan.tasks.iter_mut().take_while(|t| t.task_type != TaskType::ConfigPatch);
        before.for_each(|task| task.status = TaskStatus::Complete);
        scene.node.status.plan = Some(plan);
        if let Some(submit) = submitted(&scene) {
            let p2p = submit.params.unwrap_or_default()["files"]["config.toml"]["p2p"].clone();
            assert_eq!(p2p, json!({"external-address": "mine:2", "persistent-peers": "mine@h:1"}), "{name}");
            patched += 1;
        }
    }
    assert!(applied > 4 && patched > 4, "{applied} applied, {patched} patched");
}

/// Running, with a record of the config that its first plan wrote.
fn running(node: SeiNode) -> Scene {
    let mut scene = story::running(node);
    let plan = scene.node.status.plan.clone().expect("the first plan stays visible");
    let mut records = BTreeMap::new();
    for (place, task) in plan.tasks.iter().enumerate() {
        let overrides = &task.params["overrides"];
        let params = match task.task_type {
            TaskType::ConfigApply => {
                json!({"mode": "full", "incremental": false, "targetVersion": 0, "overrides": overrides})
            }
            TaskType::ConfigureStateSync => json!({"useLocalSnapshot": true}),
            TaskType::SnapshotRestore => json!({"targetHeight": task.params["TargetHeight"]}),
            _ => continue,
        };
        let at = scene::noon() + Duration::from_secs(u64::try_from(place).expect("few"));
        let record = story::record(&task.id, &task.task_type, Some(params), SidecarTaskStatus::Completed, at);
        records.insert(TaskId::new(&task.id), record);
    }
    scene.observed.sidecar_tasks = Seen::Present(records);
    scene.node.metadata.generation = Some(2);
    let write = commit(&scene);
    scene.store(&write);
    assert!(is_silent(&scene));
    scene
}

fn shown(scene: &Scene) -> Condition {
    digest::condition(scene, &ConditionType::ConfigOutdated).expect("seeded in the first pass")
}

#[test]
fn s19_what_an_edit_can_not_bring_to_a_running_node_is_named() {
    type Edit = fn(&mut SeiNode);
    let rows: Vec<(&str, SeiNode, Edit, &str, &[&str])> = vec![
        ("nothing", node::full(), |_| {}, "False", &[]),
        (
            "an override",
            node::full(),
            |n| n.spec.overrides = Some(BTreeMap::from([("evm.http_port".into(), "1".into())])),
            "True",
            &["evm.http_port"],
        ),
        (
            "an address",
            node::full(),
            |n| n.spec.external_address = Some("a.example.net:26656".into()),
            "True",
            &["network.p2p.external_address"],
        ),
        (
            "peers",
            node::full(),
            |n| {
                n.spec.peers =
                    serde_json::from_value(json!([{"static": {"addresses": ["a@b.example.net:1"]}}])).ok();
            },
            "True",
            &["network.p2p.persistent_peers"],
        ),
        (
            "a trust period",
            node::full_s3(),
            |n| {
                let full = n.spec.full_node.as_mut().expect("a full node");
                full.snapshot.as_mut().expect("a snapshot").trust_period = Some("48h".into());
            },
            "True",
            &["snapshot.trustPeriod"],
        ),
        (
            "another height",
            node::full_s3(),
            |n| {
                let full = n.spec.full_node.as_mut().expect("a full node");
                let s3 = full.snapshot.as_mut().expect("a snapshot").s3.as_mut();
                s3.expect("S3").target_height += 1;
            },
            "True",
            &["snapshot.s3.targetHeight"],
        ),
        (
            "no snapshot any more",
            node::full_s3(),
            |n| n.spec.full_node.as_mut().expect("a full node").snapshot = None,
            "True",
            &["snapshot"],
        ),
    ];
    for (name, node, edit, status, keys) in rows {
        let mut scene = running(node);
        edit(&mut scene.node);
        scene.node.metadata.generation = Some(3);
        let condition = shown(&scene);
        assert_eq!(condition.status.to_string(), status, "{name}: {}", condition.message);
        for key in keys {
            assert!(condition.message.contains(key), "{name}: {}", condition.message);
        }
        // One write for the new generation, and silence after it; no plan.
        let write = commit(&scene);
        assert_eq!(write.status.plan, scene.node.status.plan, "{name}");
        scene.store(&write);
        assert!(is_silent(&scene), "{name}");
    }
}

#[test]
fn s19_taking_the_edit_back_ends_it() {
    let mut scene = running(node::full());
    scene.node.spec.external_address = Some("a.example.net:26656".into());
    scene.node.metadata.generation = Some(3);
    let write = commit(&scene);
    scene.store(&write);
    scene.node.spec.external_address = None;
    scene.node.metadata.generation = Some(4);
    assert_eq!(shown(&scene).reason, "UpToDate");
}

#[test]
fn s19_a_sidecar_without_records_or_without_a_word_is_no_reason_to_say_anything() {
    let mut scene = running(node::full());
    scene.node.metadata.generation = Some(3);
    scene.observed.sidecar_tasks = Seen::Present(BTreeMap::new());
    assert_eq!(
        (shown(&scene).status.to_string(), shown(&scene).reason),
        ("Unknown".into(), "NotRecorded".into())
    );
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("refused".into()));
    assert_eq!(shown(&scene).reason, "UpToDate", "what was found before stays");
}

#[test]
fn s19_an_idle_node_asks_its_sidecar_nothing() {
    let mut scene = running(node::full());
    scene.observed.looked.clear();
    assert!(!matches!(scene.decide(), Decision::Look(topics) if topics.contains(&Topic::SidecarTasks)));
}

/// A ceremony whose transaction may have been made, with other values in its spec.
fn edited(current: &TaskType) -> Scene {
    let mut scene = story::at_task(node::ceremony(), current);
    let validator = scene.node.spec.validator.as_mut().expect("a validator");
    validator.genesis_ceremony.as_mut().expect("a ceremony").staking_amount = "7usei".into();
    scene.node.metadata.generation = Some(2);
    scene
}

#[test]
fn a_ceremony_keeps_its_values_once_its_transaction_may_have_been_made() {
    let early = edited(&TaskType::GenerateIdentity);
    let condition = digest::condition(&early, &ConditionType::SpecHeld).expect("seeded");
    assert_eq!(condition.status.to_string(), "False", "before that the plan is replaced");
    for current in [TaskType::GenerateGentx, TaskType::UploadGenesisArtifacts, TaskType::MarkReady] {
        let scene = edited(&current);
        let plan = scene.node.status.plan.clone().expect("a plan").id;
        let write = commit(&scene);
        assert_eq!(write.status.plan.expect("a plan").id, plan, "{current}: the plan stays");
        let condition = digest::condition(&scene, &ConditionType::SpecHeld).expect("seeded");
        assert_eq!(condition.status.to_string(), "True", "{current}");
        assert!(condition.message.contains("genesisCeremony"), "{}", condition.message);
    }
}

#[test]
fn a_failed_ceremony_starts_over_with_its_own_values_only() {
    let failed = |amount: Option<&str>| {
        let mut scene = edited(&TaskType::UploadGenesisArtifacts);
        let validator = scene.node.spec.validator.as_mut().expect("a validator");
        let ceremony = validator.genesis_ceremony.as_mut().expect("a ceremony");
        let plan = scene.node.status.plan.as_mut().expect("a plan");
        if amount.is_none() {
            let gentx = plan.tasks.iter().find(|t| t.task_type == TaskType::GenerateGentx).expect("one");
            ceremony.staking_amount = gentx.params["StakingAmount"].as_str().expect("text").to_owned();
        }
        plan.phase = seinode_core::api::PlanPhase::Failed;
        plan.failed_task_detail = Some(seinode_core::api::status::FailedTaskDetail::default());
        let open = plan.tasks.iter_mut().find(|t| t.status != TaskStatus::Complete).expect("one");
        open.status = TaskStatus::Failed;
        scene.node.status.phase = Some(seinode_core::api::NodePhase::Failed);
        let write = commit(&scene);
        scene.store(&write);
        scene.node.metadata.generation = Some(3);
        let later = scene.later(Duration::from_hours(2));
        let settled = later.clone().settle().expect("a decision");
        let effects = law::effects(settled, &later.node);
        (digest::of(&later), effects.len())
    };
    assert!(failed(None).0.contains("Initializing"), "{:?}", failed(None));
    assert!(!failed(Some("7usei")).0.contains("Initializing"), "{:?}", failed(Some("7usei")));
}
