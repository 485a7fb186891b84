//! Errors into DataFusion's.

use std::error::Error;

use datafusion::error::DataFusionError;

/// An error of ours as DataFusion passes it on.
pub(crate) fn external(error: impl Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
