//! The tasks of a genesis ceremony.
//!
//! Answers: what each step leaves on the volume and in the object store.
//! Refuses to know: amounts, keys and signatures.
//! Upholds: a key made by a genesis transaction that failed stays and makes every further run fail.

use super::{Failure, Progress, Work, chain, read, require};
use crate::sidecar::kind::Kind;
use crate::sidecar::volume::{Disk, Genesis};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Identity {
    chain_id: String,
    moniker: String,
}

pub(super) fn make_identity(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: Identity = read(work.params)?;
    if work.is_marked(Kind::GenerateIdentity) {
        return Ok(Progress::Done(None));
    }
    require("generate-identity", "chainId", &wanted.chain_id)?;
    require("generate-identity", "moniker", &wanted.moniker)?;
    work.disk.make_node_key("identity");
    work.disk.files.insert("config.toml".to_owned(), json!({"moniker": wanted.moniker}));
    work.disk.genesis.get_or_insert(Genesis::Bare);
    work.mark(Kind::GenerateIdentity);
    Ok(Progress::Done(None))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Gentx {
    chain_id: String,
    staking_amount: String,
    account_balance: String,
}

impl Gentx {
    fn check(&self) -> Result<(), Failure> {
        require("generate-gentx", "chainId", &self.chain_id)?;
        require("generate-gentx", "stakingAmount", &self.staking_amount)?;
        require("generate-gentx", "accountBalance", &self.account_balance)
    }
}

/// The key is made before anything that can go wrong, and it can be made only once.
pub(super) fn begin_gentx(disk: &mut Disk, params: Option<&Map<String, Value>>) -> Option<String> {
    let wanted: Gentx = read(params).ok()?;
    let is_done = Kind::GenerateGentx.marker().is_some_and(|marker| disk.markers.contains(marker));
    if is_done || wanted.check().is_err() {
        return None;
    }
    let is_new = disk.keyring.insert("validator".to_owned());
    (!is_new).then(|| "generate-gentx: keys add: public key already exists in keybase".to_owned())
}

pub(super) fn make_gentx(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: Gentx = read(work.params)?;
    if work.is_marked(Kind::GenerateGentx) {
        return Ok(Progress::Done(None));
    }
    wanted.check()?;
    if let Some(doom) = work.doom {
        return Err(doom.into());
    }
    if work.disk.genesis != Some(Genesis::Initial) {
        return Err("task handler panicked: EOF".into());
    }
    work.disk.gentx = true;
    work.mark(Kind::GenerateGentx);
    Ok(Progress::Done(None))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Upload {
    node_name: String,
}

pub(super) fn upload_artifacts(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: Upload = read(work.params)?;
    if work.is_marked(Kind::UploadGenesisArtifacts) {
        return Ok(Progress::Done(None));
    }
    require("upload-genesis-artifacts", "nodeName", &wanted.node_name)?;
    let (true, Some(id)) = (work.disk.gentx, work.disk.node_id.clone()) else {
        return Err("upload-genesis-artifacts: reading gentx dir: no such file or directory".into());
    };
    work.upload(&format!("{}/gentx.json", wanted.node_name), json!({"from": id}));
    work.upload(&format!("{}/identity.json", wanted.node_name), json!({"nodeId": id}));
    work.mark(Kind::UploadGenesisArtifacts);
    Ok(Progress::Done(None))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Assemble {
    account_balance: String,
    namespace: String,
    nodes: Vec<Member>,
    accounts: Vec<Account>,
    overrides: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Member {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Account {
    address: String,
}

pub(super) fn assemble(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let wanted: Assemble = read(work.params)?;
    if work.is_marked(Kind::AssembleAndUploadGenesis) {
        return Ok(Progress::Done(None));
    }
    require("assemble-genesis", "accountBalance", &wanted.account_balance)?;
    require("assemble-genesis", "namespace", &wanted.namespace)?;
    if wanted.nodes.is_empty() {
        return Err("assemble-genesis: 'nodes' list is empty".into());
    }
    if let Some(index) = wanted.nodes.iter().position(|node| node.name.is_empty()) {
        return Err(format!("assemble-genesis: nodes[{index}] missing required field 'name'").into());
    }
    let mut peers = Vec::new();
    for node in &wanted.nodes {
        work.download("assemble-and-upload-genesis", &format!("{}/gentx.json", node.name))?;
        let identity =
            work.download("assemble-and-upload-genesis", &format!("{}/identity.json", node.name))?;
        let id = identity.get("nodeId").and_then(Value::as_str).unwrap_or_default();
        let (name, namespace) = (&node.name, &wanted.namespace);
        peers.push(json!(format!("{id}@{name}-0.{name}.{namespace}.svc.cluster.local:26656")));
    }
    // Accounts reach the local file before the steps that may still fail; the next run trips over them.
    for account in &wanted.accounts {
        if !work.disk.genesis_accounts.insert(account.address.clone()) {
            let address = &account.address;
            return Err(format!(
                "assemble-genesis: external account {address} collides with an existing one"
            )
            .into());
        }
    }
    if let Some(key) = wanted.overrides.keys().find(|key| !key.contains('.')) {
        return Err(
            format!("assemble-genesis: genesis-overrides: key {key:?} must name module and field").into()
        );
    }
    let file = json!({"chain": work.around.chain, "peers": peers, "overrides": wanted.overrides});
    let hash = chain::hash(&file);
    work.upload("genesis.json", file);
    work.upload("peers.json", Value::Array(peers));
    work.mark(Kind::AssembleAndUploadGenesis);
    Ok(Progress::Done(Some(json!({"genesisHash": hash}))))
}

pub(super) fn set_peers(work: &mut Work<'_>) -> Result<Progress, Failure> {
    let peers = work.download("set-genesis-peers", "peers.json")?;
    let Some(own) = work.disk.node_id.clone() else {
        return Err("set-genesis-peers: node_key.json not found".into());
    };
    let all = peers.as_array().cloned().unwrap_or_default();
    let others: Vec<_> =
        all.iter().filter_map(Value::as_str).filter(|peer| !peer.starts_with(&own)).collect();
    work.disk.set_config_toml("p2p", "persistent-peers", &json!(others.join(",")));
    Ok(Progress::Done(None))
}
