//! Why a run cannot be validated.

use bytefacts_landing::LandingError;
use bytefacts_stores::StoreError;
use datafusion::error::DataFusionError;

/// Why a run could not be validated. What is wrong with its facts is a finding and never the reason.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The facts' place cannot be opened.
    #[error(transparent)]
    Place(#[from] StoreError),
    /// The store did not answer.
    #[error("cannot read data file {key}")]
    Store {
        /// Its key.
        key: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// A large data file could not be read by ranges.
    #[error("cannot read data file {key}")]
    Range {
        /// Its key.
        key: String,
        /// What the reader says.
        source: parquet::errors::ParquetError,
    },
    /// A document of the run could not be read.
    #[error(transparent)]
    Landing(#[from] LandingError),
    /// Ids could not be kept in temporary files.
    #[error("cannot keep ids in temporary files; TMPDIR names another folder for them")]
    Ids(#[from] std::io::Error),
    /// The session over the facts does not answer.
    #[error("cannot query the facts: {0}")]
    Query(Box<DataFusionError>),
}

impl From<DataFusionError> for ValidateError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}
