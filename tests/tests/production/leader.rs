//! Leadership: replaced when killed, given back when stopped, powerless when stalled.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use seinode_sim::sidecar::{Event, Script};
use seinode_tests::live::{AuditEvent, LiveError, wait_until};
use seinode_tests::stage::{Operator, SOON, Stage};
use serde_json::json;

use crate::{LEASE, account, elected, leads, metrics_until, page, sample};

/// Makes a node whose plan stops for a while at its first sidecar task, and waits until it is there.
async fn in_mid_plan(stage: &Stage, space: &str) -> Result<(), LiveError> {
    stage.namespace(space).await?;
    let director = stage.kubelet.director(space, "one");
    director.direct(|script| *script = Script::default().lasting("config-apply", Duration::from_secs(2)));
    stage.create(space, &sample::full_node("one")).await.unwrap();
    wait_until("the task to run", SOON, async || {
        let started =
            director.journal().iter().any(|e| e.kind == "config-apply" && e.event == Event::Started);
        if started { Ok(()) } else { Err("not yet") }
    })
    .await
}

/// Two operators of which the first leads.
async fn leader_and_standby(stage: &Stage, space: &str) -> Result<(Operator, Operator), LiveError> {
    let names = [format!("{space}-leader"), format!("{space}-standby")];
    let leader = elected(stage, &names[0], &account(stage, &names[0]).await?);
    metrics_until(&leader, "the first to lead", leads).await?;
    let standby = elected(stage, &names[1], &account(stage, &names[1]).await?);
    wait_until("the second to stand by", SOON, async || match standby.page("probes", "/readyz").await {
        Ok(page) if page.status == 200 && page.text == "ok, standing by" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    assert!(!leads(&page(&standby, "metrics", "/metrics").await?), "two lead");
    Ok((leader, standby))
}

pub(crate) async fn a_killed_leader_is_replaced(stage: &mut Stage) -> Result<(), LiveError> {
    let space = "killed";
    let (leader, standby) = leader_and_standby(stage, space).await?;
    in_mid_plan(stage, space).await?;
    leader.kill().unwrap();
    let start = Instant::now();
    metrics_until(&standby, "the standby to lead", leads).await?;
    // The bound of five seconds is held by a test with a clock of its own, beside the code.
    println!("  replaced after {:.2} s", start.elapsed().as_secs_f64());
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    assert!(standby.stop().unwrap().success());
    Ok(())
}

/// What a user wrote, leases and events aside.
fn effects_of<'a>(log: &'a [AuditEvent], user: &str) -> Vec<&'a AuditEvent> {
    log.iter()
        .filter(|e| e.user == user && e.is_write() && e.is_granted())
        .filter(|e| e.resource != "leases" && e.resource != "events")
        .collect()
}

pub(crate) async fn s02_a_stopped_leader_gives_the_lease_back_and_does_nothing_more(
    stage: &mut Stage,
) -> Result<(), LiveError> {
    let space = "stopped";
    let mark = stage.plane.audit_mark()?;
    let user = format!("{space}-only");
    let operator = elected(stage, &user, &account(stage, &user).await?);
    in_mid_plan(stage, space).await?;
    assert!(operator.stop().unwrap().success());
    let log = stage.plane.audit_since(mark)?;
    assert!(!effects_of(&log, &user).is_empty());
    let asked: Vec<_> = log.iter().filter(|e| e.user == user && e.verb != "watch").collect();
    let last = asked.last().unwrap();
    assert_eq!((last.verb.as_str(), last.resource.as_str(), last.code), ("update", "leases", 200));
    let holder = last.request.as_ref().and_then(|r| r.pointer("/spec/holderIdentity").cloned());
    assert_eq!(holder, Some(json!("")), "the lease was not given back");
    let submitted = stage.kubelet.director(space, "one").journal().len();

    let next = elected(stage, "stopped-next", &stage.plane.kubeconfig());
    let start = Instant::now();
    metrics_until(&next, "the next to lead", leads).await?;
    println!("  the next led after {:.2} s", start.elapsed().as_secs_f64());
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    assert!(stage.kubelet.director(space, "one").journal().len() > submitted);
    assert!(next.stop().unwrap().success());
    Ok(())
}

pub(crate) async fn s02_a_stalled_leader_does_nothing_when_it_wakes_up(
    stage: &mut Stage,
) -> Result<(), LiveError> {
    let space = "stalled";
    let mark = stage.plane.audit_mark()?;
    let (leader, standby) = leader_and_standby(stage, space).await?;
    in_mid_plan(stage, space).await?;
    leader.signal("STOP").unwrap();
    metrics_until(&standby, "the standby to lead", leads).await?;
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    // Work for whoever thinks that it leads.
    stage.create(space, &sample::full_node("two")).await.unwrap();
    leader.signal("CONT").unwrap();
    metrics_until(&leader, "the first to notice", |page| !leads(page)).await?;
    assert!(leader.log().contains("effects stop at once"), "{}", leader.log());
    sample::ended_well_without_repeats(stage, &node);
    let node = stage.until(space, "two", "the other node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);

    let log = stage.plane.audit_since(mark)?;
    let taken =
        log.iter().find(|e| e.user == "stalled-standby" && e.resource == "leases" && e.verb == "update");
    let taken = taken.unwrap().done;
    let late: Vec<String> =
        effects_of(&log, "stalled-leader").into_iter().filter(|e| e.at > taken).map(sample::line).collect();
    assert!(late.is_empty(), "written after another one led: {late:?}");
    assert!(!effects_of(&log, "stalled-standby").is_empty());
    for operator in [leader, standby] {
        assert!(operator.stop().unwrap().success());
    }
    Ok(())
}

pub(crate) async fn the_lease_of_the_go_operator_is_respected(stage: &mut Stage) -> Result<(), LiveError> {
    let space = "rolling";
    stage.namespace(space).await?;
    let leases = Api::<Lease>::namespaced(stage.plane.client(), "default");
    let hold = async |holder: &str, seconds: i32| {
        let spec = json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}});
        leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(&spec)).await.map(drop)
    };
    // As a Go operator that runs; an hour, so that no pause of this machine ends it.
    hold("manager-0_5a2f", 3600).await.unwrap();
    let mark = stage.plane.audit_mark()?;
    let operator = elected(stage, space, &account(stage, space).await?);
    stage.create(space, &sample::full_node("one")).await.unwrap();
    wait_until("it to stand by", SOON, async || match operator.page("probes", "/readyz").await {
        Ok(page) if page.text == "ok, standing by" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    wait_until("it to have looked at the lease some times", SOON, async || {
        let log = stage.plane.audit_since(mark).map_err(|e| e.to_string())?;
        let looks =
            log.iter().filter(|e| e.user == space && e.resource == "leases" && e.verb == "get").count();
        if looks > 5 { Ok(()) } else { Err(format!("{looks} looks")) }
    })
    .await?;
    let log = stage.plane.audit_since(mark)?;
    let writes: Vec<String> =
        log.iter().filter(|e| e.user == space && e.is_write()).map(sample::line).collect();
    assert!(writes.is_empty(), "it worked beside the other: {writes:?}");
    // As the Go operator leaves it when it stops.
    hold("", 1).await.unwrap();
    let node = stage.until(space, "one", "the node to be Running", sample::is_running).await?;
    sample::ended_well_without_repeats(stage, &node);
    assert!(operator.stop().unwrap().success());
    Ok(())
}
