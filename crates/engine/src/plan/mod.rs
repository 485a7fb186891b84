//! The plan of a job: the corpus as a table whose scan is the job, the operators that do it, and how both travel.
//!
//! ```text
//! CorpusTable::scan ─▶ LandExec ◀─ AnalyzeExec ◀─ DataSourceExec(memory: one row a bin)
//!                        │            │              └ bins.rs
//!                        │            └ analysis.rs: the rows of a bin's files, in envelopes (envelope.rs)
//!                        └ landing.rs: data files, a record a bin, an answer a bin
//! ```

mod analysis;
mod analyze;
mod bins;
mod codec;
mod corpus_table;
mod envelope;
mod land;
mod landing;

pub use self::analyze::AnalyzeExec;
pub use self::codec::{LogicalCodec, PhysicalCodec};
pub use self::corpus_table::CorpusTable;
pub use self::land::{ERRORS_METRIC, FILES_METRIC, LandExec, landed_schema};
