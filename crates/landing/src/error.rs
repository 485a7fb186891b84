//! What can go wrong while landing, and whether trying again may help.

use std::error::Error;
use std::io;

use crate::names::{FileName, RunId};

/// A failed operation on the facts.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// The object store refused a request.
    #[error("cannot {operation} {key:?}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// The object key.
        key: String,
        /// The store's own account.
        source: object_store::Error,
    },
    /// The local disk refused an operation that object stores do not have.
    #[error("cannot {operation} {path:?}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The path.
        path: String,
        /// The system's own account.
        source: io::Error,
    },
    /// Rows could not be encoded.
    #[error("cannot encode {key:?} as parquet")]
    Parquet {
        /// The object key.
        key: String,
        /// The encoder's own account.
        source: parquet::errors::ParquetError,
    },
    /// The rows do not have the shape that landing needs.
    #[error("cannot land rows of this shape: {reason}")]
    Schema {
        /// What is wrong.
        reason: String,
    },
    /// The rows of a bin did not come in order, or one came twice.
    #[error("rows are not sorted by repository and path, each once: {next:?} after {previous:?}")]
    NotSorted {
        /// The row before.
        previous: FileName,
        /// The row that should have come earlier, or not at all.
        next: FileName,
    },
    /// An object holds something else than it should.
    #[error("{key:?} is not a valid {what}")]
    Corrupt {
        /// `bin record`, `manifest`, …
        what: &'static str,
        /// The object key.
        key: String,
        /// The parser's own account.
        source: serde_json::Error,
    },
    /// A data file has another size in the store than was written, or is not there.
    #[error("data file {key:?} should have {expected} bytes, the store has {found:?}")]
    DataFile {
        /// The object key.
        key: String,
        /// Bytes written.
        expected: u64,
        /// Bytes found, `None` if there is no such object.
        found: Option<u64>,
    },
    /// A bin record does not fit its bin.
    #[error("record of bin {bin_id} is inconsistent: {reason}")]
    Record {
        /// The bin.
        bin_id: u32,
        /// What does not fit.
        reason: String,
    },
    /// Bins have no record yet.
    #[error("run {run_id} is not complete: {} of {expected} bins have no record, first of them {}", missing.len(), missing.first().copied().unwrap_or_default())]
    Incomplete {
        /// The run.
        run_id: RunId,
        /// Number of bins the run has.
        expected: usize,
        /// Bins without a record.
        missing: Vec<u32>,
    },
    /// The run has no bins yet.
    #[error("run {run_id} has no bins yet")]
    NoBins {
        /// The run.
        run_id: RunId,
    },
    /// A part of a list is not what its digest says, or is larger than anything that is written here.
    #[error("{key:?} is damaged: {reason}")]
    Damaged {
        /// The object key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The run was landed by a version that laid facts out otherwise.
    #[error(
        "run {run_id} was landed by an earlier version, whose layout (a folder a repository) this version does not read: extract the corpus again, \
         into these facts or into an empty folder, or query the run with the version that landed it"
    )]
    OlderLayout {
        /// The run.
        run_id: RunId,
    },
    /// Rules of retention that are none: they would let everything go.
    #[error("no rule says which runs to keep")]
    NoRule,
    /// The store overwrites where it was asked to create.
    #[error(
        "{root} does not honour `If-None-Match: *`: it overwrites objects that are to be created once, so that two writers would destroy each \
         other's work; use a store that has conditional writes, or switch them on"
    )]
    Unconditional {
        /// The root of the facts.
        root: String,
    },
    /// The run was given up and swept.
    #[error("run {run_id} was given up or let go, and its files are swept; start a run with another id")]
    Abandoned {
        /// The run.
        run_id: RunId,
    },
    /// `current` moved again and again while it was being moved.
    #[error("cannot move the current run to {run_id}: lost {attempts} races")]
    Contended {
        /// The run.
        run_id: RunId,
        /// Attempts made.
        attempts: u32,
    },
    /// A background upload did not end properly.
    #[error("upload of {key:?} was interrupted")]
    Interrupted {
        /// The object key.
        key: String,
        /// The runtime's own account.
        source: tokio::task::JoinError,
    },
}

impl LandingError {
    /// Whether the same operation may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store { source, .. } => is_transient(source),
            Self::Io { source, .. } => is_transient_io(source.kind()),
            Self::Contended { .. } => true,
            Self::Interrupted { source, .. } => source.is_cancelled(),
            Self::Parquet { .. }
            | Self::Schema { .. }
            | Self::NotSorted { .. }
            | Self::Corrupt { .. }
            | Self::DataFile { .. }
            | Self::Record { .. }
            | Self::Incomplete { .. }
            | Self::NoBins { .. }
            | Self::Damaged { .. }
            | Self::OlderLayout { .. }
            | Self::Unconditional { .. }
            | Self::NoRule
            | Self::Abandoned { .. } => false,
        }
    }
}

/// Whether a store's error may go away by itself: throttling, timeouts, lost connections, but not a missing object,
/// a refusal, or a full disk.
///
/// The store has retried already (its own back-off) when this is asked.
pub fn is_transient(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    match error {
        E::Generic { source, .. } => caused_by_io(source.as_ref()).is_none_or(is_transient_io),
        E::JoinError { source } => source.is_cancelled(),
        _ => false,
    }
}

/// The kind of the outermost `io::Error` in the chain of causes.
fn caused_by_io(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

fn is_transient_io(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    !matches!(
        kind,
        K::PermissionDenied
            | K::ReadOnlyFilesystem
            | K::StorageFull
            | K::QuotaExceeded
            | K::FileTooLarge
            | K::NotADirectory
            | K::IsADirectory
            | K::NotFound
            | K::InvalidInput
            | K::InvalidFilename
            | K::InvalidData
            | K::AlreadyExists
            | K::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn Error + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: source.into() }
    }

    #[test]
    fn throttling_is_transient_and_refusals_are_not() {
        assert!(is_transient(&generic("503 slow down")));
        assert!(is_transient(&generic(io::Error::from(io::ErrorKind::ConnectionReset))));
        assert!(!is_transient(&generic(io::Error::from(io::ErrorKind::StorageFull))));
        assert!(!is_transient(&generic(io::Error::from(io::ErrorKind::PermissionDenied))));
        assert!(!is_transient(&object_store::Error::NotFound { path: "x".into(), source: "gone".into() }));
        assert!(!is_transient(&object_store::Error::PermissionDenied { path: "x".into(), source: "403".into() }));
    }
}
