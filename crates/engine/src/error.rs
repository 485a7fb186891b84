//! Errors into DataFusion's and back: Ballista retries `IoError` and nothing else, so what may heal must become one, and what will not must not.
//!
//! Each thing is repeated in one place, or their patience would multiply: a request to a store by the store's client (crate `stores`), a bin by
//! Ballista, since executors are lost, and a job by its client (`drive/`), since schedulers are.
//!
//! Ballista passes on texts alone, made by `Display` here and by `Debug` there. Ours are the same by both and stand between marks, so that the
//! client finds the words in whatever was put around them, and knows whether to try again.

use std::error::Error;
use std::fmt;
use std::io;

use bytefacts_compile::PoolError;
use bytefacts_corpus::ListError;
use bytefacts_stores::{explain, refusal};
use datafusion::error::DataFusionError;

/// What stands before the words of an error that no retry heals.
const LASTING: &str = "⟦lasting: ";
/// What stands before the words of an error that a later attempt may not meet.
const PASSING: &str = "⟦passing: ";
/// What stands behind either.
const END: char = '⟧';

/// An error of ours on its way through Ballista.
struct Marked {
    mark: &'static str,
    error: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The mark that ends an error is nowhere else.
        write!(f, "{}{}{END}", self.mark, causes(&*self.error).replace(END, "]"))
    }
}

impl fmt::Debug for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Marked {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

/// An error and its causes on one line, each said once: many repeat their cause in their own text.
fn causes(error: &(dyn Error + 'static)) -> String {
    let said = |error: &(dyn Error + 'static)| error.downcast_ref().map_or_else(|| error.to_string(), explain);
    let mut text = said(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = said(error);
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        // What is below a store's error is in its text.
        cause = if error.is::<object_store::Error>() { None } else { error.source() };
    }
    text
}

/// An error that no retry heals: the job fails with it.
pub fn lasting(error: impl Into<Box<dyn Error + Send + Sync>>) -> DataFusionError {
    DataFusionError::External(Box::new(Marked { mark: LASTING, error: error.into() }))
}

/// An error that a later attempt may not meet: the task is run again.
pub(crate) fn transient(error: impl Into<Box<dyn Error + Send + Sync>>) -> DataFusionError {
    DataFusionError::IoError(io::Error::other(Marked { mark: PASSING, error: error.into() }))
}

/// A landing error: the store's passing faults are retried, after the store's own back-off has given up.
pub(crate) fn landing_error(error: bytefacts_landing::LandingError) -> DataFusionError {
    if error.is_transient() { transient(error) } else { lasting(error) }
}

/// A corpus that cannot be listed: what a store or a disk refuses now it may give later, what is not there or forbidden stays so. `corpus` is
/// its name for the user.
pub(crate) fn list_error(mut error: ListError, corpus: &str) -> DataFusionError {
    match &mut error {
        ListError::Missing { location }
        | ListError::NotAFolder { location }
        | ListError::Denied { location }
        | ListError::Empty { location }
        | ListError::NoPythonFiles { location, .. }
        | ListError::Gitignore { location } => {
            corpus.clone_into(location);
            lasting(error)
        }
        ListError::Store { location, source } => {
            corpus.clone_into(location);
            if refusal(source).is_some() { lasting(error) } else { transient(error) }
        }
        ListError::Io { location, .. } | ListError::Interrupted { location, .. } => {
            corpus.clone_into(location);
            transient(error)
        }
        ListError::Sorting { .. } => transient(error),
    }
}

/// No worker to be had may be a passing want of processes or memory on this node: the task is retried, elsewhere if need be. An option that
/// CPython does not have is none anywhere.
pub(crate) fn pool_error(error: PoolError) -> DataFusionError {
    match error {
        PoolError::Optimize(_) => lasting(error),
        PoolError::Closed | PoolError::Start { .. } | PoolError::Killed { .. } => transient(error),
    }
}

/// Whether no retry heals what a cluster says of a job.
pub(crate) fn is_lasting(error: &DataFusionError) -> bool {
    error.to_string().contains(LASTING)
}

/// What a cluster says of a job, in our own words if they are in it, and without what the engines put before theirs.
pub fn words(error: &DataFusionError) -> String {
    let text = error.to_string();
    for mark in [LASTING, PASSING] {
        if let Some(words) = text.split_once(mark).and_then(|(_, rest)| rest.split(END).next()) {
            return words.to_owned();
        }
    }
    const PREFIXES: [&str; 5] =
        ["Execution error: ", "DataFusion error: ", "External error: ", "Error during planning: ", "Could not parse plan: "];
    let mut text = text.as_str();
    while let Some(rest) =
        PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).or_else(|| without_job(text)).or_else(|| in_status(text))
    {
        text = rest;
    }
    text.trim_end().to_owned()
}

/// The text behind `Job ID failed: `.
fn without_job(text: &str) -> Option<&str> {
    let (id, rest) = text.strip_prefix("Job ")?.split_once(" failed: ")?;
    (!id.contains(' ')).then_some(rest)
}

/// The message in the debug print of a gRPC status, in which nothing is escaped that we would write.
fn in_status(text: &str) -> Option<&str> {
    let (_, message) = text.strip_prefix("Status { code: ")?.split_once("message: \"")?;
    message.split_once("\", metadata: ").or_else(|| message.split_once("\", source: ")).map(|(message, _)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x")]
    struct Outer(#[source] io::Error);

    /// An error of a task and one of planning, as the client gets them from Ballista 55.
    fn from_ballista(error: &DataFusionError) -> [DataFusionError; 2] {
        [
            format!("Job 0ABC failed: Job failed due to stage 1 failed: Task failed due to runtime execution error: DataFusionError({error:?})\n"),
            format!("Job 0ABC failed: DataFusion error: {error}"),
        ]
        .map(DataFusionError::Execution)
    }

    #[test]
    fn our_words_come_back_whole_and_once() {
        let error = || Outer(io::Error::other("disk \"full\" [1]"));
        for (sent, lasting) in [(lasting(error()), true), (transient(error()), false), (lasting(error()).context("stage"), true)] {
            for received in from_ballista(&sent) {
                assert_eq!(words(&received), "cannot read x: disk \"full\" [1]", "{received}");
                assert_eq!(is_lasting(&received), lasting);
            }
        }
    }

    #[test]
    fn what_the_engine_says_loses_its_prefixes() {
        let said = |text: &str| words(&DataFusionError::Execution(text.to_owned()));
        assert_eq!(said("Job 0ABC failed: DataFusion error: Execution error: no executors"), "no executors");
        assert_eq!(said("Job 0ABC was cancelled"), "Job 0ABC was cancelled");
        let status = "Status { code: InvalidArgument, message: \"Could not parse plan: DataFusion error: Error during planning: it is no store\", \
                      metadata: MetadataMap { headers: {} }, source: None }";
        assert_eq!(said(status), "it is no store");
        assert!(!is_lasting(&DataFusionError::Execution("Job 0ABC failed: no executors".to_owned())));
    }

    #[test]
    fn an_option_that_cpython_lacks_is_not_tried_again() {
        assert!(matches!(pool_error(PoolError::Optimize(3)), DataFusionError::External(_)));
        assert!(matches!(pool_error(PoolError::Closed), DataFusionError::IoError(_)));
    }
}
