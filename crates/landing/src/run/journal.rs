//! The journal of a bin: which attempts began, and how far they have come.
//!
//! An executor that dies leaves no error behind, and Ballista gives its bins to the next executor as often as it takes: a file that kills whoever
//! analyses it would bring down one executor after another. So each attempt notes that it began, and takes the note back when it ends in an
//! orderly way. A note that stays makes whoever comes next careful, and does nothing else: it may be that of an attempt that died of a file, of
//! one that was killed or cut off, or of one that is still at work.
//!
//! An attempt that takes long also notes, now and then, how many files it has done. Whoever waits for the run takes notes that are new for
//! progress: a bin may take longer than anybody's patience.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use crate::Result;
use crate::documents::{FactsStore, store_error};
use crate::names::{AttemptId, RunId, keys};

impl FactsStore {
    /// Attempts at a bin that have not ended in an orderly way, or are still at work.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn unfinished_attempts(&self, run: &RunId, bin_id: u32) -> Result<u32> {
        let notes = self.notes(&keys::journal_folder(run, bin_id)).await?;
        let attempts = notes.iter().filter_map(|note| Some(keys::note_of_journal(note.filename()?)?.0));
        Ok(u32::try_from(attempts.collect::<BTreeSet<_>>().len()).unwrap_or(u32::MAX))
    }

    /// The names of all notes of a run, to be compared with those of another time.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn notes_of_run(&self, run: &RunId) -> Result<BTreeSet<String>> {
        Ok(self.notes(&keys::attempts_folder(run)).await?.into_iter().map(String::from).collect())
    }

    /// Notes that an attempt at a bin begins.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note_attempt(&self, run: &RunId, bin_id: u32, attempt: &AttemptId) -> Result<()> {
        self.note(&keys::journal_begun(run, bin_id, attempt)).await
    }

    /// Notes how many files of its bin an attempt has done.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note_progress(&self, run: &RunId, bin_id: u32, attempt: &AttemptId, files: u32) -> Result<()> {
        self.note(&keys::journal_progress(run, bin_id, attempt, files)).await
    }

    /// Notes that an attempt still plans the run, for the so many'th time.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note_planning(&self, run: &RunId, attempt: &AttemptId, time: u32) -> Result<()> {
        self.note(&keys::journal_planning(run, attempt, time)).await
    }

    /// Clears the journal of a bin: of the attempts whose ids begin with `of`, or of all once the bin has a record.
    ///
    /// # Errors
    /// If the store fails. What stays makes the next attempt careful and does no other harm.
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
    async fn an_attempt_is_unfinished_until_it_takes_its_notes_back() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let run = RunId::new("r").unwrap();
        let attempt = |name| AttemptId::new(name).unwrap();
        assert_eq!(facts.unfinished_attempts(&run, 3).await.unwrap(), 0);

        for name in ["a", "b", "c"] {
            facts.note_attempt(&run, 3, &attempt(name)).await.unwrap();
        }
        for (name, files) in [("b", 10), ("b", 20), ("c", 10)] {
            facts.note_progress(&run, 3, &attempt(name), files).await.unwrap();
        }
        facts.note_attempt(&run, 4, &attempt("d")).await.unwrap();
        assert_eq!(facts.unfinished_attempts(&run, 3).await.unwrap(), 3);

        facts.clear_journal(&run, 3, "b").await.unwrap();
        assert_eq!(facts.unfinished_attempts(&run, 3).await.unwrap(), 2);
        facts.clear_journal(&run, 3, "").await.unwrap();
        assert_eq!(facts.unfinished_attempts(&run, 3).await.unwrap(), 0);
        assert_eq!(facts.unfinished_attempts(&run, 4).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn whatever_a_run_gets_on_with_shows_as_a_new_note() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let (run, attempt) = (RunId::new("r").unwrap(), AttemptId::new("a").unwrap());
        let mut seen = vec![facts.notes_of_run(&run).await.unwrap()];
        facts.note_attempt(&run, 3, &attempt).await.unwrap();
        seen.push(facts.notes_of_run(&run).await.unwrap());
        for files in [5, 9] {
            facts.note_progress(&run, 3, &attempt, files).await.unwrap();
            seen.push(facts.notes_of_run(&run).await.unwrap());
        }
        facts.note_attempt(&run, 12, &attempt).await.unwrap();
        seen.push(facts.notes_of_run(&run).await.unwrap());
        assert_eq!(seen.iter().map(BTreeSet::len).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(facts.notes_of_run(&RunId::new("other").unwrap()).await.unwrap().is_empty());
    }
}
