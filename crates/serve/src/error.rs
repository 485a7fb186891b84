//! Errors: of the service itself, and of statements as clients get them.

use bytefacts_query::{Hints, explain};
use datafusion::error::DataFusionError;
use tonic::Status;

use crate::{contract, listing};

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

/// Where names are found, by statements.
const HINTS: Hints = Hints {
    tables: "SHOW TABLES lists the tables and views",
    columns: "SHOW COLUMNS FROM NAME lists the columns of a table or view",
    elsewhere: &[],
};

/// What a client is told of an error of the engine. Where it is about stores and files, the log has the whole of it, and the client no path.
pub(crate) fn status(error: &DataFusionError) -> Status {
    use DataFusionError as E;
    let names: Vec<_> = contract::names().map(str::to_owned).chain(listing::all().map(|listing| listing.full_name())).collect();
    let text = explain(error, &names, HINTS);
    let inside = |text: &str| {
        tracing::warn!(%error, "a statement has failed by what stands behind this server");
        short(&without_paths(text))
    };
    match error.find_root() {
        E::ResourcesExhausted(_) => Status::resource_exhausted(short(&without_paths(&text))),
        E::NotImplemented(_) => Status::unimplemented(short(&text)),
        E::Internal(_) | E::ExecutionJoin(_) | E::Ffi(_) => Status::internal(inside(&text)),
        // Of stores and clusters: it may be well the next time.
        E::IoError(_) | E::ObjectStore(_) | E::ParquetError(_) | E::External(_) => Status::unavailable(inside(&text)),
        // The statement or the values that it meets.
        _ => Status::invalid_argument(short(&text)),
    }
}

/// A text in which no word is a path or a place.
fn without_paths(text: &str) -> String {
    let is_path = |word: &str| {
        let bare = word.trim_start_matches(['(', '[', '{', '"', '\'', '`', ':', '=']);
        bare.contains("://") || (bare.len() > 1 && bare.starts_with('/')) || bare.matches('/').count() >= 2
    };
    text.split(' ').map(|word| if is_path(word) { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// The first bytes of a text, as far as a header may be long.
pub(crate) fn short(text: &str) -> String {
    if text.len() <= MAX_MESSAGE {
        return text.to_owned();
    }
    let end = (0..=MAX_MESSAGE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{} …", text.get(..end).unwrap_or_default())
}

/// What is told of a fault of ours: the log has more.
pub(crate) fn fault() -> Status {
    Status::internal("the query failed by a fault of this server, and its rows are not all: the server's log says more")
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
    fn a_name_that_is_none_comes_with_the_nearest_and_no_catalog_that_nobody_wrote() {
        let missing = |name: &str| status(&DataFusionError::Plan(format!("table 'facts.public.{name}' not found"))).message().to_owned();
        let expected = "table 'py_bc_block' not found: did you mean py_bc_blocks?\nhint: SHOW TABLES lists the tables and views";
        assert_eq!(missing("py_bc_block"), expected);
        let listed = status(&DataFusionError::Plan("table 'facts.bytefacts.rums' not found".into()));
        assert!(listed.message().starts_with("table 'bytefacts.rums' not found: did you mean bytefacts.runs?"), "{listed}");
    }

    #[test]
    fn no_path_of_the_server_is_told() {
        let errors: [DataFusionError; 4] = [
            std::io::Error::other("cannot read /srv/facts/x.parquet").into(),
            DataFusionError::External("Generic LocalFileSystem error: Unable to open file /srv/facts/a b: denied".into()),
            DataFusionError::External("Object at location srv/facts/run.parquet not found: (path: \"/srv/facts/run.parquet\")".into()),
            DataFusionError::ResourcesExhausted("cannot make s3://bucket/secret/x larger".into()),
        ];
        for error in errors {
            let status = status(&error);
            assert!(!status.message().contains("srv") && !status.message().contains("secret"), "{status}");
        }
    }

    #[test]
    fn long_texts_fit_a_header() {
        let long = "é".repeat(MAX_MESSAGE);
        assert!(status(&DataFusionError::Plan(long)).message().len() < MAX_MESSAGE + 10);
    }
}
