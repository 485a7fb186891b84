//! Bins: the files of a corpus dealt out into parts of about equal predicted cost.
//!
//! Files stay together in sort order, so that a bin touches few repositories and its rows come out sorted. A file that
//! costs half a bin or more gets one of its own. Where one bin ends and the next begins is decided by the names of the
//! files around that place, as content-defined chunking does: a file that comes, goes or grows changes its own bin and
//! seldom another, so that a corpus of which little has changed is mostly made of bins that were landed before.
//! Bins are numbered by descending cost: whoever takes them in order takes the long ones first, and the short ones
//! even out the end (longest processing time first).

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
    /// Twelve bins for each of these cores, but none shorter than 0.2 s or longer than 30 s of predicted CPU time: enough
    /// to even out what is mispredicted (two executors on the standard library: 1.9 times as fast as one with twelve, 1.8
    /// with four), not so many that scheduling shows (some 5 ms a bin), and little to repeat after a loss.
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
            Target::Cores(cores) => (total_us / (12 * u64::from(cores.max(1)))).clamp(200_000, 30_000_000),
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
/// With a target cost of `t`, no bin of more than one file costs more than 1.25 `t`.
pub fn pack(mut entries: Vec<Entry>, options: BinOptions) -> Vec<Bin> {
    entries.sort_unstable();
    let target = options.target_cost_us(entries.iter().map(cost).sum());
    let (huge, rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| cost(entry).saturating_mul(2) >= target);
    let mut groups: Vec<Vec<Entry>> = huge.into_iter().map(|entry| vec![entry]).collect();
    let cuts = cuts(&rest, target);
    let mut rest = rest.into_iter();
    groups.extend(cuts.into_iter().map(|files| rest.by_ref().take(files).collect()));

    let mut bins: Vec<Bin> = groups.into_iter().map(|files| Bin { bin_id: 0, cost_us: files.iter().map(cost).sum(), files }).collect();
    bins.sort_by(|a, b| b.cost_us.cmp(&a.cost_us).then_with(|| a.files.first().cmp(&b.files.first())));
    for (number, bin) in (0..).zip(&mut bins) {
        bin.bin_id = number;
    }
    bins
}

fn cost(entry: &Entry) -> u64 {
    predicted_cost_us(entry.size)
}

/// How many files each bin takes, in their order; none of them costs half of `target`.
fn cuts(mut files: &[Entry], target: u64) -> Vec<usize> {
    let mut left: u64 = files.iter().map(cost).sum();
    let mut cuts = Vec::new();
    while !files.is_empty() {
        let cut = first_cut(files, left, target);
        let (bin, rest) = files.split_at(cut);
        left -= bin.iter().map(cost).sum::<u64>();
        files = rest;
        cuts.push(cut);
    }
    cuts
}

/// How many files, which cost `all`, the first bin takes.
///
/// Of all places where it would cost between 0.75 and 1.25 of the target, the one whose next file has the least mark: it is the same place for
/// whatever begins or has changed somewhat before it. The beginning of a repository is preferred.
fn first_cut(files: &[Entry], all: u64, target: u64) -> usize {
    let (least, most) = (target - target / 4, target.saturating_add(target / 4));
    if all <= most {
        return files.len();
    }
    let mut before = 0;
    let mut best = None;
    for (index, pair) in (1..).zip(files.windows(2)) {
        let [last, next] = pair else { continue };
        before += cost(last);
        if before > most {
            break;
        }
        let mark = (last.repo == next.repo, mark(next), index);
        if before >= least && best.is_none_or(|best| mark < best) {
            best = Some(mark);
        }
    }
    best.map_or(files.len(), |(.., index)| index)
}

/// A number that looks random and depends on the name alone (FNV-1a, stirred).
fn mark(entry: &Entry) -> u64 {
    let name = entry.repo.as_deref().unwrap_or_default().bytes().chain([0]).chain(entry.path.bytes());
    let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Packs all `entries` into one bin; `None` if there are none.
pub fn pack_one(mut entries: Vec<Entry>) -> Option<Bin> {
    entries.sort_unstable();
    let cost_us = entries.iter().map(cost).sum();
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
                prop_assert!(bin.files.len() == 1 || 4 * bin.cost_us <= 5 * target, "{} of {target}", bin.cost_us);
            }
            // No more bins than needed: the huge ones, one that is left over, and the rest filled to three quarters at least.
            let huge = bins.iter().filter(|b| 2 * b.cost_us >= target && b.files.len() == 1).count() as u64;
            let filled = bins.iter().filter(|b| 4 * b.cost_us >= 3 * target - 3).count() as u64;
            prop_assert!(bins.len() as u64 <= huge + filled + 1);
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

    /// Without this, a new file somewhere in a large corpus would have all of it landed anew.
    #[test]
    fn a_change_touches_few_bins() {
        let size = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49; // up to 32 KB
        let corpus = |files: u64| {
            (0..files).map(move |i| Entry { repo: Some(format!("r{:02}", i / 100)), path: format!("{i:05}.py"), size: size(i) })
        };
        let options = BinOptions { target: Target::Bins(200) };
        let packed =
            |entries: Vec<Entry>| pack(entries, options).into_iter().map(|bin| bin.files).collect::<std::collections::BTreeSet<_>>();
        let before = packed(corpus(5_000).collect());
        let mut others = Vec::new();
        for at in (0..5_000).step_by(250) {
            let mut changed: Vec<_> = corpus(5_000).collect();
            changed.insert(at, Entry { repo: changed[at].repo.clone(), path: format!("{at:05}-new.py"), size: 20_000 });
            others.push(packed(changed).difference(&before).count());
            let mut changed: Vec<_> = corpus(5_000).collect();
            changed.remove(at);
            others.push(packed(changed).difference(&before).count());
            let mut changed: Vec<_> = corpus(5_000).collect();
            changed[at].size += 5_000;
            others.push(packed(changed).difference(&before).count());
        }
        let mean = others.iter().sum::<usize>() as f64 / others.len() as f64;
        assert!(mean < 2.0, "{mean} of {}: {others:?}", before.len());
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
