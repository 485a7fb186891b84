//! What a run says of itself when it is committed, and the fold of its digests.

use bytefacts_corpus::ReadError;
use bytefacts_facts::digest::{fold_repository, fold_run};
use bytefacts_facts::schema::{TABLE as SCHEMA_NAME, schema};
use bytefacts_landing::{Clock, CommitRequest, Committed, FactsStore, Fold, ReadErrors, RunId, Tolerance};
use bytefacts_query::schema_snapshot;
use bytes::Bytes;

use super::error::JobError;
use crate::attempt_id::fresh_attempt;
use crate::job::{InterpreterId, Job};

/// Commits a run that is whole.
///
/// # Errors
/// When its interpreter is not known, or its records are not in order.
pub(super) async fn commit(
    job: &Job,
    facts: &FactsStore,
    run_id: RunId,
    started_at_ms: u64,
    tolerance: Tolerance,
    clock: &dyn Clock,
) -> Result<Committed, JobError> {
    let interpreter = recorded_interpreter(facts.interpreter(&run_id).await?, job)?;
    let defect = |reason: String| JobError::Defect { run: job.run.clone(), reason };
    let schema_version = schema().metadata().get("schema_version").and_then(|version| version.parse().ok());
    let options =
        RecordedOptions { repo: job.repo.as_deref(), extract: &job.options, bins: &job.bins, comparable: job.options.comparable() };
    let request = CommitRequest {
        run_id,
        attempt: fresh_attempt(),
        started_at_ms,
        corpus: job.corpus.clone(),
        schema_name: SCHEMA_NAME.to_owned(),
        schema_version: schema_version.ok_or_else(|| defect("the schema has no version".to_owned()))?,
        interpreter,
        options: serde_json::to_value(options).map_err(|error| defect(format!("its options cannot be written down: {error}")))?,
        schema: schema_snapshot(),
        tolerance,
        read_errors: ReadErrors { of_files: &ReadError::OF_THE_FILE, of_folders: &ReadError::OF_FOLDERS },
    };
    Ok(facts.commit(&request, &MerkleFold, clock).await?)
}

/// How the contract folds digests.
struct MerkleFold;

impl Fold for MerkleFold {
    fn repository(&self, repo: Option<&str>, files: &[(&str, [u8; 32])]) -> [u8; 32] {
        let _ = repo; // the fold of a run binds a repository to its name
        fold_repository(files.iter().copied())
    }
    fn run(&self, repos: &[(Option<&str>, [u8; 32])]) -> [u8; 32] {
        fold_run(repos.iter().copied())
    }
}

/// What a manifest says of how its run was made.
#[derive(serde::Serialize)]
struct RecordedOptions<'a> {
    repo: Option<&'a str>,
    #[serde(flatten)]
    extract: &'a crate::job::ExtractOptions,
    bins: &'a bytefacts_corpus::BinOptions,
    /// Whether rows can be compared with those of other runs.
    comparable: bool,
}

/// The interpreter that all executors of the run have agreed on, as the manifest states it.
fn recorded_interpreter(recorded: Option<Bytes>, job: &Job) -> Result<serde_json::Value, JobError> {
    let fault = |reason: String| JobError::Interpreter { run: job.run.clone(), reason };
    let recorded = recorded.ok_or_else(|| fault("no executor has written it down".to_owned()))?;
    let recorded: InterpreterId =
        serde_json::from_slice(&recorded).map_err(|error| fault(format!("what is written down is damaged: {error}")))?;
    if let Some(named) = &job.interpreter
        && *named != recorded
    {
        return Err(fault(format!(
            "{} {} (magic {}) is asked for, but the run was begun with {} {} (magic {})",
            named.implementation, named.version, named.magic, recorded.implementation, recorded.version, recorded.magic
        )));
    }
    serde_json::to_value(recorded).map_err(|error| fault(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: &str) -> InterpreterId {
        InterpreterId { version: version.to_owned(), magic: "f30d0d0a".to_owned(), implementation: "cpython".to_owned() }
    }

    fn job(interpreter: Option<InterpreterId>) -> Job {
        let place = || "file:///nowhere".to_owned();
        let bins = bytefacts_corpus::BinOptions { target: bytefacts_corpus::Target::Bins(1) };
        let options = crate::job::ExtractOptions::default();
        Job { corpus: place(), repo: None, facts: place(), run: "r1".to_owned(), options, bins, interpreter, use_cache: true }
    }

    fn written(interpreter: &InterpreterId) -> Option<Bytes> {
        Some(serde_json::to_vec(interpreter).unwrap().into())
    }

    #[test]
    fn the_manifest_names_the_interpreter_that_the_run_was_made_with() {
        let made = python("3.13.0");
        let stated = serde_json::to_value(&made).unwrap();
        assert_eq!(recorded_interpreter(written(&made), &job(None)).unwrap(), stated);
        assert_eq!(recorded_interpreter(written(&made), &job(Some(made.clone()))).unwrap(), stated);
        let other = recorded_interpreter(written(&made), &job(Some(python("3.13.5")))).unwrap_err().to_string();
        assert!(other.contains("3.13.5") && other.contains("3.13.0"), "{other}");
    }

    #[test]
    fn an_interpreter_that_is_not_known_is_an_error_and_never_null() {
        for recorded in [None, Some(Bytes::from_static(b"{\"version\":"))] {
            let error = recorded_interpreter(recorded, &job(Some(python("3.13.0")))).unwrap_err();
            assert!(matches!(error, JobError::Interpreter { .. }), "{error}");
        }
    }
}
