//! Corpora: where they are, what is in them, and how their files are dealt out.
//!
//! A [`Corpus`] lists its Python files ([`Inventory`]) and reads them one by one; [`pack`] deals them out into bins of
//! about equal predicted cost. Nothing is skipped silently: what cannot be read becomes an [`Entry`] whose reading
//! yields a structured [`ReadError`], and what is left out on purpose is counted in [`Notes`].
//!
//! A [`Selection`] says which files are taken. Folders reached through symbolic links never are: they may loop, and what
//! they hold is listed where it lies.
//!
//! No step holds all files of a corpus in memory: a listing is sorted in temporary files, and bins are packed and written
//! as they come.
//!
//! **Why is a local folder not read through an object store?** Because file names on a disk are bytes. An object store's
//! keys are text, and a file whose name is not UTF-8 would vanish or fail the listing. See [`encode_name`].

mod bins;
mod corpus;
mod encoded;
mod entry;
mod error;
mod gitignore;
mod inventory;
mod local;
mod location;
mod name;
mod notes;
mod objects;
mod pages;
mod selection;
mod sort;

pub use bins::{Bin, BinOptions, Target, pack, pack_one, predicted_cost_us};
pub use corpus::{Corpus, DEFAULT_LIMIT};
pub use encoded::{BinError, decode_bin, encode_bin};
pub use entry::{Entry, Form};
pub use error::{ListError, ReadError, SymlinkFault};
pub use inventory::Inventory;
pub use location::{Location, LocationError};
pub use name::{decode_name, encode_name};
pub use notes::{Notes, Tally};
pub use selection::{EXCLUDE, INCLUDE, Selection, SelectionError};
