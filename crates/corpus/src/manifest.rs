//! The bin manifest: JSON lines, one bin a line, so that whoever works on a bin reads only its bytes. A large manifest comes in shards, each an
//! object of its own, so that nobody holds all of it.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bins::Bin;
use crate::inventory::Entry;

/// Why bytes are no bin manifest.
#[derive(Debug, thiserror::Error)]
pub enum BinManifestError {
    /// A line is no bin.
    #[error("line {line} of the bin manifest is no bin")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// The parser's own account.
        source: serde_json::Error,
    },
    /// The last line has no end.
    #[error("the bin manifest is cut off in its last line")]
    Truncated,
    /// Bins are not numbered in order.
    #[error("line {line} of the bin manifest holds bin {bin_id}")]
    Order {
        /// Number of the line, from 1.
        line: usize,
        /// The bin it holds.
        bin_id: u32,
    },
}

/// A bin as it is written: the name of a repository once for all of its files.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    bin_id: u32,
    cost_us: u64,
    #[serde(borrow)]
    repos: Vec<Repo<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Repo<'a> {
    #[serde(borrow)]
    repo: Option<std::borrow::Cow<'a, str>>,
    files: Vec<(std::borrow::Cow<'a, str>, u64)>,
}

impl Serialize for Bin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.files.chunk_by(|a, b| a.repo == b.repo);
        let repos = runs.map(|files| Repo {
            repo: files.first().and_then(|f| f.repo.as_deref()).map(Into::into),
            files: files.iter().map(|f| (f.path.as_str().into(), f.size)).collect(),
        });
        Line { bin_id: self.bin_id, cost_us: self.cost_us, repos: repos.collect() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = Line::deserialize(deserializer)?;
        let mut files = Vec::with_capacity(line.repos.iter().map(|r| r.files.len()).sum());
        for Repo { repo, files: of } in line.repos {
            files.extend(of.into_iter().map(|(path, size)| Entry {
                repo: repo.as_deref().map(str::to_owned),
                path: path.into_owned(),
                size,
            }));
        }
        Ok(Self { bin_id: line.bin_id, cost_us: line.cost_us, files })
    }
}

/// The manifest of `bins`, and where the line of each lies in it.
///
/// # Errors
/// If a bin cannot be written as JSON, which no bin of [`crate::pack`] brings about.
pub fn encode_bins(bins: &[Bin]) -> Result<(Bytes, Vec<Range<u64>>), BinManifestError> {
    let mut bytes = Vec::new();
    let mut ranges = Vec::with_capacity(bins.len());
    for (index, bin) in bins.iter().enumerate() {
        let start = bytes.len() as u64;
        serde_json::to_writer(&mut bytes, bin).map_err(|source| BinManifestError::Line { line: index + 1, source })?;
        ranges.push(start..bytes.len() as u64);
        bytes.push(b'\n');
    }
    Ok((bytes.into(), ranges))
}

/// Where the line of a bin lies, and what it is known by to whoever plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinEntry {
    /// The bin.
    pub bin_id: u32,
    /// The shard that holds its line.
    pub shard: u32,
    /// Where the line begins in the shard, in bytes.
    pub offset: u64,
    /// Its length without the newline, in bytes.
    pub length: u64,
    /// Files of the bin.
    pub files: u64,
    /// Predicted CPU time, in microseconds.
    pub cost_us: u64,
}

/// A part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number, from 0.
    pub number: u32,
    /// JSON lines, one bin a line.
    pub bytes: Bytes,
    /// Its bins, in the order of their lines.
    pub bins: Vec<BinEntry>,
}

/// Writes bins into shards as they come.
#[derive(Debug)]
pub struct ShardWriter {
    shard_bytes: usize,
    number: u32,
    bytes: Vec<u8>,
    bins: Vec<BinEntry>,
}

impl ShardWriter {
    /// A writer of shards of at most so many bytes each; a bin that is larger has one of its own.
    #[must_use]
    pub fn new(shard_bytes: usize) -> Self {
        Self { shard_bytes, number: 0, bytes: Vec::new(), bins: Vec::new() }
    }

    /// Takes a bin; answers the shard before it if that is full.
    ///
    /// # Errors
    /// If the bin cannot be written as JSON, which no bin of [`crate::pack`] brings about.
    pub fn push(&mut self, bin: &Bin) -> Result<Option<Shard>, BinManifestError> {
        let line = serde_json::to_vec(bin).map_err(|source| BinManifestError::Line { line: self.bins.len() + 1, source })?;
        let full = (!self.bins.is_empty() && self.bytes.len() + line.len() + 1 > self.shard_bytes).then(|| self.cut());
        self.bins.push(BinEntry {
            bin_id: bin.bin_id,
            shard: self.number,
            offset: self.bytes.len() as u64,
            length: line.len() as u64,
            files: bin.files.len() as u64,
            cost_us: bin.cost_us,
        });
        self.bytes.extend(line);
        self.bytes.push(b'\n');
        Ok(full)
    }

    /// The last shard; `None` if no bin came.
    #[must_use]
    pub fn finish(mut self) -> Option<Shard> {
        (!self.bins.is_empty()).then(|| self.cut())
    }

    fn cut(&mut self) -> Shard {
        let shard = Shard { number: self.number, bytes: std::mem::take(&mut self.bytes).into(), bins: std::mem::take(&mut self.bins) };
        self.number += 1;
        shard
    }
}

/// One line of a manifest.
///
/// # Errors
/// If it is no bin.
pub fn decode_bin(line: &[u8]) -> Result<Bin, BinManifestError> {
    serde_json::from_slice(line).map_err(|source| BinManifestError::Line { line: 1, source })
}

/// All bins of a manifest that is one shard.
///
/// # Errors
/// If a line is no bin, the last one is cut off, or they are not numbered from 0.
pub fn decode_bins(manifest: &[u8]) -> Result<Vec<Bin>, BinManifestError> {
    decode_shard(manifest, 0)
}

/// All bins of a shard, whose first one is `first`.
///
/// # Errors
/// If a line is no bin, the last one is cut off, or they are not numbered from `first`.
pub fn decode_shard(shard: &[u8], first: u32) -> Result<Vec<Bin>, BinManifestError> {
    let mut bins = Vec::new();
    for ((index, number), range) in (0..).zip(first..).zip(index_bins(shard)?) {
        let bin = line_at(shard, &range).map_err(|source| BinManifestError::Line { line: index + 1, source })?;
        if bin.bin_id != number {
            return Err(BinManifestError::Order { line: index + 1, bin_id: bin.bin_id });
        }
        bins.push(bin);
    }
    Ok(bins)
}

/// Where the line of each bin lies in a manifest, without reading the bins.
///
/// # Errors
/// If the last line is cut off.
pub fn index_bins(manifest: &[u8]) -> Result<Vec<Range<u64>>, BinManifestError> {
    let mut ranges = Vec::new();
    let mut start = 0u64;
    for line in manifest.split_inclusive(|&b| b == b'\n') {
        let Some(content) = line.strip_suffix(b"\n") else {
            return Err(BinManifestError::Truncated);
        };
        ranges.push(start..start + content.len() as u64);
        start += line.len() as u64;
    }
    Ok(ranges)
}

fn line_at(manifest: &[u8], range: &Range<u64>) -> Result<Bin, serde_json::Error> {
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let line = bounds.and_then(|(start, end)| manifest.get(start..end));
    serde_json::from_slice(line.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bins::tests::{entries, packed};
    use crate::bins::{BinOptions, Target};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_come_back_whole_and_one_by_one(entries in entries(), target in 1u32..20) {
            let bins = packed(entries, BinOptions { target: Target::Bins(target) });
            let (manifest, ranges) = encode_bins(&bins).unwrap();
            prop_assert_eq!(&decode_bins(&manifest).unwrap(), &bins);
            prop_assert_eq!(&index_bins(&manifest).unwrap(), &ranges);
            for (bin, range) in bins.iter().zip(ranges) {
                let line = &manifest[range.start as usize..range.end as usize];
                prop_assert_eq!(&decode_bin(line).unwrap(), bin);
            }
        }
    }

    proptest! {
        #[test]
        fn shards_hold_all_bins_and_say_where(entries in entries(), target in 1u32..40, shard_bytes in 1usize..2_000) {
            let bins = packed(entries, BinOptions { target: Target::Bins(target) });
            let mut writer = ShardWriter::new(shard_bytes);
            let mut shards: Vec<_> = bins.iter().filter_map(|bin| writer.push(bin).unwrap()).collect();
            shards.extend(writer.finish());
            prop_assert!(shards.iter().zip(0..).all(|(shard, number)| shard.number == number));
            prop_assert!(shards.iter().all(|shard| shard.bins.len() == 1 || shard.bytes.len() <= shard_bytes));
            let mut bins = bins.into_iter();
            for shard in shards {
                let decoded = decode_shard(&shard.bytes, shard.bins[0].bin_id).unwrap();
                prop_assert_eq!(decoded.len(), shard.bins.len());
                for (entry, bin) in shard.bins.iter().zip(decoded) {
                    let line = &shard.bytes[entry.offset as usize..(entry.offset + entry.length) as usize];
                    prop_assert_eq!(&decode_bin(line).unwrap(), &bin);
                    let said = (entry.bin_id, entry.shard, entry.files as usize, entry.cost_us);
                    prop_assert_eq!(said, (bin.bin_id, shard.number, bin.files.len(), bin.cost_us));
                    prop_assert_eq!(Some(bin), bins.next());
                }
            }
            prop_assert_eq!(bins.next(), None);
        }
    }

    #[test]
    fn a_line_names_each_repository_once() {
        let entry = |repo: Option<&str>, path: &str| Entry { repo: repo.map(str::to_owned), path: path.to_owned(), size: 1 };
        let bin =
            Bin { bin_id: 0, cost_us: 5, files: vec![entry(None, "a\n\"b\".py"), entry(Some("r"), "x.py"), entry(Some("r"), "y.py")] };
        let (manifest, _) = encode_bins(std::slice::from_ref(&bin)).unwrap();
        let expected = concat!(
            r#"{"bin_id":0,"cost_us":5,"repos":[{"repo":null,"files":[["a\n\"b\".py",1]]},"#,
            r#"{"repo":"r","files":[["x.py",1],["y.py",1]]}]}"#,
            "\n"
        );
        assert_eq!(std::str::from_utf8(&manifest).unwrap(), expected);
        assert_eq!(decode_bins(&manifest).unwrap(), [bin]);
    }

    #[test]
    fn a_damaged_manifest_is_refused() {
        assert!(matches!(decode_bins(b"{}\n"), Err(BinManifestError::Line { line: 1, .. })));
        assert!(matches!(index_bins(b"{\"bin_id\":0"), Err(BinManifestError::Truncated)));
        let second = br#"{"bin_id":1,"cost_us":0,"repos":[]}"#;
        assert!(matches!(decode_bins(&[second.as_slice(), b"\n"].concat()), Err(BinManifestError::Order { line: 1, bin_id: 1 })));
        assert!(decode_shard(&[second.as_slice(), b"\n"].concat(), 1).is_ok());
    }
}
