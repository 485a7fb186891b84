//! The rows of one attempt at one bin, written as one Parquet file a repository.

use std::mem;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use bytefacts_encode::{EncodeOptions, FileProperties};

use crate::Result;
use crate::error::LandingError;
use crate::id::{AttemptId, RunId};
use crate::keys;
use crate::record::{BinRecord, BinStats, LandedFile, RepoDigests};
use crate::store::FactsStore;
use crate::upload::{DataFile, Uploads};

/// How data files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Level of zstd; 1 is the cheapest.
    pub zstd_level: i32,
    /// Row groups are closed once their buffered pages take this many bytes. One row may take more.
    pub row_group_bytes: usize,
    /// Row groups are closed once they hold this many rows.
    pub row_group_rows: usize,
    /// Files larger than this are uploaded in parts of this size, in bytes; at least 5 MiB, which S3 demands.
    pub part_bytes: usize,
    /// Uploads at the same time, and parts of one upload at the same time.
    pub concurrency: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { zstd_level: 1, row_group_bytes: 128 << 20, row_group_rows: 1 << 20, part_bytes: 8 << 20, concurrency: 4 }
    }
}

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
    /// The root schema without `repo`.
    schema: SchemaRef,
    /// Index of `path` in the root schema.
    path_column: usize,
    properties: FileProperties,
    options: WriterOptions,
    open: Option<OpenFile>,
    uploads: Uploads,
    /// Keys given out so far, of finished files and others.
    keys: Vec<String>,
}

#[derive(Debug)]
struct OpenFile {
    repo: Option<String>,
    last_path: String,
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
        let without_repo: Vec<usize> = (1..schema.fields().len()).collect();
        let file_schema = schema.project(&without_repo).map_err(|error| shape(error.to_string()))?;
        let properties = FileProperties::new(&file_schema, &EncodeOptions { zstd_level: options.zstd_level, ..EncodeOptions::default() })
            .map_err(|error| shape(error.to_string()))?;
        Ok(Self {
            facts: facts.clone(),
            run: run.clone(),
            bin_id,
            attempt: attempt.clone(),
            properties,
            schema: file_schema.into(),
            path_column,
            uploads: Uploads::new(facts.clone(), options.concurrency),
            options,
            open: None,
            keys: Vec::new(),
        })
    }

    /// Takes the next rows. The rows of a repository come together and sorted by path; one batch may hold several
    /// repositories. A repository that comes again gets a further file.
    ///
    /// # Errors
    /// If rows are not sorted, cannot be encoded, or the store fails. The attempt should be aborted then.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = (batch.columns().first().and_then(text), batch.columns().get(self.path_column).and_then(text));
        let (Some(repos), Some(paths)) = columns else {
            return Err(shape("the batch has another schema than the writer"));
        };
        let rows: Vec<usize> = (0..batch.num_rows()).collect();
        // Of the whole batch: a slice would count the buffers that it shares.
        let row_bytes = batch.get_array_memory_size() / batch.num_rows().max(1);
        let same_repo = |a: &usize, b: &usize| value(repos, *a) == value(repos, *b);
        for run in rows.chunk_by(same_repo) {
            let Some(&first) = run.first() else { continue };
            self.open(value(repos, first)).await?;
            self.check_order(paths, run)?;
            self.append(&batch.slice(first, run.len()), row_bytes).await?;
        }
        Ok(())
    }

    /// Makes the file of `repo` the open one.
    async fn open(&mut self, repo: Option<&str>) -> Result<()> {
        if self.open.as_ref().is_some_and(|o| o.repo.as_deref() == repo) {
            return Ok(());
        }
        self.close().await?;
        let seq = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let key = keys::data_file(repo, &self.run, self.bin_id, &self.attempt, seq);
        self.keys.push(key.clone());
        let file = DataFile::new(key, &self.schema, &self.properties, &self.options)?;
        self.open = Some(OpenFile { repo: repo.map(str::to_owned), last_path: String::new(), file });
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        self.uploads.complete(open.repo, open.file).await
    }

    /// The files claim to be sorted, and readers may rely on it.
    fn check_order(&mut self, paths: &StringArray, rows: &[usize]) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let mut previous = open.last_path.as_str();
        for &row in rows {
            let path = value(paths, row).unwrap_or_default();
            if path < previous {
                return Err(LandingError::NotSorted { previous: previous.to_owned(), path: path.to_owned() });
            }
            previous = path;
        }
        open.last_path = previous.to_owned();
        Ok(())
    }

    /// Writes rows of the open repository, in pieces small enough for row groups to keep their bound.
    async fn append(&mut self, rows: &RecordBatch, row_bytes: usize) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let columns = rows.columns().get(1..).unwrap_or_default().to_vec();
        let rows = RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| shape(error.to_string()))?;
        let piece = (self.options.row_group_bytes / 4 / row_bytes.max(1)).max(1);
        let mut start = 0;
        while start < rows.num_rows() {
            let length = piece.min(rows.num_rows() - start);
            open.file.write(&rows.slice(start, length))?;
            start += length;
            open.file.upload_parts(&self.facts).await?;
        }
        Ok(())
    }

    /// Completes all files and records the bin.
    ///
    /// If another attempt was first, its record is returned and the files of this one are deleted: compare
    /// [`BinRecord::attempt`].
    ///
    /// # Errors
    /// If the rows written are not `stats.files`, or the store fails. The attempt is aborted then, unless its record may
    /// have been created in spite of the error.
    pub async fn finish(mut self, stats: BinStats, digests: Vec<RepoDigests>) -> Result<BinRecord> {
        let files = match self.complete(&stats).await {
            Ok(files) => files,
            Err(error) => {
                self.abort().await;
                return Err(error);
            }
        };
        let record = BinRecord { run_id: self.run.clone(), bin_id: self.bin_id, attempt: self.attempt.clone(), stats, files, digests };
        let recorded = self.facts.record(record).await?;
        if recorded.attempt != self.attempt {
            self.abort().await;
        }
        Ok(recorded)
    }

    /// Waits for all files and counts their rows.
    async fn complete(&mut self, stats: &BinStats) -> Result<Vec<LandedFile>> {
        self.close().await?;
        let files = self.uploads.finish().await?;
        let rows: u64 = files.iter().map(|f| f.rows).sum();
        if rows == stats.files {
            return Ok(files);
        }
        Err(LandingError::Record { bin_id: self.bin_id, reason: format!("{} files taken in, {rows} rows written", stats.files) })
    }

    /// Gives the attempt up and deletes what it has written, as far as that works now; the sweep does the rest.
    pub async fn abort(mut self) {
        if let Some(open) = self.open.take() {
            open.file.abort().await;
        }
        self.uploads.abort().await;
        let keys = mem::take(&mut self.keys);
        let paths = keys.iter().filter_map(|key| self.facts.path_of(key).ok());
        let deleted = self.facts.delete_all(keys::DATA_FOLDER, paths.collect()).await;
        if let Err(error) = deleted {
            tracing::debug!(%error, bin_id = self.bin_id, "files of an aborted attempt are left to the sweep");
        }
    }
}

fn text(column: &arrow::array::ArrayRef) -> Option<&StringArray> {
    column.as_string_opt::<i32>()
}

fn value(column: &StringArray, row: usize) -> Option<&str> {
    (row < column.len() && column.is_valid(row)).then(|| column.value(row))
}

fn shape(reason: impl Into<String>) -> LandingError {
    LandingError::Schema { reason: reason.into() }
}
