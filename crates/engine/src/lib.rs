//! The DataFusion side of extraction: the corpus as a table whose scan is the job, and the operators that do the work.
//!
//! ```text
//! CorpusTable::scan ─▶ LandExec ◀─ AnalyzeExec ◀─ DataSourceExec(memory: one row a bin)
//!                        │            └ read ▶ cache ▶ compile ▶ rows      (unit.rs, on a Node)
//!                        └ Parquet, bin record                             (crate bytefacts-landing)
//! run_job: submit, check coverage, commit, sweep                           (driver.rs, on the client)
//! validate: whether a committed run keeps what the contract promises        (validate.rs)
//! ```

mod analyze;
mod attempt;
mod budget;
mod care;
pub mod codec;
mod corpus;
mod driver;
mod error;
mod job;
mod judge;
mod land;
pub mod node;
mod outcome;
mod progress;
mod reuse;
mod sample;
mod table;
pub mod trial;
mod unit;
pub mod validate;
mod work;

pub use analyze::{AnalyzeExec, BinRow, bins_schema};
pub use budget::Budget;
pub use corpus::{RecognitionError, SingleRepository, single_repository};
pub use driver::{Finished, JobCluster, JobError, Patience, run_job};
pub use job::{ANALYZER_VERSION, BadJob, ExtractOptions, InterpreterId, Job, JobRefused};
pub use land::{ERRORS_METRIC, FILES_METRIC, LandExec, landed_schema};
pub use progress::{Progress, Reading, StageCounts};
pub use sample::{NoRate, SampleRate};
pub use table::CorpusTable;
pub use unit::fact_error;
