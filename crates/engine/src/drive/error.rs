//! Why a job does not end in a committed run.

use bytefacts_landing::LandingError;
use bytefacts_stores::StoreError;
use datafusion::common::DataFusionError;

use crate::error::words;

/// Why a job did not end in a committed run. The current run is untouched by all of them.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The facts' place cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run's id is none.
    #[error(transparent)]
    Id(#[from] bytefacts_landing::IdError),
    /// The cluster failed the job.
    #[error("the job failed: {}", words(.0))]
    Query(Box<DataFusionError>),
    /// The cluster could not be reached any more.
    #[error("the cluster has been out of reach for {seconds} s; its last word: {last}")]
    Unreachable {
        /// How long was waited.
        seconds: u64,
        /// How the last submission ended.
        last: String,
    },
    /// The run's files could not be read or written.
    #[error(transparent)]
    Landing(#[from] LandingError),
    /// It is not known which interpreter the run was made with, or it is not the one that was asked for.
    #[error("the interpreter of run {run}: {reason}; nothing was committed")]
    Interpreter {
        /// The run.
        run: String,
        /// What is wrong.
        reason: String,
    },
    /// A defect of this program.
    #[error("run {run} cannot be committed, by a defect of bytefacts: {reason}")]
    Defect {
        /// The run.
        run: String,
        /// What is wrong.
        reason: String,
    },
    /// The cluster got no further, however often it was asked.
    #[error("the job stands still: no file was done for {seconds} s; see the executors' logs")]
    Stalled {
        /// How long was waited.
        seconds: u64,
    },
}

impl From<DataFusionError> for JobError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}
