//! How long a client holds on to a job, and why it lets a submission go.

use std::time::Duration;

use datafusion::common::DataFusionError;

use super::error::JobError;
use crate::error::words;

/// How long a client holds on to a job that does not get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without a further bin, or a note of an executor that it gets on with one, for so long, the job is cancelled and submitted again. Longer
    /// than the longest file takes; executors note twice a minute.
    pub stall: Duration,
    /// How long a cluster may be out of reach.
    pub unreachable: Duration,
    /// Submissions in a row that may end without a further bin.
    pub fruitless: u32,
    /// How often the records of the run are looked at.
    pub poll: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_mins(15), unreachable: Duration::from_mins(5), fruitless: 3, poll: Duration::from_secs(1) }
    }
}

impl Patience {
    /// For a cluster inside this process: what fails there would fail again.
    #[must_use]
    pub fn embedded() -> Self {
        Self { fruitless: 1, ..Self::default() }
    }
}

/// Why a submission ended without answers.
pub(super) enum Ended {
    Failed(DataFusionError),
    Stalled(Duration),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => f.write_str(&words(error)),
            Self::Stalled(limit) => write!(f, "nothing has got on for {} s", limit.as_secs()),
        }
    }
}

impl From<Ended> for JobError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Failed(error) => error.into(),
            Ended::Stalled(limit) => Self::Stalled { seconds: limit.as_secs() },
        }
    }
}
