//! Landing: from rows to a committed run.
//!
//! ```text
//! FACTS/bytecode_files_v1/repo=<encoded>/<run>-<bin>-<attempt>-<seq>.parquet   data, attempt-unique names
//! FACTS/runs/<run>/job.json               what was asked for              created once
//! FACTS/runs/<run>/interpreter.json       the interpreter of all of it    created once
//! FACTS/runs/<run>/bins.jsonl             the bins of the run             created once
//! FACTS/runs/<run>/attempts/<bin>/…       attempts that are under way or died
//! FACTS/runs/<run>/done/<bin>.json        the record of a finished bin    created once
//! FACTS/runs/<run>/manifest.json          the committed run               created once
//! FACTS/schemas/<digest>.json             the tables of runs, by content  created once
//! FACTS/current.json                      the current run                 only ever moves forward
//! ```
//!
//! **Exactly once.** Any number of attempts may work on a bin at the same time, even after they were cancelled. Each
//! writes files that no other attempt can name, and the first to create the bin's record wins. A commit reads the
//! records, so it counts each bin once whatever happened before, and creates the manifest, which makes the run visible
//! as a whole. Readers follow manifests only, never a listing of the data folder. What no manifest names is swept.
//!
//! **Why not `COPY` or a table format?** A `COPY` funnels all rows through one task and leaves the files of a failed
//! attempt visible. A table format would bring its catalogue and its own reader; one create-only put does the same
//! here and needs nothing but an object store that honours `If-None-Match: *` (a local disk does, by hard links).

mod clock;
mod commit;
mod copy;
mod disk;
mod error;
mod id;
mod journal;
mod keys;
mod record;
mod snapshot;
mod store;
mod sweep;
mod upload;
mod writer;

pub use clock::{Clock, FixedClock, SystemClock};
pub use commit::{CommitRequest, Committed, ExpectedBin, Fold};
pub use copy::PinnedFile;
pub use error::{LandingError, is_transient};
pub use id::{AttemptId, IdError, MAX_ATTEMPT_ID, MAX_RUN_ID, RunId};
pub use keys::{DATA_FOLDER, decode_repo, encode_repo};
pub use record::{
    BinRecord, BinStats, Current, ErrorCount, FileDigest, LandedFile, Manifest, RepoDigests, RepoSummary, RunHeader, Verdict,
};
pub use snapshot::{ColumnChange, ColumnSnapshot, Retyped, SchemaDelta, SchemaRecord, SchemaSnapshot, TableSnapshot};
pub use store::{Created, FactsStore, RunState};
pub use sweep::{DEFAULT_GRACE, Swept};
pub use writer::{BinWriter, WriterOptions};

/// Result of a landing operation.
pub type Result<T, E = LandingError> = std::result::Result<T, E>;
