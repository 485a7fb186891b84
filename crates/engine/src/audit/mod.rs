//! A determinism audit as a job: the bins of a night under its conditions, derived by whoever is asked to.
//!
//! ```text
//! unit.rs      a bin, derived first and then under conditions: the verdicts     (executors, and whoever audits by himself)
//! dis.rs       a bin, as CPython's own `dis` sees it, against the rows
//! records.rs   what is written down: bins, and a record for each bin and condition, created once
//! job.rs       what travels, and what of it is refused
//! table.rs     AuditTable: its scan plans what has no record yet                 (scheduler)
//! exec.rs      AuditExec: rows that name units in, a record and a row for each   (executors)
//! drive.rs     submit, watch the records, give what is done                      (client)
//! ```
//!
//! A unit is a bin under a condition. As with extraction, records decide and answers do not: whoever is asked for a unit that has a record does
//! nothing, and of two that derive one at once the first record stands.

mod dis;
mod drive;
mod exec;
mod job;
mod records;
mod table;
mod unit;

pub use self::drive::{AuditCluster, AuditWatch, run_audit};
pub use self::exec::{AUDITED_FILES_METRIC, AuditExec, audited_schema};
pub use self::job::AuditJob;
pub use self::records::{AuditRecords, UnitRecord};
pub use self::table::AuditTable;
pub use self::unit::{AuditWorker, OpenBin, UnitError};
