//! Facts as SQL tables: what a session over facts has, and how its plans travel. It links nothing that makes facts.
//!
//! ```text
//! facts_session: bytecode_files_v1, flat tables, views, id functions    (session.rs, udf.rs)
//!   Views: planned when they are first asked for                        (views.rs)
//!   FactsTable: a committed run                                         (facts_table.rs)
//!   OneRunPlanner: the same run for all tables of a query              (one_run.rs)
//!   FilesScan: its files that a filter leaves, and a plan to read them  (files_scan.rs, skipping.rs)
//!   FlatTables ─▶ FlattenExec: flat tables, filtered as they are made   (flat_tables.rs, flatten.rs, rows.rs, condition.rs)
//!     LookUps: the files of units that are asked for by id              (look_up.rs)
//!   ByFile ─▶ ByFileExec: what needs to know of one file at a time      (locality.rs, by_file.rs)
//!   Yielding: joins that can be given up                                (yielding.rs)
//! ChangesFunction: `changes('a', 'b')`, what differs between two runs   (changes.rs)
//! listings: runs, their files, repositories and errors as tables        (listings.rs)
//!   AuditTable: what concluded audits have found                        (audits.rs)
//! guarded functions: bounds to what a batch may become                 (guard.rs)
//! explain: errors in words for who wrote the SQL                        (message.rs)
//! QueryCodec: our operators on the wire                                 (codec.rs, wire.rs)
//! Underway: queries that others run end with whoever waits for them     (underway.rs)
//! schema_snapshot: what `information_schema` says, for a run's manifest (snapshot.rs)
//! ```

mod audits;
mod by_file;
mod changes;
mod codec;
mod condition;
mod error;
mod facts_table;
mod files_scan;
mod flat_tables;
mod flatten;
mod guard;
pub mod listings;
mod locality;
mod look_up;
mod message;
mod one_run;
pub mod operator;
mod rows;
mod session;
mod skipping;
mod snapshot;
mod udf;
mod underway;
mod views;
pub mod wire;
mod yielding;

pub use by_file::ByFileExec;
pub use changes::{CHANGES, CHANGES_COLUMNS, ChangesFunction};
pub use codec::QueryCodec;
pub use facts_table::FactsTable;
pub use flatten::FlattenExec;
pub use guard::{GuardedOperators, concatenation, guarded};
pub use message::{Hints, explain, of_task};
pub use one_run::OneRunPlanner;
pub use session::{FACTS_TABLE, facts_session, register_facts, register_listings};
pub use snapshot::schema_snapshot;
pub use udf::all as id_functions;
pub use underway::Underway;
