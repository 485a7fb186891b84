//! Data files that are landed once more: copied within the store, under the names of another attempt.

use object_store::{Error as E, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::id::{AttemptId, RunId};
use crate::keys;
use crate::record::{BinRecord, LandedFile};
use crate::store::{FactsStore, store_error};

/// A data file, and the mark by which the store tells that very object from any other under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedFile {
    file: LandedFile,
    e_tag: String,
}

impl FactsStore {
    /// Pins a landed file. `None` if it is not there in its full size, or the store has no marks.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn pin(&self, file: &LandedFile) -> Result<Option<PinnedFile>> {
        match self.store().head(&self.path_of(&file.key)?).await {
            Ok(meta) if meta.size == file.bytes => Ok(meta.e_tag.map(|e_tag| PinnedFile { file: file.clone(), e_tag })),
            Ok(_) | Err(E::NotFound { .. }) => Ok(None),
            Err(source) => Err(store_error("look up", &file.key, source)),
        }
    }

    /// Lands a pinned file under the names of another attempt, whose files `seq` numbers. `None` if the object is not there any more.
    ///
    /// The bytes stay where they are: an object store copies within itself, and a disk makes a second link to the same file, which is
    /// safe since data files are never written again.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn land_again(
        &self,
        pinned: &PinnedFile,
        run: &RunId,
        bin_id: u32,
        attempt: &AttemptId,
        seq: u32,
    ) -> Result<Option<LandedFile>> {
        let of = &pinned.file;
        if self.pin(of).await?.as_ref() != Some(pinned) {
            return Ok(None);
        }
        let key = keys::data_file(of.repo.as_deref(), run, bin_id, attempt, seq);
        match self.store().copy(&self.path_of(&of.key)?, &self.path_of(&key)?).await {
            Ok(()) => {}
            Err(E::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error("copy", &of.key, source)),
        }
        self.check_size(&key, of.bytes).await?;
        self.sync(&key).await?;
        Ok(Some(LandedFile { key, ..of.clone() }))
    }

    /// Records a bin whose files were landed again. If another attempt was first, its record is returned; the sweep finds the files of
    /// this one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn record_copies(&self, record: BinRecord) -> Result<BinRecord> {
        self.record(record).await
    }
}
