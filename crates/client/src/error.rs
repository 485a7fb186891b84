//! What can go wrong between a client and its server.

use arrow_flight::error::FlightError;
use datafusion::error::DataFusionError;
use tonic::{Code, Status};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{0} is no address of a server: write grpc://HOST:PORT, or grpc+tls://HOST:PORT where it encrypts")]
    Address(String),
    /// The certificates that the server is to be known by cannot be used.
    #[error("certificates of {of} cannot be used: {reason}")]
    Certificates {
        /// The file, or the system.
        of: String,
        /// Why not.
        reason: String,
    },
    /// Nobody is there, or they do not understand each other.
    #[error("no server answers at {address}: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What was tried and came to nothing.
        reason: String,
    },
    /// It does not know who asks.
    #[error("the server refuses the login: {0}")]
    Refused(String),
    /// It answers with an error.
    #[error("{0}")]
    Server(String),
    /// What it sends cannot be understood.
    #[error("the server's answer cannot be read: {0}")]
    Unreadable(String),
}

impl ClientError {
    /// What a server has answered.
    pub(crate) fn of(address: &str, status: &Status) -> Self {
        match status.code() {
            Code::Unauthenticated => Self::Refused(status.message().to_owned()),
            // What a transport says, and no server.
            Code::Unavailable | Code::Unknown | Code::Cancelled if innermost(status) != status.to_string() => {
                Self::Unreachable { address: address.to_owned(), reason: innermost(status) }
            }
            _ => Self::Server(status.message().to_owned()),
        }
    }

    /// What went wrong while something was asked or read.
    pub(crate) fn of_flight(address: &str, error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => Self::of(address, &status),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

impl From<ClientError> for DataFusionError {
    fn from(error: ClientError) -> Self {
        Self::External(Box::new(error))
    }
}

/// The cause of all causes: what a transport says of itself is "transport error".
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
