//! The oracle on an executor: a worker says what `dis` makes of a file, and its row is compared with that.
//!
//! The judgement is a request of its own to the compile workers, beside compiling and the cache: the source is compiled once more, so that
//! what the cache held is judged as well, and whatever becomes of it, the row keeps what it had. The row is built once more too, to be
//! compared as it will be landed; of rows that are large, one is held at a time.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytefacts_compile::{Evidence, Judgeable, Pool};
use bytefacts_facts::oracle::{Comparison, Findings, STAGE};
use bytefacts_facts::{FactError, FileInput, Options, RowBuilder, RunAttrs, Severity};
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::common::runtime::SpawnedTask;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver};

use crate::error::{lasting, pool_error};
use crate::job::Job;

/// A file that compiled.
pub(crate) struct Case {
    /// The root attributes of the run.
    pub(crate) attrs: RunAttrs,
    pub(crate) repo: Option<String>,
    pub(crate) path: String,
    pub(crate) source: Bytes,
    pub(crate) sha256: [u8; 32],
    pub(crate) code: Bytes,
}

/// What a judgement came to.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// The differences; or a warning, if there is no telling.
    pub(crate) errors: Vec<FactError>,
    /// How many values differ, those that are not listed included.
    pub(crate) differences: u64,
    /// Whether the whole file was compared.
    pub(crate) complete: bool,
}

/// Judges one file.
///
/// # Errors
/// Only faults of this node: no worker to be had, or a judge that says what nobody understands.
pub(crate) async fn judge(pool: &Pool, job: &Arc<Job>, case: Case) -> Result<Judgement> {
    /// Enough to keep the worker busy while a frame is compared.
    const FRAMES_AHEAD: usize = 2;
    let unit = Judgeable { source: case.source.clone(), path: case.path.clone(), adaptive: job.options.adaptive };
    let limit = job.row_options().map_err(lasting)?.max_file_bytes;
    let case = Arc::new(case);
    let mut row = row(job, &case, limit.min(SMALL)).await?;
    let mut _large = None;
    if row.is_none() && limit > SMALL {
        // To be waited for before there is a worker, since the one that is compared waits for one.
        _large = Some(LARGE.acquire().await.map_err(lasting)?);
        row = self::row(job, &case, limit).await?;
    }
    // A row without units says itself why, and an oracle has nothing to say of it.
    let Some(row) = row else { return Ok(Judgement::default()) };
    let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
    let comparison = SpawnedTask::spawn_blocking(move || compare(&row, receiver));
    let failure = pool.judge(unit, sender).await.map_err(pool_error)?;
    let comparison = comparison.join_unwind().await.map_err(lasting)??;
    let Findings { errors, differences } = match &failure {
        None => comparison.finish(),
        Some(_) => comparison.abandon(),
    };
    let complete = failure.is_none();
    let failure = failure.map(|failure| not_judged(&failure.error_type, &failure.message));
    Ok(Judgement { errors: errors.into_iter().chain(failure).collect(), differences, complete })
}

/// Rows up to this size, in bytes, are compared beside each other, as many as there are workers.
const SMALL: usize = 32 << 20;

/// Whoever compares a larger row.
static LARGE: Semaphore = Semaphore::const_new(1);

/// Compares frames with the file's row as they come.
fn compare(row: &RecordBatch, mut evidence: Receiver<Evidence>) -> Result<Comparison> {
    let begin = || Comparison::new(row).map_err(lasting);
    let mut comparison = begin()?;
    while let Some(piece) = evidence.blocking_recv() {
        match piece {
            Evidence::Begin => comparison = begin()?,
            Evidence::Facts(frame) => comparison.take(&frame).map_err(lasting)?,
        }
    }
    Ok(comparison)
}

/// The file's row by itself; `None` if it has no units, or its facts take more than `max_file_bytes`.
async fn row(job: &Arc<Job>, case: &Arc<Case>, max_file_bytes: usize) -> Result<Option<RecordBatch>> {
    let options = Options { max_file_bytes, ..job.row_options().map_err(lasting)? };
    let case = Arc::clone(case);
    let built = SpawnedTask::spawn_blocking(move || {
        let mut rows = RowBuilder::new(&case.attrs, options);
        let input = FileInput {
            repo: case.repo.as_deref(),
            path: &case.path,
            source: Some(&case.source),
            sha256: Some(case.sha256),
            code: Some(&case.code),
            errors: Vec::new(),
        };
        let stats = rows.append(input).map_err(lasting)?;
        if stats.units == 0 { Ok(None) } else { rows.finish().map(Some).map_err(lasting) }
    });
    built.join_unwind().await.map_err(lasting)?
}

/// A warning, since it says nothing against the row.
fn not_judged(error_type: &str, why: &str) -> FactError {
    FactError {
        error_type: error_type.to_owned(),
        message: format!("not judged: {why}"),
        stage: STAGE.to_owned(),
        severity: Severity::Warning,
        ..FactError::default()
    }
}
