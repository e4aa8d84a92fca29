//! Lists past the cache that several nodes ask for at once.
//!
//! Nodes that start together each need to know what mounts their claim and their keys, from lists of the whole namespace. A
//! list that begins after all of them have asked answers them all: one is under way at a time for each kind and
//! namespace, and who asks meanwhile shares the next. After each there is a pause in proportion to what it took, so
//! lists fill a small part of the time however many nodes start, and more of them share the next. So an answer is never
//! older than its question, one node alone never waits, and what a fleet costs does not grow with the square of its nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::ListParams;
use kube::core::{ObjectList, Request};
use seinode_core::api::SeiNode;
use seinode_core::world::Blind;
use tokio::time::Instant;

use super::asked;
use crate::cache::Child;
use crate::prune::{Reduce, Reduced};

/// All objects of a kind in a namespace, or why they can't be told.
pub(super) type Answer<K> = Result<Arc<Vec<K>>, Blind>;

/// The kinds that are listed.
#[derive(Default)]
pub(crate) struct Lists {
    pub(super) nodes: Together<SeiNode>,
    pub(super) statefulsets: Together<StatefulSet>,
    pub(super) jobs: Together<Job>,
    pub(super) pods: Together<Pod>,
}

/// Lists of one kind.
pub(super) struct Together<K> {
    namespaces: Arc<Mutex<HashMap<String, Line<K>>>>,
}

/// Those who wait for the lists of one namespace.
struct Line<K> {
    /// The list that has not begun: whoever asks now shares it.
    next: Option<Shared<BoxFuture<'static, Answer<K>>>>,
    /// Held by the list that is under way; when the next may begin.
    under_way: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// Objects of a page.
const PAGE: u32 = 500;
/// The pause after a list, by what the list took: lists fill a tenth of the time.
const PAUSE: u32 = 9;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl<K> Default for Together<K> {
    fn default() -> Self {
        Self { namespaces: Arc::default() }
    }
}

impl<K: Child + Reduce + Send + Sync> Together<K> {
    /// Every object of the namespace, by a list that begins after this was called.
    pub(super) async fn list(&self, client: &Client, namespace: &str) -> Answer<K> {
        let shared = {
            let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
            let line = namespaces
                .entry(namespace.to_owned())
                .or_insert_with(|| Line { next: None, under_way: Arc::default() });
            let ask = || self.after(Arc::clone(&line.under_way), client.clone(), namespace.to_owned());
            line.next.get_or_insert_with(ask).clone()
        };
        shared.await
    }

    /// The list that begins once the one that is under way has ended. It is driven by those who wait for it: if all of them
    /// give up, it ends with them, or is driven on by the next who asks.
    fn after(
        &self,
        under_way: Arc<tokio::sync::Mutex<Option<Instant>>>,
        client: Client,
        namespace: String,
    ) -> Shared<BoxFuture<'static, Answer<K>>> {
        let namespaces = Arc::clone(&self.namespaces);
        let list = async move {
            let mut next = under_way.lock().await;
            if let Some(next) = *next {
                tokio::time::sleep_until(next).await;
            }
            begin(&namespaces, &namespace);
            let begun = Instant::now();
            let listed = all(&client, &namespace).await;
            *next = Some(Instant::now() + (begun.elapsed() * PAUSE).min(LONGEST_PAUSE));
            listed.map(Arc::new)
        };
        list.boxed().shared()
    }
}

/// Everything that is in the namespace at one time, page by page.
async fn all<K: Child + Reduce>(client: &Client, namespace: &str) -> Result<Vec<K>, Blind> {
    let requests = Request::new(K::url_path(&(), Some(namespace)));
    let mut all = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list: ObjectList<Reduced<K>> =
            asked(async { client.request(requests.list(&page).map_err(kube::Error::BuildRequest)?).await })
                .await?;
        all.extend(list.items.into_iter().map(|Reduced(item)| item));
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = page.continue_token(&token),
            _ => return Ok(all),
        }
    }
}

/// From here on, who asks gets another list than the one that begins now.
fn begin<K>(namespaces: &Mutex<HashMap<String, Line<K>>>, namespace: &str) {
    if let Some(line) = namespaces.lock().unwrap_or_else(PoisonError::into_inner).get_mut(namespace) {
        line.next = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    /// An API server that needs a second for each list of pods, and names in each how many have begun; and that count.
    fn server() -> (Client, Arc<AtomicUsize>) {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let service = tower::service_fn(move |request: Request<Body>| {
            let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                assert_eq!(request.uri().path(), "/api/v1/namespaces/ns/pods");
                tokio::time::sleep(Duration::from_secs(1)).await;
                let list =
                    json!({"metadata": {}, "items": [{"metadata": {"name": format!("list-{number}")}}]});
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
            }
        });
        (Client::new(service, "default"), begun)
    }

    fn which(answer: &Answer<Pod>) -> String {
        let pods = answer.as_ref().expect("a list");
        pods[0].metadata.name.clone().expect("a name")
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_together_share_a_list_that_begins_after_they_asked() {
        let (client, begun) = server();
        let lists = Together::<Pod>::default();
        let late = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let ask = || lists.list(&client, "ns");
            let (a, b, c) = tokio::join!(ask(), ask(), ask());
            [a, b, c]
        };
        let (first, late) = tokio::join!(lists.list(&client, "ns"), late);
        assert_eq!(which(&first), "list-1");
        assert_eq!(late.iter().map(which).collect::<Vec<_>>(), ["list-2"; 3], "never the one under way");
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert_eq!(which(&lists.list(&client, "ns").await), "list-3", "no answer is kept");
    }

    #[tokio::test(start_paused = true)]
    async fn lists_of_a_fleet_leave_time_between_them_and_the_first_comes_at_once() {
        let (client, begun) = server();
        let lists = Together::<Pod>::default();
        let start = Instant::now();
        let _ = lists.list(&client, "ns").await;
        assert_eq!(start.elapsed(), Duration::from_secs(1), "the first is not kept waiting");
        // One more asks each 100 ms, for 6 s.
        let asking = (0..60).map(|n| {
            let (lists, client) = (&lists, &client);
            async move {
                tokio::time::sleep(Duration::from_millis(100 * n)).await;
                let asked = Instant::now();
                let answer = lists.list(client, "ns").await;
                (which(&answer), asked.elapsed())
            }
        });
        let answers = futures::future::join_all(asking).await;
        assert!(answers.iter().all(|(_, waited)| *waited <= Duration::from_millis(2500)), "{answers:?}");
        assert_eq!(begun.load(Ordering::SeqCst), 6, "one second of list, half a second of pause");
        tokio::time::sleep(LONGEST_PAUSE).await;
        let asked = Instant::now();
        let _ = lists.list(&client, "ns").await;
        assert_eq!(asked.elapsed(), Duration::from_secs(1), "nor is who comes later");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_list_is_read_page_by_page_and_kept_without_what_nobody_asks_for() {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let page = usize::from(query.contains("continue=more"));
            assert!(query.contains("limit=500"), "{query}");
            let token = ["more", ""][page];
            let pod = json!({
                "metadata": {"name": format!("pod-{page}"), "managedFields": [{"manager": "m", "fieldsV1": {}}]},
                "spec": {
                    "containers": [{"name": "c", "image": "i", "command": ["a", "long", "one"]}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
                },
                "status": {"phase": "Running"},
            });
            let list = json!({"metadata": {"continue": token}, "items": [pod]});
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        });
        let client = Client::new(service, "default");
        let pods = Together::<Pod>::default().list(&client, "ns").await.expect("a list");
        let kept: Vec<_> = pods.iter().map(|pod| serde_json::to_value(pod).expect("JSON")).collect();
        let wanted = |page: usize| {
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{page}")},
                "spec": {
                    "containers": [{"name": "c", "image": "i"}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
                },
                "status": {"phase": "Running"},
            })
        };
        assert_eq!(kept, [wanted(0), wanted(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_keeps_nobody_waiting() {
        let (client, _) = server();
        let lists = Together::<Pod>::default();
        let brief = Duration::from_millis(100);
        // One gives up while its list is under way, one while its list waits for that.
        let (under_way, waiting) = tokio::join!(
            tokio::time::timeout(brief, lists.list(&client, "ns")),
            tokio::time::timeout(brief, async {
                tokio::task::yield_now().await;
                lists.list(&client, "ns").await
            }),
        );
        assert!(under_way.is_err() && waiting.is_err());
        let answer = tokio::time::timeout(Duration::from_secs(3), lists.list(&client, "ns")).await;
        assert!(answer.expect("an answer").is_ok());
    }
}
