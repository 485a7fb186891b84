//! The bin manifest: JSON lines, one bin a line, so that whoever works on a bin reads only its bytes.

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
    /// Bins are not numbered from 0 in order.
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

/// One line of a manifest.
///
/// # Errors
/// If it is no bin.
pub fn decode_bin(line: &[u8]) -> Result<Bin, BinManifestError> {
    serde_json::from_slice(line).map_err(|source| BinManifestError::Line { line: 1, source })
}

/// All bins of a manifest.
///
/// # Errors
/// If a line is no bin, the last one is cut off, or they are not numbered from 0.
pub fn decode_bins(manifest: &[u8]) -> Result<Vec<Bin>, BinManifestError> {
    let mut bins = Vec::new();
    for (index, range) in index_bins(manifest)?.into_iter().enumerate() {
        let bin = line_at(manifest, &range).map_err(|source| BinManifestError::Line { line: index + 1, source })?;
        check_number(index, bin.bin_id)?;
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

fn check_number(index: usize, bin_id: u32) -> Result<(), BinManifestError> {
    if u32::try_from(index) == Ok(bin_id) { Ok(()) } else { Err(BinManifestError::Order { line: index + 1, bin_id }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bins::tests::entries;
    use crate::bins::{BinOptions, Target, pack};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_come_back_whole_and_one_by_one(entries in entries(), target in 1u32..20) {
            let bins = pack(entries, BinOptions { target: Target::Bins(target) });
            let (manifest, ranges) = encode_bins(&bins).unwrap();
            prop_assert_eq!(&decode_bins(&manifest).unwrap(), &bins);
            prop_assert_eq!(&index_bins(&manifest).unwrap(), &ranges);
            for (bin, range) in bins.iter().zip(ranges) {
                let line = &manifest[range.start as usize..range.end as usize];
                prop_assert_eq!(&decode_bin(line).unwrap(), bin);
            }
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
    }
}
