//! S24: a new default image of the sidecar reaches validators one after the other, under two operators at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use seinode_core::api::condition::{self, ConditionStatus, ConditionType};
use seinode_core::api::{SeiNode, mode};
use seinode_core::platform;
use seinode_tests::live::LiveError;
use seinode_tests::stage::{Operator, Stage};

use crate::sample;

const SPACE: &str = "turns";
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const NEW: [&str; 2] = ["registry.example.net/sidecar:v98", "registry.example.net/sidecar:v99"];

/// What was seen of updates, in the order in which the API server stored it.
#[derive(Debug, Default)]
struct Seen {
    under_way: BTreeSet<String>,
    most: usize,
    updated: BTreeSet<String>,
    waited: BTreeSet<String>,
}

impl Seen {
    fn note(&mut self, node: &SeiNode) {
        let update = condition::find(&node.status.conditions, &ConditionType::NodeUpdateInProgress);
        let name = node.name().to_owned();
        if update.is_some_and(|c| c.status == ConditionStatus::True) {
            self.updated.insert(name.clone());
            self.under_way.insert(name);
        } else {
            if update.is_some_and(|c| c.reason == "WaitingForTurn") {
                self.waited.insert(name.clone());
            }
            // Its pod was replaced: it is back when it is Ready again.
            if sample::is_ready(node) {
                self.under_way.remove(&name);
            }
        }
        self.most = self.most.max(self.under_way.len());
    }
}

async fn watch(stage: &Stage, seen: Arc<Mutex<Seen>>) -> Result<(), kube::Error> {
    let nodes = stage.nodes(SPACE);
    let from = nodes.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    let mut events = nodes.watch(&WatchParams::default(), &from).await?.boxed();
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Modified(node) = event {
            seen.lock().unwrap_or_else(PoisonError::into_inner).note(&node);
        }
    }
    Ok(())
}

fn operator(stage: &Stage, name: &str, platform: &str) -> Result<Operator, LiveError> {
    let platform = format!("--platform={}", stage.file(platform).display());
    stage.operator_with(name, &stage.plane.kubeconfig(), &["--leader-elect=false", &platform], &[])
}

/// Two operators with another default, until all validators have it and serve.
async fn rolled_to(stage: &Stage, file: &str, new: &str) -> Result<Seen, LiveError> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let operators = (operator(stage, "turns-one", file)?, operator(stage, "turns-two", file)?);
    let followed = async {
        for name in NAMES {
            let at_new =
                |n: &SeiNode| n.status.current_sidecar_image.as_deref() == Some(new) && sample::is_ready(n);
            let node = stage.until(SPACE, name, "the validator to follow", at_new).await?;
            assert_eq!(mode::sidecar_image(&node.spec, ""), "");
        }
        Ok::<_, LiveError>(())
    };
    tokio::select! {
        ended = watch(stage, Arc::clone(&seen)) => panic!("the watch ended: {ended:?}"),
        followed = followed => followed?,
    }
    drop(operators);
    Ok(std::mem::take(&mut *seen.lock().unwrap()))
}

pub(crate) async fn s24_a_new_default_reaches_validators_one_by_one(
    stage: &mut Stage,
) -> Result<(), LiveError> {
    stage.namespace(SPACE).await?;
    let first = operator(stage, "turns", "platform.yaml")?;
    for name in NAMES {
        let keys = [format!("{name}-signing"), format!("{name}-p2p")];
        sample::secrets(stage, SPACE, &[(&keys[0], "signing"), (&keys[1], "p2p")]).await;
        let mut manifest = sample::validator(name, &keys[0], &keys[1]);
        manifest["spec"]["chainId"] = "turns-1".into();
        stage.create(SPACE, &manifest).await.unwrap();
    }
    let mut old = String::new();
    for name in NAMES {
        let node = stage.until(SPACE, name, "the validator to be Ready", sample::is_ready).await?;
        old = node.status.current_sidecar_image.unwrap();
    }
    first.stop().map_err(|source| LiveError::Io { what: "stop the operator".into(), source })?;
    assert!(platform::BUILTIN.contains(&old), "the default image of the sidecar");
    // Twice: what is left of the first time must not stand for a turn of the second.
    for (round, new) in NEW.into_iter().enumerate() {
        let file = format!("platform-{round}.yaml");
        std::fs::write(stage.file(&file), platform::BUILTIN.replace(&old, new)).unwrap();
        let seen = rolled_to(stage, &file, new).await?;
        println!(
            "  {} updates, {} waited, at most {} at once",
            seen.updated.len(),
            seen.waited.len(),
            seen.most
        );
        assert_eq!((seen.updated.len(), seen.most), (NAMES.len(), 1), "{seen:?}");
        assert!(seen.waited.len() >= NAMES.len() - 2, "those that waited said so: {seen:?}");
    }
    let leases = Api::<Lease>::all(stage.plane.client()).list(&ListParams::default()).await.unwrap();
    let turns = leases.items.into_iter().filter_map(|l| l.metadata.name);
    let turns: Vec<_> = turns.filter(|n| n.starts_with("seinode-update-validator-turns-")).collect();
    assert_eq!(turns, ["seinode-update-validator-turns-1-0"]);
    Ok(())
}
