//! The data contract of `bytecode_files_v1` in code: the [`schema`](mod@schema), [`ids`], [`digest`]s, the rows of a file
//! ([`RowBuilder`]), the [`flat`] tables and the SQL of the [`views`] over them.
//!
//! The crate is pure: bytes and options in, Arrow arrays and text out. The same source, path, options and interpreter give the
//! same bytes, whatever else was built before or beside it.
//!
//! - What goes wrong with a file or a unit is an ERROR row; nothing that a file contains fails a batch.
//! - The pieces that a path enters (`file_id`, `code_unit_id`, `co_filename`, the text of code objects) and all
//!   else are derived here from marshalled code, so that whoever keeps results by content keeps marshalled code and diagnostics.

mod constants;
pub mod digest;
pub mod flat;
pub mod ids;
mod input;
pub mod oracle;
mod rows;
pub mod schema;
pub mod source;
mod unit;
mod unwritten;
pub mod validate;
pub mod views;

pub use self::{
    input::{FactError, FileInput, Options, RunAttrs, STAGES, Severity},
    rows::{FileStats, RowBuilder, RowError, coded_schema},
    schema::schema,
};
