//! Where a list is cut into shards.

use sha2::{Digest as _, Sha256};

/// Bytes after which a shard is closed whatever is in it.
const MOST: u64 = 4 << 20;

/// Of what stands before a shard, the part that it has on average at most: a list of a thousand times the length has ten times the shards, not a
/// thousand, so that whoever names them all stays small.
const PART: u64 = 64;

/// Cuts a list after entries whose own bytes say so, with a probability that grows with their length. Two lists that are the same for a while are
/// then cut at the same places again, whatever stands before: a shard is new only where something in it is.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Mean size of the first shards, in bytes.
    mean: u64,
    /// Bytes of the entries so far.
    total: u64,
    /// Those of them since the last cut.
    open: u64,
}

impl Cuts {
    /// Cuts for a list whose first shards are to have so many bytes on average.
    pub(super) fn new(mean: u64) -> Self {
        Self { mean, total: 0, open: 0 }
    }

    /// Whether the list is cut after this entry, its next.
    pub(super) fn after(&mut self, entry: &[u8]) -> bool {
        let length = entry.len() as u64;
        self.total = self.total.saturating_add(length);
        self.open = self.open.saturating_add(length);
        // In steps of two, so that a place a little further on is mostly judged alike, and a list that is longer is cut at a part of the same places.
        let mean = self.mean.max((self.total / PART).next_power_of_two()).min(MOST / 4);
        let is_cut = self.open >= MOST || number_of(entry) < (u64::MAX / mean).saturating_mul(length);
        if is_cut {
            self.open = 0;
        }
        is_cut
    }
}

/// A number that follows from the bytes of an entry, each as likely as any other.
fn number_of(entry: &[u8]) -> u64 {
    Sha256::digest(entry).iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The shards of a list, as the entries in each.
    fn cut(entries: &[String]) -> Vec<Vec<String>> {
        let mut cuts = Cuts::new(4 << 10);
        let mut shards = vec![Vec::new()];
        for entry in entries {
            shards.last_mut().unwrap().push(entry.clone());
            if cuts.after(entry.as_bytes()) {
                shards.push(Vec::new());
            }
        }
        shards
    }

    fn list(length: usize) -> Vec<String> {
        (0..length)
            .map(|number| format!("entry {number:07} and what else is said of it, in a hundred bytes or so: {number:032}\n"))
            .collect()
    }

    #[test]
    fn a_change_touches_the_shards_that_it_stands_in() {
        let before = list(2_000);
        let known: BTreeSet<_> = cut(&before).into_iter().collect();
        assert!((20..100).contains(&known.len()), "{} shards of some 4 KiB of 200 kB", known.len());
        type Change = fn(&mut Vec<String>);
        let changes: [Change; 4] = [
            |list| list[1_000] = "another\n".to_owned(),
            |list| drop(list.remove(1_000)),
            |list| list.insert(0, "one before all others\n".to_owned()),
            |list| list[1_000..1_020].iter_mut().for_each(|entry| entry.insert(0, '!')),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut after = before.clone();
            change(&mut after);
            let new = cut(&after).into_iter().filter(|shard| !known.contains(shard)).count();
            assert!((1..=4).contains(&new), "change {number}: {new} shards are new");
        }
    }

    #[test]
    fn a_longer_list_has_longer_shards() {
        let (short, long) = (cut(&list(2_000)).len(), cut(&list(200_000)).len());
        assert!(long < 10 * short, "{short} shards, and {long} of a list of a hundred times the length");
    }

    /// The same entry again and again, which says itself that nothing is cut behind it.
    #[test]
    fn no_shard_grows_beyond_the_most() {
        let entry = (0..100).map(|number| format!("{number:01024}")).find(|entry| !Cuts::new(4 << 10).after(entry.as_bytes())).unwrap();
        let shards = cut(&vec![entry; 10_000]);
        assert_eq!(shards.iter().map(Vec::len).collect::<Vec<_>>(), [4_096, 4_096, 1_808]);
    }
}
