//! Where whole lives are played: the real control plane, a pretend kubelet with pretend sidecars behind real sockets, and
//! the operator as a process of its own.

mod operator;
mod scrape;
mod socket;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use seinode_core::api::{SeiNode, crd};
use seinode_core::platform;
use seinode_sim::kubelet::{Kubelet, Options};
use seinode_sim::store::Clock;
use serde_json::Value;
use tempfile::TempDir;

use crate::live::{ControlPlane, LiveError, wait_until};

pub use operator::Operator;
pub use scrape::Page;

/// Patient, for machines that do other things at the same time.
pub const SOON: Duration = Duration::from_mins(2);

/// The stage.
pub struct Stage {
    /// The control plane.
    pub plane: Arc<ControlPlane>,
    /// The pretend kubelet.
    pub kubelet: Kubelet,
    sidecars: socket::Server,
    folder: TempDir,
    program: PathBuf,
}

impl Stage {
    /// Sets the stage: `program` is the operator, `scale` how slow the pretend nodes are compared with real ones.
    pub async fn set(program: &Path, scale: f64) -> Result<Self, LiveError> {
        let plane = ControlPlane::shared().await?;
        plane.install_crd(&crd::custom_resource_definition()).await?;
        Self::on(plane, program, scale).await
    }

    /// The same on a plane of one's own, without the definition.
    pub async fn on(plane: Arc<ControlPlane>, program: &Path, scale: f64) -> Result<Self, LiveError> {
        let mut options = Options::new(Clock::starting_at(Timestamp::now()));
        options.timing.scale = scale;
        options.token = Some(TOKEN.to_owned());
        options.heartbeat = Some(Duration::from_secs(10));
        let kubelet = Kubelet::start(plane.client_named("stub-kubelet"), options);
        let sidecars =
            socket::Server::start(kubelet.sidecars()).await.map_err(LiveError::io("serve the sidecars"))?;
        let folder = TempDir::new().map_err(LiveError::io("make a folder"))?;
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).map_err(LiveError::io(format!("write {name}")))
        };
        write("platform.yaml", platform::BUILTIN)?;
        write("token", TOKEN)?;
        Ok(Self { plane, kubelet, sidecars, folder, program: program.to_owned() })
    }

    /// Starts an operator.
    pub fn operator(&self, name: &str) -> Result<Operator, LiveError> {
        self.operator_as(name, &self.plane.kubeconfig())
    }

    /// Starts an operator with another account. It takes no lease: law 13 says that two at once do no harm.
    pub fn operator_as(&self, name: &str, kubeconfig: &Path) -> Result<Operator, LiveError> {
        let flags = ["--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0"];
        self.operator_with(name, kubeconfig, &flags, &[])
    }

    /// Starts an operator with further flags and variables.
    pub fn operator_with(
        &self,
        name: &str,
        kubeconfig: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Operator, LiveError> {
        let file = |name: &str| self.folder.path().join(name);
        let url = format!("http://{}/{{namespace}}/{{name}}", self.sidecars.address());
        let mut arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--platform={}", file("platform.yaml").display()),
            format!("--sidecar-url-template={url}"),
            format!("--sidecar-token-file={}", file("token").display()),
            "--zap-devel=false".to_owned(),
        ];
        if !flags.iter().any(|flag| flag.starts_with("--zap-encoder")) {
            arguments.push("--zap-encoder=console".to_owned());
        }
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let log = file(&format!("{name}.log"));
        Operator::start(&self.program, &arguments, variables, &log)
            .map_err(LiveError::io("start the operator"))
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

/// The token that the pretend proxies demand.
pub const TOKEN: &str = "a-token-for-tests";
