//! Bins: the files of a corpus dealt out into parts of about equal predicted cost.
//!
//! Files stay together in sort order, so that a bin touches few repositories and its rows come out sorted. A file that
//! costs half a bin or more gets one of its own. Where one bin ends and the next begins is decided by the names of the
//! files around that place, as content-defined chunking does: a file that comes, goes or grows changes its own bin and
//! seldom another, so that a corpus of which little has changed is mostly made of bins that were landed before.
//!
//! Bins are made from a stream of entries, of which no more than one and a quarter bins are held at a time, and are
//! numbered as they come. Whoever schedules them takes the costly ones first.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::entry::Entry;

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
    /// Number, from 0 in the order in which bins are packed.
    pub bin_id: u32,
    /// Predicted CPU time, in microseconds.
    pub cost_us: u64,
    /// The files, sorted by repository and path.
    pub files: Vec<Entry>,
}

impl Bin {
    fn new(bin_id: u32, files: Vec<Entry>) -> Self {
        Self { bin_id, cost_us: files.iter().map(cost).sum(), files }
    }
}

/// Packs `entries`, which come sorted and cost `total_us` in all, each into exactly one bin.
///
/// With a target cost of `t`, no bin of more than one file costs more than 1.25 `t`. An entry that is an error is yielded
/// as it is, and nothing behind it.
pub fn pack<E>(
    entries: impl IntoIterator<Item = Result<Entry, E>>,
    total_us: u64,
    options: BinOptions,
) -> impl Iterator<Item = Result<Bin, E>> {
    Packer {
        entries: entries.into_iter().fuse(),
        target: options.target_cost_us(total_us),
        window: Window::default(),
        next_id: 0,
        failed: false,
    }
}

/// Packs all `entries`, which come sorted, into one bin; `None` if there are none.
///
/// # Errors
/// The first entry that is one.
pub fn pack_one<E>(entries: impl IntoIterator<Item = Result<Entry, E>>) -> Result<Option<Bin>, E> {
    let files = entries.into_iter().collect::<Result<Vec<_>, E>>()?;
    Ok((!files.is_empty()).then(|| Bin::new(0, files)))
}

fn cost(entry: &Entry) -> u64 {
    predicted_cost_us(entry.size)
}

struct Packer<I> {
    entries: I,
    target: u64,
    window: Window,
    next_id: u32,
    failed: bool,
}

impl<E, I: Iterator<Item = Result<Entry, E>>> Iterator for Packer<I> {
    type Item = Result<Bin, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let most = self.target.saturating_add(self.target / 4);
        while self.window.cost_us <= most && !self.failed {
            match self.entries.next() {
                Some(Ok(entry)) if cost(&entry).saturating_mul(2) >= self.target => return Some(Ok(self.bin(vec![entry]))),
                Some(Ok(entry)) => self.window.push(entry),
                Some(Err(error)) => {
                    self.failed = true;
                    return Some(Err(error));
                }
                // What is left is one bin.
                None if self.window.files.is_empty() => return None,
                None => {
                    let files = self.window.take(self.window.files.len());
                    return Some(Ok(self.bin(files)));
                }
            }
        }
        if self.failed {
            return None;
        }
        let files = self.window.take(self.window.first_cut(self.target));
        Some(Ok(self.bin(files)))
    }
}

impl<I> Packer<I> {
    fn bin(&mut self, files: Vec<Entry>) -> Bin {
        let bin = Bin::new(self.next_id, files);
        self.next_id += 1;
        bin
    }
}

/// Files that wait for their bin; none of them costs half of the target.
#[derive(Default)]
struct Window {
    files: VecDeque<Entry>,
    cost_us: u64,
}

impl Window {
    fn push(&mut self, file: Entry) {
        self.cost_us += cost(&file);
        self.files.push_back(file);
    }

    fn take(&mut self, count: usize) -> Vec<Entry> {
        let files: Vec<_> = self.files.drain(..count).collect();
        self.cost_us -= files.iter().map(cost).sum::<u64>();
        files
    }

    /// How many files the next bin takes of a window that holds more than one.
    ///
    /// Of all places where the bin would cost between 0.75 and 1.25 of the target, the one whose next file has the least
    /// mark: it is the same place for whatever begins or has changed somewhat before it. The beginning of a repository is
    /// preferred.
    fn first_cut(&self, target: u64) -> usize {
        let (least, most) = (target - target / 4, target.saturating_add(target / 4));
        let mut before = 0;
        let mut best = None;
        for (index, (last, next)) in (1..).zip(self.files.iter().zip(self.files.iter().skip(1))) {
            before += cost(last);
            if before > most {
                break;
            }
            let mark = (last.repo == next.repo, mark(next), index);
            if before >= least && best.is_none_or(|best| mark < best) {
                best = Some(mark);
            }
        }
        best.map_or(self.files.len(), |(.., index)| index)
    }
}

/// A number that looks random and depends on the name alone (FNV-1a, stirred).
fn mark(entry: &Entry) -> u64 {
    let name = entry.repo.as_deref().unwrap_or_default().bytes().chain([0]).chain(entry.path.bytes());
    let hash = name.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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

    /// All bins of `entries`, in whatever order they are given.
    pub(crate) fn packed(mut entries: Vec<Entry>, options: BinOptions) -> Vec<Bin> {
        entries.sort();
        let total = entries.iter().map(cost).sum();
        pack(entries.into_iter().map(Ok::<_, ()>), total, options).map(Result::unwrap).collect()
    }

    /// Where bins end, worked out over the whole corpus at once.
    fn packed_at_once(mut entries: Vec<Entry>, target: u64) -> std::collections::BTreeSet<Vec<Entry>> {
        entries.sort();
        let (huge, mut rest): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| cost(entry).saturating_mul(2) >= target);
        let mut bins: std::collections::BTreeSet<_> = huge.into_iter().map(|entry| vec![entry]).collect();
        while !rest.is_empty() {
            let all = rest.iter().map(cost).sum::<u64>();
            let mut window = Window::default();
            rest.iter().cloned().for_each(|entry| window.push(entry));
            let cut = if all <= target.saturating_add(target / 4) { rest.len() } else { window.first_cut(target) };
            bins.insert(rest.drain(..cut).collect());
        }
        bins
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn every_entry_is_in_exactly_one_bin(entries in entries(), options in options()) {
            let mut files: Vec<_> = packed(entries.clone(), options).into_iter().flat_map(|b| b.files).collect();
            files.sort();
            let mut entries = entries;
            entries.sort();
            prop_assert_eq!(files, entries);
        }

        #[test]
        fn bins_are_balanced(entries in entries(), options in options()) {
            let total: u64 = entries.iter().map(|e| predicted_cost_us(e.size)).sum();
            let target = options.target_cost_us(total);
            let bins = packed(entries, options);
            for bin in &bins {
                prop_assert!(bin.files.len() == 1 || 4 * bin.cost_us <= 5 * target, "{} of {target}", bin.cost_us);
            }
            // No more bins than needed: the huge ones, one that is left over, and the rest filled to three quarters at least.
            let huge = bins.iter().filter(|b| 2 * b.cost_us >= target && b.files.len() == 1).count() as u64;
            let filled = bins.iter().filter(|b| 4 * b.cost_us >= 3 * target - 3).count() as u64;
            prop_assert!(bins.len() as u64 <= huge + filled + 1);
        }

        #[test]
        fn bins_are_numbered_as_they_come_and_hold_sorted_files(entries in entries(), options in options()) {
            let bins = packed(entries, options);
            prop_assert!(bins.iter().enumerate().all(|(i, b)| b.bin_id as usize == i));
            prop_assert!(bins.iter().all(|b| b.files.is_sorted() && !b.files.is_empty()));
            prop_assert!(bins.iter().all(|b| b.cost_us == b.files.iter().map(cost).sum::<u64>()));
        }

        #[test]
        fn a_window_on_the_stream_finds_the_cuts_that_a_view_of_all_files_finds(entries in entries(), options in options()) {
            let target = options.target_cost_us(entries.iter().map(cost).sum());
            let streamed: std::collections::BTreeSet<_> = packed(entries.clone(), options).into_iter().map(|bin| bin.files).collect();
            prop_assert_eq!(streamed, packed_at_once(entries, target));
        }
    }

    /// The window, not the corpus, is what is held.
    #[test]
    fn a_bin_is_yielded_before_the_stream_is_read_to_its_end() {
        let mut read = 0;
        let entries = (0..1_000_000u32).map(|i| Ok::<_, ()>(Entry { repo: None, path: format!("{i:07}.py"), size: 10_000 }));
        let entries = entries.inspect(|_| read += 1);
        let target = BinOptions { target: Target::CostUs(100 * predicted_cost_us(10_000)) };
        let bins: Vec<_> = pack(entries, 1_000_000 * predicted_cost_us(10_000), target).take(10).map(Result::unwrap).collect();
        let files: usize = bins.iter().map(|bin| bin.files.len()).sum();
        assert!(read <= files + 126, "{read} read for {files}");
    }

    #[test]
    fn a_listing_that_fails_ends_the_bins() {
        let entry = |path: &str| Entry { repo: None, path: path.to_owned(), size: 1 };
        let entries = [Ok(entry("a")), Err("the disk is gone"), Ok(entry("b"))];
        let bins: Vec<_> = pack(entries.clone(), 1_000_000, BinOptions { target: Target::Bins(1) }).collect();
        assert_eq!(bins, [Err("the disk is gone")]);
        assert_eq!(pack_one(entries), Err("the disk is gone"));
    }

    #[test]
    fn one_bin_holds_files_of_any_size() {
        let entry = |path: &str, size| Ok::<_, ()>(Entry { repo: None, path: path.to_owned(), size });
        let bin = pack_one([entry("a.py", 1), entry("b.py", 50_000_000)]).unwrap().unwrap();
        assert_eq!((bin.bin_id, bin.cost_us), (0, predicted_cost_us(50_000_000) + predicted_cost_us(1)));
        assert_eq!(bin.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a.py", "b.py"]);
        assert_eq!(pack_one::<()>([]), Ok(None));
    }

    /// Without this, a new file somewhere in a large corpus would have all of it landed anew.
    #[test]
    fn a_change_touches_few_bins() {
        let size = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49; // up to 32 KB
        let corpus = |files: u64| {
            (0..files).map(move |i| Entry { repo: Some(format!("r{:02}", i / 100)), path: format!("{i:05}.py"), size: size(i) })
        };
        let options = BinOptions { target: Target::Bins(200) };
        let bins =
            |entries: Vec<Entry>| packed(entries, options).into_iter().map(|bin| bin.files).collect::<std::collections::BTreeSet<_>>();
        let before = bins(corpus(5_000).collect());
        let mut others = Vec::new();
        for at in (0..5_000).step_by(250) {
            let mut changed: Vec<_> = corpus(5_000).collect();
            changed.insert(at, Entry { repo: changed[at].repo.clone(), path: format!("{at:05}-new.py"), size: 20_000 });
            others.push(bins(changed).difference(&before).count());
            let mut changed: Vec<_> = corpus(5_000).collect();
            changed.remove(at);
            others.push(bins(changed).difference(&before).count());
            let mut changed: Vec<_> = corpus(5_000).collect();
            changed[at].size += 5_000;
            others.push(bins(changed).difference(&before).count());
        }
        let mean = others.iter().sum::<usize>() as f64 / others.len() as f64;
        assert!(mean < 2.0, "{mean} of {}: {others:?}", before.len());
    }

    #[test]
    fn small_files_of_a_repository_stay_together() {
        let entries = (0..100).map(|i| Entry { repo: Some(format!("r{}", i / 10)), path: format!("{i:03}.py"), size: 10_000 }).collect();
        let bins = packed(entries, BinOptions { target: Target::Bins(5) });
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
