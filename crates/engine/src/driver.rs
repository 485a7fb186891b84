//! The client's side of a job: submit it, check that every bin came back exactly once, commit the run.

use std::collections::BTreeMap;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use bytefacts_corpus::decode_bins;
use bytefacts_facts::digest::{fold_repository, fold_run};
use bytefacts_facts::schema::{TABLE as SCHEMA_NAME, schema};
use bytefacts_landing::{Clock, CommitRequest, Committed, DEFAULT_GRACE, ExpectedBin, Fold, LandingError, RunId, Swept};
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

use crate::job::Job;
use crate::stores::{StoreError, Stores};
use crate::table::CorpusTable;

/// Why a job did not end in a committed run. The current run is untouched by all of them.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The facts' place cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run's id is none.
    #[error(transparent)]
    Id(#[from] bytefacts_landing::IdError),
    /// The cluster failed the job.
    #[error("the job failed: {0}")]
    Query(Box<DataFusionError>),
    /// The run's files could not be read or written.
    #[error(transparent)]
    Landing(#[from] LandingError),
    /// The bin manifest is not readable.
    #[error("the bin manifest of run {run} is damaged: {source}")]
    Bins {
        /// The run.
        run: String,
        /// What the parser says.
        source: bytefacts_corpus::BinManifestError,
    },
    /// The cluster answered for some bins never or twice.
    #[error(
        "the cluster did not answer for every bin exactly once: {detail}; nothing was committed, run the job again with --run-id {run} to resume it"
    )]
    Coverage {
        /// The run.
        run: String,
        /// Which bins, and how.
        detail: String,
    },
}

impl From<DataFusionError> for JobError {
    fn from(error: DataFusionError) -> Self {
        Self::Query(Box::new(error))
    }
}

/// A job that ended well.
#[derive(Debug)]
pub struct Finished {
    /// The run and where `current` points.
    pub committed: Committed,
    /// What was tidied up afterwards. An error here does no harm: the next run sweeps.
    pub swept: Result<Swept, LandingError>,
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

/// Runs `job` through `session` (a client session of a Ballista cluster) to its commit.
///
/// # Errors
/// See [`JobError`]. Whatever failed, the run can be resumed under its id, and bins with a record are not done again.
pub async fn run_job(session: &SessionContext, job: &Job, stores: &Arc<Stores>, clock: &dyn Clock) -> Result<Finished, JobError> {
    let started_at_ms = clock.now_millis();
    let facts = stores.open(&job.facts)?.facts();
    let run_id = RunId::new(job.run.clone())?;

    session.register_table(TABLE, Arc::new(CorpusTable::new(job.clone(), Arc::clone(stores))))?;
    // The order keeps the analysis out of the final stage, whose results Ballista 55 loses with an executor (adaptive planning off).
    let answers = session.sql(&format!("SELECT bin_id, rows FROM {TABLE} ORDER BY bin_id")).await?.collect().await;
    session.deregister_table(TABLE)?;
    let landed = landed_rows(&answers?)?;

    let manifest = facts.bins(&run_id).await?.unwrap_or_default();
    let bins = decode_bins(&manifest).map_err(|source| JobError::Bins { run: job.run.clone(), source })?;
    let expected: Vec<_> = bins.iter().map(|bin| ExpectedBin { bin_id: bin.bin_id, files: bin.files.len() as u64 }).collect();
    if let Some(detail) = coverage_fault(&expected, &landed) {
        return Err(JobError::Coverage { run: job.run.clone(), detail });
    }

    let json = |value: Result<serde_json::Value, serde_json::Error>| value.unwrap_or(serde_json::Value::Null);
    let request = CommitRequest {
        run_id,
        started_at_ms,
        corpus: job.corpus.clone(),
        schema_name: SCHEMA_NAME.to_owned(),
        schema_version: schema().metadata().get("schema_version").and_then(|v| v.parse().ok()).unwrap_or_default(),
        interpreter: json(serde_json::to_value(&job.interpreter)),
        options: json(serde_json::to_value(RecordedOptions {
            repo: job.repo.as_deref(),
            extract: &job.options,
            bins: &job.bins,
            comparable: job.options.comparable(),
        })),
        expected,
    };
    let committed = facts.commit(&request, &MerkleFold, clock).await?;
    let swept = facts.sweep(clock, DEFAULT_GRACE).await;
    Ok(Finished { committed, swept })
}

const TABLE: &str = "bytefacts_corpus";

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

/// Rows that each bin's answers claim, in the order of the answers.
fn landed_rows(answers: &[RecordBatch]) -> Result<BTreeMap<u32, Vec<u64>>, DataFusionError> {
    let mut landed: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for batch in answers {
        let bins = batch.column(0).as_primitive_opt::<Int32Type>();
        let rows = batch.column(1).as_primitive_opt::<Int64Type>();
        let (Some(bins), Some(rows)) = (bins, rows) else {
            return Err(DataFusionError::Internal(format!("unexpected answer of a job: {}", batch.schema())));
        };
        for i in 0..bins.len() {
            landed.entry(bins.value(i).cast_unsigned()).or_default().push(rows.value(i).cast_unsigned());
        }
    }
    Ok(landed)
}

/// What is wrong with the answers, if anything: a bin that is missing, doubled, unknown, or of other rows than it has files.
fn coverage_fault(expected: &[ExpectedBin], landed: &BTreeMap<u32, Vec<u64>>) -> Option<String> {
    let mut faults = Vec::new();
    for bin in expected {
        match landed.get(&bin.bin_id).map_or(&[][..], Vec::as_slice) {
            [rows] if *rows == bin.files => {}
            [] => faults.push(format!("bin {} is missing", bin.bin_id)),
            [rows] => faults.push(format!("bin {} has {rows} rows for {} files", bin.bin_id, bin.files)),
            answers => faults.push(format!("bin {} came back {} times", bin.bin_id, answers.len())),
        }
    }
    let known: std::collections::BTreeSet<_> = expected.iter().map(|bin| bin.bin_id).collect();
    faults.extend(landed.keys().filter(|bin| !known.contains(bin)).map(|bin| format!("bin {bin} is not of this run")));
    const SHOWN: usize = 5;
    let more = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    let text = faults.join(", ");
    (!text.is_empty()).then(|| if more > 0 { format!("{text}, and {more} more") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(bins: &[(u32, u64)]) -> Vec<ExpectedBin> {
        bins.iter().map(|&(bin_id, files)| ExpectedBin { bin_id, files }).collect()
    }

    #[test]
    fn each_bin_once_with_a_row_a_file_is_no_fault() {
        let landed = BTreeMap::from([(0, vec![3]), (1, vec![2])]);
        assert_eq!(coverage_fault(&expect(&[(0, 3), (1, 2)]), &landed), None);
    }

    #[test]
    fn every_kind_of_fault_is_named() {
        let landed = BTreeMap::from([(0, vec![3, 3]), (1, vec![1]), (9, vec![1])]);
        assert_eq!(
            coverage_fault(&expect(&[(0, 3), (1, 2), (2, 1)]), &landed).as_deref(),
            Some("bin 0 came back 2 times, bin 1 has 1 rows for 2 files, bin 2 is missing, bin 9 is not of this run")
        );
    }

    #[test]
    fn a_long_list_of_faults_is_cut() {
        let expected: Vec<_> = (0..8).map(|bin_id| ExpectedBin { bin_id, files: 1 }).collect();
        assert!(coverage_fault(&expected, &BTreeMap::new()).unwrap().ends_with("bin 4 is missing, and 3 more"));
    }
}
