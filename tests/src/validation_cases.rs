//! The validation cases of the contract, replayed against a server that has our definition.

mod case;

use http::{Method, Request};
use kube::Client;
use serde_json::Value;

pub use case::{Case, Kind, load};

/// Replays one case in a namespace without nodes; the error says what the server did instead.
pub async fn replay(client: &Client, namespace: &str, case: &Case) -> Result<(), String> {
    let nodes = Nodes { client, namespace, is_strict: case.is_strict };
    let outcome = nodes.last_step(case).await;
    let verdict = judge(case, outcome);
    nodes.remove(case.object_name()).await;
    verdict.map_err(|difference| format!("{}: {difference}", case.name))
}

fn judge(case: &Case, outcome: Result<Value, kube::Error>) -> Result<(), String> {
    match (outcome, case.is_accepted) {
        (Ok(_), false) => Err("was taken, but should be refused".to_owned()),
        (Err(error), true) => Err(format!("was refused, but should be taken: {error}")),
        (Ok(object), true) => match &case.stored {
            Some(stored) if object.get(case.part()) != Some(stored) => {
                Err(format!("stored {}, but should store {stored}", object[case.part()]))
            }
            Some(_) | None => Ok(()),
        },
        (Err(kube::Error::Api(refusal)), false) if matches!(refusal.code, 400 | 422) => {
            let causes = refusal.details.iter().flat_map(|details| &details.causes);
            let named: Vec<_> = causes.map(|cause| cause.field.as_str()).collect();
            let is_named = |field: &str| named.contains(&field) || mentions(&refusal.message, field);
            match case.fields.iter().find(|field| !is_named(field)) {
                Some(missing) => Err(format!("the refusal does not name {missing}: {}", refusal.message)),
                None => Ok(()),
            }
        }
        (Err(error), false) => Err(format!("failed, but should be refused: {error}")),
    }
}

/// Whether a text names a path itself, not just a longer one.
fn mentions(text: &str, path: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[');
    text.match_indices(path).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let mut after = text[start + path.len()..].chars();
        let next = after.next();
        let goes_on = next == Some('[')
            || next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            || (next == Some('.') && after.next().is_some_and(|c| c.is_ascii_alphanumeric()));
        !goes_on && before.is_none_or(|c| c == '[' || !is_inside(c))
    })
}

/// The nodes of one namespace, over plain requests: every byte of a manifest goes to the server as it stands.
struct Nodes<'a> {
    client: &'a Client,
    namespace: &'a str,
    is_strict: bool,
}

impl Nodes<'_> {
    async fn last_step(&self, case: &Case) -> Result<Value, kube::Error> {
        let created = self.send(Method::POST, "", Some(&case.manifests[0])).await?;
        let mut next = match case.kind {
            Kind::Create => return Ok(created),
            Kind::Update => case.manifests[1].clone(),
            Kind::Status => {
                let mut next = created.clone();
                next["status"] = case.manifests[0]["status"].clone();
                next
            }
        };
        next["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
        let subresource = if case.kind == Kind::Status { "/status" } else { "" };
        let path = format!("/{}{subresource}", case.object_name());
        self.send(Method::PUT, &path, Some(&next)).await
    }

    /// Makes room for the next replay; there may be nothing to remove.
    async fn remove(&self, name: &str) {
        let _gone = self.send(Method::DELETE, &format!("/{name}"), None).await;
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, kube::Error> {
        let strictness = if self.is_strict { "Strict" } else { "Ignore" };
        let query = if body.is_some() { format!("?fieldValidation={strictness}") } else { String::new() };
        let uri = format!("/apis/sei.io/v1alpha1/namespaces/{}/seinodes{path}{query}", self.namespace);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default().into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_are_complete() {
        let cases = load();
        assert_eq!(cases.len(), 67);
        for case in &cases {
            assert_eq!(case.is_accepted, case.fields.is_empty(), "{}", case.name);
            let manifests = if case.kind == Kind::Update { 2 } else { 1 };
            assert_eq!(case.manifests.len(), manifests, "{}", case.name);
        }
        assert_eq!(cases.iter().filter(|case| !case.is_strict).count(), 1);
        assert_eq!(cases.iter().filter(|case| case.stored.is_some()).count(), 5);
    }

    #[test]
    fn a_path_is_mentioned_only_as_a_whole() {
        assert!(mentions("[spec.a: Required value, spec.b: wrong]", "spec.a"));
        assert!(mentions("unknown field \"spec.a\"", "spec.a"));
        assert!(mentions("see spec.a.", "spec.a"));
        assert!(!mentions("spec.a.b: wrong", "spec.a"));
        assert!(!mentions("spec.a[0]: wrong", "spec.a"));
        assert!(!mentions("spec.ab: wrong", "spec.a"));
        assert!(!mentions("x.spec.a: wrong", "spec.a"));
    }
}
