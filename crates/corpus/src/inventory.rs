//! What a corpus holds: its entries, and notes of what is not among them.

use crate::entry::Entry;
use crate::error::ListError;
use crate::notes::Notes;
use crate::sort::Sorted;

/// What a corpus holds. Large ones are kept in temporary files; they go with the last clone.
#[derive(Clone, Debug)]
pub struct Inventory {
    sorted: Sorted,
    /// What is not among the entries, and why.
    pub notes: Notes,
}

impl Inventory {
    pub(crate) fn new(sorted: Sorted, notes: Notes) -> Self {
        Self { sorted, notes }
    }

    /// How many entries there are.
    pub fn files(&self) -> u64 {
        self.sorted.files
    }

    /// Bytes over all entries, as listed.
    pub fn bytes(&self) -> u64 {
        self.sorted.bytes
    }

    /// Predicted CPU time of all entries, in microseconds: what [`crate::pack`] wants to know beforehand.
    pub fn cost_us(&self) -> u64 {
        self.sorted.cost_us
    }

    /// The entries, sorted, each name once, from the first one on. Blocks on the disk if there are many.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn entries(&self) -> Result<impl Iterator<Item = Result<Entry, ListError>> + Send + 'static, ListError> {
        let entries = self.sorted.entries().map_err(ListError::sorting)?;
        Ok(entries.map(|entry| entry.map_err(ListError::sorting)))
    }
}
