//! Which nodes an operator looks after, where several share a fleet.
//!
//! A shard watches all nodes, because rivals for a key may belong to another one, and works on its own.

use std::str::FromStr;

use seinode_core::ident::NodeKey;
use sha2::{Digest, Sha256};

/// Most shards; beyond that the watches of all cost more than sharing saves.
const MOST: u32 = 64;

/// One of several equal parts of all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Which one, from 0 on.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Of how many.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether a node belongs to it. The hash is the same in every version and on every machine: with another one, two
    /// shards of different versions would leave nodes to nobody.
    pub fn owns(self, node: &NodeKey) -> bool {
        let digest = Sha256::digest(node.to_string());
        let first = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        first % u64::from(self.count) == u64::from(self.index)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || {
            format!(
                "{text:?} is no shard: write INDEX/COUNT, for example 0/3, 1/3 and 2/3 for three operators (at most {MOST})"
            )
        };
        let (index, count) = text.split_once('/').ok_or_else(refused)?;
        let index = index.parse().map_err(|_| refused())?;
        let count = count.parse().map_err(|_| refused())?;
        if index < count && count <= MOST { Ok(Self { index, count }) } else { Err(refused()) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn nodes() -> impl Iterator<Item = NodeKey> {
        (0..1000).map(|i| NodeKey { namespace: format!("ns-{}", i % 7), name: format!("node-{i}") })
    }

    #[test]
    fn every_node_belongs_to_exactly_one_shard() {
        for count in 1..=8 {
            let shards: Vec<Shard> = (0..count).map(|i| format!("{i}/{count}").parse().unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            for node in nodes() {
                let owners: Vec<usize> = (0..shards.len()).filter(|i| shards[*i].owns(&node)).collect();
                assert_eq!(owners.len(), 1, "{node} of {count}: {owners:?}");
                sizes[owners[0]] += 1;
            }
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(most - least < 150, "not shared evenly: {sizes:?}");
        }
    }

    #[test]
    fn the_owner_of_a_node_is_the_same_for_ever() {
        let owner = |name: &str| {
            let node = NodeKey { namespace: "prod".into(), name: name.into() };
            (0..3).find(|i| Shard { index: *i, count: 3 }.owns(&node)).unwrap()
        };
        assert_eq!(["a", "b", "c", "d", "e", "f"].map(owner), [1, 0, 2, 1, 0, 1]);
    }

    #[test]
    fn a_shard_reads_as_index_and_count() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["3/3", "0/0", "1", "a/b", "0/65", "-1/2", ""] {
            assert!(text.parse::<Shard>().unwrap_err().contains("0/3, 1/3 and 2/3"), "{text}");
        }
    }
}
