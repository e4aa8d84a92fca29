//! Which pod a node's DNS name reaches.
//!
//! Answers: the sidecar behind the Service of that name.
//! Refuses to know: requests.
//! Upholds: without a Service whose selector fits there is no name; an unready pod has one only if the Service
//! publishes it.

use super::agent::Agent;
use super::cache::Name;
use super::life::Life;
use crate::sidecar::Line;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use std::sync::Arc;

impl Agent {
    /// Puts the right sidecar behind a name, or none.
    pub(super) fn reroute(&self, service: &Name) {
        let line = Line::new(&service.namespace, &service.name);
        let found = self.services.find(service).and_then(|object| {
            let is_meant =
                |life: &&Life| life.line == service.name && life.name.namespace == service.namespace;
            let mut lives: Vec<_> = self.lives.values().filter(is_meant).collect();
            lives.sort_by_key(|life| std::cmp::Reverse((life.started, &life.uid)));
            lives.into_iter().find(|life| self.is_reached(service, object, life))?.sidecar.as_ref()
        });
        match found {
            Some(sidecar) => self.shared.switchboard.connect(line, Arc::clone(sidecar)),
            None => self.shared.switchboard.disconnect(&line),
        }
    }

    fn is_reached(&self, name: &Name, service: &Service, life: &Life) -> bool {
        let pod = self.pods.find(&life.name).filter(|pod| pod.metadata.uid.as_ref() == Some(&life.uid));
        let Some((pod, spec)) = pod.and_then(|pod| Some((pod, service.spec.as_ref()?))) else { return false };
        let is_published = spec.publish_not_ready_addresses == Some(true) || life.is_ready();
        life.sidecar.is_some() && life.is_proxied() && is_published && is_named(name, pod) && {
            let mut selector = spec.selector.iter().flatten().peekable();
            selector.peek().is_some() && selector.all(|(key, value)| pod.labels().get(key) == Some(value))
        }
    }
}

/// Hostname `n-0` and subdomain `n` make the name that clients use.
fn is_named(service: &Name, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.subdomain.as_ref() == Some(&service.name)
        && spec.hostname.as_deref().and_then(|host| host.strip_suffix("-0")) == Some(service.name.as_str())
}

impl Life {
    /// Whether the proxy listens; a pod without one lets everybody through.
    fn is_proxied(&self) -> bool {
        let proxy = self.containers.iter().find(|container| container.name == "kube-rbac-proxy");
        proxy.is_none_or(super::container::Container::is_running)
    }
}
