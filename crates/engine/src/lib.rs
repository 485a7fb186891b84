//! The DataFusion side of bytefacts: the corpus as a table whose scan is the job, the operators that do the work, and facts as SQL tables.
//!
//! ```text
//! CorpusTable::scan ─▶ LandExec ◀─ AnalyzeExec ◀─ DataSourceExec(memory: one row a bin)
//!                        │            └ read ▶ cache ▶ compile ▶ rows      (unit.rs, on a Node)
//!                        └ Parquet, bin record                             (crate bytefacts-landing)
//! run_job: submit, check coverage, commit, sweep                           (driver.rs, on the client)
//! facts_session: bytecode_files_v1, its flat tables and its views          (session.rs, records.rs)
//! validate: whether a committed run keeps what the contract promises        (validate.rs)
//! ```

pub mod access;
mod analyze;
mod attempt;
mod budget;
mod care;
pub mod codec;
mod corpus;
mod driver;
mod error;
mod facts_table;
mod flatten;
mod job;
mod judge;
mod land;
pub mod node;
mod outcome;
mod plan;
mod progress;
mod records;
mod reuse;
mod sample;
mod session;
mod snapshot;
pub mod stores;
mod table;
pub mod trial;
mod udf;
mod unit;
pub mod validate;
mod work;

pub use analyze::{AnalyzeExec, BinRow, bins_schema};
pub use budget::Budget;
pub use corpus::{RecognitionError, SingleRepository, single_repository};
pub use driver::{Finished, JobCluster, JobError, Patience, run_job};
pub use facts_table::FactsTable;
pub use flatten::FlattenExec;
pub use job::{ANALYZER_VERSION, BadJob, ExtractOptions, InterpreterId, Job};
pub use land::{ERRORS_METRIC, FILES_METRIC, LandExec, landed_schema};
pub use progress::{Progress, Reading, StageCounts};
pub use sample::{NoRate, SampleRate};
pub use session::{FACTS_TABLE, facts_session, register_facts};
pub use snapshot::schema_snapshot;
pub use table::CorpusTable;
pub use unit::fact_error;
