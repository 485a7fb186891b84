//! Names for attempts, which no other attempt of any process has: what is written under them nobody else writes.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use bytefacts_landing::AttemptId;

/// The name of a single attempt.
#[must_use]
pub fn fresh_attempt() -> AttemptId {
    named(random(), random())
}

/// The names of a process that makes many attempts. They begin alike, so that lists of them compress well, and are of one length, so that none
/// begins with another.
#[derive(Debug)]
pub(crate) struct AttemptIds {
    process: u64,
    given: AtomicU64,
}

impl AttemptIds {
    pub(crate) fn new() -> Self {
        Self { process: random(), given: AtomicU64::new(0) }
    }

    /// A name that was not given before.
    pub(crate) fn next(&self) -> AttemptId {
        named(self.process, self.given.fetch_add(1, Ordering::Relaxed))
    }
}

fn named(high: u64, low: u64) -> AttemptId {
    AttemptId::from_random(u128::from(high) << 64 | u128::from(low))
}

/// Only told apart, never compared or written to a row: the hasher's random keys are randomness enough.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_given_twice_or_begins_with_another() {
        let (ours, theirs) = (AttemptIds::new(), AttemptIds::new());
        let names: BTreeSet<_> = (0..100).flat_map(|_| [ours.next(), theirs.next(), fresh_attempt()]).collect();
        assert_eq!(names.len(), 300);
        assert!(names.iter().all(|name| name.as_str().len() == 32));
    }
}
