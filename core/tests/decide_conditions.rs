//! Conditions (`seinode.md` 16 and ours): all of them from the first pass on, and what each says when.
#![cfg(feature = "testkit")]
#![allow(clippy::panic, reason = "a test that is wrong stops")]
#![allow(clippy::type_complexity, reason = "tables of rows, read top down")]

use std::collections::BTreeSet;
use std::time::Duration;

use seinode_core::Decision;
use seinode_core::api::condition::ConditionStatus;
use seinode_core::api::status::FailedTaskDetail;
use seinode_core::api::{ConditionType, NodePhase, PlanPhase, SeiNode, TaskStatus, TaskType};
use seinode_core::testkit::{Scene, digest, node, object, story};
use seinode_core::world::{Blind, Health, Seen, Topic};
use serde_json::json;

/// What the node shows after one more decision: status and reason.
fn shown(scene: &Scene, kind: &ConditionType) -> (String, String) {
    let condition = digest::condition(scene, kind).unwrap_or_else(|| panic!("{kind} is there"));
    (condition.status.to_string(), condition.reason)
}

fn types(node: &SeiNode) -> BTreeSet<String> {
    let mut scene = story::fresh(node.clone());
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("the first pass stores") };
    commit.write().status.conditions.iter().map(|c| c.condition_type.to_string()).collect()
}

#[test]
fn v9_every_condition_is_there_from_the_first_pass_on_in_each_mode() {
    let wanted: BTreeSet<String> = [
        "ChildContested",
        "ConfigOutdated",
        "ImportPVCReady",
        "KeyConflict",
        "NodeKeyReady",
        "NodeUpdateInProgress",
        "OperatorKeyringReady",
        "Paused",
        "PlanFailed",
        "PodOutdated",
        "Ready",
        "RetryHandled",
        "SidecarReady",
        "SigningKeyReady",
        "SpecHeld",
        "StateSyncReady",
        "WorkflowInProgress",
    ]
    .map(str::to_owned)
    .into();
    for (name, node) in node::each() {
        assert_eq!(types(&node), wanted, "{name}");
    }
}

#[test]
fn v9_a_check_says_so_when_its_part_of_the_spec_is_gone() {
    let mut scene = story::running(node::validator());
    assert_ne!(shown(&scene, &ConditionType::SigningKeyReady).1, "NotApplicable");
    scene.node.spec = node::full().spec;
    for kind in [
        ConditionType::SigningKeyReady,
        ConditionType::NodeKeyReady,
        ConditionType::OperatorKeyringReady,
        ConditionType::ImportPvcReady,
    ] {
        assert_eq!(shown(&scene, &kind), ("False".to_owned(), "NotApplicable".to_owned()), "{kind}");
    }
}

#[test]
fn v9_what_a_check_has_told_stays_and_one_that_applies_again_is_still_to_be_made() {
    let kind = ConditionType::SigningKeyReady;
    let says = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    let mut scene = story::running(node::validator());
    let mut told = digest::condition(&scene, &kind).expect("it is there");
    for (status, reason) in
        [(ConditionStatus::True, "SigningKeyValidated"), (ConditionStatus::False, "NotApplicable")]
    {
        told.status = status;
        reason.clone_into(&mut told.reason);
        scene.node.status.conditions.retain(|c| c.condition_type != kind);
        scene.node.status.conditions.push(told.clone());
        let wanted =
            if reason == "NotApplicable" { says("Unknown", "NotChecked") } else { says("True", reason) };
        assert_eq!(shown(&scene, &kind), wanted);
    }
}

#[test]
fn the_sidecar_is_ready_not_ready_or_unreachable() {
    let with = |health: Option<Seen<Health>>| {
        let mut scene = story::running(node::full());
        let Some(health) = health else {
            scene.observed.pods = Seen::Present(Vec::new());
            return shown(&scene, &ConditionType::SidecarReady);
        };
        let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
        scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Sidecar)]);
        scene.observed.health = health;
        shown(&scene, &ConditionType::SidecarReady)
    };
    let silent = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    let rows = [
        ("200", Some(Seen::Present(Health::Ready)), "True", "Ready"),
        ("503", Some(Seen::Present(Health::NotReady)), "False", "NotReady"),
        ("no answer", Some(silent), "Unknown", "Unreachable"),
        ("no pod", None, "Unknown", "Unreachable"),
    ];
    for (name, health, status, reason) in rows {
        assert_eq!(with(health), (status.to_owned(), reason.to_owned()), "{name}");
    }
}

/// Running, with an update of the image under way whose tasks are complete but for the last one.
fn updating() -> Scene {
    let mut scene = story::running(node::full());
    scene.node.spec.image = "registry.example.net/seid:v9".into();
    scene.node.metadata.generation = Some(2);
    assert!(scene.commit(), "an update");
    scene
}

#[test]
fn an_update_says_started_complete_and_failed() {
    let kind = ConditionType::NodeUpdateInProgress;
    let rest = story::running(node::full());
    assert_eq!(shown(&rest, &kind), ("False".to_owned(), "NoUpdate".to_owned()));
    let started = updating();
    assert_eq!(shown(&started, &kind), ("True".to_owned(), "UpdateStarted".to_owned()));

    let mut done = started.clone();
    let plan = done.node.status.plan.as_mut().expect("a plan");
    plan.tasks.iter_mut().for_each(|task| task.status = TaskStatus::Complete);
    done.node.status.current_image = Some(done.node.spec.image.clone());
    done.observed.statefulset = Seen::Unknown(Blind::Unreachable("dark".into()));
    done.observed.pods = Seen::Unknown(Blind::Unreachable("dark".into()));
    assert_eq!(shown(&done, &kind), ("False".to_owned(), "UpdateComplete".to_owned()));
    let Some(Decision::Commit(commit)) = done.settle() else { panic!("its end is stored") };
    assert_eq!(
        commit.write().status.plan,
        None,
        "a finished convergence plan is removed in its last write (P10)"
    );
}

#[test]
fn v1_p7_p8_p52_a_failed_update_is_shown_and_the_node_stays_running() {
    let mut scene = updating();
    let plan = scene.node.status.plan.as_mut().expect("a plan");
    plan.tasks.iter_mut().for_each(|task| task.status = TaskStatus::Complete);
    let last = plan.tasks.last_mut().expect("a task");
    last.status = TaskStatus::Failed;
    last.error = Some("no space left".into());
    scene.observed.statefulset = Seen::Unknown(Blind::Unreachable("dark".into()));
    scene.observed.pods = Seen::Unknown(Blind::Unreachable("dark".into()));
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("the failure is stored") };
    let status = &commit.write().status;
    assert_eq!(status.phase, Some(NodePhase::Running));
    let plan = status.plan.as_ref().expect("a failed plan stays visible");
    assert_eq!(plan.phase, PlanPhase::Failed);
    let find = |kind: &ConditionType| {
        let condition = status.conditions.iter().find(|c| c.condition_type == *kind).expect("seeded");
        (condition.status.to_string(), condition.reason.clone(), condition.message.clone())
    };
    let (update, failed) = (find(&ConditionType::NodeUpdateInProgress), find(&ConditionType::PlanFailed));
    assert_eq!((update.0.as_str(), update.1.as_str()), ("False", "UpdateFailed"));
    assert_eq!((failed.0.as_str(), failed.1.as_str()), ("True", "TaskFailed"), "one constant word");
    for text in [&update.2, &failed.2] {
        assert!(text.contains("no space left") && text.contains("mark-ready"), "{text}");
    }
    assert_eq!(find(&ConditionType::RetryHandled).0, "False");
}

#[test]
fn p9_plan_failed_stays_and_turns_false_with_a_later_completion() {
    let mut scene = story::failed(node::full());
    assert!(scene.commit(), "the failure is adopted");
    assert_eq!(shown(&scene, &ConditionType::PlanFailed), ("True".to_owned(), "TaskFailed".to_owned()));
    // The next plan completes.
    let mut plan = story::first_plan(&scene.node);
    plan.tasks.iter_mut().for_each(|task| task.status = TaskStatus::Complete);
    scene.node.status.plan = Some(plan);
    scene.node.status.phase = Some(NodePhase::Initializing);
    assert_eq!(shown(&scene, &ConditionType::PlanFailed), ("False".to_owned(), "PlanComplete".to_owned()));
}

#[test]
fn a_pod_at_an_old_revision_is_shown() {
    let mut scene = story::running(node::full());
    assert_eq!(shown(&scene, &ConditionType::PodOutdated), ("False".to_owned(), "UpToDate".to_owned()));
    let Seen::Present(sts) = &mut scene.observed.statefulset else { panic!("a StatefulSet") };
    sts.status.as_mut().expect("a status").update_revision = Some("another".into());
    assert_eq!(shown(&scene, &ConditionType::PodOutdated), ("True".to_owned(), "OldRevision".to_owned()));
}

#[test]
fn a_spec_that_a_live_node_can_not_follow_is_held_field_by_field() {
    type Edit = fn(&mut SeiNode);
    let rows: [(&str, SeiNode, Edit); 7] = [
        ("spec.chainId", node::full(), |n| n.spec.chain_id = "another".into()),
        ("the mode", node::full(), |n| {
            n.spec.full_node = None;
            n.spec.archive = node::archive().spec.archive;
        }),
        ("spec.dataVolume.import", node::full(), |n| {
            n.spec.data_volume = node::importing().spec.data_volume;
        }),
        ("signing key", node::validator(), |n| {
            let validator = n.spec.validator.as_mut().expect("a validator");
            validator.signing_key =
                serde_json::from_value(json!({"secret": {"secretName": "another"}})).expect("a key");
        }),
        ("node key", node::validator(), |n| {
            let validator = n.spec.validator.as_mut().expect("a validator");
            validator.node_key = None;
            validator.signing_key = None;
        }),
        ("operator keyring", node::validator(), |n| {
            let validator = n.spec.validator.as_mut().expect("a validator");
            let secret =
                validator.operator_keyring.as_mut().and_then(|k| k.secret.as_mut()).expect("a Secret");
            secret.secret_name = "another".into();
        }),
        ("passphrase", node::validator(), |n| {
            let validator = n.spec.validator.as_mut().expect("a validator");
            let secret =
                validator.operator_keyring.as_mut().and_then(|k| k.secret.as_mut()).expect("a Secret");
            secret.passphrase_secret_ref.secret_name = "another".into();
        }),
    ];
    for (field, node, edit) in rows {
        let mut scene = story::running(node);
        edit(&mut scene.node);
        scene.node.metadata.generation = Some(2);
        let condition = digest::condition(&scene, &ConditionType::SpecHeld).expect("seeded");
        assert_eq!(
            (condition.status.to_string(), condition.reason.as_str()),
            ("True".to_owned(), "SpecChanged")
        );
        assert!(condition.message.contains(field), "{field}: {}", condition.message);
        let Some(Decision::Commit(commit)) = scene.settle() else { panic!("{field}: it is stored") };
        assert_eq!(commit.write().status.plan, scene.node.status.plan, "{field}: no plan follows");
    }
}

#[test]
fn p3_a_failed_task_shows_its_detail() {
    let mut scene = story::at_task(node::full(), &TaskType::ConfigApply);
    let plan = scene.node.status.plan.as_mut().expect("a plan");
    let index = plan.tasks.iter().position(|t| t.task_type == TaskType::ConfigApply).expect("a task");
    plan.tasks[index].status = TaskStatus::Failed;
    plan.tasks[index].error = Some("unknown key".into());
    let id = plan.tasks[index].id.clone();
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("the failure is stored") };
    let plan = commit.write().status.plan.clone().expect("a plan");
    assert_eq!(plan.failed_task_index, i64::try_from(index).ok());
    let FailedTaskDetail { task_type, id: failed, error, .. } = plan.failed_task_detail.expect("detail");
    assert_eq!((task_type.as_str(), failed, error.as_str()), ("config-apply", id, "unknown key"));
    assert_eq!(commit.write().status.phase, Some(NodePhase::Failed));
}

#[test]
fn a_sidecar_that_gave_no_answer_is_asked_again_soon_and_then_ever_more_slowly() {
    let mut scene = story::running(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Sidecar)]);
    scene.observed.health = Seen::Unknown(Blind::Unreachable("connection refused".into()));
    assert!(scene.commit(), "it is shown");
    let wakes = [0, 8, 60, 3600].map(|seconds| {
        let later = scene.clone().later(Duration::from_secs(seconds));
        digest::of(&later).split(':').next().unwrap_or_default().to_owned()
    });
    assert_eq!(wakes, ["rest 1000ms", "rest 2000ms", "rest 15000ms", "rest 60000ms"]);
}

#[test]
fn a_ready_answer_is_not_the_last_word_while_the_pod_does_not_show_it() {
    let mut scene = story::running(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Sidecar)]);
    scene.observed.health = Seen::Present(Health::Ready);
    scene.commit();
    assert!(digest::of(&scene).starts_with("rest 1000ms"), "{}", digest::of(&scene));
}

#[test]
fn a_node_that_waits_out_its_back_off_says_so() {
    let mut scene = story::failed(node::full());
    for generation in 1..=2 {
        scene.node.metadata.generation = Some(generation);
        assert!(scene.commit(), "it is stored");
    }
    assert_eq!(shown(&scene, &ConditionType::Ready), ("False".to_owned(), "BackingOff".to_owned()));
}

/// An update whose new pod can't start: the old one is gone, and no sidecar answers.
fn stuck() -> Scene {
    let mut scene = updating();
    let plan = scene.node.status.plan.as_mut().expect("a plan");
    let at = plan.tasks.iter().position(|t| t.task_type == TaskType::ObserveImage).expect("a task");
    for (place, task) in plan.tasks.iter_mut().enumerate() {
        task.status = if place < at { TaskStatus::Complete } else { TaskStatus::Pending };
        task.submitted_at = None;
    }
    let sts = object::statefulset(&scene.node, &scene.settings.platform, 1);
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Pending)]);
    scene.observed.statefulset = Seen::Present(sts);
    scene.observed.sidecar_tasks = Seen::Unknown(Blind::NotAsked);
    let ready = scene.node.status.conditions.iter_mut().find(|c| c.condition_type == ConditionType::Ready);
    ready.expect("seeded").message = "the rollout is awaited (for over 10s)".into();
    scene
}

#[test]
fn w3_a_rollout_that_gets_nowhere_ends_although_its_turn_was_never_stored() {
    let mut scene = stuck();
    let start = scene.now;
    let mut failed = None;
    for minute in 0..60 {
        scene.now = start + Duration::from_mins(minute);
        scene.observed.looked.clear();
        if let Some(Decision::Commit(commit)) = scene.settle() {
            let write = commit.write().clone();
            scene.store(&write);
            if write.status.plan.as_ref().is_some_and(|p| p.phase == PlanPhase::Failed) {
                failed = Some(minute);
                break;
            }
        }
    }
    assert_eq!(failed, Some(31));
}

#[test]
fn l14_a_missed_event_of_a_pod_does_not_keep_a_node_unready() {
    let mut scene = story::running(node::full());
    let sts = scene.observed.statefulset.present().expect("a StatefulSet").clone();
    let ready = scene.observed.pods.clone();
    scene.observed.pods = Seen::Present(vec![object::pod(&sts, object::PodStage::Proxy)]);
    while scene.commit() {}
    scene.observed.looked.remove(&Topic::Pods);
    let soon = scene.clone().later(Duration::from_mins(4));
    assert!(digest::first(&soon).starts_with("rest 300000ms"), "{}", digest::first(&soon));
    let mut later = scene.later(Duration::from_mins(5));
    assert_eq!(digest::first(&later), "look Pods");
    // The look shows it.
    later.observed.pods = ready;
    later.observed.looked.insert(Topic::Pods);
    assert_eq!(
        digest::condition(&later, &ConditionType::Ready).map(|c| c.reason),
        Some("PodReady".to_owned())
    );
}

#[test]
fn conditions_carry_the_generation_and_move_their_time_only_with_their_status() {
    let hour = Duration::from_hours(1);
    let before = story::running(node::full());
    let mut scene = before.clone().later(hour);
    scene.node.spec.image = "registry.example.net/seid:v9".into();
    scene.node.metadata.generation = Some(7);
    let Some(Decision::Commit(commit)) = scene.settle() else { panic!("an update") };
    let (stored, next) = (&before.node.status.conditions, &commit.write().status.conditions);
    assert_eq!(stored.len(), next.len());
    let now = seinode_core::api::Stamp::of(scene.now);
    // Ours may tell of an earlier generation: that of a failure, or of the config that was compared. WorkflowInProgress
    // is seeded, and then changes with a workflow only (15). StateSyncReady is not asked for while a node runs (V13).
    let mut of_contract = vec![
        ConditionType::Paused,
        ConditionType::SidecarReady,
        ConditionType::NodeUpdateInProgress,
        ConditionType::ImportPvcReady,
        ConditionType::SigningKeyReady,
        ConditionType::NodeKeyReady,
        ConditionType::OperatorKeyringReady,
    ];
    let mut moved = Vec::new();
    for (old, new) in stored.iter().zip(next) {
        assert_eq!(old.condition_type, new.condition_type, "their order stays");
        if of_contract.contains(&new.condition_type) {
            assert_eq!(new.observed_generation, Some(7), "{}", new.condition_type);
            of_contract.retain(|kind| *kind != new.condition_type);
        }
        if old.status == new.status {
            assert_eq!(new.last_transition_time, old.last_transition_time, "{}", new.condition_type);
        } else {
            assert_eq!(new.last_transition_time.as_ref(), Some(&now), "{}", new.condition_type);
            moved.push(new.condition_type.clone());
        }
    }
    assert_eq!(moved, [ConditionType::NodeUpdateInProgress]);
    assert_eq!(of_contract, [], "these were not there");
}

#[test]
fn reasons_are_words_of_a_fixed_set() {
    let page = include_str!("../../docs/conditions.md");
    let scenes = node::each().into_iter().flat_map(|(_, node)| {
        let failed = story::failed(node.clone());
        vec![story::fresh(node.clone()), story::running(node.clone()), story::pausing(node.clone()), failed]
    });
    let mut seen = BTreeSet::new();
    for mut scene in scenes {
        let Some(Decision::Commit(commit)) = scene.settle() else { continue };
        seen.extend(commit.write().status.conditions.iter().map(|c| c.reason.clone()));
    }
    assert!(seen.len() > 10, "{seen:?}");
    for reason in seen {
        assert!(reason.chars().all(char::is_alphanumeric), "{reason}");
        assert!(page.contains(&format!("`{reason}`")), "{reason} is not on the page of conditions");
    }
}

#[test]
fn paused_says_not_paused_while_nobody_has_asked() {
    let moments: [fn(SeiNode) -> Scene; 3] = [story::fresh, story::running, story::failed];
    for moment in moments {
        let scene = moment(node::full());
        let wanted = ("False".to_owned(), "NotPaused".to_owned());
        assert_eq!(shown(&scene, &ConditionType::Paused), wanted);
    }
}

/// The world of a check, late enough that what is waited for is written.
fn at_check(node: SeiNode, task: &TaskType) -> Scene {
    story::at_task(node, task).later(Duration::from_secs(11))
}

#[test]
fn each_check_says_validated_not_ready_and_invalid() {
    let checks = [
        (
            node::validator(),
            TaskType::ValidateSigningKey,
            "signing",
            ConditionType::SigningKeyReady,
            "SigningKey",
        ),
        (node::validator(), TaskType::ValidateNodeKey, "p2p", ConditionType::NodeKeyReady, "NodeKey"),
        (node::seed(), TaskType::ValidateNodeKey, "p2p", ConditionType::NodeKeyReady, "NodeKey"),
        (
            node::validator(),
            TaskType::ValidateOperatorKeyring,
            "keyring",
            ConditionType::OperatorKeyringReady,
            "OperatorKeyring",
        ),
        (
            node::validator(),
            TaskType::ValidateOperatorKeyring,
            "passphrase",
            ConditionType::OperatorKeyringReady,
            "OperatorKeyring",
        ),
    ];
    for (node, task, name, kind, word) in checks {
        let says = |scene: &Scene| {
            let (status, reason) = shown(scene, &kind);
            format!("{status}/{}", reason.strip_prefix(word).unwrap_or(&reason))
        };
        let mut missing = at_check(node.clone(), &task);
        missing.observed.secrets.insert(name.to_owned(), Seen::Absent);
        assert_eq!(says(&missing), "False/NotReady", "{task} {name}");
        let mut empty = at_check(node.clone(), &task);
        let nothing =
            seinode_core::world::SecretData { deleting: false, data: std::collections::BTreeMap::new() };
        empty.observed.secrets.insert(name.to_owned(), Seen::Present(nothing));
        assert_eq!(says(&empty), "False/Invalid", "{task} {name}");
        // The next wait writes what came of it.
        let mut fit = at_check(node, &task);
        fit.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("dark".into()));
        assert_eq!(says(&fit), "True/Validated", "{task} {name}");
    }
    let mut fit = at_check(node::importing(), &TaskType::EnsureDataPvc);
    fit.observed.sidecar_tasks = Seen::Unknown(Blind::Unreachable("dark".into()));
    let wanted = ("True".to_owned(), "PVCValidated".to_owned());
    assert_eq!(shown(&fit, &ConditionType::ImportPvcReady), wanted);
}
