//! Several operators that share a fleet.

use std::collections::BTreeMap;

use seinode_tests::live::{LiveError, wait_until};
use seinode_tests::stage::{Operator, SOON, Stage};

use crate::{ELECTED, leads, metrics_until, sample};

const NODES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn shard(stage: &Stage, which: &str) -> Operator {
    let flag = format!("--shard={which}");
    let flags = [ELECTED[0], ELECTED[1], &flag];
    let name = format!("shard-{}", which.replace('/', "-of-"));
    stage.operator_with(&name, &stage.plane.kubeconfig(), &flags, &[]).unwrap()
}

pub(crate) async fn every_node_has_one_owner_and_two_do_no_harm(stage: &mut Stage) -> Result<(), LiveError> {
    let space = "shards";
    stage.namespace(space).await?;
    let shards = ["0/2", "1/2"].map(|which| shard(stage, which));
    for one in &shards {
        metrics_until(one, "a shard to lead", leads).await?;
    }
    for name in NODES {
        stage.create(space, &sample::full_node(name)).await.unwrap();
    }
    for name in NODES {
        let node = stage.until(space, name, "the node to be Running", sample::is_running).await?;
        sample::ended_well_without_repeats(stage, &node);
    }
    wait_until("each node to be shown by one shard", SOON, async || {
        let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, one) in shards.iter().enumerate() {
            let page = one.page("metrics", "/metrics").await.map_err(|e| e.to_string())?;
            for name in NODES {
                let series = format!(
                    "sei_controller_seinode_phase{{namespace=\"{space}\",name=\"{name}\",phase=\"Running\"}}"
                );
                if page.value(&series) == Some(1.0) {
                    owners.entry(name).or_default().push(i);
                }
            }
        }
        let shared = owners.values().all(|o| o.len() == 1) && owners.len() == NODES.len();
        let both = (0..shards.len()).all(|i| owners.values().any(|o| o.contains(&i)));
        if shared && both { Ok(()) } else { Err(format!("{owners:?}")) }
    })
    .await?;

    // Other parts of the same fleet, while the old ones still run: every node has two owners for a while.
    let others = ["0/3", "1/3", "2/3"].map(|which| shard(stage, which));
    for one in &others {
        metrics_until(one, "another shard to lead", leads).await?;
    }
    stage.namespace("shards-twice").await?;
    for name in NODES {
        stage.create("shards-twice", &sample::full_node(name)).await.unwrap();
    }
    for name in NODES {
        let node = stage.until("shards-twice", name, "the node to be Running", sample::is_running).await?;
        // The sidecar may hear of a task twice, and runs it once.
        for task in &node.status.plan.as_ref().unwrap().tasks {
            let runs = stage.kubelet.director("shards-twice", name).runs(task.task_type.as_str());
            assert!(runs <= 1, "{name}: {} ran {runs} times", task.task_type);
        }
    }

    // The way back to one for all: the shards make room.
    let all = stage.operator_with("shard-all", &stage.plane.kubeconfig(), &ELECTED, &[]).unwrap();
    metrics_until(&all, "one for all to lead", leads).await?;
    for one in shards.iter().chain(&others) {
        metrics_until(one, "a shard to make room", |page| !leads(page)).await?;
    }
    for one in shards.into_iter().chain(others).chain([all]) {
        assert!(one.stop().unwrap().success());
    }
    Ok(())
}
