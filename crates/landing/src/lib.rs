//! Landing: from rows to a committed run, and what becomes of it.
//!
//! ```text
//! FACTS/bytecode_files_v1/landed=<run>/<bin>-<attempt>-<seq>.parquet   data, attempt-unique names
//! FACTS/runs/<run>/job.json               what was asked for                created once
//! FACTS/runs/<run>/interpreter.json       the interpreter of all of it      created once
//! FACTS/runs/<run>/bins/<attempt>-…       what is in the bins               attempt-unique names
//! FACTS/runs/<run>/bins.json              the index of the bins             created once
//! FACTS/runs/<run>/attempts/<bin>/…       attempts that are under way or died
//! FACTS/runs/<run>/done/<bin>.json        the record of a finished bin      created once
//! FACTS/runs/<run>/manifest/<attempt>-…   its data files and repositories   attempt-unique names
//! FACTS/runs/<run>/run.json               the header: the committed run     created once
//! FACTS/runs/<run>/about/…                what others have derived from it  created once
//! FACTS/runs/<run>/let_go.json            nobody wants the run any more     created once
//! FACTS/audits/<audit>/asked.json         what an audit was asked           created once
//! FACTS/audits/<audit>/units/…            what is done of it                created once
//! FACTS/audits/<audit>/<name>-<digest>.…  its report and tables             named by content
//! FACTS/audits/<audit>/audit.json         the header: the concluded audit   created once
//! FACTS/schemas/<digest>.json             the tables of runs, by content    created once
//! FACTS/current.json                      the current run                   only ever moves forward
//! ```
//!
//! **Exactly once.** Any number of attempts may work on a bin at the same time, even after they were cancelled. Each
//! writes files that no other attempt can name, and the first to create the bin's record wins. A commit reads the
//! records, so it counts each bin once whatever happened before, and creates the header, which makes the run visible
//! as a whole. Readers follow manifests only, never a listing of the data folder. What no manifest names is swept.
//!
//! Records and the index of bins are JSON compressed with zstd (`zstd -dc`); earlier versions wrote them plain, which is read as well.
//!
//! **Partitioned by run, not by repository.** The number of files then grows with bytes and not with names. `repo` is a column of the
//! files, which are sorted by it and the path, and manifests say from which name to which a file goes, so that scans skip files by
//! repository as they would by folder.
//!
//! **Named again, not copied.** A bin of which nothing has changed is recorded as what an earlier run's is, and no more; the manifest names
//! that run's files. Lists are cut where their content says so, and their parts are that run's where they are the same. So nothing belongs
//! to one run alone: [`FactsStore::collect`] deletes what no run names that is kept.
//!
//! **Why not `COPY` or a table format?** A `COPY` funnels all rows through one task and leaves the files of a failed
//! attempt visible. A table format would bring its catalogue and its own reader; one create-only put does the same
//! here and needs nothing but an object store that honours `If-None-Match: *` (a local disk does, by hard links).
//!
//! Modules: `names` ← `model` ← `documents` ← `data` ← `run`.

mod data;
mod documents;
mod error;
mod model;
mod names;
mod run;

pub use data::{BinWriter, WriterOptions};
pub use documents::{Clock, Created, FactsStore, FixedClock, LocalDisk, SystemClock};
pub use error::{LandingError, is_transient};
pub use model::{
    AuditAsked, AuditCounts, AuditDocument, AuditHeader, BinIndex, BinRecord, BinStats, Changed, ColumnChange, ColumnSnapshot,
    ConcludedAudit, Current, Decision, ErrorCount, FileDigest, Gone, IndexedBin, LandedFile, LetGo, Manifest, Origin, RepoDigests,
    RepoSummary, Retyped, RunDocument, RunHeader, SchemaDelta, SchemaRecord, SchemaSnapshot, Shard, TableSnapshot,
};
pub use names::{AttemptId, DATA_FOLDER, FileName, IdError, MAX_ATTEMPT_ID, MAX_RUN_ID, RunId};
pub use run::{
    BinsWriter, CommitRequest, Committed, DEFAULT_GRACE, Fold, HeldBack, InOrder, Keep, PinnedBin, PlannedBin, ReadErrors, RunState, Swept,
    Tolerance,
};

/// Result of a landing operation.
pub type Result<T, E = LandingError> = std::result::Result<T, E>;
