//! Entries in order, however many there are and in whatever order they come.
//!
//! Listings come in the order of their store: object stores sort whole keys, in which `a-b/x` stands before `a/x`, disks do not sort at all, and
//! several prefixes are listed at a time. A [`Sorter`] holds a bounded number of entries; beyond that it writes sorted runs to temporary files
//! without a name, which end with the process, and merges them. A small corpus never touches a disk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::bins::predicted_cost_us;
use crate::entry::Entry;

/// What a sorter holds in memory, at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Entries.
    pub(crate) entries: usize,
    /// Bytes of their names.
    pub(crate) text: usize,
    /// Runs that are merged into one: each that is read takes a file and the window of its decompressor.
    pub(crate) runs: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 200_000, text: 32 << 20, runs: 16 }
    }
}

/// Takes entries in any order.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    bounds: Bounds,
    held: Vec<Entry>,
    held_text: usize,
    /// The runs on disk: those of a level were merged as often as its number says.
    levels: Vec<Vec<Run>>,
}

impl Sorter {
    #[cfg(test)]
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Takes one entry. Blocks on the disk if [`Self::is_full`].
    pub(crate) fn push(&mut self, entry: Entry) -> io::Result<()> {
        if self.is_full() {
            self.spill()?;
        }
        self.held_text += entry.path.len() + entry.repo.as_ref().map_or(0, String::len);
        self.held.push(entry);
        Ok(())
    }

    /// Whether the next entry has those in memory written to the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= self.bounds.entries || self.held_text >= self.bounds.text
    }

    /// Writes what is in memory to the disk.
    pub(crate) fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let mut run = Run::write(self.held.drain(..).map(Ok))?;
        self.held_text = 0;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let Some(runs) = self.levels.get_mut(level) else { break };
            runs.push(run);
            if runs.len() < self.bounds.runs.max(2) {
                break;
            }
            run = Run::write(merge(std::mem::take(runs))?)?;
        }
        Ok(())
    }

    /// All entries but those that `leave_out` names, each once. Of several with the same name the largest is kept. Blocks.
    pub(crate) fn finish(mut self, mut leave_out: impl FnMut(&Entry) -> bool) -> io::Result<Sorted> {
        let mut sorted = Sorted::default();
        if self.levels.is_empty() {
            self.held.sort_unstable();
            self.held.reverse(); // the largest of a name first
            self.held.dedup_by(|a, b| is_same(a, b));
            self.held.reverse();
            self.held.retain(|entry| !leave_out(entry));
            self.held.iter().for_each(|entry| sorted.count(entry));
            sorted.kept = Kept::Memory(self.held.into());
            return Ok(sorted);
        }
        self.spill()?;
        self.held = Vec::new();
        let all = Once { entries: merge(self.levels.into_iter().flatten().collect())?, held: None };
        let all = all.filter(|entry| !entry.as_ref().is_ok_and(&mut leave_out));
        let run = Run::write(all.inspect(|entry| {
            if let Ok(entry) = entry {
                sorted.count(entry);
            }
        }))?;
        sorted.kept = Kept::Disk(run);
        Ok(sorted)
    }
}

fn is_same(a: &Entry, b: &Entry) -> bool {
    (&a.repo, &a.path) == (&b.repo, &b.path)
}

/// Entries in order, and what they sum up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sorted {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) cost_us: u64,
    kept: Kept,
}

#[derive(Clone, Debug)]
enum Kept {
    Memory(Arc<[Entry]>),
    Disk(Run),
}

impl Default for Kept {
    fn default() -> Self {
        Self::Memory(Arc::default())
    }
}

impl Sorted {
    fn count(&mut self, entry: &Entry) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        self.cost_us = self.cost_us.saturating_add(predicted_cost_us(entry.size));
    }

    /// The entries from the first one on, as often as wanted.
    pub(crate) fn entries(&self) -> io::Result<SortedEntries> {
        Ok(match &self.kept {
            Kept::Memory(entries) => SortedEntries::Memory { entries: Arc::clone(entries), next: 0 },
            Kept::Disk(run) => SortedEntries::Disk(run.read()?),
        })
    }
}

/// What [`Sorted::entries`] yields.
pub(crate) enum SortedEntries {
    Memory { entries: Arc<[Entry]>, next: usize },
    Disk(RunReader),
}

impl Iterator for SortedEntries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Memory { entries, next } => {
                let entry = entries.get(*next)?.clone();
                *next += 1;
                Some(Ok(entry))
            }
            Self::Disk(run) => run.next(),
        }
    }
}

/// Sorted entries in a temporary file, compressed.
#[derive(Clone, Debug)]
struct Run {
    file: Arc<File>,
}

impl Run {
    /// Fast, and names of one folder shrink to a tenth with it.
    const LEVEL: i32 = 1;

    fn write(entries: impl Iterator<Item = io::Result<Entry>>) -> io::Result<Self> {
        let file = tempfile::tempfile()?;
        let mut encoder = zstd::Encoder::new(file, Self::LEVEL)?;
        let mut writer = BufWriter::new(&mut encoder);
        for entry in entries {
            write_entry(&mut writer, &entry?)?;
        }
        writer.flush()?;
        drop(writer);
        Ok(Self { file: Arc::new(encoder.finish()?) })
    }

    fn read(&self) -> io::Result<RunReader> {
        let from_start = FileAt { file: Arc::clone(&self.file), offset: 0 };
        Ok(RunReader { reader: BufReader::new(zstd::Decoder::new(from_start)?) })
    }
}

/// A reader of its own, however many there are of a file.
struct FileAt {
    file: Arc<File>,
    offset: u64,
}

impl Read for FileAt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

pub(crate) struct RunReader {
    reader: BufReader<zstd::Decoder<'static, BufReader<FileAt>>>,
}

impl Iterator for RunReader {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(read_entry(&mut self.reader)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Stands for the length of a repository's name where there is none.
const NO_REPO: u32 = u32::MAX;

fn write_entry(writer: &mut impl Write, entry: &Entry) -> io::Result<()> {
    match &entry.repo {
        Some(repo) => write_text(writer, repo)?,
        None => writer.write_all(&NO_REPO.to_le_bytes())?,
    }
    write_text(writer, &entry.path)?;
    writer.write_all(&entry.size.to_le_bytes())
}

fn write_text(writer: &mut impl Write, text: &str) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name of gigabytes"))?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(text.as_bytes())
}

fn read_entry(reader: &mut impl Read) -> io::Result<Entry> {
    let repo = match read_length(reader)? {
        NO_REPO => None,
        length => Some(read_text(reader, length)?),
    };
    let length = read_length(reader)?;
    let path = read_text(reader, length)?;
    let mut size = [0; 8];
    reader.read_exact(&mut size)?;
    Ok(Entry { repo, path, size: u64::from_le_bytes(size) })
}

fn read_length(reader: &mut impl Read) -> io::Result<u32> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    Ok(u32::from_le_bytes(length))
}

fn read_text(reader: &mut impl Read, length: u32) -> io::Result<String> {
    let mut text = String::new();
    let read = reader.take(length.into()).read_to_string(&mut text)?;
    if read as u64 == u64::from(length) { Ok(text) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The entries of all `runs` in order.
fn merge(runs: Vec<Run>) -> io::Result<Merge> {
    let mut merge = Merge { heads: BinaryHeap::with_capacity(runs.len()), runs: Vec::with_capacity(runs.len()) };
    for (number, run) in runs.iter().enumerate() {
        let mut reader = run.read()?;
        if let Some(first) = reader.next() {
            merge.heads.push(Reverse((first?, number)));
        }
        merge.runs.push(reader);
    }
    Ok(merge)
}

struct Merge {
    runs: Vec<RunReader>,
    /// The next entry of each run that has one.
    heads: BinaryHeap<Reverse<(Entry, usize)>>,
}

impl Iterator for Merge {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((entry, number)) = self.heads.pop()?;
        match self.runs.get_mut(number).and_then(Iterator::next) {
            Some(Ok(next)) => self.heads.push(Reverse((next, number))),
            Some(Err(error)) => return Some(Err(error)),
            None => {}
        }
        Some(Ok(entry))
    }
}

/// Each name once, with the largest of its sizes, which stands last.
struct Once<I> {
    entries: I,
    held: Option<Entry>,
}

impl<I: Iterator<Item = io::Result<Entry>>> Iterator for Once<I> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entries.next() {
                Some(Ok(next)) => match self.held.replace(next) {
                    Some(last) if !self.held.as_ref().is_some_and(|next| is_same(&last, next)) => return Some(Ok(last)),
                    _ => {}
                },
                Some(Err(error)) => return Some(Err(error)),
                None => return self.held.take().map(Ok),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Names that collide often.
    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (prop::option::of("[a-c/-]{0,2}"), "[a-c/é-]{0,3}", 0u64..4).prop_map(|(repo, path, size)| Entry { repo, path, size });
        prop::collection::vec(entry, 0..200)
    }

    fn sort(entries: Vec<Entry>, bounds: Bounds) -> Sorted {
        let mut sorter = Sorter::new(bounds);
        entries.into_iter().for_each(|entry| sorter.push(entry).unwrap());
        sorter.finish(|_| false).unwrap()
    }

    fn all(sorted: &Sorted) -> Vec<Entry> {
        sorted.entries().unwrap().map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn entries_come_sorted_and_each_name_once(entries in entries(), held in 1usize..50, runs in 2usize..5, text in 10usize..1_000) {
            let mut expected = BTreeMap::new();
            for entry in &entries {
                let size = expected.entry((entry.repo.clone(), entry.path.clone())).or_insert(entry.size);
                *size = entry.size.max(*size);
            }
            let expected: Vec<_> = expected.into_iter().map(|((repo, path), size)| Entry { repo, path, size }).collect();
            for bounds in [Bounds { entries: held, text, runs }, Bounds::default()] {
                let sorted = sort(entries.clone(), bounds);
                prop_assert_eq!(&all(&sorted), &expected);
                prop_assert_eq!(&all(&sorted), &expected, "a second time");
                prop_assert_eq!(sorted.files, expected.len() as u64);
                prop_assert_eq!(sorted.bytes, expected.iter().map(|entry| entry.size).sum::<u64>());
                prop_assert_eq!(sorted.cost_us, expected.iter().map(|entry| predicted_cost_us(entry.size)).sum::<u64>());
            }
        }

        #[test]
        fn what_is_left_out_at_the_end_is_not_counted(entries in entries(), held in 1usize..50) {
            let mut sorter = Sorter::new(Bounds { entries: held, ..Bounds::default() });
            entries.into_iter().for_each(|entry| sorter.push(entry).unwrap());
            let sorted = sorter.finish(|entry| entry.repo.is_none()).unwrap();
            let entries = all(&sorted);
            prop_assert!(entries.iter().all(|entry| entry.repo.is_some()));
            prop_assert_eq!(sorted.files, entries.len() as u64);
        }
    }

    #[test]
    fn a_small_corpus_touches_no_disk() {
        let entry = |path: &str| Entry { repo: None, path: path.to_owned(), size: 1 };
        let sorted = sort(vec![entry("b"), entry("a"), entry("b")], Bounds::default());
        assert!(matches!(sorted.kept, Kept::Memory(_)));
        assert_eq!(all(&sorted), [entry("a"), entry("b")]);
    }

    #[test]
    fn few_files_are_open_at_a_time() {
        let mut sorter = Sorter::new(Bounds { entries: 1, text: usize::MAX, runs: 3 });
        for number in 0..100u32 {
            sorter.push(Entry { repo: None, path: number.to_string(), size: 0 }).unwrap();
        }
        assert!(sorter.levels.iter().all(|runs| runs.len() < 3), "{:?}", sorter.levels);
        assert_eq!(sorter.finish(|_| false).unwrap().files, 100);
    }
}
