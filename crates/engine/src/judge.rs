//! The oracle on an executor: a worker says what `dis` makes of a file, and its row is compared with that.
//!
//! The judgement is a request of its own to the compile workers, beside compiling and the cache: the source is compiled once more, so that
//! what the cache held is judged as well, and whatever becomes of it, the row keeps what it had. The row is built once more too, to be
//! compared as it will be landed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytefacts_compile::{Evidence, Judgeable, Pool};
use bytefacts_facts::oracle::{Comparison, Findings, STAGE};
use bytefacts_facts::{FactError, FileInput, RowBuilder, Severity};
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::common::runtime::SpawnedTask;
use tokio::sync::mpsc::{self, Receiver};

use crate::error::external;
use crate::job::Job;
use crate::node::pool_error;

/// A file that compiled.
pub(crate) struct Case {
    pub(crate) repo: Option<String>,
    pub(crate) path: String,
    pub(crate) source: Bytes,
    pub(crate) sha256: [u8; 32],
    pub(crate) code: Bytes,
}

/// What a judgement came to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
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
pub(crate) async fn judge(pool: &Pool, job: &Arc<Job>, case: Case) -> Result<Verdict> {
    /// Enough to keep the worker busy while a frame is compared.
    const FRAMES_AHEAD: usize = 2;
    let unit = Judgeable { source: case.source.clone(), path: case.path.clone(), adaptive: job.options.adaptive };
    let (sender, receiver) = mpsc::channel(FRAMES_AHEAD);
    let job = Arc::clone(job);
    let comparison = SpawnedTask::spawn_blocking(move || compare(&job, &case, receiver));
    let failure = pool.judge(unit, sender).await.map_err(pool_error)?;
    let Some(comparison) = comparison.join_unwind().await.map_err(external)?? else {
        return Ok(Verdict { errors: vec![not_judged("NoFacts", "the row has no facts to compare")], ..Verdict::default() });
    };
    let Findings { errors, differences } = match &failure {
        None => comparison.finish(),
        Some(_) => comparison.abandon(),
    };
    let complete = failure.is_none();
    let failure = failure.map(|failure| not_judged(&failure.error_type, &failure.message));
    Ok(Verdict { errors: errors.into_iter().chain(failure).collect(), differences, complete })
}

/// Compares frames with the file's row as they come; `None` if there is nothing to be compared, which the row says why.
fn compare(job: &Job, case: &Case, mut evidence: Receiver<Evidence>) -> Result<Option<Comparison>> {
    let Some(row) = row(job, case)? else { return Ok(None) };
    let begin = || Comparison::new(&row).map_err(external);
    let mut comparison = begin()?;
    while let Some(piece) = evidence.blocking_recv() {
        match piece {
            Evidence::Begin => comparison = begin()?,
            Evidence::Facts(frame) => comparison.take(&frame).map_err(external)?,
        }
    }
    Ok(Some(comparison))
}

/// The file's row by itself; `None` if it has no units.
fn row(job: &Job, case: &Case) -> Result<Option<RecordBatch>> {
    let mut rows = RowBuilder::new(&job.attrs(), job.row_options().map_err(external)?);
    let Case { repo, path, source, sha256, code } = case;
    let input =
        FileInput { repo: repo.as_deref(), path, source: Some(source), sha256: Some(*sha256), code: Some(code), errors: Vec::new() };
    let stats = rows.append(input).map_err(external)?;
    if stats.units == 0 { Ok(None) } else { rows.finish().map(Some).map_err(external) }
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
