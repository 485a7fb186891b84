//! The bins of a run, as they are dealt out.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;

use super::cuts::Cuts;
use super::shards::{Known, ShardStore, known};
use crate::documents::{Created, FactsStore, MAX_BYTES, compress, decompress, from_json, plain, store_error, to_json};
use crate::model::{BinIndex, IndexedBin, Shard};
use crate::names::{AttemptId, FileName, RunId, keys};
use crate::{LandingError, Result};

/// Compressed bytes that the first shards of bins have on average.
const SHARD_BYTES: u64 = 16 << 10;

/// What an index says of a bin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBin {
    /// Source files in it.
    pub files: u64,
    /// Their bytes, as listed.
    pub source_bytes: u64,
    /// Predicted CPU time, in microseconds.
    pub cost_us: u64,
    /// The name of its first file.
    pub first: FileName,
}

/// Writes the bins of a run down, one by one as they are packed: shards first, then the index, which is created once.
pub struct BinsWriter<'a> {
    run: &'a RunId,
    store: ShardStore<'a>,
    index: BinIndex,
    cuts: Cuts,
    /// The open shard.
    bytes: Vec<u8>,
    entries: u64,
}

impl<'a> BinsWriter<'a> {
    /// A writer of the bins of `run`. Shards that the current run has as well are not written again.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn new(facts: &'a FactsStore, run: &'a RunId, attempt: AttemptId) -> Result<Self> {
        let known = match facts.current().await? {
            Some(current) => facts.bins(&current.run_id).await?.map(|index| known(&index.shards)),
            None => None,
        };
        let store = ShardStore { facts, folder: keys::bins_folder(run), attempt, kind: "bins", known: known.unwrap_or_else(Known::new) };
        Ok(Self { run, store, index: BinIndex::default(), cuts: Cuts::new(SHARD_BYTES), bytes: Vec::new(), entries: 0 })
    }

    /// Appends the next bin; `content` says what is in it.
    ///
    /// # Errors
    /// If the store fails, or there are more bins than can be numbered.
    pub async fn push(&mut self, bin: PlannedBin, content: &[u8]) -> Result<()> {
        if content.len() as u64 > MAX_BYTES {
            let reason =
                format!("a bin of {files} files takes more than {MAX_BYTES} bytes to write down: have more bins", files = bin.files);
            return Err(LandingError::Damaged { key: keys::bins(self.run), reason });
        }
        let PlannedBin { files, source_bytes, cost_us, first } = bin;
        let content = compress(content, &self.store.folder)?;
        let too_many = |_| LandingError::Damaged { key: keys::bins(self.run), reason: "the run has too many bins".to_owned() };
        let shard = u32::try_from(self.index.shards.len()).map_err(too_many)?;
        u32::try_from(self.index.bins.len()).map_err(too_many)?;
        let (offset, length) = (self.bytes.len() as u64, content.len() as u64);
        self.index.bins.push(IndexedBin { shard, offset, length, files, source_bytes, cost_us, first });
        self.bytes.extend_from_slice(&content);
        self.entries += 1;
        if self.cuts.after(&content) { self.close().await } else { Ok(()) }
    }

    async fn close(&mut self) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let (bytes, entries) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
        let shard = self.store.put(self.index.shards.len(), bytes, entries).await?;
        self.index.shards.push(shard);
        Ok(())
    }

    /// Creates the index unless there is one: whoever comes second works on the bins of the first. Returns the index that stands.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn finish(mut self) -> Result<BinIndex> {
        self.close().await?;
        let key = keys::bins(self.run);
        let json = to_json("index of bins", &key, &self.index)?;
        match self.store.facts.create(&key, compress(&json, &key)?.into()).await? {
            Created::New => Ok(self.index),
            Created::Existing(found) => read_index(found, &key),
        }
    }
}

impl FactsStore {
    /// The bins of a run, once they are written down.
    ///
    /// # Errors
    /// If the store fails or holds something else than an index.
    pub async fn bins(&self, run: &RunId) -> Result<Option<BinIndex>> {
        let key = keys::bins(run);
        self.bytes(&key).await?.map(|bytes| read_index(bytes, &key)).transpose()
    }

    /// What is in a bin: the bytes that were given to [`BinsWriter::push`]. `key` and `range` are of the index, and may have come from afar.
    ///
    /// # Errors
    /// If the store fails, the key is none of a shard of bins, or there is no such part of it.
    pub async fn bin_content(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let damaged = |reason: &str| LandingError::Damaged { key: key.to_owned(), reason: reason.to_owned() };
        if !keys::is_shard_of_bins(key) {
            return Err(damaged("it is no shard of bins"));
        }
        let part = self.store().get_range(&self.path_of(key)?, range).await;
        let bytes: Bytes = part.map_err(|source| store_error("read", key, source))?;
        decompress(&bytes, key)
    }

    /// What is in each bin of an index, in the order of the bins; each shard is fetched once.
    ///
    /// # Errors
    /// (Of the stream) if the store fails or a shard is damaged.
    pub fn bin_contents<'a>(&'a self, index: &'a BinIndex) -> impl futures::Stream<Item = Result<Vec<u8>>> + 'a {
        let shards = futures::stream::iter((0u32..).zip(&index.shards));
        shards
            .then(async move |(number, shard)| {
                let bytes = self.shard_bytes(shard).await?;
                let bins = index.bins.iter().filter(move |bin| bin.shard == number);
                let contents: Vec<Result<Vec<u8>>> = bins.map(|bin| content_of(bin, shard, &bytes)).collect();
                Ok::<_, LandingError>(futures::stream::iter(contents))
            })
            .try_flatten()
    }
}

fn content_of(bin: &IndexedBin, shard: &Shard, bytes: &Bytes) -> Result<Vec<u8>> {
    let bounds = usize::try_from(bin.offset).ok().zip(bin.offset.checked_add(bin.length).and_then(|end| usize::try_from(end).ok()));
    let part = bounds.and_then(|(start, end)| bytes.get(start..end));
    let part = part.ok_or_else(|| LandingError::Damaged { key: shard.key.clone(), reason: "a bin lies beyond its end".to_owned() })?;
    decompress(part, &shard.key)
}

fn read_index(bytes: Bytes, key: &str) -> Result<BinIndex> {
    checked(from_json("index of bins", key, &plain(bytes, key)?)?, key)
}

/// An index is read that anybody may have written: every bin lies in a shard that there is, and its figures can be added.
fn checked(index: BinIndex, key: &str) -> Result<BinIndex> {
    let damaged = |reason: String| LandingError::Damaged { key: key.to_owned(), reason };
    let shards = index.shards.len();
    let (mut files, mut source_bytes, mut cost_us) = (0u64, 0u64, 0u64);
    for (number, bin) in index.numbered() {
        let shard = usize::try_from(bin.shard).ok().and_then(|shard| index.shards.get(shard));
        let shard = shard.ok_or_else(|| damaged(format!("a bin is in shard {} of {shards}", bin.shard)))?;
        if bin.offset.checked_add(bin.length).is_none_or(|end| end > shard.bytes) {
            return Err(damaged(format!("bin {number} lies beyond the end of its shard")));
        }
        for (sum, more) in [(&mut files, bin.files), (&mut source_bytes, bin.source_bytes), (&mut cost_us, bin.cost_us)] {
            *sum = sum.checked_add(more).ok_or_else(|| damaged(format!("with bin {number}, its figures are beyond all numbers")))?;
        }
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(offset: u64, length: u64) -> IndexedBin {
        IndexedBin { shard: 0, offset, length, files: 1, source_bytes: 1, cost_us: 1, first: FileName::new(None, "a.py") }
    }

    fn index(bins: &[IndexedBin]) -> Result<BinIndex> {
        let shard = Shard { key: "s".to_owned(), bytes: 100, sha256: String::new(), entries: 1 };
        checked(BinIndex { shards: vec![shard], bins: bins.to_vec() }, "k")
    }

    /// Whoever writes the index may write any two numbers: each of these pairs is beyond 64 bits together, or wraps to what would be inside.
    #[test]
    fn numbers_that_are_too_large_together_are_damage() {
        assert!(index(&[bin(0, 60), bin(60, 40)]).is_ok());
        let beyond = [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX - 9, 10), (101, 0), (60, 41)];
        for (offset, length) in beyond {
            let error = index(&[bin(offset, length)]).unwrap_err();
            assert!(matches!(error, LandingError::Damaged { .. }), "{offset} + {length}: {error}");
        }
        for more in [
            IndexedBin { files: u64::MAX, ..bin(60, 40) },
            IndexedBin { source_bytes: u64::MAX, ..bin(60, 40) },
            IndexedBin { cost_us: u64::MAX, ..bin(60, 40) },
        ] {
            assert!(matches!(index(&[bin(0, 60), more]), Err(LandingError::Damaged { .. })));
        }
    }

    /// So may who writes what was checked before, as the row of a plan.
    #[test]
    fn a_part_of_a_shard_that_there_is_not_is_damage() {
        let shard = Shard { key: "s".to_owned(), bytes: 3, sha256: String::new(), entries: 1 };
        for (offset, length) in [(u64::MAX, 1), (1, u64::MAX), (2, 2), (4, 0)] {
            let part = content_of(&bin(offset, length), &shard, &Bytes::from_static(b"abc"));
            assert!(matches!(part, Err(LandingError::Damaged { .. })), "{offset} + {length}: {part:?}");
        }
    }
}
