//! Errors into DataFusion's: Ballista retries `IoError` and nothing else, so what may heal must become one, and what will not must not.
//!
//! Each thing is repeated in one place, or their patience would multiply: a request to a store by the store's client (`stores.rs`), a bin by
//! Ballista, since executors are lost, and a job by its client (`driver.rs`), since schedulers are.

use std::error::Error;
use std::io;

use datafusion::error::DataFusionError;

/// An error that no retry heals: the job fails with it.
pub(crate) fn external(error: impl Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error that a later attempt may not meet: the task is run again.
pub(crate) fn transient(error: impl Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::IoError(io::Error::other(error))
}

/// A landing error: the store's passing faults are retried, after the store's own back-off has given up.
pub(crate) fn landing_error(error: bytefacts_landing::LandingError) -> DataFusionError {
    if error.is_transient() { transient(error) } else { external(error) }
}
