//! Where whole lives are played: the real control plane, a pretend kubelet with pretend sidecars behind real sockets, and
//! the operator as a process of its own.

mod operator;
mod record;
mod rights;
mod scrape;
mod socket;
mod trace;
mod workflow;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use seinode_core::api::{SeiNode, crd};
use seinode_core::platform;
use seinode_sim::kubelet::{Kubelet, Options};
use seinode_sim::sidecar::Event;
use seinode_sim::store::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::live::{AuditMark, ControlPlane, LiveError, wait_until};

pub use operator::Operator;
pub(crate) use operator::Rota;
pub use rights::Rights;
pub use scrape::Page;
pub(crate) use socket::Server;

/// Patient, for machines that do other things at the same time.
pub const SOON: Duration = Duration::from_mins(2);

/// The stage.
pub struct Stage {
    /// Dropped first: it watches the server.
    record: record::Record,
    /// The control plane.
    pub plane: Arc<ControlPlane>,
    /// The pretend kubelet.
    pub kubelet: Kubelet,
    sidecars: Server,
    folder: TempDir,
    program: PathBuf,
    rota: Rota,
    /// Where the audit log stood when the record began.
    start: AuditMark,
}

impl Stage {
    /// Sets the stage: `program` is the operator, `scale` how slow the pretend nodes are compared with real ones.
    pub async fn set(program: &Path, scale: f64) -> Result<Self, LiveError> {
        Self::on(ControlPlane::shared().await?, program, scale).await
    }

    /// The same on a given control plane. Whoever holds it alone may stop its components.
    pub async fn on(plane: Arc<ControlPlane>, program: &Path, scale: f64) -> Result<Self, LiveError> {
        plane.install_crd(&crd::custom_resource_definition()).await?;
        Self::bare(plane, program, scale).await
    }

    /// The same without the definition of a SeiNode.
    pub async fn bare(plane: Arc<ControlPlane>, program: &Path, scale: f64) -> Result<Self, LiveError> {
        let mut options = Options::new(Clock::starting_at(Timestamp::now()));
        options.timing.scale = scale;
        options.token = Some(TOKEN.to_owned());
        options.heartbeat = Some(Duration::from_secs(10));
        let kubelet = Kubelet::start(plane.client_named("stub-kubelet"), options);
        let sidecars =
            Server::start(kubelet.sidecars()).await.map_err(LiveError::io("serve the sidecars"))?;
        let folder = TempDir::new().map_err(LiveError::io("make a folder"))?;
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).map_err(LiveError::io(format!("write {name}")))
        };
        write("platform.yaml", platform::BUILTIN)?;
        write("token", TOKEN)?;
        let start = plane.audit_mark()?;
        let record = record::Record::start(&plane.client_named("recorder"));
        let (program, rota) = (program.to_owned(), Rota::default());
        Ok(Self { record, plane, kubelet, sidecars, folder, program, rota, start })
    }

    /// Starts an operator.
    pub fn operator(&self, name: &str) -> Result<Operator, LiveError> {
        self.operator_as(name, &self.plane.kubeconfig())
    }

    /// Starts an operator with another account. It takes no lease: law 13 says that two at once do no harm.
    pub fn operator_as(&self, name: &str, kubeconfig: &Path) -> Result<Operator, LiveError> {
        let arguments = arguments(self.folder.path(), kubeconfig, self.sidecars.address());
        self.installed_operator(name, &arguments, &gateway())
    }

    /// Starts an operator with these flags and variables alone, as a Deployment says.
    pub fn installed_operator(
        &self,
        name: &str,
        arguments: &[String],
        variables: &BTreeMap<String, String>,
    ) -> Result<Operator, LiveError> {
        let log = self.folder.path().join(format!("{name}.log"));
        let started = Operator::start(&self.program, arguments, variables, &log, &self.rota);
        started.map_err(LiveError::io("start the operator"))
    }

    /// The flags that lead an operator to the pretend sidecars.
    pub fn sidecar_arguments(&self) -> [String; 2] {
        sidecar_arguments(self.folder.path(), self.sidecars.address())
    }

    /// How many calls the pretend sidecars have got.
    pub fn sidecar_calls(&self) -> u64 {
        self.sidecars.calls()
    }

    /// An account with exactly the rights that the operator is installed with, to be taken away at will.
    pub async fn rights(&self, user: &str) -> Result<Rights, LiveError> {
        Rights::grant(&self.plane, user).await
    }

    /// Every law that was broken on this stage so far, whoever played on it: the laws over traces, two pods on a claim,
    /// `Paused` beside a pod, a task submitted although it runs or is done, pods of one revision deleted in a row. With the
    /// number of steps that were judged.
    pub async fn broken_laws(&self) -> Result<(usize, Vec<String>), LiveError> {
        let log = self.plane.audit_since(self.start)?;
        // The record lags a little behind the log.
        let (versions, trace, journals) =
            wait_until("the record to hold what was written", RECORDED, async || {
                let (versions, gaps) = self.record.versions()?;
                let nodes = trace::Nodes::of(&versions, &gaps);
                let keys = nodes.keys().into_iter();
                let journals: Vec<_> =
                    keys.flat_map(|key| self.kubelet.director(&key.namespace, &key.name).journal()).collect();
                let trace = trace::trace(&log, &versions, &nodes, &journals)?;
                Ok::<_, String>((versions, trace, journals))
            })
            .await?;
        let mut out: Vec<String> = seinode_core::trace::broken(&trace)
            .into_iter()
            .map(|b| format!("law {}: {}: {}", b.law, b.text, trace::tell(trace.steps.get(b.at))))
            .collect();
        out.extend(trace::paused_with_a_pod(&versions));
        out.extend(trace::churn(&versions, &log));
        out.extend(self.kubelet.violations().iter().map(|v| format!("two pods on a claim: {v:?}")));
        // Two operators may ask for one task at the same moment; the sidecar runs it once.
        let repeated = journals.iter().filter(|e| e.event == Event::Repeated && self.rota.at_work(e.at) < 2);
        out.extend(repeated.map(|e| format!("submitted although it runs or is done: {e:?}")));
        Ok((trace.steps.len(), out))
    }

    /// What the operators of this name have logged so far.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Starts an operator with further flags and variables.
    pub fn operator_with(
        &self,
        name: &str,
        kubeconfig: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Operator, LiveError> {
        let given = |flag: &str| {
            let name = flag.split('=').next().unwrap_or_default();
            flags.iter().any(|f| f.split('=').next() == Some(name))
        };
        let mut arguments = arguments(self.folder.path(), kubeconfig, self.sidecars.address());
        // An operator with flags of its own is elected unless they say otherwise.
        arguments.retain(|flag| !given(flag) && !flag.starts_with("--leader-elect"));
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let mut all = gateway();
        all.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.installed_operator(name, &arguments, &all)
    }

    /// A file of the stage, for a test that changes it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The nodes of a namespace.
    pub fn nodes(&self, namespace: &str) -> Api<SeiNode> {
        Api::namespaced(self.plane.client_named("test"), namespace)
    }

    /// Makes a namespace with what pods need in it.
    pub async fn namespace(&self, name: &str) -> Result<(), LiveError> {
        self.plane.prepare_namespace(name, &["default", "sei-node"]).await
    }

    /// Creates a node from a manifest.
    pub async fn create(&self, namespace: &str, manifest: &Value) -> Result<SeiNode, kube::Error> {
        let node: SeiNode = serde_json::from_value(manifest.clone()).map_err(kube::Error::SerdeError)?;
        self.nodes(namespace).create(&PostParams::default(), &node).await
    }

    /// Waits until a node is as wanted.
    pub async fn until(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&SeiNode) -> bool,
    ) -> Result<SeiNode, LiveError> {
        let nodes = self.nodes(namespace);
        wait_until(what, SOON, async || match nodes.get(name).await {
            Ok(node) if wanted(&node) => Ok(node),
            Ok(node) => Err(serde_json::to_string(&node.status).unwrap_or_default()),
            Err(error) => Err(error.to_string()),
        })
        .await
    }
}

/// What an operator is started with: `folder` holds the platform file and the token.
pub(crate) fn arguments(folder: &Path, kubeconfig: &Path, sidecars: SocketAddr) -> Vec<String> {
    let mut out = vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--platform={}", folder.join("platform.yaml").display()),
        // Law 13 says that two at once do no harm; the cases start several side by side.
        "--leader-elect=false".to_owned(),
        "--metrics-bind-address=127.0.0.1:0".to_owned(),
        "--health-probe-bind-address=0".to_owned(),
        "--zap-devel=false".to_owned(),
        "--zap-encoder=console".to_owned(),
    ];
    out.extend(sidecar_arguments(folder, sidecars));
    out
}

fn sidecar_arguments(folder: &Path, sidecars: SocketAddr) -> [String; 2] {
    let url = format!("http://{sidecars}/{{namespace}}/{{name}}");
    [
        format!("--sidecar-url-template={url}"),
        format!("--sidecar-token-file={}", folder.join("token").display()),
    ]
}

/// Variables that an operator asks for and this one never reads.
pub(crate) fn gateway() -> BTreeMap<String, String> {
    platform::GATEWAY_VARIABLES.iter().map(|name| ((*name).to_owned(), "unused".to_owned())).collect()
}

/// How far the record may lag behind the log.
const RECORDED: Duration = Duration::from_secs(20);

/// The token that the pretend proxies demand.
pub const TOKEN: &str = "a-token-for-tests";
