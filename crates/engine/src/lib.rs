//! The DataFusion side of extraction: the corpus as a table whose scan is the job, and the operators that do the work.
//!
//! ```text
//! job/       what is asked: options, sample, the corpus, what is refused
//! plan/      CorpusTable::scan ─▶ LandExec ◀─ AnalyzeExec, and how they travel  (scheduler, executors)
//! node/      what an executor has, and one file's way to its row                 (executors)
//! drive/     submit, watch the records, commit, sweep                            (client)
//! audit/     a determinism audit as a job: bins under conditions                 (everybody)
//! validate/  whether a committed run keeps what the contract promises            (client)
//! ```
//!
//! Everybody knows `job`, `plan` knows `node` and how `audit` travels; `drive` and `validate` know neither of these two. At the root is what they share: how errors pass
//! through Ballista (`error`), counters (`metrics`, `progress`), signs of life in a run (`signs`), names of attempts (`attempt_id`).

mod attempt_id;
mod audit;
mod drive;
mod error;
mod job;
mod metrics;
mod node;
mod plan;
mod progress;
mod signs;
pub mod validate;

pub use attempt_id::fresh_attempt;
pub use audit::{
    AUDITED_FILES_METRIC, AuditCluster, AuditExec, AuditJob, AuditRecords, AuditTable, AuditWatch, AuditWorker, OpenBin, UnitError,
    UnitRecord, audited_schema, run_audit,
};
pub use bytefacts_facts::STAGES;
pub use drive::{Finished, JobCluster, JobError, Patience, run_job};
pub use error::{lasting, words};
pub use job::{
    ANALYZER_VERSION, BadJob, ExtractOptions, InterpreterId, Job, JobRefused, NoRate, RecognitionError, SampleRate, SingleRepository,
    open_corpus, single_repository,
};
pub use metrics::StageCounts;
pub use node::file::fact_error;
pub use node::{Node, NodeOptions, Peaks, trial};
pub use plan::{AnalyzeExec, CorpusTable, ERRORS_METRIC, FILES_METRIC, LandExec, LogicalCodec, PhysicalCodec, landed_schema};
pub use progress::{BIN_SECONDS, Progress, Reading};
pub use signs::NOTE_EVERY;
