//! A committed run: a small header, and a manifest in shards that name its data files and repositories.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{BinStats, LandedFile};
use super::schema::SchemaRecord;
use crate::names::RunId;

/// One repository of a committed run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoSummary {
    /// The repository, null for files without one.
    pub repo: Option<String>,
    /// Source files.
    pub files: u64,
    /// Digest folded from its files, lower hex.
    pub digest: String,
}

/// What one wants to know of a run without its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// The run.
    pub run_id: RunId,
    /// Position in the line of committed runs; 1 is the first. Runs that commit at the same time may share a number,
    /// the id then decides.
    pub sequence: u64,
    /// The run that was current when this one was committed.
    pub parent: Option<RunId>,
    /// When it was committed, in milliseconds since 1970, UTC.
    pub committed_at_ms: u64,
    /// When it was started, likewise.
    pub started_at_ms: u64,
    /// Name of the schema (`bytecode_files_v1`).
    pub schema_name: String,
    /// Version of the schema.
    pub schema_version: u32,
    /// Corpus, as it was given.
    pub corpus: String,
    /// Interpreter that compiled: version, magic, implementation, …
    pub interpreter: Value,
    /// Options of the run.
    pub options: Value,
    /// Number of bins.
    pub bins: u32,
    /// Those of them whose data files an earlier run had landed.
    pub bins_taken_over: u32,
    /// Number of repositories (files without one count as one).
    pub repositories: u64,
    /// Number of data files.
    pub data_files: u64,
    /// Bytes of data files.
    pub data_bytes: u64,
    /// Bytes of the data files that this run itself has landed.
    pub landed_bytes: u64,
    /// Rows over all data files; equals `stats.files`.
    pub rows: u64,
    /// What the run that was current then had, of the same corpus, and this one has not. Null is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// Whether too much of the corpus was missing when it was committed, so that it did not become current then. A later resume may have let it.
    #[serde(default)]
    pub held_back: bool,
    /// Sums over the bins.
    pub stats: BinStats,
    /// Digest folded from the repositories, lower hex.
    pub digest: String,
}

/// Repositories of a corpus of which the next run has no file: deleted, or out of reach without an error, as below a mount that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// How many repositories.
    pub repositories: u64,
    /// The files that they had.
    pub files: u64,
    /// The files that the whole corpus had then.
    pub of_files: u64,
}

/// A part of a list that is too long for one object: JSON lines, compressed with zstd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Object key below the root of the facts. Of an earlier run, where that has the very same shard.
    pub key: String,
    /// Size of the object, in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower hex.
    pub sha256: String,
    /// Entries in it.
    pub entries: u64,
}

/// A committed run without its lists: what its header document says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDocument {
    /// The run as a whole.
    pub run: RunHeader,
    /// Its tables and what has changed in them since the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaRecord>,
    /// Where its data files are listed, as [`LandedFile`]s in order of their first names.
    pub files: Vec<Shard>,
    /// Where its repositories are listed, as [`RepoSummary`]s in sort order.
    pub repos: Vec<Shard>,
}

/// A committed run with its lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The run as a whole.
    pub run: RunHeader,
    /// Its tables and what has changed in them since the run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaRecord>,
    /// Its repositories, in sort order.
    pub repos: Vec<RepoSummary>,
    /// Its data files, in order of their first names.
    pub files: Vec<LandedFile>,
}

/// The document `runs/<run>/run.json`: created once, it decides the fate of the run for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Decision {
    /// The run is committed.
    Committed(Box<RunDocument>),
    /// The run was given up and its files are swept; it can no longer be committed.
    Abandoned {
        /// The run.
        run_id: RunId,
        /// When, in milliseconds since 1970, UTC.
        at_ms: u64,
    },
}

/// The document `runs/<run>/let_go.json`: a committed run that nobody wants any more. What no other run needs of it is deleted once the mark is
/// older than a grace period; the mark stays, so that the name is not given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetGo {
    /// The run.
    pub run_id: RunId,
    /// When, in milliseconds since 1970, UTC.
    pub at_ms: u64,
}

/// The document `current.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Current {
    /// The current run.
    pub run_id: RunId,
    /// Its sequence.
    pub sequence: u64,
}

impl Current {
    /// What orders runs: the sequence, then the id.
    pub fn order(&self) -> (u64, &RunId) {
        (self.sequence, &self.run_id)
    }
}
