#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

/// An API server that knows Leases only, with the one thing that matters of it: a write of an old version is refused.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<BTreeMap<String, Lease>>>);

impl Server {
    fn answer(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let mut leases = self.0.lock().unwrap();
        let name = path.split("/leases").nth(1).unwrap().trim_matches('/').to_owned();
        let sent: Option<Lease> = serde_json::from_slice(body).ok();
        let refused = |code: StatusCode, reason: &str| {
            (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason}),
            )
        };
        let version = |lease: &Lease| lease.metadata.resource_version.clone().unwrap_or_default();
        match (method, sent) {
            (&Method::GET, _) => match leases.get(&name) {
                Some(lease) => (StatusCode::OK, json!(lease)),
                None => refused(StatusCode::NOT_FOUND, "NotFound"),
            },
            (&Method::POST, Some(mut lease)) => {
                let name = lease.metadata.name.clone().unwrap();
                if leases.contains_key(&name) {
                    return refused(StatusCode::CONFLICT, "AlreadyExists");
                }
                lease.metadata.resource_version = Some("1".into());
                leases.insert(name, lease.clone());
                (StatusCode::CREATED, json!(lease))
            }
            (&Method::PUT, Some(mut lease)) => match leases.get(&name) {
                Some(stored) if version(stored) == version(&lease) => {
                    let next = version(stored).parse::<u64>().unwrap() + 1;
                    lease.metadata.resource_version = Some(next.to_string());
                    leases.insert(name, lease.clone());
                    (StatusCode::OK, json!(lease))
                }
                Some(_) => refused(StatusCode::CONFLICT, "Conflict"),
                None => refused(StatusCode::NOT_FOUND, "NotFound"),
            },
            _ => refused(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    /// A client whose requests hang while `cut` is set.
    fn client(&self, cut: Arc<AtomicBool>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, cut) = (server.clone(), Arc::clone(&cut));
            async move {
                if cut.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let (code, answer) = server.answer(&parts.method, parts.uri.path(), &body);
                let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                *response.status_mut() = code;
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        Client::new(service, "default")
    }

    fn holder(&self, lease: &str) -> String {
        let leases = self.0.lock().unwrap();
        leases.get(lease).and_then(|l| l.spec.clone()?.holder_identity).unwrap_or_default()
    }

    /// What the Go operator does when it renews.
    fn hold_as_go(&self, holder: &str, second: i64) {
        let mut leases = self.0.lock().unwrap();
        let lease = leases.entry(LEASE.to_owned()).or_default();
        let next = lease.metadata.resource_version.as_deref().map_or(1, |v| v.parse::<u64>().unwrap() + 1);
        lease.metadata.resource_version = Some(next.to_string());
        lease.spec = Some(record(holder, if holder.is_empty() { 1 } else { 15 }, second));
    }
}

/// An operator that stands for election.
struct Candidate {
    mandate: Arc<Mandate>,
    stop: CancellationToken,
    cut: Arc<AtomicBool>,
    running: JoinHandle<()>,
}

impl Candidate {
    fn of(server: &Server, shard: Option<Shard>) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let elector = elector(server.client(Arc::clone(&cut)), shard);
        let (mandate, stop) = (Arc::clone(&elector.mandate), CancellationToken::new());
        let running = tokio::spawn(elector.run(stop.clone()));
        Self { mandate, stop, cut, running }
    }

    /// Virtual time until it leads.
    async fn leads_after(&self, limit: Duration) -> Option<Duration> {
        let start = Instant::now();
        tokio::time::timeout(limit, self.mandate.term()).await.ok().map(|_| start.elapsed())
    }
}

fn elector(client: Client, shard: Option<Shard>) -> Elector {
    let mandate = Arc::new(Mandate::elected());
    Elector::new(client, "default", shard, Timing::default(), mandate, Arc::new(Metrics::new()))
}

fn record(holder: &str, seconds: i32, second: i64) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(seconds),
        renew_time: Some(MicroTime(Timestamp::from_second(second).unwrap())),
        ..LeaseSpec::default()
    }
}

const FIVE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_replaced_within_five_seconds() {
    // Killed at any moment between two renewals, whenever the standby looks.
    for moment in 0..40 {
        let server = Server::default();
        let first = Candidate::of(&server, None);
        assert_eq!(first.leads_after(FIVE).await, Some(Duration::ZERO));
        tokio::time::sleep(Duration::from_millis(moment * 37)).await;
        let standby = Candidate::of(&server, None);
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(first.mandate.is_held() && !standby.mandate.is_held());
        tokio::time::sleep(Duration::from_millis(moment * 53)).await;
        first.running.abort();
        let took = standby.leads_after(FIVE).await;
        assert!(took.is_some_and(|took| took <= FIVE), "moment {moment}: {took:?}");
        standby.running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_next_begins() {
    let server = Server::default();
    let first = Candidate::of(&server, None);
    let term = first.mandate.term().await;
    let standby = Candidate::of(&server, None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    first.cut.store(true, Ordering::SeqCst);
    let start = Instant::now();
    term.cancelled().await;
    assert!(start.elapsed() <= Timing::default().renew, "{:?}", start.elapsed());
    assert!(!first.mandate.is_held() && !standby.mandate.is_held(), "never both");
    assert!(standby.leads_after(FIVE).await.is_some());
    // Back again, the first stands by.
    first.cut.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!first.mandate.is_held() && standby.mandate.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_gives_the_lease_back_and_the_next_need_not_wait() {
    let server = Server::default();
    let first = Candidate::of(&server, None);
    first.mandate.term().await;
    let standby = Candidate::of(&server, None);
    // Not at the very moment at which the standby looks.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    first.stop.cancel();
    first.running.await.unwrap();
    assert_eq!(server.holder(LEASE), "");
    let took = standby.leads_after(FIVE).await.unwrap();
    assert!(took <= Timing::default().retry / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_go_operator_is_respected_for_as_long_as_it_says() {
    let server = Server::default();
    server.hold_as_go("manager-0_abc", 1);
    let candidate = Candidate::of(&server, None);
    for second in 2..30 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.hold_as_go("manager-0_abc", second);
        assert!(!candidate.mandate.is_held());
    }
    // It says nothing more: 15 s by its own word, however short our own lease is.
    let took = candidate.leads_after(Duration::from_secs(30)).await.unwrap();
    assert!(took >= Duration::from_secs(15) && took <= Duration::from_secs(16), "{took:?}");
    let spec = server.0.lock().unwrap()[LEASE].spec.clone().unwrap();
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(4)));
    // And when it stops cleanly, at once.
    candidate.running.abort();
    server.hold_as_go("", 31);
    let next = Candidate::of(&server, None);
    assert_eq!(next.leads_after(FIVE).await, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_taken_away_ends_the_term() {
    let server = Server::default();
    let candidate = Candidate::of(&server, None);
    let term = candidate.mandate.term().await;
    server.hold_as_go("manager-0_abc", 1);
    let start = Instant::now();
    term.cancelled().await;
    assert!(start.elapsed() <= Timing::default().retry, "noticed with the next renewal");
    assert!(!candidate.mandate.is_held());
    assert_eq!(server.holder(LEASE), "manager-0_abc", "it was not taken back");
}

#[tokio::test(start_paused = true)]
async fn a_shard_works_only_while_nobody_works_on_all() {
    let server = Server::default();
    server.hold_as_go("manager-0_abc", 1);
    let shards = ["0/2", "1/2"].map(|s| Candidate::of(&server, Some(s.parse().unwrap())));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(shards.iter().all(|s| !s.mandate.is_held()));
    server.hold_as_go("", 2);
    for shard in &shards {
        assert!(shard.leads_after(FIVE).await.is_some());
    }
    assert!(!server.holder("bc1f5b0a.sei.io-shard-1-of-2").is_empty());
    // Another one of the same shard stands by.
    let second = Candidate::of(&server, Some("0/2".parse().unwrap()));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!second.mandate.is_held());
    // The way back: an operator for all takes its own lease, and the shards make room and give theirs back.
    let all = Candidate::of(&server, None);
    all.mandate.term().await;
    tokio::time::sleep(Timing::default().retry + Duration::from_millis(10)).await;
    assert!(shards.iter().all(|s| !s.mandate.is_held()) && all.mandate.is_held());
    assert_eq!(server.holder("bc1f5b0a.sei.io-shard-1-of-2"), "");
}

#[tokio::test(start_paused = true)]
async fn of_many_one_leads_whatever_happens() {
    let server = Server::default();
    let candidates: Vec<Candidate> = (0..4).map(|_| Candidate::of(&server, None)).collect();
    let mut led = 0;
    for step in 0..400_usize {
        // Cut off and back again, by a pattern in which each loses in turn.
        let who = &candidates[step * 7 % 4];
        who.cut.store(step % 3 != 0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(490)).await;
        let leaders = candidates.iter().filter(|c| c.mandate.is_held()).count();
        assert!(leaders <= 1, "{leaders} lead at step {step}");
        led += leaders;
    }
    assert!(led > 50, "there was hardly ever a leader: {led}");
}

#[tokio::test(start_paused = true)]
async fn a_mandate_ends_by_the_clock_also_before_any_timer_fires() {
    let mandate = Mandate::elected();
    assert!(!mandate.is_held());
    mandate.grant(Instant::now() + Duration::from_secs(3));
    let term = mandate.term().await;
    assert!(mandate.is_held() && !term.is_cancelled());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(!mandate.is_held(), "a stalled process must not act when it wakes up");
    mandate.revoke();
    assert!(term.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_never_answers_ends_no_elector() {
    let server = Server::default();
    let candidate = Candidate::of(&server, None);
    candidate.mandate.term().await;
    candidate.cut.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(!candidate.running.is_finished() && !candidate.mandate.is_held());
    candidate.stop.cancel();
    candidate.running.await.unwrap();
}
