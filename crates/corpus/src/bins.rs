//! Bins: the files of a corpus dealt out into parts of about equal predicted cost.
//!
//! Files stay together in sort order, so that a bin touches few repositories and its rows come out sorted. A file that
//! costs half a bin or more gets one of its own. Bins are numbered by descending cost: whoever takes them in order
//! takes the long ones first, and the short ones even out the end (longest processing time first).

use serde::{Deserialize, Serialize};

use crate::inventory::Entry;

/// Predicted CPU time of a file, in microseconds.
///
/// Fitted to what one core does on the standard library: about 170 files of 19 KB a second, with a small constant for
/// reading, hashing and the round trip to the compiler.
pub fn predicted_cost_us(size: u64) -> u64 {
    const PER_FILE_US: u64 = 400;
    const PER_BYTE_NS: u64 = 288;
    size.saturating_mul(PER_BYTE_NS) / 1_000 + PER_FILE_US
}

/// What decides the size of a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// About this many bins.
    Bins(u32),
    /// About this much predicted CPU time a bin, in microseconds.
    CostUs(u64),
    /// Four bins for each of these cores, but none shorter than 0.2 s or longer than 30 s of predicted CPU time: enough
    /// to even out what is mispredicted, not so many that scheduling shows, and little to repeat after a loss.
    Cores(u32),
}

/// How files are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinOptions {
    /// What decides the size of a bin.
    pub target: Target,
}

impl BinOptions {
    /// Predicted CPU time that a bin should have, in microseconds.
    fn target_cost_us(self, total_us: u64) -> u64 {
        let cost = match self.target {
            Target::Bins(bins) => total_us.div_ceil(u64::from(bins.max(1))),
            Target::CostUs(cost) => cost,
            Target::Cores(cores) => (total_us / (4 * u64::from(cores.max(1)))).clamp(200_000, 30_000_000),
        };
        cost.max(1)
    }
}

/// Files that are analysed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bin {
    /// Number, from 0 in order of descending cost.
    pub bin_id: u32,
    /// Predicted CPU time, in microseconds.
    pub cost_us: u64,
    /// The files, sorted by repository and path.
    pub files: Vec<Entry>,
}

/// Packs `entries`, in whatever order they come, each into exactly one bin.
///
/// With a target cost of `t`, no bin of more than one file costs more than 1.5 `t`.
pub fn pack(mut entries: Vec<Entry>, options: BinOptions) -> Vec<Bin> {
    entries.sort_unstable();
    let cost = |entry: &Entry| predicted_cost_us(entry.size);
    let target = options.target_cost_us(entries.iter().map(cost).sum());
    let is_huge = |entry: &Entry| cost(entry).saturating_mul(2) >= target;
    let small_total: u64 = entries.iter().filter(|e| !is_huge(e)).map(cost).sum();
    let small_bins = small_total.div_ceil(target);

    let mut groups: Vec<Vec<Entry>> = Vec::new();
    let mut open: Vec<Entry> = Vec::new();
    let (mut open_slot, mut before) = (0, 0);
    for entry in entries {
        if is_huge(&entry) {
            groups.push(vec![entry]);
            continue;
        }
        // The small files lie on a line of length `small_total`, cut into equal slots; a file goes where its middle is.
        let cost = cost(&entry);
        let middle = u128::from(before) + u128::from(cost / 2);
        let slot = middle * u128::from(small_bins) / u128::from(small_total.max(1));
        if slot != open_slot && !open.is_empty() {
            groups.push(std::mem::take(&mut open));
        }
        open_slot = slot;
        before += cost;
        open.push(entry);
    }
    if !open.is_empty() {
        groups.push(open);
    }

    let mut bins: Vec<Bin> = groups.into_iter().map(|files| Bin { bin_id: 0, cost_us: files.iter().map(cost).sum(), files }).collect();
    bins.sort_by(|a, b| b.cost_us.cmp(&a.cost_us).then_with(|| a.files.first().cmp(&b.files.first())));
    for (number, bin) in (0..).zip(&mut bins) {
        bin.bin_id = number;
    }
    bins
}

/// Packs all `entries` into one bin; `None` if there are none.
pub fn pack_one(mut entries: Vec<Entry>) -> Option<Bin> {
    entries.sort_unstable();
    let cost_us = entries.iter().map(|entry| predicted_cost_us(entry.size)).sum();
    (!entries.is_empty()).then_some(Bin { bin_id: 0, cost_us, files: entries })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (prop::option::of("[a-c]{1,2}"), "[a-z]{1,6}", prop_oneof![0u64..100_000, Just(0), 0u64..50_000_000]);
        let keyed = entry.prop_map(|(repo, path, size)| ((repo, path), size));
        // A path is in a repository once.
        prop::collection::vec(keyed, 0..60).prop_map(|entries| {
            let once: std::collections::BTreeMap<_, _> = entries.into_iter().collect();
            let entries = once.into_iter();
            entries.map(|((repo, path), size)| Entry { repo, path, size }).collect()
        })
    }

    fn options() -> impl Strategy<Value = BinOptions> {
        prop_oneof![(0u32..50).prop_map(Target::Bins), (0u64..10_000_000).prop_map(Target::CostUs), (0u32..64).prop_map(Target::Cores),]
            .prop_map(|target| BinOptions { target })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn every_entry_is_in_exactly_one_bin(entries in entries(), options in options()) {
            let mut packed: Vec<_> = pack(entries.clone(), options).into_iter().flat_map(|b| b.files).collect();
            packed.sort();
            let mut entries = entries;
            entries.sort();
            prop_assert_eq!(packed, entries);
        }

        #[test]
        fn bins_are_balanced(entries in entries(), options in options()) {
            let total: u64 = entries.iter().map(|e| predicted_cost_us(e.size)).sum();
            let target = options.target_cost_us(total);
            let bins = pack(entries, options);
            for bin in &bins {
                prop_assert!(bin.files.len() == 1 || 2 * bin.cost_us <= 3 * target + 2, "{} of {target}", bin.cost_us);
            }
            // No more bins than needed: the huge ones, and the rest filled up.
            let huge = bins.iter().filter(|b| 2 * b.cost_us >= target && b.files.len() == 1).count() as u64;
            prop_assert!(bins.len() as u64 <= huge + total.div_ceil(target));
        }

        #[test]
        fn bins_are_numbered_by_descending_cost_and_hold_sorted_files(entries in entries(), options in options()) {
            let bins = pack(entries, options);
            prop_assert!(bins.iter().enumerate().all(|(i, b)| b.bin_id as usize == i));
            prop_assert!(bins.is_sorted_by(|a, b| a.cost_us >= b.cost_us));
            prop_assert!(bins.iter().all(|b| b.files.is_sorted() && !b.files.is_empty()));
        }

        #[test]
        fn the_order_of_the_listing_does_not_matter(entries in entries(), options in options(), seed in any::<u64>()) {
            let mut shuffled = entries.clone();
            shuffled.sort_by_key(|e| (e.size ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            prop_assert_eq!(pack(shuffled, options), pack(entries, options));
        }
    }

    #[test]
    fn one_bin_holds_files_of_any_size() {
        let entry = |path: &str, size| Entry { repo: None, path: path.to_owned(), size };
        let bin = pack_one(vec![entry("b.py", 50_000_000), entry("a.py", 1)]).unwrap();
        assert_eq!((bin.bin_id, bin.cost_us), (0, predicted_cost_us(50_000_000) + predicted_cost_us(1)));
        assert_eq!(bin.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.py", "b.py"]);
        assert_eq!(pack_one(Vec::new()), None);
    }

    #[test]
    fn small_files_of_a_repository_stay_together() {
        let entries = (0..100).map(|i| Entry { repo: Some(format!("r{}", i / 10)), path: format!("{i:03}.py"), size: 10_000 }).collect();
        let bins = pack(entries, BinOptions { target: Target::Bins(5) });
        assert_eq!(bins.len(), 5);
        for bin in bins {
            let mut repos: Vec<_> = bin.files.iter().map(|f| &f.repo).collect();
            repos.dedup();
            assert_eq!(repos.len(), 2);
        }
    }

    #[test]
    fn the_cost_model_says_what_was_measured() {
        let files_per_second = 1_000_000 / predicted_cost_us(19_000);
        assert!((160..=180).contains(&files_per_second), "{files_per_second}");
    }
}
