//! From a path to a resource.
//!
//! Answers: which resource, object and subresource a path names. Refuses to know: the method. Upholds: a
//! path that the real server has no resource for is refused.

use super::query;
use crate::store::Kind;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: Kind,
    /// Empty for all namespaces and for kinds that live in none.
    pub(super) namespace: String,
    /// Empty for the collection.
    pub(super) name: String,
    /// Not every resource has every subresource.
    pub(super) subresource: String,
}

impl Route {
    /// Whether the subresource exists, if one is named.
    pub(super) fn is_served(&self) -> bool {
        self.subresource.is_empty() || self.subresource == "status" && self.kind.has_status()
    }
}

/// Reads a path; `None` if it names no resource.
pub(super) fn read(path: &str) -> Option<Route> {
    let decoded: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(query::decode).collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let kind = |plural: &str| Kind::from_plural(group, version, plural);
    let (kind, namespace, rest) = match rest {
        // A third part that is a plural means "in this namespace", anything else a subresource of the
        // namespace.
        ["namespaces", namespace, plural, rest @ ..] if kind(plural).is_some_and(Kind::is_namespaced) => {
            (kind(plural)?, *namespace, rest)
        }
        [plural, rest @ ..] => (kind(plural)?, "", rest),
        [] => return None,
    };
    let (name, subresource) = match rest {
        [] => ("", ""),
        [name] => (*name, ""),
        [name, subresource] => (*name, *subresource),
        _ => return None,
    };
    if kind.is_namespaced() && namespace.is_empty() && !name.is_empty() {
        return None;
    }
    let owned = str::to_owned;
    Some(Route { kind, namespace: owned(namespace), name: owned(name), subresource: owned(subresource) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        for (path, expected) in [
            ("/api/v1/pods", Some((Kind::Pod, "", "", ""))),
            ("/api/v1/namespaces/a/pods/b/status", Some((Kind::Pod, "a", "b", "status"))),
            ("/api/v1/namespaces/a", Some((Kind::Namespace, "", "a", ""))),
            ("/api/v1/namespaces/a/status", Some((Kind::Namespace, "", "a", "status"))),
            ("/api/v1/persistentvolumes/v", Some((Kind::PersistentVolume, "", "v", ""))),
            ("/apis/sei.io/v1alpha1/namespaces/a/seinodes/b", Some((Kind::SeiNode, "a", "b", ""))),
            ("/apis/events.k8s.io/v1/namespaces/a/events", Some((Kind::Event, "a", "", ""))),
            ("/apis/apps/v1/namespaces/a/deployments", None),
            ("/api/v1/pods/b", None),
            ("/apis", None),
        ] {
            let found = read(path);
            let found = found.as_ref().map(|r| (r.kind, &*r.namespace, &*r.name, &*r.subresource));
            assert_eq!(found, expected, "{path}");
        }
    }
}
