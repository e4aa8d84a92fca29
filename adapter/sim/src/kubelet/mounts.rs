//! Who has which claim mounted.
//!
//! Answers: whether a pod may mount its claims now.
//! Refuses to know: what is on them.
//! Upholds: ReadWriteOnce is one host, ReadWriteOncePod one pod; sharing on one host is allowed and noted.

use super::cache::Name;
use std::collections::BTreeMap;

/// A pod's hold on a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) uid: String,
    pub(super) pod: String,
    pub(super) host: String,
}

#[derive(Debug, Default)]
pub(super) struct Mounts(BTreeMap<Name, Vec<Mount>>);

impl Mounts {
    /// Why the claim can't be mounted, if it can't.
    pub(super) fn obstacle(&self, claim: &Name, host: &str, is_for_one_pod: bool) -> Option<String> {
        let held = self.0.get(claim)?;
        let other = held.iter().find(|mount| mount.host != host || is_for_one_pod)?;
        Some(format!("volume of {} is already used by pod {} on {}", claim.name, other.pod, other.host))
    }

    /// Mounts it and answers who has it too.
    pub(super) fn mount(&mut self, claim: &Name, mount: Mount) -> Vec<Mount> {
        let held = self.0.entry(claim.clone()).or_default();
        let others: Vec<_> = held.iter().filter(|other| other.uid != mount.uid).cloned().collect();
        if others.len() == held.len() {
            held.push(mount);
        }
        others
    }

    /// Frees everything that a pod holds and answers the claims.
    pub(super) fn release(&mut self, uid: &str) -> Vec<Name> {
        let mut freed = Vec::new();
        for (claim, held) in &mut self.0 {
            let before = held.len();
            held.retain(|mount| mount.uid != uid);
            if held.len() < before {
                freed.push(claim.clone());
            }
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_may_share_and_two_may_not() {
        let (mut mounts, claim) = (Mounts::default(), Name::new("ns", "data"));
        let mount = |uid: &str| Mount { uid: uid.into(), pod: "p".into(), host: "host-0".into() };
        assert!(mounts.mount(&claim, mount("a")).is_empty());
        assert!(mounts.obstacle(&claim, "host-1", false).is_some());
        assert!(mounts.obstacle(&claim, "host-0", true).is_some());
        assert_eq!(mounts.obstacle(&claim, "host-0", false), None);
        assert_eq!(mounts.mount(&claim, mount("b")), [mount("a")]);
        assert_eq!(mounts.release("a").len(), 1);
        assert_eq!(mounts.release("b").len(), 1);
        assert_eq!(mounts.obstacle(&claim, "host-1", false), None);
    }
}
