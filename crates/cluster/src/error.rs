//! Why a part of a cluster did not start.

use std::net::SocketAddr;

use ballista_core::error::BallistaError;
use bytefacts_tls::TlsError;
use datafusion::error::DataFusionError;

use crate::remote::RestError;

/// Why a scheduler, an executor or an embedded cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A port, a folder or a connection was refused.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "cannot listen on {0}: another process does; end it, or choose another address by --listen or --probes (port 0 is any free one)"
    )]
    Taken(SocketAddr),
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Ballista refused.
    #[error("cannot {operation}: {source}")]
    Ballista {
        /// What was tried.
        operation: &'static str,
        /// What Ballista says.
        source: Box<BallistaError>,
    },
    /// DataFusion's runtime could not be made.
    #[error("cannot make the runtime of an executor: {0}")]
    Runtime(Box<DataFusionError>),
    /// The scheduler did not answer in time.
    #[error(transparent)]
    Scheduler(#[from] RestError),
    /// A metric was registered twice, or has a name that is none.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl ClusterError {
    pub(crate) fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        |source| Self::Io { operation, source }
    }
}
