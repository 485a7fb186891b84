//! What making a file's row took, and what went wrong in it.

use std::collections::BTreeMap;

/// Errors by the stage that they arose in.
pub type StageCounts = BTreeMap<String, u64>;

/// What making one row took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMetrics {
    /// Units in the file.
    pub units: u64,
    /// Instructions in the file.
    pub instructions: u64,
    /// Bytes of source.
    pub source_bytes: u64,
    /// CPU microseconds that the compile worker spent on the file; 0 when it came from the cache.
    pub compile_cpu_us: u64,
    /// Microseconds that decoding, analysis and the row took.
    pub analyse_us: u64,
    /// Whether the compiled code came from the node's cache.
    pub cache_hit: bool,
    /// Whether it came from the tier that nodes share.
    pub shared_hit: bool,
    /// Whether an oracle has compared the whole file.
    pub judged: bool,
    /// Values in which the oracle differs.
    pub differences: u64,
    /// Whether the row is what the source makes it, and not what happened to whoever read or compiled it.
    pub reproducible: bool,
}
