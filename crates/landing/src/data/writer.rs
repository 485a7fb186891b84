//! The rows of one attempt at one bin, written as one Parquet file, or several where they are many.

use std::mem;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use bytefacts_encode::{EncodeOptions, FileProperties};

use super::options::WriterOptions;
use super::upload::DataFile;
use crate::documents::FactsStore;
use crate::model::{BinRecord, BinStats, LandedFile, RepoDigests};
use crate::names::{AttemptId, DATA_FOLDER, FileName, RunId, keys};
use crate::{LandingError, Result};

/// Writes the rows of one attempt at one bin.
///
/// Memory is bounded by one row group and the parts in flight, whatever the size of the bin. An attempt that is neither
/// finished nor aborted leaves files that the sweep finds.
#[derive(Debug)]
pub struct BinWriter {
    facts: FactsStore,
    run: RunId,
    bin_id: u32,
    attempt: AttemptId,
    schema: SchemaRef,
    /// Index of `path` in the schema; `repo` is the first column.
    path_column: usize,
    properties: FileProperties,
    options: WriterOptions,
    open: Option<OpenFile>,
    landed: Vec<LandedFile>,
    /// The last row of all.
    last: Option<FileName>,
    /// Keys given out so far, of finished files and others.
    keys: Vec<String>,
}

#[derive(Debug)]
struct OpenFile {
    first: FileName,
    file: DataFile,
}

impl BinWriter {
    /// A writer for root rows of `schema`, whose first column is `repo` and which has a column `path`. Where the schema has
    /// dictionaries (of `Int32` and `Utf8`), the files have texts.
    ///
    /// # Errors
    /// If the schema has another shape.
    pub fn new(
        facts: &FactsStore,
        run: &RunId,
        bin_id: u32,
        attempt: &AttemptId,
        schema: &SchemaRef,
        options: WriterOptions,
    ) -> Result<Self> {
        let is_text = |index: usize, name: &str| {
            let field = schema.fields().get(index);
            field.is_some_and(|f| f.name() == name && *f.data_type() == DataType::Utf8)
        };
        if !is_text(0, "repo") {
            return Err(shape("the first column is not repo: Utf8"));
        }
        let path_column =
            schema.index_of("path").ok().filter(|&index| is_text(index, "path")).ok_or_else(|| shape("there is no column path: Utf8"))?;
        let properties = FileProperties::new(schema, &EncodeOptions { zstd_level: options.zstd_level, ..EncodeOptions::default() })
            .map_err(|error| shape(error.to_string()))?;
        Ok(Self {
            facts: facts.clone(),
            run: run.clone(),
            bin_id,
            attempt: attempt.clone(),
            schema: schema.clone(),
            path_column,
            properties,
            options,
            open: None,
            landed: Vec::new(),
            last: None,
            keys: Vec::new(),
        })
    }

    /// What the open file takes, in bytes, beside the parts in flight: twice a row group and twice a part at most, and what one row takes that is larger.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.file.memory())
    }

    /// Takes the next rows, sorted by repository, none first, and path; no row comes twice.
    ///
    /// # Errors
    /// If rows are not sorted, cannot be encoded, or the store fails. The attempt should be aborted then.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = (batch.columns().first().and_then(text), batch.columns().get(self.path_column).and_then(text));
        let (Some(repos), Some(paths)) = columns else {
            return Err(shape("the batch has another schema than the writer"));
        };
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if paths.null_count() > 0 {
            return Err(shape("a row has no path"));
        }
        self.check_order(repos, paths)?;
        // Of the whole batch: a slice would count the buffers that it shares.
        let row_bytes = batch.get_array_memory_size() / batch.num_rows();
        // Small enough for row groups to keep their bound.
        let piece = (self.options.row_group_bytes / 4 / row_bytes.max(1)).max(1);
        let mut start = 0;
        while start < batch.num_rows() {
            let length = piece.min(batch.num_rows() - start);
            self.append(&batch.slice(start, length), name(repos, paths, start), name(repos, paths, start + length - 1)).await?;
            start += length;
        }
        Ok(())
    }

    /// The files claim to be sorted, and readers may rely on it.
    fn check_order(&self, repos: &StringArray, paths: &StringArray) -> Result<()> {
        let mut previous = self.last.as_ref().map(FileName::parts);
        for row in 0..paths.len() {
            let next = (value(repos, row), value(paths, row).unwrap_or_default());
            if let Some(previous) = previous
                && previous >= next
            {
                let name = |(repo, path)| FileName::new(repo, path);
                return Err(LandingError::NotSorted { previous: name(previous), next: name(next) });
            }
            previous = Some(next);
        }
        Ok(())
    }

    /// Appends rows, the first and the last of these names, to the open file.
    async fn append(&mut self, rows: &RecordBatch, first: FileName, last: FileName) -> Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let seq = u32::try_from(self.keys.len()).map_err(|_| self.beyond("files"))?;
                let key = keys::data_file(&self.run, self.bin_id, &self.attempt, seq);
                self.keys.push(key.clone());
                let file = DataFile::new(key, &self.schema, &self.properties, &self.options)?;
                self.open.insert(OpenFile { first, file })
            }
        };
        open.file.write(rows)?;
        open.file.upload_parts(&self.facts).await?;
        self.last = Some(last);
        if open.file.bytes() >= self.options.file_bytes || open.file.decoded() >= self.options.file_leaf_bytes {
            self.close().await?;
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        if let (Some(open), Some(last)) = (self.open.take(), &self.last) {
            self.landed.push(open.file.land(&self.facts, open.first, last.clone()).await?);
        }
        Ok(())
    }

    /// Completes all files. The record that comes out is not checked and stands nowhere yet.
    pub(crate) async fn complete(&mut self, stats: BinStats, digests: Vec<RepoDigests>) -> Result<BinRecord> {
        self.close().await?;
        let (run_id, bin_id, attempt) = (self.run.clone(), self.bin_id, self.attempt.clone());
        Ok(BinRecord { run_id, bin_id, attempt, stats, files: mem::take(&mut self.landed), digests, origin: None })
    }

    pub(crate) fn facts(&self) -> &FactsStore {
        &self.facts
    }

    /// Gives the attempt up and deletes what it has written, as far as that works now; the sweep does the rest.
    pub async fn abort(mut self) {
        if let Some(open) = self.open.take() {
            open.file.abort().await;
        }
        let keys = mem::take(&mut self.keys);
        let paths = keys.iter().filter_map(|key| self.facts.path_of(key).ok());
        let deleted = self.facts.delete_all(DATA_FOLDER, paths.collect()).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, bin_id = self.bin_id, "files of an aborted attempt are left to the sweep");
        }
    }

    fn beyond(&self, what: &str) -> LandingError {
        LandingError::Record { bin_id: self.bin_id, reason: format!("it has more {what} than can be numbered") }
    }
}

fn text(column: &arrow::array::ArrayRef) -> Option<&StringArray> {
    column.as_string_opt::<i32>()
}

fn value(column: &StringArray, row: usize) -> Option<&str> {
    (row < column.len() && column.is_valid(row)).then(|| column.value(row))
}

fn name(repos: &StringArray, paths: &StringArray, row: usize) -> FileName {
    FileName::new(value(repos, row), value(paths, row).unwrap_or_default())
}

fn shape(reason: impl Into<String>) -> LandingError {
    LandingError::Schema { reason: reason.into() }
}
