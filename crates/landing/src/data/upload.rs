//! A data file on its way into the store.
//!
//! It is encoded into memory, hashed, and leaves in parts as soon as enough of it is there; a small one leaves as a whole
//! when it is complete.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytefacts_encode::{FileEncoder, FileProperties};
use object_store::{ObjectStoreExt, WriteMultipart};
use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};

use super::options::WriterOptions;
use crate::documents::{FactsStore, store_error};
use crate::model::LandedFile;
use crate::names::FileName;
use crate::{LandingError, Result};

/// A file that is being encoded.
pub(crate) struct DataFile {
    key: String,
    rows: u64,
    writer: FileEncoder<Encoded>,
    /// Set once the file is too large to leave as a whole.
    parts: Option<WriteMultipart>,
    row_group_bytes: usize,
    row_group_rows: usize,
    part_bytes: usize,
    concurrency: usize,
}

/// The encoded bytes of a file that have not left yet, and the digest of all.
#[derive(Default)]
struct Encoded {
    pending: Vec<u8>,
    total: u64,
    digest: Sha256,
}

impl io::Write for Encoded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        self.digest.update(bytes);
        self.total += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DataFile {
    pub(crate) fn new(key: String, schema: &SchemaRef, properties: &FileProperties, options: &WriterOptions) -> Result<Self> {
        let writer = FileEncoder::try_new(Encoded::default(), schema, properties);
        Ok(Self {
            writer: writer.map_err(|source| encoding(&key, source))?,
            key,
            rows: 0,
            parts: None,
            row_group_bytes: options.row_group_bytes,
            row_group_rows: options.row_group_rows.max(1),
            part_bytes: options.part_bytes,
            concurrency: options.concurrency,
        })
    }

    /// Bytes of the file so far, and about as many as its open row group will have.
    pub(crate) fn bytes(&self) -> u64 {
        self.writer.inner().total + self.writer.bytes() as u64
    }

    /// What the largest leaf takes decoded, over all row groups, in bytes.
    pub(crate) fn decoded(&self) -> u64 {
        self.writer.decoded()
    }

    /// What is allocated for what has not left yet, in bytes: pages, dictionaries, and what is encoded and waits for a part to be full.
    pub(crate) fn memory(&self) -> usize {
        self.writer.memory() + self.writer.inner().pending.capacity()
    }

    /// Encodes rows, and closes row groups that are full.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.encode(rows).map_err(|source| encoding(&self.key, source))?;
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let mut start = 0;
        while start < rows.num_rows() {
            let length = (rows.num_rows() - start).min(self.row_group_rows - self.writer.rows());
            self.writer.write(&rows.slice(start, length))?;
            start += length;
            if self.writer.rows() >= self.row_group_rows || self.writer.bytes() >= self.row_group_bytes {
                self.writer.flush()?;
            }
        }
        Ok(())
    }

    /// Lets go of what is encoded, once it is enough for a part.
    pub(crate) async fn upload_parts(&mut self, facts: &FactsStore) -> Result<()> {
        if self.writer.inner().pending.len() < self.part_bytes {
            return Ok(());
        }
        let failed = |source| store_error("write", &self.key, source);
        if self.parts.is_none() {
            let path = facts.path_of(&self.key)?;
            let upload = facts.store().put_multipart(&path).await.map_err(failed)?;
            self.parts = Some(WriteMultipart::new_with_chunk_size(upload, self.part_bytes));
        }
        if let Some(parts) = &mut self.parts {
            let bytes = std::mem::take(&mut self.writer.inner_mut().pending);
            parts.put(bytes.into());
            parts.wait_for_capacity(self.concurrency).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(crate) async fn abort(self) {
        if let Some(parts) = self.parts
            && let Err(error) = parts.abort().await
        {
            tracing::debug!(%error, key = self.key, "an aborted upload is left to the store's lifecycle rule");
        }
    }

    /// Encodes what is left, and waits until the file is in the store as a whole.
    pub(crate) async fn land(mut self, facts: &FactsStore, first: FileName, last: FileName) -> Result<LandedFile> {
        let closed = self.writer.finish().map(drop);
        closed.map_err(|source| encoding(&self.key, source))?;
        let elements = self.writer.elements();
        let Encoded { pending, total, digest } = std::mem::take(self.writer.inner_mut());
        let written = match self.parts.take() {
            Some(mut parts) => {
                parts.put(pending.into());
                parts.finish().await
            }
            None => facts.store().put(&facts.path_of(&self.key)?, pending.into()).await,
        };
        written.map_err(|source| store_error("write", &self.key, source))?;
        facts.check_size(&self.key, total).await?;
        facts.documents().sync(&self.key).await?;
        Ok(LandedFile { key: self.key, rows: self.rows, bytes: total, sha256: hex::encode(digest.finalize()), first, last, elements })
    }
}

impl std::fmt::Debug for DataFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFile").field("key", &self.key).field("rows", &self.rows).finish_non_exhaustive()
    }
}

fn encoding(key: &str, source: ParquetError) -> LandingError {
    LandingError::Parquet { key: key.to_owned(), source }
}
