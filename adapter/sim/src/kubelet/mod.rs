//! A pretend scheduler, kubelet and volume provisioner over a `kube::Client`.
//!
//! Answers: pods get hosts, volumes, containers and an end; each one's sidecar answers behind `sidecars()`.
//! Refuses to know: whether the API server is pretend or real, and who makes and deletes pods.
//! Upholds: a claim's contents live as long as its volume; pods on two hosts never share a ReadWriteOnce claim; all
//! times come from the runtime's clock.
//!
//! ```text
//! watches ──▶ caches ──▶ Agent ── attend(pod) ──▶ Life (state machine) ──▶ status patch
//!                          │                        └▶ Sidecar on the claim's Volume
//!                          ├─ bind, provision, remove
//!                          └─ Switchboard ◀── sidecars()
//! ```

mod act;
mod agent;
mod cache;
mod chronicle;
mod container;
mod hosts;
mod life;
mod mounts;
mod options;
mod route;
mod shared;
mod status;
mod tend;

pub use chronicle::{PodLife, Violation};
pub use options::{Conduct, JobEnding, Options, Placement, Timing};

use crate::sidecar::{Bucket, Director, SidecarService, Volume};
use agent::{Agent, Command, Order};
use cache::Name;
use kube::Client;
use kube::api::{Api, DeleteParams};
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A running kubelet for all hosts. Dropping it leaves it running; `stop` ends it.
pub struct Kubelet {
    client: Client,
    shared: Arc<Shared>,
    service: SidecarService,
    bucket: Bucket,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubelet").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl Kubelet {
    /// Starts it on the current runtime.
    pub fn start(client: Client, options: Options) -> Self {
        let shared = Arc::new(Shared::new(&options));
        let service = SidecarService::new(shared.switchboard.clone(), options.clock);
        let (orders, inbox) = mpsc::unbounded_channel();
        let bucket = options.bucket.clone();
        let agent = Agent::new(client.clone(), options, shared.clone());
        let task = tokio::spawn(agent.run(inbox));
        Self { client, shared, service, bucket, orders, task }
    }

    /// Ends it. Objects stay as they are; sidecars no longer answer.
    pub async fn stop(self) {
        // A closed inbox means that it ended by itself.
        let _ = self.orders.send(Order::Stop);
        let _ = self.task.await;
    }

    /// All sidecars.
    pub fn sidecars(&self) -> SidecarService {
        self.service.clone()
    }

    /// Script and journal of one node's sidecars, also before its first pod.
    pub fn director(&self, namespace: &str, node: &str) -> Director {
        self.shared.director(&Name::new(namespace, node))
    }

    /// The contents behind a claim, once a pod mounted it.
    pub fn volume(&self, namespace: &str, claim: &str) -> Option<Volume> {
        self.shared.volume(&Name::new(namespace, claim))
    }

    /// The object store that sidecars use.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Every pod there ever was, oldest first.
    pub fn pods(&self) -> Vec<PodLife> {
        self.shared.chronicle(|chronicle| chronicle.lives.clone())
    }

    /// Every time a claim was mounted twice.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.chronicle(|chronicle| chronicle.violations.clone())
    }

    /// Changes what goes wrong.
    pub fn direct(&self, change: impl FnOnce(&mut Conduct)) {
        self.shared.conduct(change);
        self.order(Order::LookAgain);
    }

    /// Kills the sidecar's process of a pod; its container restarts.
    pub fn restart_sidecar(&self, namespace: &str, pod: &str) {
        self.order(Order::Pod(Name::new(namespace, pod), Command::RestartSidecar));
    }

    /// Kills the node program of a pod; its container restarts.
    pub fn crash_seid(&self, namespace: &str, pod: &str) {
        self.order(Order::Pod(Name::new(namespace, pod), Command::CrashSeid));
    }

    /// Sets the height that a running node program reports.
    pub fn set_height(&self, namespace: &str, pod: &str, height: u64) {
        self.order(Order::Pod(Name::new(namespace, pod), Command::SetHeight(height)));
    }

    /// Ends a pod as a host under pressure does: phase Failed, reason Evicted.
    pub fn fail_pod(&self, namespace: &str, pod: &str) {
        self.order(Order::Pod(Name::new(namespace, pod), Command::Fail));
    }

    /// Deletes a pod with its own grace period, as a drain does.
    pub async fn evict(&self, namespace: &str, pod: &str) -> Result<(), kube::Error> {
        self.delete(namespace, pod, DeleteParams::default()).await
    }

    /// Deletes a pod without grace, as an impatient person does: the object goes, its containers need a while.
    pub async fn force_delete(&self, namespace: &str, pod: &str) -> Result<(), kube::Error> {
        self.delete(namespace, pod, DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() })
            .await
    }

    async fn delete(&self, namespace: &str, pod: &str, how: DeleteParams) -> Result<(), kube::Error> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        pods.delete(pod, &how).await.map(|_| ())
    }

    fn order(&self, order: Order) {
        // Orders to a kubelet that was stopped have no effect, like orders to a host that is off.
        let _ = self.orders.send(order);
    }
}
