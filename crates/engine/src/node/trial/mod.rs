//! Trials: a file that may be a killer is tried alone, in a process that nobody misses, before the executor takes it on.
//!
//! After an attempt at a bin has ended without a word, nobody knows why: a file may have killed the executor, or somebody pulled its plug. The
//! next attempt has each file go the whole dangerous way first in a process of its own (`child.rs`): compiled by a worker, decoded, analysed,
//! made a row and encoded. How that process ends decides. A signal that only its own doing brings about, or the kernel's word that memory ran
//! out, while it worked on nothing but this file, counts against the file; after some times of it the file is left alone for good. A kill
//! from outside counts for nothing.
//!
//! One process tries one file after another, since starting one costs more than most files do. Only what happens to a fresh one counts.

mod child;
mod trials;
mod wire;

pub use self::child::serve;
pub use self::trials::TrialCommand;
pub(crate) use self::trials::{Killer, Trials};
