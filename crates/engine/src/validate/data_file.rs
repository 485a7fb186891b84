//! One data file: there, whole, of the right schema, and its rows.

use std::io::Cursor;
use std::sync::Arc;

use bytefacts_encode::{ElementCounts, StatisticsCheck};
use bytefacts_facts::schema as facts_schema;
use bytefacts_facts::validate::{Check, CheckedRow, IdSink, Tally, Totals, ValidateOptions, Validator, differences};
use bytefacts_landing::{FactsStore, FileName, LandedFile};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use object_store::buffered::BufReader;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use sha2::{Digest as _, Sha256};

use super::error::ValidateError;
use super::report::about_file;
use super::unique::IdKeys;

/// Files up to this size are kept in memory while they are hashed; larger ones are read a second time, by ranges.
const KEPT_BYTES: u64 = 64 << 20;

/// Bytes that are asked for at once of larger files.
const RANGE_BYTES: usize = 8 << 20;

/// Bytes of rows that a batch should have, encoded but not compressed; in memory they are several times as many.
const BATCH_BYTES: u64 = 2 << 20;

/// What came out of a data file.
pub(crate) struct FileReport {
    pub(crate) summary: FileSummary,
    pub(crate) ids: IdKeys,
}

/// The same without the ids.
pub(crate) struct FileSummary {
    pub(crate) file: LandedFile,
    pub(crate) tally: Tally,
    pub(crate) totals: Totals,
    /// Each row.
    pub(crate) rows: Vec<CheckedRow>,
    /// The attributes of its rows.
    pub(crate) attrs: Option<Vec<(String, String)>>,
    /// Whether all its rows were checked.
    pub(crate) complete: bool,
}

impl FileReport {
    /// Of a file of which nothing is known yet.
    pub(crate) fn unreadable(file: LandedFile, keep: usize) -> Self {
        let (tally, totals) = (Tally::new(keep), Totals::default());
        Self { summary: FileSummary { file, tally, totals, rows: Vec::new(), attrs: None, complete: false }, ids: IdKeys::default() }
    }

    /// Finds fault with the file as a whole.
    pub(crate) fn fault(&mut self, check: Check, message: impl Into<String>) {
        self.expect(check, false, || message.into());
    }

    fn expect(&mut self, check: Check, holds: bool, message: impl FnOnce() -> String) {
        let FileSummary { tally, file, .. } = &mut self.summary;
        tally.looked(check, 1);
        if !holds {
            tally.find(check, || about_file(check, file, message()));
        }
    }
}

/// A data file that a manifest names.
pub(crate) struct DataFile<'a> {
    facts: &'a FactsStore,
    file: LandedFile,
}

/// What is in the store under a file's key.
struct Content {
    meta: ObjectMeta,
    sha256: String,
    /// If it is small enough to be kept.
    bytes: Option<Bytes>,
}

impl<'a> DataFile<'a> {
    pub(crate) fn new(facts: &'a FactsStore, file: LandedFile) -> Self {
        Self { facts, file }
    }

    /// Checks the file and its rows.
    pub(crate) async fn check(self, options: &ValidateOptions, on_rows: &(dyn Fn(u64) + Send + Sync)) -> Result<FileReport, ValidateError> {
        let mut report = FileReport::unreadable(self.file.clone(), options.keep);
        let Some(content) = self.content().await? else {
            report.fault(Check::FilePresent, "there is no such object");
            return Ok(report);
        };
        report.expect(Check::FilePresent, content.meta.size == self.file.bytes, || {
            format!("has {} bytes, the manifest says {}", content.meta.size, self.file.bytes)
        });
        report.expect(Check::FileSha256, content.sha256 == self.file.sha256, || {
            format!("its SHA-256 is {}, the manifest says {}", content.sha256, self.file.sha256)
        });

        let mut validator = Validator::new(options.clone());
        let mut ids = IdKeys::default();
        let read = self.read(&content, &mut report, &mut validator, &mut ids, on_rows).await;
        let whole = match read {
            Ok(whole) => whole,
            // Bytes in memory can always be read; a range of an object may be refused.
            Err(source @ ParquetError::External(_)) if content.bytes.is_none() => {
                return Err(ValidateError::Range { key: self.file.key, source });
            }
            Err(error) => {
                report.fault(Check::FileReadable, error.to_string());
                false
            }
        };
        if whole {
            report.expect(Check::FileReadable, true, String::new);
            report.expect(Check::FileRows, validator.totals.rows == self.file.rows, || {
                format!("has {} rows, the manifest says {}", validator.totals.rows, self.file.rows)
            });
            let name = |row: Option<&CheckedRow>| row.map(|row| FileName::new(row.repo.as_deref(), &row.path));
            let span = (name(validator.checked.first()), name(validator.checked.last()));
            report.expect(Check::FileSpan, span == (Some(self.file.first.clone()), Some(self.file.last.clone())), || {
                format!("goes from {:?} to {:?}, the manifest says from {:?} to {:?}", span.0, span.1, self.file.first, self.file.last)
            });
        }
        let attrs = validator.attrs().map(<[_]>::to_vec);
        let Validator { tally, totals, checked, .. } = validator;
        let summary = &mut report.summary;
        summary.tally.merge(tally);
        (summary.totals, summary.rows, summary.attrs, summary.complete) = (totals, checked, attrs, whole);
        report.ids = ids;
        Ok(report)
    }

    /// Passes the ids of the rows on, as far as they can be read; faults have been found before.
    pub(crate) async fn pass_ids(self, options: &ValidateOptions, ids: &mut (dyn IdSink + Send)) -> Result<(), ValidateError> {
        let mut report = FileReport::unreadable(self.file.clone(), 0);
        let mut validator = Validator::new(ValidateOptions { keep: 0, ..options.clone() });
        if let Some(content) = self.content().await? {
            let _: Result<bool, ParquetError> = self.read(&content, &mut report, &mut validator, ids, &|_| ()).await;
        }
        Ok(())
    }

    async fn content(&self) -> Result<Option<Content>, ValidateError> {
        let failed = |source| ValidateError::Store { key: self.file.key.clone(), source };
        let path = self.facts.path_of(&self.file.key)?;
        let object = match self.facts.store().get(&path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            object => object.map_err(failed)?,
        };
        let meta = object.meta.clone();
        let mut kept = (meta.size <= KEPT_BYTES).then(BytesMut::new);
        let mut hash = Sha256::new();
        let mut chunks = object.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(failed)?;
            hash.update(&chunk);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&chunk);
            }
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Content { meta, sha256, bytes: kept.map(BytesMut::freeze) }))
    }

    /// Reads the rows; says whether all of them could be checked.
    async fn read(
        &self,
        content: &Content,
        report: &mut FileReport,
        validator: &mut Validator,
        ids: &mut (dyn IdSink + Send),
        on_rows: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<bool, ParquetError> {
        let reader: Box<dyn AsyncFileReader> = match &content.bytes {
            Some(bytes) => Box::new(Cursor::new(bytes.clone())),
            None => Box::new(BufReader::with_capacity(Arc::clone(self.facts.store()), &content.meta, RANGE_BYTES)),
        };
        let with_indexes = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, with_indexes).await?;
        let differing = differences(&facts_schema(), builder.schema());
        for (check, structural) in [(Check::SchemaFile, true), (Check::SchemaMetadata, false)] {
            report.summary.tally.looked(check, 1);
            for difference in differing.iter().filter(|difference| difference.structural == structural) {
                report.summary.tally.find(check, || about_file(check, &self.file, difference.message.clone()));
            }
        }
        if differing.iter().any(|difference| difference.structural) {
            return Ok(false);
        }
        let rows = batch_rows(builder.metadata());
        let mut statistics = StatisticsCheck::new(Arc::clone(builder.metadata()));
        let mut elements = ElementCounts::default();
        let mut batches = builder.with_batch_size(rows).build()?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            statistics.take(&batch);
            elements.take(&batch);
            validator.rows(&batch, ids).map_err(|error| ParquetError::General(error.to_string()))?;
            on_rows(batch.num_rows() as u64);
        }
        let violations = statistics.finish();
        report.expect(Check::FileStatistics, violations.is_empty(), || {
            violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        });
        if !self.file.elements.is_empty() {
            let counted = elements.finish();
            report.expect(Check::FileElements, counted == self.file.elements, || {
                format!("its lists have {counted:?} elements, the manifest says {:?}", self.file.elements)
            });
        }
        Ok(true)
    }
}

/// How many rows have about [`BATCH_BYTES`].
fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let bytes: u64 = metadata.row_groups().iter().filter_map(|group| u64::try_from(group.total_byte_size()).ok()).sum();
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0).max(1);
    usize::try_from(BATCH_BYTES / (bytes / rows).max(1)).unwrap_or(1).clamp(1, 1024)
}
