//! How queries end.

use std::time::Duration;

use tonic::Status;

/// How a query has ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// All rows are handed over.
    Finished,
    /// It has failed.
    Failed(Status),
    /// Somebody has cancelled it.
    Cancelled(&'static str),
    /// Its reader is gone.
    Left,
    /// Nobody has come for its result.
    Expired,
    /// Its reader has taken nothing for so long.
    Idle(Duration),
}

impl Outcome {
    /// The names of all.
    pub(crate) const NAMES: [&str; 6] = ["finished", "failed", "cancelled", "left", "expired", "idle"];

    /// Its name in metrics and tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Cancelled(_) => "cancelled",
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Idle(_) => "idle",
        }
    }

    /// What its reader is told; nothing if all is well.
    pub(crate) fn error(&self) -> Option<Status> {
        match self {
            Self::Finished | Self::Left => None,
            Self::Failed(status) => Some(status.clone()),
            Self::Cancelled(why) => Some(Status::cancelled(*why)),
            Self::Expired => Some(Status::deadline_exceeded("nobody came for the result in time: ask again")),
            Self::Idle(patience) => Some(Status::deadline_exceeded(format!(
                "nothing of the result was read for {} s, and it was given up: read it as it comes, or ask for less at a time",
                patience.as_secs()
            ))),
        }
    }
}
