//! Tables of what stands around facts: runs, their data files, repositories and errors, and what audits of them have found, in a schema of their own.
//!
//! Their rows are read when a statement is planned, and stay what they are until it ends. Those of audits are read as the statement runs, from the
//! Parquet files that are named when it is planned.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use bytefacts_landing::{FactsStore, Manifest, RunHeader, RunId};
use bytefacts_stores::Place;
use datafusion::catalog::{MemTable, SchemaProvider, Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::audits::AuditTable;
use crate::error::external;

/// Where clients look for the comment of a column.
pub const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";

/// A field with its meaning.
#[must_use]
pub fn documented(field: Field, doc: &str) -> Field {
    let mut metadata = field.metadata().clone();
    if !doc.is_empty() {
        metadata.insert(REMARKS.to_owned(), doc.to_owned());
    }
    field.with_metadata(metadata)
}

/// The type of a column.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// A number of 64 bits.
    Number,
    /// Yes or no.
    Flag,
    /// Milliseconds since 1970, UTC.
    Time,
}

/// Name, type, whether it may be null, and meaning.
pub type Column = (&'static str, Kind, bool, &'static str);

/// A table.
#[derive(Debug)]
pub struct Listing {
    /// Its schema's name.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub doc: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
}

use Kind::{Flag, Number, Text, Time};

/// The schema of [`ALL`].
pub const SCHEMA: &str = "bytefacts";

/// The committed runs.
pub const RUNS: Listing = Listing {
    schema: SCHEMA,
    name: "runs",
    doc: "the committed runs",
    columns: &[
        ("run_id", Text, false, "the run"),
        ("is_current", Flag, false, "whether it is the run that is shown"),
        ("sequence", Number, false, "position in the line of committed runs, from 1"),
        ("parent", Text, true, "the run that was current when this one was committed"),
        ("started_at", Time, false, "when it was started, UTC"),
        ("committed_at", Time, false, "when it was committed, UTC"),
        ("corpus", Text, false, "the corpus, as it was given"),
        ("interpreter", Text, false, "the interpreter that compiled, as JSON"),
        ("options", Text, false, "the options of the run, as JSON"),
        ("schema_version", Number, false, "version of the root table"),
        ("repositories", Number, false, "repositories; files without one count as one"),
        ("files", Number, false, "source files, which are rows of the root table"),
        ("units", Number, false, "code objects"),
        ("instructions", Number, false, "instructions"),
        ("errors", Number, false, "error rows of severity `error`"),
        ("warnings", Number, false, "error rows of severity `warning`"),
        ("source_bytes", Number, false, "bytes of source"),
        ("data_files", Number, false, "Parquet files"),
        ("data_bytes", Number, false, "bytes of these"),
        ("held_back", Flag, false, "whether too much of the corpus was missing, so that it did not become current"),
        ("digest", Text, false, "digest of all facts, lower hex"),
    ],
};

/// The data files of a run.
pub const FILES: Listing = Listing {
    schema: SCHEMA,
    name: "files",
    doc: "the data files of the run that is shown, which other tools may read",
    columns: &[
        ("run_id", Text, false, "the run that is shown"),
        ("key", Text, false, "the Parquet file, below the root of the facts"),
        ("files", Number, false, "source files in it, which are its rows"),
        ("bytes", Number, false, "its size"),
        ("sha256", Text, false, "SHA-256 of its bytes, lower hex"),
        ("first_repo", Text, true, "repository of its first row"),
        ("first_path", Text, false, "path of its first row"),
        ("last_repo", Text, true, "repository of its last row"),
        ("last_path", Text, false, "path of its last row"),
    ],
};

/// The repositories of a run.
pub const REPOSITORIES: Listing = Listing {
    schema: SCHEMA,
    name: "repositories",
    doc: "the repositories of the run that is shown",
    columns: &[
        ("run_id", Text, false, "the run that is shown"),
        ("repo", Text, true, "the repository; null for files without one"),
        ("files", Number, false, "source files"),
        ("digest", Text, false, "digest of its facts, lower hex: where two runs agree in it, nothing has changed"),
    ],
};

/// How often what went wrong, in each run.
pub const ERRORS: Listing = Listing {
    schema: SCHEMA,
    name: "errors",
    doc: "how often what went wrong, in each run",
    columns: &[
        ("run_id", Text, false, "the run"),
        ("stage", Text, false, "`read`, `decode`, `compile` and so on"),
        ("error_type", Text, false, "type, such as SyntaxError"),
        ("severity", Text, false, "`error` or `warning`"),
        ("count", Number, false, "how often"),
    ],
};

/// The verdicts of all concluded audits, which is what their Parquet files hold.
pub const AUDIT: Listing = Listing {
    schema: SCHEMA,
    name: "determinism_audit_v1",
    doc: "what audits have found: a row for each file of the night's sample and condition",
    columns: &[
        ("audit", Text, false, "the audit"),
        ("run", Text, false, "the run that it is of"),
        ("night", Number, false, "the night, by which samples rotate: days since 1970, unless --night says another"),
        ("repo", Text, true, "repository of the file; null for files without one"),
        ("path", Text, false, "its path inside the repository"),
        ("condition", Text, false, "under what it was derived again, by the name in the matrix"),
        ("verdict", Text, false, "`good`: the same facts; `bad`: others; `fail`: the second derivation failed; `unknown`: not covered"),
        ("cause", Text, true, "code of the cause in the catalogue, of what is not good, or of what is good though streams differ"),
        ("gap", Text, true, "why it was not covered: `budget`, `source_gone` or `source_changed`; null where it was"),
        ("reason", Text, false, "all that in words; empty where nothing is to be said"),
        ("unit", Text, true, "the code object that differs first, by its qualpath; empty for the file as a whole"),
        ("field", Text, true, "the first field that differs, such as `instructions[12]`"),
        ("value_first", Text, true, "its value as derived first"),
        ("value_second", Text, true, "its value under the condition"),
        ("forms", Text, false, "names and versions of the digests, the cheapest first"),
        ("raw_first", Text, true, "digest of the marshal stream as derived first, lower hex; null without code"),
        ("raw_second", Text, true, "the same under the condition"),
        ("marshal_first", Text, true, "digest of the stream without references, `marshal_digest` of the row"),
        ("marshal_second", Text, true, "the same under the condition"),
        ("facts_first", Text, true, "digest of the facts, `facts_digest` of the row"),
        ("facts_second", Text, true, "the same under the condition"),
        ("shape_first", Text, true, "digest of opcodes and jumps"),
        ("shape_second", Text, true, "the same under the condition"),
    ],
};

/// All concluded audits, by condition.
pub const AUDIT_SUMMARY: Listing = Listing {
    schema: SCHEMA,
    name: "determinism_summary_v1",
    doc: "what audits came to: a row for each audit and condition",
    columns: &[
        ("audit", Text, false, "the audit"),
        ("run", Text, false, "the run that it is of"),
        ("run_digest", Text, false, "the run's root digest, lower hex"),
        ("night", Number, false, "the night, by which samples rotate"),
        ("nights", Number, false, "nights after which all files were covered"),
        ("preset", Text, false, "the preset of the matrix"),
        ("matrix", Text, false, "SHA-256 of the matrix, lower hex"),
        ("complete", Flag, false, "whether nothing of the sample was left out for want of CPU time"),
        ("condition", Text, false, "the condition"),
        ("about", Text, false, "what it varies"),
        ("files", Number, false, "files of the run"),
        ("sampled", Number, false, "those of the night's sample"),
        ("covered", Number, false, "those of them that were derived again"),
        ("good", Number, false, "files with the same facts"),
        ("bad", Number, false, "files with other facts"),
        ("fail", Number, false, "files whose second derivation failed"),
        ("unknown", Number, false, "files that were not covered; the four add up to the files of the run"),
        ("streams", Number, false, "good ones whose marshal streams differ, which is informational"),
    ],
};

/// All of them.
pub const ALL: [&Listing; 6] = [&RUNS, &FILES, &REPOSITORIES, &ERRORS, &AUDIT, &AUDIT_SUMMARY];

impl Listing {
    /// Its name, as statements have it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Its columns, with their meanings.
    #[must_use]
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, kind, nullable, doc)| {
            let data_type = match kind {
                Text => DataType::Utf8,
                Number => DataType::Int64,
                Flag => DataType::Boolean,
                Time => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            };
            documented(Field::new(*name, data_type, *nullable), doc)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Its rows, of these columns.
    ///
    /// # Errors
    /// When they are not its columns, a fault of ours.
    pub fn rows(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(self.arrow_schema(), columns)?)
    }
}

/// Where the rows of a listing come from.
#[async_trait]
pub trait Rows: std::fmt::Debug + Send + Sync {
    /// The rows as they are now.
    ///
    /// # Errors
    /// When who has them cannot be asked.
    async fn rows(&self) -> Result<RecordBatch>;
}

/// A listing as a table: its columns are known without its rows, so that whoever lists columns waits for nobody.
#[derive(Debug)]
pub struct Listed<R> {
    listing: &'static Listing,
    rows: R,
}

impl<R: Rows> Listed<R> {
    /// A listing, and where its rows come from.
    pub fn new(listing: &'static Listing, rows: R) -> Self {
        Self { listing, rows }
    }
}

#[async_trait]
impl<R: Rows + 'static> TableProvider for Listed<R> {
    fn schema(&self) -> SchemaRef {
        self.listing.arrow_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = MemTable::try_new(self.schema(), vec![vec![self.rows.rows().await?]])?;
        rows.scan(state, projection, filters, limit).await
    }
}

/// The schema of these tables.
#[derive(Debug)]
pub struct Listings {
    place: Place,
    run: Option<RunId>,
}

impl Listings {
    /// Of the runs at a place; files and repositories are those of one of them.
    #[must_use]
    pub fn new(place: Place, run: Option<RunId>) -> Self {
        Self { place, run }
    }
}

#[async_trait]
impl SchemaProvider for Listings {
    fn table_names(&self) -> Vec<String> {
        ALL.iter().map(|listing| listing.name.to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(listing) = ALL.into_iter().find(|listing| listing.name == name) else { return Ok(None) };
        if listing.name == AUDIT.name || listing.name == AUDIT_SUMMARY.name {
            return Ok(Some(Arc::new(AuditTable::new(self.place.clone(), listing.name, listing.arrow_schema()))));
        }
        let rows = OfRuns { place: self.place.clone(), run: self.run.clone(), name: listing.name };
        Ok(Some(Arc::new(Listed::new(listing, rows))))
    }

    fn table_exist(&self, name: &str) -> bool {
        ALL.iter().any(|listing| listing.name == name)
    }
}
/// What the facts themselves say.
#[derive(Debug)]
struct OfRuns {
    place: Place,
    run: Option<RunId>,
    name: &'static str,
}

#[async_trait]
impl Rows for OfRuns {
    async fn rows(&self) -> Result<RecordBatch> {
        let (facts, run) = (self.place.facts(), self.run.as_ref());
        match self.name {
            "runs" => runs(&facts).await,
            "files" => files(&facts, run).await,
            "repositories" => repositories(&facts, run).await,
            _ => errors(&facts).await,
        }
    }
}

/// [`RUNS`].
async fn runs(facts: &FactsStore) -> Result<RecordBatch> {
    let current = facts.current().await.map_err(external)?.map(|current| current.run_id);
    let all = facts.runs().await.map_err(external)?;
    let all = all.as_slice();
    RUNS.rows(vec![
        texts(all, |run| run.run_id.as_str().to_owned()),
        flags(all, |run| current.as_ref() == Some(&run.run_id)),
        numbers(all, |run| run.sequence),
        maybe_texts(all, |run| run.parent.as_ref().map(RunId::as_str)),
        times(all, |run| run.started_at_ms),
        times(all, |run| run.committed_at_ms),
        texts(all, |run| run.corpus.clone()),
        texts(all, |run| run.interpreter.to_string()),
        texts(all, |run| run.options.to_string()),
        numbers(all, |run| run.schema_version.into()),
        numbers(all, |run| run.repositories),
        numbers(all, |run| run.rows),
        numbers(all, |run| run.stats.units),
        numbers(all, |run| run.stats.instructions),
        numbers(all, |run| run.stats.errors_of("error")),
        numbers(all, |run| run.stats.errors_of("warning")),
        numbers(all, |run| run.stats.source_bytes),
        numbers(all, |run| run.data_files),
        numbers(all, |run| run.data_bytes),
        flags(all, |run| run.held_back),
        texts(all, |run| run.digest.clone()),
    ])
}

/// The manifest of a run; an empty one where none is committed.
async fn manifest(facts: &FactsStore, run: Option<&RunId>) -> Result<Option<Manifest>> {
    match run {
        Some(run) => facts.manifest(run).await.map_err(external),
        None => Ok(None),
    }
}

/// [`FILES`] of a run.
async fn files(facts: &FactsStore, run: Option<&RunId>) -> Result<RecordBatch> {
    let files = manifest(facts, run).await?.map(|manifest| manifest.files).unwrap_or_default();
    let (all, run) = (files.as_slice(), run.map(RunId::as_str).unwrap_or_default());
    FILES.rows(vec![
        texts(all, |_| run),
        texts(all, |file| file.key.clone()),
        numbers(all, |file| file.rows),
        numbers(all, |file| file.bytes),
        texts(all, |file| file.sha256.clone()),
        maybe_texts(all, |file| file.first.repo.as_deref()),
        texts(all, |file| file.first.path.clone()),
        maybe_texts(all, |file| file.last.repo.as_deref()),
        texts(all, |file| file.last.path.clone()),
    ])
}

/// [`REPOSITORIES`] of a run.
async fn repositories(facts: &FactsStore, run: Option<&RunId>) -> Result<RecordBatch> {
    let repositories = manifest(facts, run).await?.map(|manifest| manifest.repos).unwrap_or_default();
    let (all, run) = (repositories.as_slice(), run.map(RunId::as_str).unwrap_or_default());
    REPOSITORIES.rows(vec![
        texts(all, |_| run),
        maybe_texts(all, |repo| repo.repo.as_deref()),
        numbers(all, |repo| repo.files),
        texts(all, |repo| repo.digest.clone()),
    ])
}

/// [`ERRORS`].
async fn errors(facts: &FactsStore) -> Result<RecordBatch> {
    let headers = facts.runs().await.map_err(external)?;
    let of_run = |run: &RunHeader| run.stats.errors.iter().map(|count| (run.run_id.clone(), count.clone())).collect::<Vec<_>>();
    let all: Vec<_> = headers.iter().flat_map(of_run).collect();
    let all = all.as_slice();
    ERRORS.rows(vec![
        texts(all, |(run, _)| run.as_str().to_owned()),
        texts(all, |(_, count)| count.stage.clone()),
        texts(all, |(_, count)| count.error_type.clone()),
        texts(all, |(_, count)| count.severity.clone()),
        numbers(all, |(_, count)| count.count),
    ])
}

/// A column of texts.
pub fn texts<T, S: AsRef<str>>(rows: &[T], of: impl Fn(&T) -> S) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
}

/// A column of texts, null where there is none.
pub fn maybe_texts<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

/// A column of numbers.
pub fn numbers<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX))))
}

/// A column of times, from milliseconds since 1970.
pub fn times<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    let times = rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX));
    Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
}

/// A column of flags.
pub fn flags<T>(rows: &[T], of: impl Fn(&T) -> bool) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>())
}

/// A column of numbers, null where there is none.
pub fn maybe_numbers<T>(rows: &[T], of: impl Fn(&T) -> Option<u64>) -> ArrayRef {
    Arc::new(rows.iter().map(|row| of(row).map(|value| i64::try_from(value).unwrap_or(i64::MAX))).collect::<Int64Array>())
}

/// A column of times, from milliseconds since 1970, null where there is none.
pub fn maybe_times<T>(rows: &[T], of: impl Fn(&T) -> Option<u64>) -> ArrayRef {
    let times = rows.iter().map(|row| of(row).map(|value| i64::try_from(value).unwrap_or(i64::MAX)));
    Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
}
