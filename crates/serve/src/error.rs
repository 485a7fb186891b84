//! Errors: of the service itself, and of statements as clients get them.

use datafusion::error::DataFusionError;
use tonic::Status;

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The users file cannot be used.
    #[error("the users file {path}: {reason}")]
    Users {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate or its key cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// A session over the facts cannot be made.
    #[error("cannot open the facts: {0}")]
    Facts(#[from] DataFusionError),
    /// Threads cannot be started.
    #[error("cannot start the threads that answer queries: {0}")]
    Threads(#[source] std::io::Error),
    /// The listener is not usable.
    #[error("cannot find the service's port: {0}")]
    Port(#[source] std::io::Error),
    /// A metric is refused.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Bytes of an error's text that are sent. It travels in a header, and clients refuse headers of more than 8 KiB.
const MAX_MESSAGE: usize = 2000;

/// What a client is told of an error of the engine.
pub(crate) fn status(error: &DataFusionError) -> Status {
    use DataFusionError as E;
    let text = short(&error.strip_backtrace());
    match error.find_root() {
        E::ResourcesExhausted(_) => Status::resource_exhausted(text),
        E::NotImplemented(_) => Status::unimplemented(text),
        E::Internal(_) | E::ExecutionJoin(_) | E::Ffi(_) => Status::internal(text),
        // Of stores and clusters: it may be well the next time.
        E::IoError(_) | E::ObjectStore(_) | E::ParquetError(_) | E::External(_) => Status::unavailable(text),
        // The statement or the values that it meets.
        _ => Status::invalid_argument(text),
    }
}

/// The first bytes of a text, as far as a header may be long.
pub(crate) fn short(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let end = (0..=MAX_MESSAGE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{} …", text.get(..end).unwrap_or_default())
}

/// An error of this service's own.
pub(crate) fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(short(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn statements_get_codes_that_say_whose_fault_it_is() {
        for (error, code) in [
            (DataFusionError::Plan("no such table".into()), Code::InvalidArgument),
            (DataFusionError::Execution("divide by zero".into()).context("here"), Code::InvalidArgument),
            (DataFusionError::ResourcesExhausted("memory".into()).context("there"), Code::ResourceExhausted),
            (DataFusionError::NotImplemented("that".into()), Code::Unimplemented),
            (DataFusionError::Internal("bug".into()), Code::Internal),
        ] {
            assert_eq!(status(&error).code(), code, "{error}");
        }
    }

    #[test]
    fn long_texts_fit_a_header() {
        let long = "é".repeat(MAX_MESSAGE);
        assert!(status(&DataFusionError::Plan(long)).message().len() < MAX_MESSAGE + 10);
    }
}
