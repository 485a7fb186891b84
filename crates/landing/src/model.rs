//! What is written down about a run.
//!
//! All of it is JSON with a fixed order of keys. Object keys are relative to the root of the facts, so that a folder
//! of facts can be moved or copied as a whole.

mod audit;
mod bins;
mod changed;
mod manifest;
mod record;
mod schema;

pub use audit::{AuditAsked, AuditCounts, AuditDocument, AuditHeader, ConcludedAudit};
pub use bins::{BinIndex, IndexedBin};
pub use changed::Changed;
pub use manifest::{Current, Decision, Gone, LetGo, Manifest, RepoSummary, RunDocument, RunHeader, Shard};
pub(crate) use record::add_up;
pub use record::{BinRecord, BinStats, ErrorCount, FileDigest, LandedFile, Origin, RepoDigests};
pub use schema::{ColumnChange, ColumnSnapshot, Retyped, SchemaDelta, SchemaRecord, SchemaSnapshot, TableSnapshot};
