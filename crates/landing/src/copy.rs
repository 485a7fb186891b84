//! Data files whose bytes are known already: read in pieces, and landed again under the names of another attempt.

use std::ops::Range;

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};

use crate::Result;
use crate::id::{AttemptId, RunId};
use crate::keys;
use crate::record::{BinRecord, LandedFile};
use crate::store::{FactsStore, store_error};

/// A data file on its way into the store, piece by piece.
#[derive(Debug)]
pub struct FileCopy {
    facts: FactsStore,
    file: LandedFile,
    parts: WriteMultipart,
}

impl FactsStore {
    /// A piece of a data file.
    ///
    /// # Errors
    /// If the store fails or there is no such piece.
    pub async fn read_piece(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let piece = self.store().get_range(&self.path_of(key)?, range).await;
        piece.map_err(|source| store_error("read", key, source))
    }

    /// Begins to land the bytes of a file of another attempt; `seq` numbers the files of this attempt.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn begin_copy(&self, of: &LandedFile, run: &RunId, bin_id: u32, attempt: &AttemptId, seq: u32) -> Result<FileCopy> {
        let key = keys::data_file(of.repo.as_deref(), run, bin_id, attempt, seq);
        let upload = self.store().put_multipart(&self.path_of(&key)?).await.map_err(|source| store_error("write", &key, source))?;
        let parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(FileCopy { facts: self.clone(), file: LandedFile { key, ..of.clone() }, parts })
    }

    /// Records a bin whose files were copied. If another attempt was first, its record is returned; the sweep finds the files of this one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn record_copies(&self, record: BinRecord) -> Result<BinRecord> {
        self.record(record).await
    }
}

/// Object stores take no smaller parts than 5 MiB, but for the last.
const PART_BYTES: usize = 8 << 20;

impl FileCopy {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.parts.put(bytes);
        self.parts.wait_for_capacity(4).await.map_err(|source| store_error("write", &self.file.key, source))
    }

    /// Completes the file.
    ///
    /// # Errors
    /// If the store fails, or not all bytes were there.
    pub async fn finish(self) -> Result<LandedFile> {
        let Self { facts, file, parts } = self;
        parts.finish().await.map_err(|source| store_error("write", &file.key, source))?;
        facts.check_size(&file.key, file.bytes).await?;
        facts.sync(&file.key).await?;
        Ok(file)
    }

    /// Gives the file up.
    pub async fn abort(self) {
        if let Err(error) = self.parts.abort().await {
            tracing::debug!(%error, key = self.file.key, "an aborted upload is left to the store's lifecycle rule");
        }
    }
}
