//! Where a fleet is measured: the stage of the live tests, or a pretend control plane behind a socket of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::Client;
use seinode_core::platform;
use seinode_sim::api::{ApiServer, Recorder};
use seinode_sim::cluster::{Cluster, Running};
use seinode_sim::kubelet::{Kubelet, Options as KubeletOptions};
use seinode_sim::store::{Clock, Store};
use tempfile::TempDir;
use tower::ServiceExt;

use super::{Counts, Options, Usage};
use crate::live::LiveError;
use crate::stage::{Operator, Rota, Server, Stage, arguments, gateway};

/// One of the two.
pub(super) enum Site {
    Real(Box<Stage>),
    Pretend(Box<Pretend>),
}

/// A pretend control plane.
pub(super) struct Pretend {
    program: PathBuf,
    store: Store,
    server: ApiServer,
    recorder: Recorder,
    kubelet: Kubelet,
    cluster: Running,
    sidecars: Server,
    folder: TempDir,
    rota: Rota,
    /// Where operators ask the API.
    door: Server,
}

/// A measured operator.
pub(super) struct Measured(Operator);

impl Measured {
    pub(super) fn usage(&self) -> Result<Usage, LiveError> {
        Usage::of(self.0.pid()).map_err(LiveError::io("read what the operator uses"))
    }

    pub(super) fn stop(self) -> Result<(), LiveError> {
        self.0.stop().map(|_| ()).map_err(LiveError::io("stop the operator"))
    }
}

impl Site {
    pub(super) async fn set(program: &Path, options: &Options) -> Result<Self, LiveError> {
        if options.is_pretend {
            return Ok(Self::Pretend(Box::new(Pretend::set(program, options.scale).await?)));
        }
        Ok(Self::Real(Box::new(Stage::set(program, options.scale).await?)))
    }

    pub(super) fn client(&self) -> Client {
        match self {
            Self::Real(stage) => stage.plane.client_named("load"),
            Self::Pretend(pretend) => Client::new(pretend.server.serving("load"), "default"),
        }
    }

    pub(super) async fn namespace(&self, name: &str) -> Result<(), LiveError> {
        match self {
            Self::Real(stage) => stage.namespace(name).await,
            // It has no namespaces of its own.
            Self::Pretend(_) => Ok(()),
        }
    }

    pub(super) fn operator(&self, name: &str) -> Result<Measured, LiveError> {
        match self {
            Self::Real(stage) => stage.operator(name),
            Self::Pretend(pretend) => pretend.operator(name),
        }
        .map(Measured)
    }

    /// What operators have asked so far.
    pub(super) fn requests(&self) -> Result<Counts, LiveError> {
        let mut out = Counts::new();
        match self {
            Self::Real(stage) => {
                for event in stage.plane.audit()? {
                    if event.user_agent.starts_with("seinode-operator/") {
                        *out.entry((event.verb, event.resource)).or_default() += 1;
                    }
                }
            }
            Self::Pretend(pretend) => {
                for record in pretend.recorder.records() {
                    if let Some(request) = record.request {
                        let verb = format!("{:?}", request.verb).to_lowercase();
                        *out.entry((verb, request.kind.plural().to_owned())).or_default() += 1;
                    }
                }
            }
        }
        Ok(out)
    }

    /// What else runs on this machine has used: the control plane, and this program with pods and sidecars.
    pub(super) fn others(&self) -> Result<BTreeMap<String, Usage>, LiveError> {
        let mut pids =
            BTreeMap::from([("this program, with pods and sidecars".to_owned(), std::process::id())]);
        if let Self::Real(stage) = self {
            pids.extend(stage.plane.pids().into_iter().map(|(part, pid)| (part.name().to_owned(), pid)));
        }
        let usage =
            |(name, pid)| Ok((name, Usage::of(pid).map_err(LiveError::io("read what a process uses"))?));
        pids.into_iter().map(usage).collect()
    }

    /// Calls that sidecars have answered.
    pub(super) fn sidecar_calls(&self) -> u64 {
        match self {
            Self::Real(stage) => stage.sidecar_calls(),
            Self::Pretend(pretend) => pretend.sidecars.calls(),
        }
    }

    pub(super) async fn end(self) {
        if let Self::Pretend(pretend) = self {
            pretend.kubelet.stop().await;
            pretend.cluster.stop();
            drop(pretend.door);
            drop(pretend.store);
        }
    }
}

impl Pretend {
    async fn set(program: &Path, scale: f64) -> Result<Self, LiveError> {
        let clock = Clock::starting_at(k8s_openapi::jiff::Timestamp::now());
        let store = Store::new(clock);
        let recorder = Recorder::default();
        let server = ApiServer::new(&store).with_recorder(Recorder::silent());
        let mut options = KubeletOptions::new(clock);
        options.timing.scale = scale;
        let kubelet = Kubelet::start(Client::new(server.serving("kubelet"), "default"), options);
        let cluster = Cluster::new(&store).start();
        let sidecars =
            Server::start(kubelet.sidecars()).await.map_err(LiveError::io("serve the sidecars"))?;
        let api = server.clone().with_recorder(recorder.clone()).serving("seinode-operator");
        let door = Server::of(move |request| api.clone().oneshot(request))
            .await
            .map_err(LiveError::io("serve the API"))?;
        let address = door.address();
        let folder = TempDir::new().map_err(LiveError::io("make a folder"))?;
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).map_err(LiveError::io(format!("write {name}")))
        };
        write("platform.yaml", platform::BUILTIN)?;
        write("token", "a-token-for-tests")?;
        write(
            "kubeconfig",
            &format!(
                "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\n\
                 users: [{{name: a, user: {{}}}}]\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
                 current-context: a\n"
            ),
        )?;
        let program = program.to_owned();
        let rota = Rota::default();
        Ok(Self { program, store, server, recorder, kubelet, cluster, sidecars, folder, rota, door })
    }

    fn operator(&self, name: &str) -> Result<Operator, LiveError> {
        let file = |name: &str| self.folder.path().join(name);
        let arguments = arguments(self.folder.path(), &file("kubeconfig"), self.sidecars.address());
        Operator::start(&self.program, &arguments, &gateway(), &file(&format!("{name}.log")), &self.rota)
            .map_err(LiveError::io("start the operator"))
    }
}
