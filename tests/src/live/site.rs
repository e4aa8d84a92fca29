//! Answers: where does a control plane live? Its folder, its ports, its users, and the arguments that follow
//! from them.
//!
//! Refuses to know whether it runs: a component that starts again finds the same ports and the same data.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::folder::Folder;
use super::{Component, LiveError};

/// The place of one control plane.
#[derive(Debug)]
pub(super) struct Site {
    folder: Folder,
    ports: Ports,
    admin_token: String,
    manager_token: String,
}

impl Site {
    pub(super) fn prepare() -> Result<Self, LiveError> {
        let folder = Folder::make()?;
        let ports = Ports::choose().map_err(LiveError::io("find free ports"))?;
        let site = Self { folder, ports, admin_token: random_token(), manager_token: random_token() };
        site.write(POLICY, &audit_policy().to_string())?;
        site.write(TOKENS, &site.tokens())?;
        site.write(ADMIN, &site.kubeconfig(Component::ApiServer, &site.admin_token, None).to_string())?;
        site.write(MANAGER, &site.kubeconfig(Component::ApiServer, &site.manager_token, None).to_string())?;
        Ok(site)
    }

    /// The kubeconfig of the administrator.
    pub(super) fn admin_kubeconfig(&self) -> PathBuf {
        self.path(ADMIN)
    }

    /// A kubeconfig for any other user. The administrator stands in for it: such a user needs no token, and a
    /// server that runs already learns no new tokens.
    pub(super) fn user_kubeconfig(&self, user: &str) -> Result<PathBuf, LiveError> {
        let letter =
            |c: char| if c.is_ascii_alphanumeric() { c.into() } else { format!("_{:x}", u32::from(c)) };
        let name = format!("user-{}.kubeconfig", user.chars().map(letter).collect::<String>());
        let content = self.kubeconfig(Component::ApiServer, &self.admin_token, Some(user));
        self.write(&name, &content.to_string())?;
        Ok(self.path(&name))
    }

    /// How to talk to a component as its administrator. The component must have run before: it makes its
    /// certificate when it first starts.
    pub(super) async fn config(&self, component: Component) -> Result<Config, LiveError> {
        let failed = |source| LiveError::Kubeconfig { component, source: Box::new(source) };
        let content = self.kubeconfig(component, &self.admin_token, None).to_string();
        let kubeconfig = Kubeconfig::from_yaml(&content).map_err(failed)?;
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)
    }

    /// Asks a component whether it is ready.
    pub(super) async fn probe(&self, component: Component) -> Result<(), LiveError> {
        let path = match component {
            Component::ControllerManager => "/healthz",
            Component::ApiServer | Component::Etcd => "/readyz",
        };
        let failed = || LiveError::kube(format!("ask {component} for {path}"));
        let config = self.config(component).await?;
        let client = Client::try_from(config).map_err(failed())?;
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError).map_err(failed())?;
        client.request_text(request).await.map_err(failed())?;
        Ok(())
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.path(AUDIT)
    }

    /// A folder that kubectl may fill with what it learned about the server.
    pub(super) fn kubectl_cache(&self) -> PathBuf {
        self.path("kubectl")
    }

    pub(super) fn log(&self, component: Component) -> PathBuf {
        self.path(&format!("{component}.log"))
    }

    pub(super) fn arguments(&self, component: Component) -> Vec<String> {
        match component {
            Component::ControllerManager => self.controller_manager(),
            Component::ApiServer => self.api_server(),
            Component::Etcd => self.etcd(),
        }
    }

    fn etcd(&self) -> Vec<String> {
        let client = self.url(Component::Etcd);
        let peer = format!("http://{LOCAL}:{}", self.ports.etcd_peer);
        vec![
            "--name=etcd".into(),
            format!("--data-dir={}", self.text("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=etcd={peer}"),
            // The data need not survive the machine, only the process.
            "--unsafe-no-fsync".into(),
            "--log-level=warn".into(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let key = self.text(SERVER_KEY);
        vec![
            format!("--etcd-servers={}", self.url(Component::Etcd)),
            format!("--bind-address={LOCAL}"),
            format!("--advertise-address={LOCAL}"),
            format!("--secure-port={}", self.ports.api_server),
            format!("--cert-dir={}", self.text(SERVER_FOLDER)),
            format!("--token-auth-file={}", self.text(TOKENS)),
            "--authorization-mode=RBAC".into(),
            // As some distributions have it: who sets an owner reference that blocks deletion needs a right for it.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".into(),
            // The key of the serving certificate signs service account tokens too: the server makes it before
            // it reads it, so nothing here has to generate one.
            "--service-account-issuer=https://seinode.test".into(),
            format!("--service-account-key-file={key}"),
            format!("--service-account-signing-key-file={key}"),
            // Room for a Service for each of several thousand nodes.
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            // The Service `kubernetes` cannot point to a loopback address; nobody asks it.
            "--endpoint-reconciler-type=none".into(),
            "--allow-privileged=true".into(),
            "--profiling=false".into(),
            // Open watches are ended when the server is asked to end, instead of keeping it for a minute.
            "--shutdown-watch-termination-grace-period=1s".into(),
            format!("--audit-policy-file={}", self.text(POLICY)),
            format!("--audit-log-path={}", self.text(AUDIT)),
            // A request is in the log before its answer is complete.
            "--audit-log-mode=blocking".into(),
            // One file, however long.
            "--audit-log-maxsize=0".into(),
        ]
    }

    fn controller_manager(&self) -> Vec<String> {
        let idle: Vec<_> = IDLE_CONTROLLERS.iter().map(|name| format!("-{name}")).collect();
        vec![
            format!("--kubeconfig={}", self.text(MANAGER)),
            format!("--bind-address={LOCAL}"),
            format!("--secure-port={}", self.ports.controller_manager),
            format!("--cert-dir={}", self.text(MANAGER_FOLDER)),
            format!("--root-ca-file={}", self.text(SERVER_CERTIFICATE)),
            format!("--service-account-private-key-file={}", self.text(SERVER_KEY)),
            format!("--controllers=*,{}", idle.join(",")),
            "--leader-elect=false".into(),
            "--profiling=false".into(),
            // A thousand nodes come up in seconds instead of minutes.
            "--kube-api-qps=1000".into(),
            "--kube-api-burst=2000".into(),
            "--concurrent-statefulset-syncs=20".into(),
            "--concurrent-job-syncs=20".into(),
        ]
    }

    fn kubeconfig(&self, component: Component, token: &str, user: Option<&str>) -> Value {
        let mut cluster = json!({ "server": self.url(component) });
        if let Some(certificate) = certificate(component) {
            cluster["certificate-authority"] = self.text(certificate).into();
        }
        let mut identity = json!({ "token": token });
        if let Some(user) = user {
            identity["as"] = user.into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "live", "cluster": cluster }],
            "users": [{ "name": "live", "user": identity }],
            "contexts": [{ "name": "live", "context": { "cluster": "live", "user": "live" } }],
            "current-context": "live",
        })
    }

    fn tokens(&self) -> String {
        format!(
            "{},{ADMIN_USER},admin,\"system:masters\"\n{},{MANAGER_USER},manager,\"system:masters\"\n",
            self.admin_token, self.manager_token
        )
    }

    fn url(&self, component: Component) -> String {
        match component {
            Component::ControllerManager => format!("https://{LOCAL}:{}", self.ports.controller_manager),
            Component::ApiServer => format!("https://{LOCAL}:{}", self.ports.api_server),
            Component::Etcd => format!("http://{LOCAL}:{}", self.ports.etcd),
        }
    }

    fn write(&self, name: &str, content: &str) -> Result<(), LiveError> {
        fs::write(self.path(name), content).map_err(LiveError::io(format!("write {name}")))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[derive(Debug)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    api_server: u16,
    controller_manager: u16,
}

impl Ports {
    fn choose() -> io::Result<Self> {
        // All are held until all are chosen, so that they differ.
        let held = [free_port()?, free_port()?, free_port()?, free_port()?];
        let mut ports = [0; 4];
        for (port, listener) in ports.iter_mut().zip(&held) {
            *port = listener.local_addr()?.port();
        }
        let [etcd, etcd_peer, api_server, controller_manager] = ports;
        Ok(Self { etcd, etcd_peer, api_server, controller_manager })
    }
}

/// A free port out of a range from which systems hand out none by themselves. Else a client that connects
/// again and again to a component that is down could be given the component's own port, and would take it
/// away.
fn free_port() -> io::Result<TcpListener> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        let [high, low, ..] = random().to_be_bytes();
        let port = FIRST_PORT + u16::from_be_bytes([high, low]) % PORTS;
        match TcpListener::bind((LOCAL, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// The hasher of the standard library is seeded by the system: enough for ports, and for tokens of a server
/// that only this machine reaches and that lives for minutes.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn random_token() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// What signs for a component: it makes a certificate for itself.
const fn certificate(component: Component) -> Option<&'static str> {
    match component {
        Component::ControllerManager => Some(MANAGER_CERTIFICATE),
        Component::ApiServer => Some(SERVER_CERTIFICATE),
        Component::Etcd => None,
    }
}

/// Writes with what was sent, everything else by its metadata; a request is logged once, when it is answered.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            { "level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"] },
            { "level": "Request", "verbs": super::audit::WRITES },
            { "level": "Metadata" },
        ],
    })
}

const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

const ADMIN_USER: &str = "live-admin";
/// The name that the rules of the API server's priority levels know.
const MANAGER_USER: &str = "system:kube-controller-manager";

const ADMIN: &str = "admin.kubeconfig";
const AUDIT: &str = "audit.log";
const MANAGER: &str = "manager.kubeconfig";
const MANAGER_CERTIFICATE: &str = "manager/kube-controller-manager.crt";
const MANAGER_FOLDER: &str = "manager";
const POLICY: &str = "audit-policy.json";
const SERVER_CERTIFICATE: &str = "server/apiserver.crt";
const SERVER_FOLDER: &str = "server";
const SERVER_KEY: &str = "server/apiserver.key";
const TOKENS: &str = "tokens.csv";

/// Below the ephemeral ports of Linux (from 32768) and of everybody else (from 49152).
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;
/// A machine that has not one port in a hundred free is in other trouble.
const PORT_ATTEMPTS: usize = 100;

/// Controllers that act on machines. There is no kubelet: what a test pretends about a Node or a bound pod
/// they would take back, because nobody renews it.
const IDLE_CONTROLLERS: [&str; 5] = [
    "device-taint-eviction-controller",
    "node-lifecycle-controller",
    "persistentvolume-attach-detach-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
];
