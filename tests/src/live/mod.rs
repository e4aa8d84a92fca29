//! Answers: what does a real Kubernetes control plane do? It starts etcd, kube-apiserver and
//! kube-controller-manager as child processes on this machine, and offers clients, users and the audit log.
//!
//! Refuses to know what a SeiNode is. There is no scheduler and no kubelet: StatefulSets and Jobs make Pod
//! objects, and whatever a machine would do to them (status, readiness) a test does itself.
//!
//! Upholds: no process outlives the test, no test is skipped. What is missing is an error that says what to
//! install.
//!
//! # Use
//!
//! ```no_run
//! # async fn case() -> Result<(), seinode_tests::live::LiveError> {
//! use seinode_tests::live::ControlPlane;
//!
//! let plane = ControlPlane::shared().await?;
//! plane.prepare_namespace("my-case", &["sei-node"]).await?;
//! let start = plane.audit_mark()?;
//! let client = plane.client();
//! // ...
//! let mine = plane.audit_since(start)?.into_iter().filter(|event| event.namespace == "my-case");
//! # Ok(())
//! # }
//! ```
//!
//! A test that only talks to the cluster takes [`ControlPlane::shared`] and a namespace of its own. The plane
//! lives as long as one of its tests does: no static keeps it, because a static is never dropped. A test that
//! stops components takes a plane of its own, [`ControlPlane::start`]; that is why those methods want the
//! plane by `&mut`, as nobody has a shared one.
//!
//! Every test has its own runtime, and a [`kube::Client`] belongs to the runtime it was made in. So a plane
//! keeps none: each test asks for one, and does not hand it to another.
//!
//! Dropping the plane, also while a panic unwinds, asks each process to end, kills it if it does not, and
//! waits for it. If the test process dies without dropping anything, the kernel ends the children (see
//! `process.rs`).
//!
//! `SEINODE_TEST_KEEP=1` keeps the folder with the logs, the audit log and the data, and says where it is.

mod audit;
pub(crate) mod binaries;
mod component;
mod error;
mod fleet;
mod folder;
mod process;
mod site;
mod wait;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;

pub use self::audit::{AuditEvent, AuditMark};
pub use self::component::Component;
pub use self::error::LiveError;
pub use self::wait::wait_until;

use self::binaries::Binaries;
use self::fleet::Fleet;
use self::process::Process;

/// A running control plane. All its processes end when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    fleet: Fleet,
    config: Config,
}

impl ControlPlane {
    /// Starts a plane that belongs to the caller alone. The first start on a machine builds the components.
    pub async fn start() -> Result<Self, LiveError> {
        let fleet = Fleet::start(Binaries::locate().await?).await?;
        let config = fleet.site.config(Component::ApiServer).await?;
        let plane = Self { fleet, config };
        plane.await_default_account("default").await?;
        Ok(plane)
    }

    /// The plane that the tests of one binary share: started by the first, ended by the last that holds it.
    pub async fn shared() -> Result<Arc<Self>, LiveError> {
        static SHARED: Mutex<Weak<ControlPlane>> = Mutex::const_new(Weak::new());
        let mut slot = SHARED.lock().await;
        if let Some(plane) = slot.upgrade() {
            return Ok(plane);
        }
        let plane = Arc::new(Self::start().await?);
        *slot = Arc::downgrade(&plane);
        Ok(plane)
    }

    /// How to reach the API server as its administrator; for clients with settings of their own.
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// A client of the administrator, for the runtime that this is called in.
    pub fn client(&self) -> Client {
        client(self.config())
    }

    /// The same with a user agent of plain ASCII, by which to find its requests in the audit log.
    pub fn client_named(&self, agent: &'static str) -> Client {
        let mut config = self.config();
        config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
        client(config)
    }

    /// A client of another user, see [`Self::kubeconfig_as`].
    pub fn client_as(&self, user: &str) -> Client {
        let mut config = self.config();
        config.auth_info.impersonate = Some(user.to_owned());
        client(config)
    }

    /// The kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.fleet.site.admin_kubeconfig()
    }

    /// A kubeconfig for any other user, who has no rights until a test binds a role to that name. The name
    /// `system:serviceaccount:NAMESPACE:NAME` is that service account, with its groups.
    pub fn kubeconfig_as(&self, user: &str) -> Result<PathBuf, LiveError> {
        self.fleet.site.user_kubeconfig(user)
    }

    /// All requests that were answered so far, in the order of their answers. A request is in here once its
    /// answer has come in whole, so a test sees all it did itself.
    pub fn audit(&self) -> Result<Vec<AuditEvent>, LiveError> {
        self.audit_since(AuditMark::default())
    }

    /// Where the audit log ends now.
    pub fn audit_mark(&self) -> Result<AuditMark, LiveError> {
        AuditMark::end(&self.fleet.site.audit_log())
    }

    /// The requests that were answered after the mark.
    pub fn audit_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>, LiveError> {
        mark.read(&self.fleet.site.audit_log())
    }

    /// Makes a namespace with these service accounts, unless they are there. Pods need the account that they
    /// name, and the default one, which the controller manager makes.
    pub async fn prepare_namespace(&self, name: &str, accounts: &[&str]) -> Result<(), LiveError> {
        let named = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata: named(name), ..Namespace::default() };
        create(&Api::all(self.client()), &namespace, &format!("create namespace {name}")).await?;
        for account in accounts {
            let what = format!("create service account {name}/{account}");
            let account = ServiceAccount { metadata: named(account), ..ServiceAccount::default() };
            create(&Api::namespaced(self.client(), name), &account, &what).await?;
        }
        self.await_default_account(name).await
    }

    /// Applies a CustomResourceDefinition and waits until the server has accepted it and serves all its
    /// versions.
    pub async fn install_crd(&self, crd: &Value) -> Result<(), LiveError> {
        let name = crd["metadata"]["name"].as_str().ok_or(LiveError::Manifest("metadata.name"))?;
        let client = self.client();
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        let how = PatchParams::apply(MANAGER).force();
        let applied = crds.patch(name, &how, &Patch::Apply(crd)).await;
        applied.map_err(LiveError::kube(format!("apply {name}")))?;
        wait_until(&format!("{name} to be served"), SERVED_LIMIT, async || {
            let crd = crds.get(name).await.map_err(|error| error.to_string())?;
            accepted(&crd)?;
            for path in served_paths(&crd) {
                let request = Request::get(&path).body(Vec::new()).map_err(|error| error.to_string())?;
                client.request_text(request).await.map_err(|error| format!("{path}: {error}"))?;
            }
            Ok::<_, String>(())
        })
        .await
    }

    /// Runs kubectl as the administrator.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<Output, LiveError> {
        let run = Command::new(self.fleet.binaries.path("kubectl"))
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.fleet.site.kubectl_cache())
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let late = |_| LiveError::NotYet {
            what: format!("kubectl {}", arguments.join(" ")),
            limit: KUBECTL_LIMIT,
            last: "it still runs".into(),
        };
        tokio::time::timeout(KUBECTL_LIMIT, run).await.map_err(late)?.map_err(LiveError::io("run kubectl"))
    }

    /// Asks a component to end, and waits for it.
    pub async fn stop(&mut self, component: Component) -> Result<(), LiveError> {
        self.fleet.end(component, drop).await
    }

    /// Ends a component as a crash would.
    pub async fn kill(&mut self, component: Component) -> Result<(), LiveError> {
        self.fleet.end(component, Process::kill).await
    }

    /// Starts a component that was stopped or killed, on the same port and with the same data, and waits
    /// until it is ready, and the API server with it if that runs.
    ///
    /// The controller manager finds an API server again by itself, but after ten seconds of outage it takes
    /// its watches up only a minute later. A test that cannot wait for that stops and resumes it too, which
    /// takes no time.
    pub async fn resume(&mut self, component: Component) -> Result<(), LiveError> {
        self.fleet.resume(component).await
    }

    /// The processes that run.
    pub fn pids(&self) -> BTreeMap<Component, u32> {
        self.fleet.pids()
    }

    async fn await_default_account(&self, namespace: &str) -> Result<(), LiveError> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client(), namespace);
        let what = format!("the default service account of {namespace}");
        wait_until(&what, ACCOUNT_LIMIT, async || accounts.get("default").await.map(drop)).await
    }
}

fn client(config: Config) -> Client {
    Client::try_from(config).expect("the configuration made clients when the plane started")
}

/// Creates the object, or leaves the one that is there.
async fn create<K>(api: &Api<K>, object: &K, what: &str) -> Result<(), LiveError>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    match api.create(&PostParams::default(), object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(LiveError::kube(what)(error)),
    }
}

/// An error, with the reason, until the server has taken over the definition as it is now.
fn accepted(crd: &CustomResourceDefinition) -> Result<(), String> {
    let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let held: Vec<_> =
        conditions.filter(|condition| condition.status == "True").map(|c| c.type_.as_str()).collect();
    if held.contains(&"Established") && held.contains(&"NamesAccepted") {
        Ok(())
    } else {
        Err(format!("the conditions that hold are {held:?}"))
    }
}

fn served_paths(crd: &CustomResourceDefinition) -> Vec<String> {
    let spec = &crd.spec;
    let served = spec.versions.iter().filter(|version| version.served);
    let path = |version: &str| format!("/apis/{}/{version}/{}?limit=1", spec.group, spec.names.plural);
    served.map(|version| path(&version.name)).collect()
}

/// The field manager of what the harness applies.
const MANAGER: &str = "seinode-tests";

/// The controller manager makes the account as soon as it sees the namespace.
const ACCOUNT_LIMIT: Duration = Duration::from_mins(1);

/// A definition is served within a second, or some five after a server with peers.
const SERVED_LIMIT: Duration = Duration::from_mins(1);

/// For a server that answers at all.
const KUBECTL_LIMIT: Duration = Duration::from_mins(2);
