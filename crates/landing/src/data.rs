//! Data files: rows in, Parquet in the store.

mod options;
mod upload;
mod writer;

pub use options::WriterOptions;
pub use writer::BinWriter;
