//! Data files on their way into the store.
//!
//! A file is encoded into memory, hashed, and leaves in parts as soon as enough of it is there; a small one leaves as a
//! whole when it is complete. Completed files are uploaded in the background, a few at a time: a bin may hold thousands
//! of small repositories, and an object store takes its time for each.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytefacts_encode::{FileEncoder, FileProperties};
use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};
use parquet::errors::ParquetError;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::Result;
use crate::error::LandingError;
use crate::record::LandedFile;
use crate::store::{FactsStore, store_error};
use crate::writer::WriterOptions;

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

    /// Encodes what is left.
    fn close(mut self, repo: Option<String>) -> Result<Closed> {
        let closed = self.writer.finish().map(drop);
        closed.map_err(|source| encoding(&self.key, source))?;
        let encoded = std::mem::take(self.writer.inner_mut());
        Ok(Closed {
            file: LandedFile { repo, key: self.key, rows: self.rows, bytes: encoded.total, sha256: hex::encode(encoded.digest.finalize()) },
            rest: encoded.pending.into(),
            parts: self.parts,
        })
    }
}

impl std::fmt::Debug for DataFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataFile").field("key", &self.key).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// A file that is encoded to its end.
struct Closed {
    file: LandedFile,
    rest: Bytes,
    parts: Option<WriteMultipart>,
}

impl Closed {
    async fn upload(self, facts: &FactsStore) -> Result<LandedFile> {
        let Self { file, rest, parts } = self;
        let path = facts.path_of(&file.key)?;
        let written = match parts {
            Some(mut parts) => {
                parts.put(rest);
                parts.finish().await
            }
            None => facts.store().put(&path, rest.into()).await,
        };
        written.map_err(|source| store_error("write", &file.key, source))?;
        facts.check_size(&file.key, file.bytes).await?;
        facts.sync(&file.key).await?;
        Ok(file)
    }
}

/// Uploads in the background.
#[derive(Debug)]
pub(crate) struct Uploads {
    facts: FactsStore,
    concurrency: usize,
    tasks: JoinSet<Result<LandedFile>>,
    landed: Vec<LandedFile>,
}

impl Uploads {
    pub(crate) fn new(facts: FactsStore, concurrency: usize) -> Self {
        Self { facts, concurrency: concurrency.max(1), tasks: JoinSet::new(), landed: Vec::new() }
    }

    /// Closes a file and starts what is left of its upload, as soon as there is room for it.
    pub(crate) async fn complete(&mut self, repo: Option<String>, file: DataFile) -> Result<()> {
        while self.tasks.len() >= self.concurrency {
            self.land_next().await?;
        }
        let closed = file.close(repo)?;
        let facts = self.facts.clone();
        self.tasks.spawn(async move { closed.upload(&facts).await });
        Ok(())
    }

    /// Waits for all uploads; their files by repository and key.
    pub(crate) async fn finish(&mut self) -> Result<Vec<LandedFile>> {
        while !self.tasks.is_empty() {
            self.land_next().await?;
        }
        let mut landed = std::mem::take(&mut self.landed);
        landed.sort_by(|a, b| (&a.repo, &a.key).cmp(&(&b.repo, &b.key)));
        Ok(landed)
    }

    async fn land_next(&mut self) -> Result<()> {
        match self.tasks.join_next().await {
            None => {}
            Some(Ok(file)) => self.landed.push(file?),
            Some(Err(source)) => {
                return Err(LandingError::Interrupted { key: String::new(), source });
            }
        }
        Ok(())
    }

    pub(crate) async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }
}

fn encoding(key: &str, source: ParquetError) -> LandingError {
    LandingError::Parquet { key: key.to_owned(), source }
}
