//! Tables that the service tells of itself: `bytefacts.runs` and its like, `system.queries` and `system.options`.
//!
//! Their rows are read when a statement is planned, and stay what they are until it ends.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use bytefacts_landing::{Manifest, RunHeader, RunId};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;

use crate::contract::documented;
use crate::options::{EXECUTION, Execution, RUN, SessionOptions};
use crate::queries::Record;
use crate::runs::{Runs, external};

/// The type of a column.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Number,
    Flag,
    /// Milliseconds since 1970, UTC.
    Time,
}

/// Name, type, whether it may be null, and meaning.
type Column = (&'static str, Kind, bool, &'static str);

/// A table.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Its schema's name.
    pub(crate) schema: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
    columns: &'static [Column],
}

use Kind::{Flag, Number, Text, Time};

/// The committed runs.
pub(crate) const RUNS: Listing = Listing {
    schema: "bytefacts",
    name: "runs",
    columns: &[
        ("run_id", Text, false, "the run, and the name of its schema in the catalog `runs`"),
        ("is_current", Flag, false, "whether it is the run that `public` shows"),
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
        ("held_back", Flag, false, "whether too many files could not be read, so that it did not become current"),
        ("digest", Text, false, "digest of all facts, lower hex"),
    ],
};

/// The data files of the run that `public` shows.
pub(crate) const FILES: Listing = Listing {
    schema: "bytefacts",
    name: "files",
    columns: &[
        ("run_id", Text, false, "the run that `public` shows"),
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

/// The repositories of that run.
pub(crate) const REPOSITORIES: Listing = Listing {
    schema: "bytefacts",
    name: "repositories",
    columns: &[
        ("run_id", Text, false, "the run that `public` shows"),
        ("repo", Text, true, "the repository; null for files without one"),
        ("files", Number, false, "source files"),
        ("digest", Text, false, "digest of its facts, lower hex: where two runs agree in it, nothing has changed"),
    ],
};

/// How often what went wrong, in each run.
pub(crate) const ERRORS: Listing = Listing {
    schema: "bytefacts",
    name: "errors",
    columns: &[
        ("run_id", Text, false, "the run"),
        ("stage", Text, false, "`read`, `decode`, `compile` and so on"),
        ("error_type", Text, false, "type, such as SyntaxError"),
        ("severity", Text, false, "`error` or `warning`"),
        ("count", Number, false, "how often"),
    ],
};

/// What is asked of the service, and was a short time ago.
pub(crate) const QUERIES: Listing = Listing {
    schema: "system",
    name: "queries",
    columns: &[
        ("query_id", Text, false, "the query"),
        ("user", Text, true, "who asks; null without access control"),
        ("state", Text, false, "`running`, `finished`, `failed`, `cancelled`, `left` by its reader, `expired` because nobody fetched it"),
        ("started_at", Time, false, "when it came, UTC"),
        ("milliseconds", Number, false, "for how long it has run, or ran"),
        ("rows", Number, false, "rows handed over to be sent"),
        ("bytes", Number, false, "bytes of these"),
        ("statement", Text, false, "the statement; of a long one the beginning"),
        ("error", Text, true, "why it failed"),
    ],
};

/// The options of the session, as `SHOW` tells them.
pub(crate) const OPTIONS: Listing = Listing {
    schema: "system",
    name: "options",
    columns: &[
        ("name", Text, false, "the option, as SET takes it"),
        ("value", Text, true, "what holds: of the run the current one, where none is set; null where no run is committed"),
        ("is_set", Flag, false, "whether the session, or a header of the call, has set it"),
        ("description", Text, false, "what it is for"),
    ],
};

/// All of them.
pub(crate) const ALL: [&Listing; 6] = [&RUNS, &FILES, &REPOSITORIES, &ERRORS, &QUERIES, &OPTIONS];

impl Listing {
    /// Its name, as statements have it.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Its columns, with their meanings.
    pub(crate) fn arrow_schema(&self) -> SchemaRef {
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

    /// With these columns.
    fn table(&self, columns: Vec<ArrayRef>) -> Result<Arc<dyn TableProvider>> {
        let batch = RecordBatch::try_new(self.arrow_schema(), columns).map_err(|error: ArrowError| external(error))?;
        Ok(Arc::new(MemTable::try_new(self.arrow_schema(), vec![vec![batch]])?))
    }
}

fn texts<T, S: AsRef<str>>(rows: &[T], of: impl Fn(&T) -> S) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
}

fn maybe_texts<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX))))
}

fn times<T>(rows: &[T], of: impl Fn(&T) -> u64) -> ArrayRef {
    let times = rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX));
    Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC"))
}

fn flags<T>(rows: &[T], of: impl Fn(&T) -> bool) -> ArrayRef {
    Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>())
}

/// [`RUNS`].
pub(crate) async fn runs(runs: &Runs) -> Result<Arc<dyn TableProvider>> {
    let (current, all) = (runs.current().await?, runs.headers().await?);
    let all = all.as_slice();
    RUNS.table(vec![
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
async fn manifest(runs: &Runs, run: Option<&RunId>) -> Result<Option<Manifest>> {
    match run {
        Some(run) => runs.facts().manifest(run).await.map_err(external),
        None => Ok(None),
    }
}

/// [`FILES`] of a run.
pub(crate) async fn files(runs: &Runs, run: Option<&RunId>) -> Result<Arc<dyn TableProvider>> {
    let files = manifest(runs, run).await?.map(|manifest| manifest.files).unwrap_or_default();
    let (all, run) = (files.as_slice(), run.map(RunId::as_str).unwrap_or_default());
    FILES.table(vec![
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
pub(crate) async fn repositories(runs: &Runs, run: Option<&RunId>) -> Result<Arc<dyn TableProvider>> {
    let repositories = manifest(runs, run).await?.map(|manifest| manifest.repos).unwrap_or_default();
    let (all, run) = (repositories.as_slice(), run.map(RunId::as_str).unwrap_or_default());
    REPOSITORIES.table(vec![
        texts(all, |_| run),
        maybe_texts(all, |repo| repo.repo.as_deref()),
        numbers(all, |repo| repo.files),
        texts(all, |repo| repo.digest.clone()),
    ])
}

/// [`ERRORS`].
pub(crate) async fn errors(runs: &Runs) -> Result<Arc<dyn TableProvider>> {
    let headers = runs.headers().await?;
    let of_run = |run: &RunHeader| run.stats.errors.iter().map(|count| (run.run_id.clone(), count.clone())).collect::<Vec<_>>();
    let all: Vec<_> = headers.iter().flat_map(of_run).collect();
    let all = all.as_slice();
    ERRORS.table(vec![
        texts(all, |(run, _)| run.as_str().to_owned()),
        texts(all, |(_, count)| count.stage.clone()),
        texts(all, |(_, count)| count.error_type.clone()),
        texts(all, |(_, count)| count.severity.clone()),
        numbers(all, |(_, count)| count.count),
    ])
}

/// [`QUERIES`].
pub(crate) fn queries(all: &[Record]) -> Result<Arc<dyn TableProvider>> {
    QUERIES.table(vec![
        texts(all, |query| query.id.clone()),
        maybe_texts(all, |query| query.user.as_deref()),
        texts(all, |query| query.state),
        times(all, |query| query.started_at_ms),
        numbers(all, |query| query.milliseconds),
        numbers(all, |query| query.rows),
        numbers(all, |query| query.bytes),
        texts(all, |query| query.statement.clone()),
        maybe_texts(all, |query| query.error.as_deref()),
    ])
}

/// [`OPTIONS`], where `public` shows this run.
pub(crate) fn options(set: &SessionOptions, run: Option<&RunId>) -> Result<Arc<dyn TableProvider>> {
    let all = [
        (EXECUTION, Some(set.execution.name()), set.execution != Execution::default(), "where queries run: auto, local or cluster"),
        (RUN, run.map(RunId::as_str), set.run.is_some(), "the run that `public` shows"),
    ];
    let all = all.as_slice();
    OPTIONS.table(vec![
        texts(all, |option| option.0),
        maybe_texts(all, |option| option.1),
        flags(all, |option| option.2),
        texts(all, |option| option.3),
    ])
}
