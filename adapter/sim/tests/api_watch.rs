//! Watches through `kube::runtime::watcher`, on paused time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may end early")]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent as Seen, WatchParams};
use kube::runtime::watcher::{self, Event, InitialListStrategy};
use kube::{Client, ResourceExt};
use seinode_sim::api::{ApiServer, Delivery, Faults, Request, WatchEvent};
use seinode_sim::store::{Clock, DeleteOptions, Kind, Store};
use serde_json::json;
use tokio::time::timeout;

fn store() -> Store {
    Store::new(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
}

fn maps(server: ApiServer) -> Api<ConfigMap> {
    Api::default_namespaced(Client::new(server, "default"))
}

fn make(store: &Store, name: &str) {
    store.create(Kind::ConfigMap, json!({ "metadata": { "name": name, "labels": { "l": "1" } } })).unwrap();
}

fn label(store: &Store, name: &str, value: &str) {
    let patch = json!({ "metadata": { "labels": { "l": value } } });
    store.merge_patch(Kind::ConfigMap, "default", name, &patch).unwrap();
}

fn remove(store: &Store, name: &str) {
    store.delete(Kind::ConfigMap, "default", name, &DeleteOptions::default()).unwrap();
}

fn shown(event: watcher::Result<Event<ConfigMap>>) -> String {
    match event {
        Ok(Event::Init) => "init".to_owned(),
        Ok(Event::InitApply(map)) => format!("init {}", map.name_any()),
        Ok(Event::InitDone) => "init done".to_owned(),
        Ok(Event::Apply(map)) => format!("apply {}", map.name_any()),
        Ok(Event::Delete(map)) => format!("delete {}", map.name_any()),
        Err(watcher::Error::WatchError(status)) => format!("error {}", status.code),
        Err(other) => format!("error {other}"),
    }
}

type Events<'a> = Pin<&'a mut dyn Stream<Item = watcher::Result<Event<ConfigMap>>>>;

/// The next events until nothing comes for a while.
async fn seen(events: &mut Events<'_>) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_secs(5), events.next()).await {
        all.push(shown(event));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_watcher_lists_and_then_follows() {
    for strategy in [InitialListStrategy::ListWatch, InitialListStrategy::StreamingList] {
        let store = store();
        make(&store, "a");
        let config = watcher::Config { initial_list_strategy: strategy, ..watcher::Config::default() };
        let mut events: Events<'_> = pin!(watcher::watcher(maps(ApiServer::new(&store)), config));
        assert_eq!(seen(&mut events).await, ["init", "init a", "init done"]);
        make(&store, "b");
        label(&store, "a", "2");
        remove(&store, "a");
        assert_eq!(seen(&mut events).await, ["apply b", "apply a", "delete a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_the_selection_is_a_deletion_and_entering_an_addition() {
    let store = store();
    make(&store, "a");
    let config = watcher::Config::default().labels("l=1");
    let mut events: Events<'_> = pin!(watcher::watcher(maps(ApiServer::new(&store)), config));
    assert_eq!(seen(&mut events).await, ["init", "init a", "init done"]);
    label(&store, "a", "2");
    label(&store, "a", "3");
    label(&store, "a", "1");
    assert_eq!(seen(&mut events).await, ["delete a", "apply a"]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_fell_behind_is_told_so_and_starts_over() {
    let store = store();
    make(&store, "a");
    let mut events: Events<'_> =
        pin!(watcher::watcher(maps(ApiServer::new(&store)), watcher::Config::default()));
    assert_eq!(seen(&mut events).await, ["init", "init a", "init done"]);
    make(&store, "b");
    store.compact();
    assert_eq!(seen(&mut events).await, ["error 410", "init", "init a", "init b", "init done"]);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_carries_a_quiet_watch_over_the_gap() {
    let store = store();
    make(&store, "a");
    let mut events: Events<'_> =
        pin!(watcher::watcher(maps(ApiServer::new(&store)), watcher::Config::default()));
    seen(&mut events).await;
    store.create(Kind::Secret, json!({ "metadata": { "name": "elsewhere" } })).unwrap();
    store.bookmark();
    assert!(seen(&mut events).await.is_empty());
    store.compact();
    // Past the end of the first watch request: the watcher resumes from the bookmark, which is still known.
    tokio::time::advance(Duration::from_mins(5)).await;
    make(&store, "b");
    assert_eq!(seen(&mut events).await, ["apply b"]);
}

#[tokio::test(start_paused = true)]
async fn raw_events_carry_the_version_of_the_deletion_and_the_watch_ends_in_time() {
    let store = store();
    make(&store, "a");
    let start = store.version().to_string();
    remove(&store, "a");
    let api = maps(ApiServer::new(&store));
    let events = api.watch(&WatchParams::default().timeout(60), &start).await.unwrap();
    let all: Vec<Seen<ConfigMap>> = events.try_collect().await.unwrap();
    let [Seen::Deleted(map), Seen::Bookmark(bookmark)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(map.resource_version(), Some(store.version().to_string()));
    assert_eq!(bookmark.metadata.resource_version, store.version().to_string());
}

/// Swallows what concerns `c`, and cuts the stream once before `b`.
#[derive(Default)]
struct Mischief {
    has_cut: AtomicBool,
}

impl Faults for Mischief {
    fn deliver(&self, _: &Request, event: &WatchEvent) -> Delivery {
        match event.object["metadata"]["name"].as_str() {
            Some("b") if !self.has_cut.swap(true, Ordering::Relaxed) => Delivery::Cut,
            Some("c") => Delivery::Swallow,
            _ => Delivery::Deliver,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_can_be_lost_and_streams_cut() {
    let store = store();
    make(&store, "a");
    let server = ApiServer::new(&store).with_faults(Arc::new(Mischief::default()));
    let mut events: Events<'_> = pin!(watcher::watcher(maps(server), watcher::Config::default()));
    assert_eq!(seen(&mut events).await, ["init", "init a", "init done"]);
    make(&store, "c");
    label(&store, "a", "2");
    make(&store, "b");
    remove(&store, "a");
    assert_eq!(seen(&mut events).await, ["apply a", "apply b", "delete a"], "a cut stream loses nothing");
}
