//! What stands between an operator and the cluster: it numbers every call and every watch event, and lets one of them go
//! wrong.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use seinode_operator::run::SILENCE;
use seinode_operator::sidecar::{NotConnected, Transport};
use seinode_operator::simulate::judge::Judge;
use seinode_operator::simulate::pretend::Pretend;
use seinode_sim::api::{
    ApiServer, Delivery, Faults, Happened, Request as ApiRequest, Trouble, Verb, WatchEvent,
};
use serde_json::json;
use tokio::sync::Notify;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt, service_fn};

use super::fault::{Fault, FaultKind, Place};

/// How long a late call takes: longer than any time limit of the operator.
const LATE: Duration = Duration::from_secs(30);

/// More calls than any life makes, many times over.
pub(super) const MOST_CALLS: usize = 1_500;

/// How many requests for watches are numbered: the first of each kind, and as many that follow an end of one. Later ones are
/// the same again every few minutes.
const MOST_WATCHES: usize = 24;

/// Everything that is numbered and what becomes of it.
pub(super) struct Mischief {
    fault: Option<Fault>,
    state: Mutex<State>,
    /// The first operator is to be killed.
    pub(super) crash: Notify,
    /// A second operator is to be started.
    pub(super) second: Notify,
    /// There is no end to the calls.
    pub(super) storm: Notify,
    /// Watches are to be made to list again.
    pub(super) relist: Notify,
    pub(super) skew: Arc<AtomicI64>,
    /// Who judges what operators do.
    pub(super) judge: Arc<Judge>,
}

#[derive(Default)]
struct State {
    places: Vec<Place>,
    events: usize,
    watches: usize,
    has_happened: bool,
    cuts_all: bool,
    /// The latest different answers to reads of sidecars, newest last.
    answers: BTreeMap<String, Vec<Bytes>>,
    /// Deletes that took hold, by kind.
    deletes: BTreeMap<String, usize>,
}

impl Mischief {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self {
            fault,
            state: Mutex::default(),
            crash: Notify::new(),
            second: Notify::new(),
            storm: Notify::new(),
            relist: Notify::new(),
            skew: Arc::default(),
            judge: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls so far, as places.
    pub(super) fn places(&self) -> Vec<Place> {
        self.state().places.clone()
    }

    /// How many watch events were delivered.
    pub(super) fn events(&self) -> usize {
        self.state().events
    }

    pub(super) fn has_happened(&self) -> bool {
        self.state().has_happened
    }

    pub(super) fn deletes(&self) -> BTreeMap<String, usize> {
        self.state().deletes.clone()
    }

    /// Ends every watch at its next event.
    pub(super) fn cut_all(&self, cut: bool) {
        self.state().cuts_all = cut;
    }

    /// The fault of this call, if it is the one.
    fn number(&self, place: Place) -> Option<FaultKind> {
        let mut state = self.state();
        let number = state.places.len();
        state.places.push(place);
        if number == MOST_CALLS {
            self.storm.notify_one();
        }
        let fault = self.fault.filter(|fault| fault.at == number && fault.kind.fits(place))?;
        state.has_happened = true;
        drop(state);
        match fault.kind {
            FaultKind::Jump(minutes) => {
                self.skew.fetch_add(minutes * 60_000, Ordering::Relaxed);
                None
            }
            FaultKind::Second => {
                self.second.notify_one();
                None
            }
            kind => Some(kind),
        }
    }

    /// Whether one more request for a watch is numbered.
    fn counts_watch(&self) -> bool {
        let mut state = self.state();
        state.watches += 1;
        state.watches <= MOST_WATCHES
    }

    /// A client whose calls are numbered. `dead` is set when the operator has been killed: nothing goes out any more.
    pub(super) fn client(self: &Arc<Self>, server: ApiServer, dead: Arc<AtomicBool>) -> Client {
        let mischief = Arc::clone(self);
        let service = service_fn(move |request: Request<Body>| {
            let (mischief, server, dead) = (mischief.clone(), server.clone(), dead.clone());
            async move { mischief.call(server, request, &dead).await }
        });
        Client::new(service, "default")
    }

    async fn call(
        self: Arc<Self>,
        server: ApiServer,
        request: Request<Body>,
        dead: &AtomicBool,
    ) -> Result<Response<UnsyncBoxBody<Bytes, io::Error>>, io::Error> {
        if dead.load(Ordering::Relaxed) {
            return pending().await;
        }
        let is_watch = request.uri().query().is_some_and(|q| q.contains("watch=true"));
        if is_watch && !self.counts_watch() {
            return server.oneshot(request).await;
        }
        let is_write = request.method() != Method::GET;
        let fault = self.number(if is_watch { Place::Watch } else { Place::Api { is_write } });
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let send = server.oneshot(Request::from_parts(parts, Full::new(body)));
        let lost = || Err(io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer"));
        // As the client of `run` gives up a connection, where no shorter limit was set: on a list before a watch.
        let silence = async || {
            tokio::time::sleep(SILENCE).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was read for too long"))
        };
        match fault {
            None => send.await,
            Some(FaultKind::CrashBefore) => self.die(dead).await,
            Some(FaultKind::CrashAfter) => {
                // Whether it was granted is lost with the operator.
                let _ = send.await;
                self.die(dead).await
            }
            Some(FaultKind::Answer(code)) => Ok(refusal(code)),
            Some(FaultKind::AnswerAfter(code)) => send.await.map(|_| refusal(code)),
            Some(FaultKind::Hang) => silence().await,
            Some(FaultKind::HangAfter) => {
                let _ = send.await;
                silence().await
            }
            Some(FaultKind::Lose) => lost(),
            Some(FaultKind::LoseAfter) => {
                let _ = send.await;
                lost()
            }
            Some(FaultKind::Late) => {
                tokio::spawn(async move {
                    tokio::time::sleep(LATE).await;
                    let _ = send.await;
                });
                pending().await
            }
            Some(other) => Err(io::Error::other(format!("{other} is no fault of the API server"))),
        }
    }

    async fn die<T>(&self, dead: &AtomicBool) -> T {
        dead.store(true, Ordering::Relaxed);
        self.crash.notify_one();
        pending().await
    }

    /// A transport to the sidecars whose calls are numbered with the others.
    pub(super) fn transport(
        self: &Arc<Self>,
        inner: Transport,
        client: &str,
        kubelet: Amnesiac,
        dead: Arc<AtomicBool>,
    ) -> Transport {
        let (mischief, client) = (Arc::clone(self), client.to_owned());
        BoxCloneSyncService::new(service_fn(move |request: Request<Full<Bytes>>| {
            let (mischief, inner) = (mischief.clone(), inner.clone());
            let (kubelet, dead, client) = (kubelet.clone(), dead.clone(), client.clone());
            async move { mischief.ask(inner, request, &client, &kubelet, &dead).await }
        }))
    }

    async fn ask(
        self: Arc<Self>,
        inner: Transport,
        request: Request<Full<Bytes>>,
        client: &str,
        kubelet: &Amnesiac,
        dead: &AtomicBool,
    ) -> Result<Response<Bytes>, BoxError> {
        if dead.load(Ordering::Relaxed) {
            return pending().await;
        }
        let is_write = request.method() != Method::GET;
        let line = request.uri().to_string();
        let address = request.uri().clone();
        let fault = self.number(Place::Sidecar { is_write });
        let lost = || -> Result<Response<Bytes>, BoxError> { Err("connection reset by peer".into()) };
        let answer = |code: u16, body: &'static str| {
            let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
            *answer.status_mut() = StatusCode::from_u16(code)?;
            Ok(answer)
        };
        match fault {
            None => {
                let answer = inner.oneshot(request).await;
                if is_write {
                    self.judge.asked(client, &address, answer.as_ref().ok().map(Response::status));
                }
                if let (false, Ok(answer)) = (is_write, &answer) {
                    self.remember(&line, answer.body());
                }
                answer
            }
            Some(FaultKind::CrashBefore) => self.die(dead).await,
            Some(FaultKind::CrashAfter) => {
                let _ = inner.oneshot(request).await;
                self.die(dead).await
            }
            Some(FaultKind::Answer(code)) => answer(code, "not now"),
            Some(FaultKind::AnswerAfter(code)) => {
                let _ = inner.oneshot(request).await;
                answer(code, "not now")
            }
            Some(FaultKind::Hang) => pending().await,
            Some(FaultKind::HangAfter) => {
                let _ = inner.oneshot(request).await;
                pending().await
            }
            Some(FaultKind::Lose) => lost(),
            Some(FaultKind::LoseAfter) => {
                let _ = inner.oneshot(request).await;
                lost()
            }
            Some(FaultKind::Late) => {
                tokio::spawn(async move {
                    tokio::time::sleep(LATE).await;
                    let _ = inner.oneshot(request).await;
                });
                pending().await
            }
            Some(FaultKind::Refuse) => Err(Box::new(NotConnected)),
            Some(FaultKind::Lie) => {
                let told = inner.oneshot(request).await?;
                let lie = lie(told.body());
                if lie.is_none() {
                    // Nothing runs that it could lie about.
                    self.state().has_happened = false;
                }
                Ok(lie.map_or(told, Response::new))
            }
            Some(FaultKind::Nonsense) => answer(200, "<html>not what you think</html>"),
            Some(FaultKind::Amnesia) => {
                kubelet.forget();
                inner.oneshot(request).await
            }
            Some(FaultKind::Stale(back)) => {
                let old = {
                    let state = self.state();
                    let known = state.answers.get(&line);
                    known.and_then(|all| all.len().checked_sub(back + 1).and_then(|i| all.get(i))).cloned()
                };
                match old {
                    Some(body) => Ok(Response::new(body)),
                    None => {
                        // It has not changed so often yet: nothing happens.
                        self.state().has_happened = false;
                        inner.oneshot(request).await
                    }
                }
            }
            Some(other) => Err(format!("{other} is no fault of a sidecar").into()),
        }
    }

    fn remember(&self, line: &str, body: &Bytes) {
        let mut state = self.state();
        let known = state.answers.entry(line.to_owned()).or_default();
        if known.last() != Some(body) {
            known.push(body.clone());
        }
    }
}

/// The list of tasks with each that runs shown as completed; nothing if none does.
fn lie(told: &Bytes) -> Option<Bytes> {
    let mut tasks: Vec<serde_json::Value> = serde_json::from_slice(told).ok()?;
    let running = tasks.iter_mut().filter(|task| task["status"] == "running");
    let lies = running.map(|task| {
        task["status"] = json!("completed");
        task["completedAt"] = task["submittedAt"].clone();
    });
    (lies.count() > 0).then(|| Bytes::from(json!(tasks).to_string()))
}

/// Makes the sidecars of the nodes forget.
#[derive(Clone)]
pub(super) struct Amnesiac {
    pub(super) pretend: Arc<Pretend>,
    pub(super) claims: Vec<String>,
}

impl Amnesiac {
    fn forget(&self) {
        let volumes = self.claims.iter().filter_map(|claim| self.pretend.kubelet.volume("default", claim));
        for volume in volumes {
            volume.forget_records();
        }
    }
}

fn refusal(code: u16) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "made to fail", "reason": reason, "code": code,
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(UnsyncBoxBody::new(body));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// The troubles of watches; those of calls are the layer's.
impl Faults for Mischief {
    fn before(&self, request: &ApiRequest) -> Trouble {
        if is_by_operator(request) {
            self.judge.before(request);
        }
        Trouble::None
    }

    fn after(&self, request: &ApiRequest, code: u16) -> Trouble {
        if is_by_operator(request) && self.judge.after(request, code).changed && request.verb == Verb::Delete
        {
            *self.state().deletes.entry(request.kind.to_string()).or_default() += 1;
        }
        Trouble::None
    }

    fn deliver(&self, watch: &ApiRequest, event: &WatchEvent) -> Delivery {
        if watch.client != FIRST {
            return Delivery::Deliver;
        }
        let mut state = self.state();
        if state.cuts_all {
            return Delivery::Cut;
        }
        if event.happened == Happened::Bookmark {
            return Delivery::Deliver;
        }
        let number = state.events;
        state.events += 1;
        let Some(fault) = self.fault.filter(|f| f.at == number && f.kind.fits(Place::Event)) else {
            return Delivery::Deliver;
        };
        state.has_happened = true;
        match fault.kind {
            FaultKind::DelayEvent(span) => Delivery::Delay(span),
            FaultKind::DropEvent => {
                self.relist.notify_one();
                Delivery::Swallow
            }
            FaultKind::CutWatch => Delivery::Cut,
            _ => Delivery::Break,
        }
    }
}

fn is_by_operator(request: &ApiRequest) -> bool {
    request.verb.is_write() && matches!(request.client.as_str(), FIRST | SECOND)
}

/// The operator that comes later.
pub(super) const SECOND: &str = "second";
/// The operator that faults happen to.
pub(super) const FIRST: &str = "operator";
