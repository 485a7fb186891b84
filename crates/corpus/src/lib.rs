//! Corpora: where they are, what is in them, and how their files are dealt out.
//!
//! A [`Corpus`] lists its Python files ([`Inventory`]) and reads them one by one; [`pack`] deals them out into bins of
//! about equal predicted cost. Nothing is skipped silently: what cannot be read becomes an [`Entry`] whose reading
//! yields a structured [`ReadError`], and what is left out on purpose is counted in [`Notes`].
//!
//! Taken are the files that CPython takes for source: `.py` and `.pyw`. Left out are folders named `.git`, or as [`Corpus::excluding`] says, folders reached through symbolic links (they may loop, and what they hold
//! is listed where it lies) and every other file. Hidden folders, virtual environments and vendored code are taken:
//! whether they matter is for a query to say.
//!
//! **Why is a local folder not read through an object store?** Because file names on a disk are bytes. An object store's
//! keys are text, and a file whose name is not UTF-8 would vanish or fail the listing. See [`encode_name`].

mod bins;
mod corpus;
mod error;
mod inventory;
mod local;
mod location;
mod manifest;
mod name;
mod objects;

pub use bins::{Bin, BinOptions, Target, pack, pack_one, predicted_cost_us};
pub use corpus::{Corpus, DEFAULT_LIMIT};
pub use error::{ListError, ReadError, SymlinkFault};
pub use inventory::{Entry, Form, Inventory, Notes, Tally};
pub use location::{Location, LocationError};
pub use manifest::{BinManifestError, decode_bin, decode_bins, encode_bins, index_bins};
pub use name::{decode_name, encode_name};
