//! Facts as SQL tables: what a session over facts has, and how its plans travel. It links nothing that makes facts.
//!
//! ```text
//! facts_session: bytecode_files_v1, flat tables, views, id functions    (session.rs, udf.rs)
//!   FactsTable: the files of a committed run that a filter leaves       (facts_table.rs)
//!   FlatTables ─▶ FlattenExec ◀─ FactsTable: flat tables                (flat_tables.rs, flatten.rs)
//! QueryCodec: FlattenExec on the wire                                   (codec.rs, wire.rs)
//! guarded functions: bounds to what a batch may become                 (guard.rs)
//! explain: errors in words for who wrote the SQL                        (message.rs)
//! schema_snapshot: what `information_schema` says, for a run's manifest (snapshot.rs)
//! ```

mod codec;
mod error;
mod facts_table;
mod flat_tables;
mod flatten;
mod guard;
mod message;
pub mod operator;
mod session;
mod snapshot;
mod udf;
pub mod wire;

pub use codec::QueryCodec;
pub use facts_table::FactsTable;
pub use flatten::FlattenExec;
pub use guard::{GuardedOperators, concatenation, guarded};
pub use message::{Hints, explain};
pub use session::{FACTS_TABLE, facts_session, register_facts};
pub use snapshot::schema_snapshot;
pub use udf::all as id_functions;
