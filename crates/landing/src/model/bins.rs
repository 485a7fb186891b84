//! The bins of a run: an index of its own, created once, over shards that hold what is in them.

use serde::{Deserialize, Serialize};

use super::manifest::Shard;
use crate::names::FileName;

/// The document `runs/<run>/bins.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinIndex {
    /// The objects that hold the bins. Of an earlier run, where they are the same.
    pub shards: Vec<Shard>,
    /// The bins; a bin's number is its place.
    pub bins: Vec<IndexedBin>,
}

/// Where a bin stands, and what one plans with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedBin {
    /// Index of its shard.
    pub shard: u32,
    /// Where its compressed bytes begin in the shard.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
    /// Source files in it.
    pub files: u64,
    /// Their bytes, as listed.
    pub source_bytes: u64,
    /// Predicted CPU time, in microseconds.
    pub cost_us: u64,
    /// The name of its first file.
    pub first: FileName,
}

impl BinIndex {
    /// The bins with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &IndexedBin)> {
        (0..).zip(&self.bins)
    }

    /// Bytes of source over all bins, as listed.
    pub fn source_bytes(&self) -> u64 {
        self.bins.iter().map(|bin| bin.source_bytes).sum()
    }

    /// Source files over all bins.
    pub fn files(&self) -> u64 {
        self.bins.iter().map(|bin| bin.files).sum()
    }
}
