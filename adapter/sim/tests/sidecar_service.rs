//! The service in front of the sidecars: routes, faults and the proxy's part.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::Timestamp;
use seinode_sim::sidecar::{
    ConnectError, Director, Fault, Line, Mishap, Script, Sidecar, SidecarService, Surroundings, Switchboard,
    Volume,
};
use seinode_sim::store::Clock;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

struct Bench {
    service: SidecarService,
    director: Director,
    volume: Volume,
}

fn bench(around: Surroundings) -> Bench {
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
    let (director, volume) = (Director::new(Script::default()), Volume::new("v"));
    let service = SidecarService::new(Switchboard::default(), clock);
    let sidecar = Sidecar::start(volume.clone(), around, director.clone(), clock.now());
    service.switchboard().connect(Line::new("ns", "n"), Arc::new(sidecar));
    Bench { service, director, volume }
}

impl Bench {
    async fn call(&self, method: &str, uri: &str, body: &str) -> Result<(StatusCode, String), ConnectError> {
        let request =
            Request::builder().method(method).uri(uri).body(Full::new(Bytes::from(body.to_owned())));
        let answer = self.service.clone().oneshot(request.unwrap()).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Ok((status, String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn code(&self, method: &str, uri: &str, body: &str) -> Result<u16, ConnectError> {
        self.call(method, uri, body).await.map(|(status, _)| status.as_u16())
    }
}

const HOST: &str = "http://n-0.n.ns.svc.cluster.local:8443";
const READY: &str = r#"{"id":"11111111-1111-4111-8111-000000000001","type":"mark-ready"}"#;

#[tokio::test(start_paused = true)]
async fn both_forms_of_address_reach_the_same_sidecar() {
    let bench = bench(Surroundings::new("pacific-1"));
    assert_eq!(bench.code("POST", &format!("{HOST}/v0/tasks"), READY).await, Ok(201));
    assert_eq!(bench.code("GET", "http://127.0.0.1:1/ns/n/v0/healthz", "").await, Ok(503));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.code("GET", "http://127.0.0.1:1/ns/n/v0/healthz", "").await, Ok(200));
    assert_eq!(bench.code("GET", "/ns/n/v0/healthz", "").await, Ok(200));
    assert_eq!(bench.code("GET", &format!("{HOST}/v0/livez?verbose=1"), "").await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_a_refused_connection() {
    let bench = bench(Surroundings::new("pacific-1"));
    for uri in [
        "http://m-0.m.ns.svc.cluster.local:8443/v0/status",
        "http://n-0.n.other.svc.cluster.local:8443/v0/status",
        "http://n-1.n.ns.svc.cluster.local:8443/v0/status",
        "http://x/ns/m/v0/status",
        "http://x/v0/status",
    ] {
        assert_eq!(bench.code("GET", uri, "").await, Err(ConnectError::Refused), "{uri}");
    }
    bench.service.switchboard().disconnect(&Line::new("ns", "n"));
    assert_eq!(bench.code("GET", &format!("{HOST}/v0/status"), "").await, Err(ConnectError::Refused));
}

#[tokio::test(start_paused = true)]
async fn mishaps_show_on_the_wire() {
    let bench = bench(Surroundings::new("pacific-1"));
    let once = |what| Mishap { what, method: None, path: None, times: Some(1) };
    bench.director.direct(|script| {
        script.mishaps =
            [Fault::Refuse, Fault::Status(502), Fault::LoseAnswer, Fault::Hang].map(once).to_vec();
    });
    let tasks = format!("{HOST}/v0/tasks");
    assert_eq!(bench.code("POST", &tasks, READY).await, Err(ConnectError::Refused));
    assert_eq!(bench.code("POST", &tasks, READY).await, Ok(502));
    assert_eq!(bench.director.runs("mark-ready"), 0);
    assert_eq!(bench.code("POST", &tasks, READY).await, Err(ConnectError::Closed));
    assert_eq!(bench.director.runs("mark-ready"), 1);
    let silent = tokio::time::timeout(Duration::from_mins(1), bench.code("GET", &tasks, "")).await;
    assert!(silent.is_err());
    assert_eq!(bench.code("POST", &tasks, READY).await, Ok(201));
    assert_eq!(bench.director.submissions("mark-ready"), 2);
    bench.director.direct(|script| script.mishaps = vec![once(Fault::Amnesia)]);
    assert_eq!(bench.call("GET", &tasks, "").await.unwrap().1, "[]\n");
    bench.volume.with(|disk| assert!(disk.records.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn the_token_is_asked_for_where_the_proxy_does() {
    let token = Some("secret".to_owned());
    let bench = bench(Surroundings { token, ..Surroundings::new("pacific-1") });
    assert_eq!(bench.code("GET", &format!("{HOST}/v0/healthz"), "").await, Ok(503));
    assert_eq!(bench.code("GET", &format!("{HOST}/v0/status"), "").await, Ok(401));
    let request = Request::get(format!("{HOST}/v0/status")).header("authorization", "Bearer secret");
    let answer =
        bench.service.clone().oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn callers_are_reported_once() {
    let bench = bench(Surroundings::new("pacific-1"));
    bench.code("GET", &format!("{HOST}/v0/status"), "").await.unwrap();
    let board = bench.service.switchboard();
    assert_eq!(board.called().await, [Line::new("ns", "n")].into());
    let again = tokio::time::timeout(Duration::from_secs(1), board.called()).await;
    assert!(again.is_err());
}
