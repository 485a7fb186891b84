//! The journal of a bin: which attempts began, and in careful ones which file came next.
//!
//! An executor that dies leaves no error behind, and Ballista gives its bins to the next executor as often as it takes: a file that kills whoever
//! analyses it would bring down one executor after another. So each attempt notes that it began, and takes the note back when it ends in an
//! orderly way. Notes that stay tell of deaths. Whoever comes after a death works carefully: one file at a time, each noted before it is
//! begun. A file that was the last of several careful attempts is the one that kills.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::Result;
use crate::documents::{FactsStore, store_error};
use crate::names::{AttemptId, RunId, keys};

/// What the journal of a bin says of earlier attempts that did not end in an orderly way (or are still under way).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// Attempts.
    pub deaths: u32,
    /// Careful attempts by the last file that they began, as its index in the bin.
    pub last_files: BTreeMap<u32, u32>,
}

impl FactsStore {
    /// What earlier attempts at a bin have left in its journal.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn journal(&self, run: &RunId, bin_id: u32) -> Result<Journal> {
        let mut attempts: BTreeMap<AttemptId, Option<u32>> = BTreeMap::new();
        for note in self.notes(&keys::journal_folder(run, bin_id)).await? {
            if let Some((attempt, file)) = note.filename().and_then(keys::note_of_journal) {
                let last = attempts.entry(attempt).or_default();
                *last = (*last).max(file);
            }
        }
        let mut journal = Journal { deaths: u32::try_from(attempts.len()).unwrap_or(u32::MAX), ..Journal::default() };
        for file in attempts.into_values().flatten() {
            *journal.last_files.entry(file).or_default() += 1;
        }
        Ok(journal)
    }

    /// Notes that an attempt at a bin begins.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note_attempt(&self, run: &RunId, bin_id: u32, attempt: &AttemptId) -> Result<()> {
        self.note(&keys::journal_begun(run, bin_id, attempt)).await
    }

    /// Notes that an attempt begins to work on a file, by its index in the bin.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note_file(&self, run: &RunId, bin_id: u32, attempt: &AttemptId, file: u32) -> Result<()> {
        self.note(&keys::journal_file(run, bin_id, attempt, file)).await
    }

    /// Clears the journal of a bin: of the attempts whose ids begin with `of`, or of all once the bin has a record.
    ///
    /// # Errors
    /// If the store fails. What stays counts as a death, which makes the next attempt careful and does no other harm.
    pub async fn clear_journal(&self, run: &RunId, bin_id: u32, of: &str) -> Result<()> {
        let folder = keys::journal_folder(run, bin_id);
        let paths = self.notes(&folder).await?.into_iter();
        let paths = paths.filter(|path| path.filename().is_some_and(|name| name.starts_with(of))).collect();
        self.delete_all(&folder, paths).await
    }

    async fn notes(&self, folder: &str) -> Result<Vec<Path>> {
        let prefix = self.path_of(folder)?;
        let notes = self.store().list(Some(&prefix)).map_ok(|meta| meta.location).try_collect().await;
        notes.map_err(|source| store_error("list", folder, source))
    }

    /// A note need not survive a power cut: nobody's attempt does either.
    async fn note(&self, key: &str) -> Result<()> {
        let put = self.store().put(&self.path_of(key)?, PutPayload::default()).await;
        put.map(drop).map_err(|source| store_error("create", key, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use object_store::memory::InMemory;

    #[tokio::test]
    async fn deaths_are_counted_until_an_attempt_ends_alive() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let run = RunId::new("r").unwrap();
        let attempt = |name| AttemptId::new(name).unwrap();
        assert_eq!(facts.journal(&run, 3).await.unwrap(), Journal::default());

        for name in ["a", "b", "c"] {
            facts.note_attempt(&run, 3, &attempt(name)).await.unwrap();
        }
        for (name, file) in [("b", 0), ("b", 1), ("c", 0), ("c", 1)] {
            facts.note_file(&run, 3, &attempt(name), file).await.unwrap();
        }
        facts.note_attempt(&run, 4, &attempt("d")).await.unwrap();
        let journal = facts.journal(&run, 3).await.unwrap();
        assert_eq!(journal, Journal { deaths: 3, last_files: BTreeMap::from([(1, 2)]) });

        facts.clear_journal(&run, 3, "b").await.unwrap();
        let journal = facts.journal(&run, 3).await.unwrap();
        assert_eq!(journal, Journal { deaths: 2, last_files: BTreeMap::from([(1, 1)]) });
        facts.clear_journal(&run, 3, "").await.unwrap();
        assert_eq!(facts.journal(&run, 3).await.unwrap(), Journal::default());
        assert_eq!(facts.journal(&run, 4).await.unwrap().deaths, 1);
    }
}
