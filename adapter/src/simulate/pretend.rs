//! The pretend cluster with everything that runs on it, and operators that work on it.
//!
//! Answers: starts, stops and kills of operators over one cluster. Refuses to know: what is to happen; scripts and tests
//! say so. Upholds: an operator here is the one of `run`, down to the requests of its `kube::Client`; what is pretended
//! is only what answers them.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use seinode_core::api::{SeiNode, admission};
use seinode_core::ident::NodeKey;
use seinode_core::platform::{self, Platform};
use seinode_core::world::Settings;
use seinode_sim::api::{ApiServer, Faults, NoFaults};
use seinode_sim::cluster::{Cluster, Running};
use seinode_sim::error::FieldError;
use seinode_sim::kubelet::{Kubelet, Options};
use seinode_sim::sidecar::{ConnectError, SidecarService};
use seinode_sim::store::{Clock as SimClock, Kind, Store, Validator};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use crate::clock::Clock;
use crate::controller;
use crate::live::{Audience, Live, RegistrySource};
use crate::sidecar::{NotConnected, Sidecars, TokenSource, Transport};
use crate::telemetry::Metrics;

/// What a pretend cluster starts with.
pub struct Setup {
    /// What time it is there.
    pub start: Timestamp,
    /// How slow everything is, compared with real machines.
    pub pace: f64,
    /// The platform's settings.
    pub platform: Platform,
    /// Where operators find the witness registry.
    pub registry: RegistrySource,
    /// What goes wrong with requests to its API server.
    pub faults: Arc<dyn Faults>,
}

impl Setup {
    /// A cluster at its usual pace, with the built-in platform file and nothing going wrong.
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            pace: 1.0,
            platform: Platform::builtin(),
            registry: RegistrySource::Text(platform::BUILTIN.to_owned()),
            faults: Arc::new(NoFaults),
        }
    }
}

/// A pretend cluster.
pub struct Pretend {
    /// Its objects.
    pub store: Store,
    /// Its hosts and sidecars.
    pub kubelet: Kubelet,
    clock: SimClock,
    server: ApiServer,
    controllers: Running,
    platform: Platform,
    registry: RegistrySource,
}

impl Pretend {
    /// Starts one on the current runtime.
    pub fn start(setup: Setup) -> Self {
        let clock = SimClock::starting_at(setup.start);
        let store = Store::new(clock);
        store.validate_with(Kind::SeiNode, Validator::new(judge));
        let server = ApiServer::new(&store).with_faults(setup.faults);
        let mut options = Options::new(clock);
        options.timing.scale = setup.pace;
        let kubelet = Kubelet::start(Client::new(server.serving("kubelet"), "default"), options);
        let controllers = Cluster::new(&store).start();
        let Setup { platform, registry, .. } = setup;
        Self { store, kubelet, clock, server, controllers, platform, registry }
    }

    /// What was requested of its API server.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// The time there.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A node as it is stored.
    pub fn node(&self, key: &NodeKey) -> Option<SeiNode> {
        let object = self.store.get(Kind::SeiNode, &key.namespace, &key.name).ok()?;
        serde_json::from_value(object.as_ref().clone()).ok()
    }

    /// Makes up what a node mentions and what is not there yet: Secrets, and claims that were filled beforehand. Answers a
    /// line for each.
    pub fn make_up_for(&self, node: &SeiNode) -> anyhow::Result<Vec<String>> {
        super::made_up::surroundings(&self.store, node)
    }

    /// Operators that start from now on are given this platform file.
    pub fn give(&mut self, platform: Platform) {
        self.platform = platform;
    }

    /// Starts an operator.
    pub fn operator(&self, entry: Entry) -> Operator {
        let client = (entry.connect)(self.server.serving(&entry.client));
        let stop = CancellationToken::new();
        let watches = controller::watches(&client, &stop);
        let transport = (entry.sidecars)(transport(self.kubelet.sidecars()));
        let template = "http://{name}-0.{name}.{namespace}.svc.cluster.local:8443".to_owned();
        let live = Live::new(
            client,
            Arc::clone(&watches.caches),
            Sidecars::new(transport, template, TokenSource::None),
            Settings { platform: self.platform.clone(), asks_ec2: false },
            self.registry.clone(),
            Clock::starting_at(self.clock.now()),
            Arc::new(Metrics::new()),
        )
        .skewed_by(entry.skew)
        .told_to(entry.audience);
        let work = tokio::spawn(controller::run(watches, Arc::new(live)));
        Operator { stop, work }
    }

    /// Ends everything but operators.
    pub async fn stop(self) {
        self.kubelet.stop().await;
        self.controllers.stop();
    }
}

/// How one operator meets the cluster.
pub struct Entry {
    /// Its name in the record of the API server.
    pub client: String,
    /// Who is told what it does.
    pub audience: Arc<dyn Audience>,
    /// By how many milliseconds its clock is wrong.
    pub skew: Arc<AtomicI64>,
    /// Makes its client, with whatever stands between it and the API server.
    pub connect: Box<dyn FnOnce(ApiServer) -> Client + Send>,
    /// What stands between it and the sidecars.
    pub sidecars: Box<dyn FnOnce(Transport) -> Transport + Send>,
}

impl Entry {
    /// An operator with a right clock and nothing between it and the cluster.
    pub fn new(client: &str, audience: Arc<dyn Audience>) -> Self {
        Self {
            client: client.to_owned(),
            audience,
            skew: Arc::default(),
            connect: Box::new(|server| Client::new(server, "default")),
            sidecars: Box::new(|transport| transport),
        }
    }
}

/// A running operator.
pub struct Operator {
    stop: CancellationToken,
    work: JoinHandle<()>,
}

impl Operator {
    /// Asks it to end what is under way, and waits for that.
    pub async fn stop(self) {
        self.stop.cancel();
        // It panics only for a bug that it has reported already.
        let _ = self.work.await;
    }

    /// Ends it wherever it is, as SIGKILL does.
    pub async fn kill(self) {
        self.work.abort();
        self.stop.cancel();
        let _ = self.work.await;
    }
}

/// The API server's judgement of a SeiNode: schema, defaults, rules.
fn judge(new: &Value, old: Option<&Value>) -> Result<Value, Vec<FieldError>> {
    let result = match old {
        None => admission::check(new),
        Some(old) if old.get("status") != new.get("status") => admission::check_status(old, new),
        Some(old) => admission::check_update(old, new),
    };
    result.map_err(|errors| {
        errors
            .into_iter()
            .map(|e| FieldError { message: e.to_string(), field: e.path, cause: "FieldValueInvalid" })
            .collect()
    })
}

/// The pretend sidecars as a transport.
fn transport(service: SidecarService) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
        let mut service = service.clone();
        async move {
            let answer = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await?.call(request).await;
            let (parts, body) = answer
                .map_err(|error| -> BoxError {
                    match error {
                        ConnectError::Refused => Box::new(NotConnected),
                        ConnectError::Closed | ConnectError::Body => Box::new(error),
                    }
                })?
                .into_parts();
            Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
        }
    }))
}
