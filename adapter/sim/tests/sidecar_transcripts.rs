//! Replays what the real server was recorded to answer.
//!
//! The fixture holds request and response pairs; time stamps, error texts and ids made up by the server are not
//! compared, everything else is: status, body keys and values, `run`, and the headers that carry meaning.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use seinode_sim::sidecar::{
    Answer, Bucket, Call, Director, Handled, Script, Seid, Sidecar, Status, Surroundings, Volume,
};
use serde_json::{Value, json};

const TRANSCRIPTS: &str = include_str!("../fixtures/sidecar-transcripts.json");

/// One volume with the process that runs on it, and a clock that jumps between requests.
struct Bench {
    volume: Volume,
    around: Surroundings,
    director: Director,
    sidecar: Sidecar,
    now: Timestamp,
}

impl Bench {
    fn new(around: Surroundings) -> Self {
        let (volume, now) = (Volume::new("bench"), Timestamp::UNIX_EPOCH);
        volume.with(|disk| disk.data_bytes = 1000);
        let mut script = Script::default();
        script.silent_witnesses.insert("127.0.0.1:1".to_owned());
        let director = Director::new(script);
        let sidecar = Sidecar::start(volume.clone(), around.clone(), director.clone(), now);
        Self { volume, around, director, sidecar, now }
    }

    fn restart(&mut self) {
        self.tick();
        self.sidecar =
            Sidecar::start(self.volume.clone(), self.around.clone(), self.director.clone(), self.now);
    }

    fn tick(&mut self) {
        self.now += SignedDuration::from_mins(2);
    }

    fn call(&mut self, method: &str, target: &str, body: &[u8]) -> Answer {
        self.tick();
        match self.sidecar.handle(Call { method, target, body }, self.now) {
            Handled::Answered(answer) => answer,
            other => panic!("{method} {target}: {other:?}"),
        }
    }

    fn exchange(&mut self, exchange: &Value, section: &str) {
        let request = &exchange["request"];
        let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        let body = match (&request["rawBody"], &request["body"]) {
            (Value::String(raw), _) => raw.clone(),
            (_, Value::Null) => String::new(),
            (_, body) => body.to_string(),
        };
        let answer = self.call(method, path, body.as_bytes());
        let wanted = &exchange["response"];
        let context = format!("{section}: {exchange}");
        assert_eq!(json!(answer.status), wanted["status"], "{context}");
        for (name, value) in wanted["headers"].as_object().unwrap() {
            let given = answer.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            assert_eq!(given.map(|(_, value)| json!(value)), Some(value.clone()), "{name} {context}");
        }
        let given = read_body(&answer);
        let given = if is_made_up(request) { without_id(given) } else { given };
        let wanted =
            if is_made_up(request) { without_id(wanted["body"].clone()) } else { wanted["body"].clone() };
        assert_eq!(comparable(given), comparable(wanted), "{context}");
    }
}

fn read_body(answer: &Answer) -> Value {
    if answer.body.is_empty() {
        return Value::Null;
    }
    let text = std::str::from_utf8(&answer.body).unwrap();
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

fn is_made_up(request: &Value) -> bool {
    request["method"] == "POST"
        && request["body"].get("id").is_none_or(|id| id == "")
        && request["body"].is_object()
}

fn without_id(mut body: Value) -> Value {
    if let Some(body) = body.as_object_mut() {
        body.remove("id");
    }
    body
}

/// Blanks what may differ, keeping whether it is there; sizes and heights are the stub's.
fn comparable(mut body: Value) -> Value {
    if let Some(keys) = body.as_object_mut() {
        for key in ["submittedAt", "completedAt", "error"] {
            if let Some(value) = keys.get_mut(key) {
                *value = json!("...");
            }
        }
    }
    body
}

/// Replays the sections with these prefixes on one volume, calling `event` for what happened outside HTTP.
fn replay(bench: &mut Bench, sections: &[&str], mut event: impl FnMut(&mut Bench, &Value)) -> usize {
    let all: Value = serde_json::from_str(TRANSCRIPTS).unwrap();
    let mut count = 0;
    for section in all["sections"].as_array().unwrap() {
        let name = section["section"].as_str().unwrap();
        if !sections.contains(&name.split(' ').next().unwrap()) {
            continue;
        }
        for exchange in section["exchanges"].as_array().unwrap() {
            if exchange.get("request").is_some() {
                if exchange["note"] == "unparsable config.toml" {
                    bench.volume.with(|disk| disk.files.insert("config.toml".into(), json!("[[")));
                }
                bench.exchange(exchange, name);
                count += 1;
            } else {
                event(bench, exchange);
            }
        }
    }
    count
}

fn fresh() -> Bench {
    Bench::new(Surroundings::new("pacific-1"))
}

#[test]
fn a_sections_replay_on_one_volume() {
    let mut bench = fresh();
    let count = replay(&mut bench, &["A1", "A2", "A3", "A4", "A5", "A6", "A7"], |bench, event| {
        let what = event["event"].as_str().unwrap();
        if what.starts_with("sidecar stopped") || what.starts_with("sidecar killed") {
            bench.restart();
        } else if what == "GET /v0/tasks" {
            let list = read_body(&bench.call("GET", "/v0/tasks", b""));
            let ids = |list: &Value| -> Vec<Value> {
                list.as_array().unwrap().iter().map(|record| record["id"].clone()).collect()
            };
            assert_eq!(json!(list.as_array().unwrap().len()), event["count"]);
            // The recording names the newest few.
            assert!(ids(&list).starts_with(&ids(&event["order"])), "{list}");
        } else if what.starts_with("after 110 more") {
            for _ in 0..110 {
                bench.call("POST", "/v0/tasks", br#"{"type":"config-validate"}"#);
            }
            let list = read_body(&bench.call("GET", "/v0/tasks", b""));
            assert_eq!(json!(list.as_array().unwrap().len()), event["count"]);
        } else if what.starts_with("files present in home after the plan") {
            bench.volume.with(|disk| {
                assert!(disk.markers.contains(".sei-sidecar-genesis-done"));
                assert!(disk.files.contains_key("app.toml") && disk.genesis.is_some());
            });
        }
    });
    assert_eq!(count, 116);
    assert_eq!(bench.director.runs("mark-not-ready"), 10);
}

#[test]
fn a8_records_found_running_at_start() {
    let mut bench = fresh();
    let id = |last: &str| format!("11111111-1111-4111-8111-000000000{last}");
    let count = replay(&mut bench, &["A8", "A9"], |bench, event| {
        let what = event["event"].as_str().unwrap();
        let set = |last: &str, kind: &str, age: i64| {
            bench.volume.with(|disk| {
                let mut record =
                    disk.records.get(&id("002")).or(disk.records.get(&id("001"))).unwrap().clone();
                record.id = id(last);
                record.kind = kind.to_owned();
                record.status = Status::Running;
                record.completed_at = None;
                record.submitted_at -= SignedDuration::from_secs(age);
                disk.records.insert(record.id.clone(), record);
            });
        };
        if what.starts_with("record of id ...001") {
            set("001", "mark-ready", 0);
            bench.restart();
        } else if what.starts_with("records added") {
            set("003", "mark-ready", 1);
            set("004", "no-such-type", 1);
            bench.restart();
        } else if what.starts_with("records: ...002") {
            set("005", "mark-ready", 1);
            set("002", "mark-not-ready", 0);
            bench.restart();
        }
        // The exchanges around the lock come with it held; the third one finds it free again.
        if what.starts_with("records: ...002") {
            bench.director.direct(|script| {
                use seinode_sim::sidecar::{Fault, Mishap};
                for method in ["POST", "DELETE"] {
                    script.mishaps.push(Mishap {
                        what: Fault::Locked,
                        method: Some(method.to_owned()),
                        path: None,
                        times: Some(1),
                    });
                }
            });
        }
    });
    assert_eq!(count, 12 + 7);
}

#[test]
fn a10_post_before_each_get_hides_failures() {
    let mut bench = fresh();
    let body =
        br#"{"id":"11111111-1111-4111-8111-000000000001","type":"config-apply","params":{"mode":"rpc"}}"#;
    for run in 1..=5 {
        bench.call("POST", "/v0/tasks", body);
        let soon =
            Call { method: "GET", target: "/v0/tasks/11111111-1111-4111-8111-000000000001", body: b"" };
        let Handled::Answered(answer) = bench.sidecar.handle(soon, bench.now) else { panic!() };
        let seen = read_body(&answer);
        assert_eq!((&seen["status"], &seen["run"]), (&json!("running"), &json!(run)));
    }
    assert_eq!(bench.director.runs("config-apply"), 5);
}

#[test]
fn b1_exempt_paths_need_no_header() {
    let all: Value = serde_json::from_str(TRANSCRIPTS).unwrap();
    let sections = all["sections"].as_array().unwrap();
    let section = sections.iter().find(|one| one["section"].as_str().unwrap().starts_with("B1")).unwrap();
    let mut bench = fresh();
    for exchange in section["exchanges"].as_array().unwrap() {
        if exchange.get("request").is_some() && exchange["response"]["status"] != 401 {
            bench.exchange(exchange, "B1");
        }
    }
}

#[test]
fn d_sections_replay() {
    let mut bench = fresh();
    let count = replay(&mut bench, &["D1"], |_, _| {});
    assert_eq!(count, 80);
    let mut bench = fresh();
    replay(&mut bench, &["D2"], |_, _| {});
}

#[test]
fn h2_with_a_running_node_program() {
    let seid = Seid::default();
    let around = Surroundings { seid: seid.clone(), ..Surroundings::new("dev-chain") };
    let mut bench = Bench::new(around);
    seid.start(10);
    let post = br#"{"id":"11111111-1111-4111-8111-000000000391","type":"restart-seid"}"#;
    bench.call("POST", "/v0/tasks", post);
    let path = "/v0/tasks/11111111-1111-4111-8111-000000000391";
    assert_eq!(read_body(&bench.call("GET", path, b""))["status"], "running");
    assert_eq!(seid.height(), None);
    seid.start(10);
    assert_eq!(read_body(&bench.call("GET", path, b""))["status"], "completed");
}

#[test]
fn g1_ceremony_in_order() {
    let around = Surroundings { bucket: Bucket::strict(), ..Surroundings::new("dev-chain") };
    let mut bench = Bench::new(around);
    let mut run = |number: u32, kind: &str, params: Value| {
        let id = format!("11111111-1111-4111-8111-{number:012}");
        let body = json!({"id": id, "type": kind, "params": params}).to_string();
        assert_eq!(bench.call("POST", "/v0/tasks", body.as_bytes()).status, 201);
        let seen = read_body(&bench.call("GET", &format!("/v0/tasks/{id}"), b""));
        (seen["status"].as_str().unwrap().to_owned(), seen["result"].clone())
    };
    let done = ("completed".to_owned(), Value::Null);
    let failed = ("failed".to_owned(), Value::Null);
    let gentx = json!({"chainId": "dev-chain", "stakingAmount": "1usei", "accountBalance": "1usei"});
    let assembly = json!({"accountBalance": "1usei", "namespace": "ns", "nodes": [{"name": "node-0"}]});
    assert_eq!(run(1, "configure-genesis", Value::Null), failed);
    assert_eq!(run(2, "generate-identity", json!({"chainId": "dev-chain", "moniker": "node-0"})), done);
    assert_eq!(run(3, "upload-genesis-artifacts", json!({"nodeName": "node-0"})), failed);
    // The bare genesis makes it fail, and the key it left makes it fail for ever.
    assert_eq!(run(4, "generate-gentx", gentx.clone()), failed);
    assert_eq!(run(5, "generate-gentx", gentx), failed);
    assert_eq!(run(6, "assemble-and-upload-genesis", assembly), failed);
}

#[test]
fn g1_ceremony_on_an_initialised_home() {
    let around = Surroundings { bucket: Bucket::strict(), ..Surroundings::new("dev-chain") };
    let mut bench = Bench::new(around);
    bench.volume.initialise();
    let mut run = |number: u32, kind: &str, params: Value| {
        let id = format!("11111111-1111-4111-8111-{number:012}");
        let body = json!({"id": id, "type": kind, "params": params}).to_string();
        assert_eq!(bench.call("POST", "/v0/tasks", body.as_bytes()).status, 201);
        let seen = read_body(&bench.call("GET", &format!("/v0/tasks/{id}"), b""));
        assert_eq!(seen["status"], "completed", "{seen}");
        seen["result"].clone()
    };
    run(1, "generate-identity", json!({"chainId": "dev-chain", "moniker": "node-0"}));
    run(
        2,
        "generate-gentx",
        json!({"chainId": "dev-chain", "stakingAmount": "1usei", "accountBalance": "1usei"}),
    );
    run(3, "upload-genesis-artifacts", json!({"nodeName": "node-0"}));
    let assembly = json!({"accountBalance": "1usei", "namespace": "ns", "nodes": [{"name": "node-0"}]});
    let hash = run(4, "assemble-and-upload-genesis", assembly.clone())["genesisHash"].clone();
    assert_eq!(run(5, "assemble-and-upload-genesis", assembly), Value::Null);
    run(6, "configure-genesis", json!({ "expectedGenesisHash": hash }));
    run(7, "set-genesis-peers", Value::Null);
}
