//! What a finished bin leaves behind, data files and figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::{AttemptId, FileName, RunId};

/// One Parquet file that a bin has landed. Its rows are sorted by repository and path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandedFile {
    /// Object key below the root of the facts.
    pub key: String,
    /// Rows (source files) in it.
    pub rows: u64,
    /// Size, in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower hex.
    pub sha256: String,
    /// The name of its first row.
    pub first: FileName,
    /// The name of its last row.
    pub last: FileName,
    /// How many elements each of its lists and maps has over all rows, by the names that lead to it, joined by dots: rows of the flat tables.
    /// Empty in what was written before these were counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elements: BTreeMap<String, u64>,
}

/// How often one kind of error or warning occurred.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ErrorCount {
    /// Stage, as the contract names it (`read`, `compile`, …).
    pub stage: String,
    /// Type (`SyntaxError`, …).
    pub error_type: String,
    /// `error` or `warning`.
    pub severity: String,
    /// Occurrences.
    pub count: u64,
}

/// Totals of a bin, or of a run as the sum over its bins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinStats {
    /// Source files taken in; equals the rows written.
    pub files: u64,
    /// Code objects.
    pub units: u64,
    /// Instructions, `EXTENDED_ARG` included.
    pub instructions: u64,
    /// Bytes of source read.
    pub source_bytes: u64,
    /// Files answered by the cache.
    pub cache_hits: u64,
    /// Those of them that the tier answered which nodes share.
    #[serde(default)]
    pub cache_shared_hits: u64,
    /// Files that had to be compiled.
    pub cache_misses: u64,
    /// CPU time of the compiling processes, in microseconds.
    pub compile_cpu_us: u64,
    /// Time that decoding, analysis and rows took on their threads, in microseconds.
    #[serde(default)]
    pub analyse_cpu_us: u64,
    /// Wall time from the start of the bin to its record, in microseconds (of a run: the sum over its bins).
    #[serde(default)]
    pub wall_us: u64,
    /// Files that an oracle has compared in full.
    #[serde(default)]
    pub oracle_files: u64,
    /// Values in which it differed.
    #[serde(default)]
    pub oracle_differences: u64,
    /// Errors and warnings, sorted by stage, type and severity.
    pub errors: Vec<ErrorCount>,
}

impl BinStats {
    /// Counts one more error or warning.
    pub fn count_error(&mut self, stage: &str, error_type: &str, severity: &str, count: u64) {
        if let Some(sum) = self.count_of(stage, error_type, severity) {
            *sum += count;
        }
    }

    /// Where errors or warnings of one kind are counted.
    fn count_of(&mut self, stage: &str, error_type: &str, severity: &str) -> Option<&mut u64> {
        let key = (stage, error_type, severity);
        let found = self.errors.binary_search_by(|e| (e.stage.as_str(), e.error_type.as_str(), e.severity.as_str()).cmp(&key));
        let at = found.unwrap_or_else(|at| {
            let (stage, error_type, severity) = (stage.to_owned(), error_type.to_owned(), severity.to_owned());
            self.errors.insert(at, ErrorCount { stage, error_type, severity, count: 0 });
            at
        });
        Some(&mut self.errors.get_mut(at)?.count)
    }

    /// Adds the figures of `other`, of which anybody may have written anything; `None`, with some of them added, where they do not add up to a
    /// number of 64 bits.
    #[must_use]
    pub fn add(&mut self, other: &Self) -> Option<()> {
        let sums = [
            (&mut self.files, other.files),
            (&mut self.units, other.units),
            (&mut self.instructions, other.instructions),
            (&mut self.source_bytes, other.source_bytes),
            (&mut self.cache_hits, other.cache_hits),
            (&mut self.cache_shared_hits, other.cache_shared_hits),
            (&mut self.cache_misses, other.cache_misses),
            (&mut self.compile_cpu_us, other.compile_cpu_us),
            (&mut self.analyse_cpu_us, other.analyse_cpu_us),
            (&mut self.wall_us, other.wall_us),
            (&mut self.oracle_files, other.oracle_files),
            (&mut self.oracle_differences, other.oracle_differences),
        ];
        for (sum, more) in sums {
            *sum = sum.checked_add(more)?;
        }
        for e in &other.errors {
            let sum = self.count_of(&e.stage, &e.error_type, &e.severity)?;
            *sum = sum.checked_add(e.count)?;
        }
        self.adds_up().then_some(())
    }

    /// Whether the errors of all kinds together are a number of 64 bits.
    fn adds_up(&self) -> bool {
        self.errors.iter().try_fold(0u64, |sum, e| sum.checked_add(e.count)).is_some()
    }

    /// The figures of the same bin when its files are taken over by another run: nothing was compiled for it.
    #[must_use]
    pub fn taken_over(self, wall_us: u64) -> Self {
        let cache_hits = self.files;
        Self { cache_hits, cache_shared_hits: 0, cache_misses: 0, compile_cpu_us: 0, analyse_cpu_us: 0, wall_us, ..self }
    }

    /// Occurrences of `severity` (`error`, `warning`) over all stages.
    pub fn errors_of(&self, severity: &str) -> u64 {
        let of_severity = self.errors.iter().filter(|e| e.severity == severity);
        of_severity.map(|e| e.count).sum()
    }
}

/// Digests of the files of one repository that one bin analysed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoDigests {
    /// The repository, null for files without one.
    pub repo: Option<String>,
    /// Path and digest of each file, in path order.
    pub files: Vec<FileDigest>,
}

/// Path and digest of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(String, String)", from = "(String, String)")]
pub struct FileDigest {
    /// Path inside the repository.
    pub path: String,
    /// Digest of its facts, lower hex.
    pub digest: String,
}

impl From<(String, String)> for FileDigest {
    fn from((path, digest): (String, String)) -> Self {
        Self { path, digest }
    }
}

impl From<FileDigest> for (String, String) {
    fn from(file: FileDigest) -> Self {
        (file.path, file.digest)
    }
}

/// Where the digests of a bin stand that was taken over: in the record of the bin that landed its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The run that landed the files.
    pub run_id: RunId,
    /// The bin of that run.
    pub bin_id: u32,
    /// SHA-256 of that record as JSON, lower hex.
    pub sha256: String,
}

/// Everything a finished bin leaves behind: enough to commit without asking whoever did the work.
///
/// Of a bin that was taken over, the store has [`BinRecord::reference`], from which and the record of its origin this is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinRecord {
    /// The run.
    pub run_id: RunId,
    /// The bin.
    pub bin_id: u32,
    /// The attempt that won.
    pub attempt: AttemptId,
    /// The figures.
    pub stats: BinStats,
    /// The data files, in order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<LandedFile>,
    /// Digests of the analysed files, by repository in sort order; empty if the bin was taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<RepoDigests>,
    /// The record that has the digests, if the bin was taken over from an earlier run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl BinRecord {
    /// Rows over all data files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }

    /// What is written down of a bin that was taken over: whose it is, and how long that took. All else its origin has.
    pub(crate) fn reference(&self) -> Self {
        let stats = BinStats { wall_us: self.stats.wall_us, ..BinStats::default() };
        Self { stats, files: Vec::new(), digests: Vec::new(), ..self.clone() }
    }

    /// The whole record of a bin that was taken over, from a [`BinRecord::reference`] and the record of its origin.
    #[must_use]
    pub(crate) fn of_origin(self, origin: &Self) -> Self {
        Self { stats: origin.stats.clone().taken_over(self.stats.wall_us), files: origin.files.clone(), ..self }
    }

    /// Whether rows, bytes and errors add up to numbers of 64 bits: it may be anybody's.
    pub(crate) fn adds_up(&self) -> bool {
        add_up(&self.files) && self.stats.adds_up()
    }
}

/// Whether the rows, bytes and elements of files, of all together, are a number of 64 bits.
pub(crate) fn add_up(files: &[LandedFile]) -> bool {
    let mut figures = files.iter().flat_map(|file| [file.rows, file.bytes].into_iter().chain(file.elements.values().copied()));
    figures.try_fold(0u64, |sum, figure| sum.checked_add(figure)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stay_sorted_and_add_up() {
        let mut a = BinStats::default();
        a.count_error("read", "FileNotFound", "error", 1);
        a.count_error("compile", "SyntaxError", "error", 2);
        a.count_error("compile", "SyntaxWarning", "warning", 5);
        let mut b = BinStats { files: 3, ..BinStats::default() };
        b.count_error("compile", "SyntaxError", "error", 1);
        b.add(&a).unwrap();
        let seen: Vec<_> = b.errors.iter().map(|e| (e.stage.as_str(), e.error_type.as_str(), e.count)).collect();
        assert_eq!(seen, [("compile", "SyntaxError", 3), ("compile", "SyntaxWarning", 5), ("read", "FileNotFound", 1)]);
        assert_eq!((b.errors_of("error"), b.errors_of("warning")), (4, 5));
    }

    #[test]
    fn figures_that_are_too_large_together_do_not_add_up() {
        let mut most = BinStats { wall_us: u64::MAX, ..BinStats::default() };
        assert_eq!(most.add(&BinStats { wall_us: 1, ..BinStats::default() }), None);
        // Of two kinds, each of which can be counted.
        let mut errors = BinStats::default();
        errors.count_error("compile", "SyntaxError", "error", u64::MAX);
        assert!(errors.adds_up());
        let mut more = BinStats::default();
        more.count_error("read", "FileNotFound", "error", 1);
        assert_eq!(errors.add(&more), None);
    }

    #[test]
    fn a_digest_is_a_pair_in_json() {
        let file = FileDigest::from(("a/b.py".to_owned(), "00".to_owned()));
        let json = serde_json::to_string(&file).unwrap();
        assert_eq!(json, r#"["a/b.py","00"]"#);
        assert_eq!(serde_json::from_str::<FileDigest>(&json).unwrap(), file);
    }
}
