//! Whole lives of nodes on the real control plane, with the operator as a process of its own.
//!
//! An operator looks after every namespace, so the cases run one after the other, on one stage.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it measured"
)]

#[path = "live/admission.rs"]
mod admission;
#[path = "live/bootstrap.rs"]
mod bootstrap;
#[path = "live/convergence.rs"]
mod convergence;
#[path = "live/crash.rs"]
mod crash;
#[path = "live/deletion.rs"]
mod deletion;
#[path = "live/foreign.rs"]
mod foreign;
#[path = "live/held.rs"]
mod held;
#[path = "live/imports.rs"]
mod imports;
#[path = "live/life.rs"]
mod life;
#[path = "live/metrics.rs"]
mod metrics;
#[path = "live/modes.rs"]
mod modes;
#[path = "live/pause.rs"]
mod pause;
#[path = "live/repair.rs"]
mod repair;
#[path = "live/rivals.rs"]
mod rivals;
#[path = "live/sample.rs"]
mod sample;
#[path = "live/stale.rs"]
mod stale;
#[path = "live/takeover.rs"]
mod takeover;
#[path = "live/update.rs"]
mod update;
#[path = "live/workflow.rs"]
mod workflow;

use std::path::Path;

use seinode_tests::live::LiveError;
use seinode_tests::stage::Stage;

/// How slow the pretend nodes are compared with real ones.
const SCALE: f64 = 0.02;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live() -> Result<(), LiveError> {
    let stage = Stage::set(Path::new(env!("CARGO_BIN_EXE_operator")), SCALE).await?;
    // Some cases alone, by parts of their names: for work on them by hand.
    let only = std::env::var("SEINODE_LIVE_CASE").unwrap_or_default();
    let is_wanted = |case: &str| only.split(',').any(|part| case.contains(part));
    macro_rules! cases {
        ($($case:path),+ $(,)?) => {
            $(if is_wanted(stringify!($case)) {
                let start = std::time::Instant::now();
                $case(&stage).await?;
                println!("{:<60} {:>6.1} s", stringify!($case), start.elapsed().as_secs_f64());
            })+
        };
    }
    cases![
        life::from_manifest_to_running_with_few_writes_and_then_silence,
        life::a_restarted_sidecar_is_marked_ready_again,
        life::two_operators_end_as_one,
        crash::killed_after_the_plan_was_stored,
        crash::killed_in_the_middle_of_the_plan,
        crash::killed_just_before_the_end_of_the_plan,
        deletion::what_is_ours_goes_and_a_foreign_claim_stays,
        deletion::an_orphaning_deletion_keeps_the_claim,
        stale::an_apply_on_what_has_changed_is_refused,
        stale::w09_a_resume_that_comes_late_is_refused_after_the_next_pause,
        deletion::in_each_phase_what_is_ours_goes_with_few_writes,
        deletion::w12_deleted_and_created_again_at_once,
        pause::a_paused_node_has_no_pod_and_comes_back,
        pause::w09_paused_while_the_gate_is_closed,
        pause::w09_paused_before_the_statefulset_is_applied,
        pause::w09_paused_after_the_statefulset_is_applied,
        pause::w09_paused_during_a_bootstrap,
        pause::w09_paused_in_the_middle_of_an_update,
        pause::w09_paused_after_it_has_failed,
        modes::every_mode_without_bootstrap_reaches_running,
        update::w02_roll_forward_and_back_to_the_first_image,
        update::w03_a_typo_in_the_image_is_repaired,
        update::w04_a_change_of_mind_while_the_pod_is_replaced,
        update::w04_an_edit_at_each_task_of_an_update_ends_at_the_last_image,
        update::s15_a_pod_without_revision_or_stuck_terminating_is_replaced_all_the_same,
        update::s09_a_node_without_a_sidecar_is_updated,
        update::w05_failed_runs_are_counted_once,
        update::w10_s25_hung_and_unfit_peers_delay_nobody,
        update::w10_a_hung_sidecar_delays_nobody_else,
        bootstrap::w01_the_bootstrap_and_the_node_never_share_the_volume,
        bootstrap::w06_killed_while_the_bootstrap_is_torn_down,
        bootstrap::s13_an_evicted_bootstrap_is_started_anew,
        convergence::s22_children_that_are_gone_or_changed_come_back,
        convergence::a_template_edit_reaches_the_statefulset_and_shows_on_the_pod,
        held::s05_an_edit_of_the_chain_is_held,
        convergence::a_failed_node_starts_over_when_asked,
        foreign::s13_s23_foreign_objects_of_the_wanted_names_are_left_alone,
        held::s04_a_key_that_is_removed_and_added_again_is_held,
        held::s05_an_edit_of_mode_or_import_is_held,
        imports::a_claim_is_imported_once_it_is_fit_and_outlives_its_node,
        imports::s29_a_claim_that_can_not_become_fit_fails_the_node_and_says_why,
        repair::w08_a_statefulset_made_while_status_writes_are_refused_stays,
        repair::s21_a_pod_of_a_node_whose_spec_is_not_valid_any_more_comes_back,
        repair::p26_one_manager_for_all_that_is_written,
        metrics::p15_v01_v05_v06_v07_gauges_and_counters_follow_the_node,
        rivals::s03_of_two_nodes_with_one_key_only_one_runs,
        rivals::s03_two_operators_and_two_nodes_with_one_key,
        takeover::an_active_plan_of_the_go_operator_is_run_to_its_end,
        takeover::a_running_node_of_the_go_operator_keeps_statefulset_and_pod,
        takeover::a_restart_of_the_operator_with_a_hundred_nodes_writes_nothing,
        workflow::s27_an_adopted_workflow_is_run_to_its_end,
        workflow::s27_a_failed_workflow_is_held_until_it_is_forced,
        admission::every_case_of_the_contract_holds,
    ];
    let (judged, broken) = stage.broken_laws().await?;
    println!("{judged} steps were judged by the laws");
    assert!(judged > 0 || !only.is_empty(), "operators have done something");
    assert!(broken.is_empty(), "{} broken laws:\n{}", broken.len(), broken.join("\n"));
    Ok(())
}
