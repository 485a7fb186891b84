//! Data files: rows in, Parquet in the store.

mod upload;
mod writer;

pub use writer::{BinWriter, WriterOptions};
