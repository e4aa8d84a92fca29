//! Label values that users choose, bounded: a counter can't be taken back, so there must not be ever more of them.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Most different values of one label; a larger fleet is told together as `other`.
const MOST: usize = 256;

/// The values that were seen first.
#[derive(Debug, Default)]
pub(super) struct Bounded(Mutex<HashSet<String>>);

impl Bounded {
    /// The value, or `other` where there are too many already.
    pub(super) fn label(&self, value: &str) -> String {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(value) {
            return value.to_owned();
        }
        if seen.len() >= MOST {
            return "other".to_owned();
        }
        seen.insert(value.to_owned());
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_bound_are_told_together() {
        let bounded = Bounded::default();
        for i in 0..MOST {
            assert_eq!(bounded.label(&i.to_string()), i.to_string());
        }
        assert_eq!(bounded.label("one more"), "other");
        assert_eq!(bounded.label("0"), "0", "a value that was seen stays");
    }
}
