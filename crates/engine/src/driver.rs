//! The client's side of a job: submit it until every bin is on record, commit the run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use async_trait::async_trait;
use bytefacts_facts::digest::{fold_repository, fold_run};
use bytefacts_facts::schema::{TABLE as SCHEMA_NAME, schema};
use bytefacts_landing::{BinIndex, Clock, CommitRequest, Committed, FactsStore, Fold, LandingError, RunId, Swept};
use bytefacts_query::schema_snapshot;
use bytefacts_stores::{StoreError, Stores};
use bytes::Bytes;
use datafusion::common::DataFusionError;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use crate::attempt::fresh_attempt;
use crate::error::{is_lasting, words};
use crate::job::{InterpreterId, Job};
use crate::progress::{Progress, Signs};

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
    #[error("the job failed: {}", words(.0))]
    Query(Box<DataFusionError>),
    /// The cluster could not be reached any more.
    #[error("the cluster has been out of reach for {seconds} s; its last word: {last}")]
    Unreachable {
        /// How long was waited.
        seconds: u64,
        /// How the last submission ended.
        last: String,
    },
    /// The run's files could not be read or written.
    #[error(transparent)]
    Landing(#[from] LandingError),
    /// It is not known which interpreter the run was made with, or it is not the one that was asked for.
    #[error("the interpreter of run {run}: {reason}; nothing was committed")]
    Interpreter {
        /// The run.
        run: String,
        /// What is wrong.
        reason: String,
    },
    /// The cluster got no further, however often it was asked.
    #[error("the job stands still: no file was done for {seconds} s; see the executors' logs")]
    Stalled {
        /// How long was waited.
        seconds: u64,
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
    /// What was tidied up of this run afterwards. An error here does no harm: `gc` finds it.
    pub swept: Result<Swept, LandingError>,
}

/// How the contract folds digests.
pub(crate) struct MerkleFold;

impl Fold for MerkleFold {
    fn repository(&self, repo: Option<&str>, files: &[(&str, [u8; 32])]) -> [u8; 32] {
        let _ = repo; // the fold of a run binds a repository to its name
        fold_repository(files.iter().copied())
    }
    fn run(&self, repos: &[(Option<&str>, [u8; 32])]) -> [u8; 32] {
        fold_run(repos.iter().copied())
    }
}

/// What a job needs of a cluster.
#[async_trait]
pub trait JobCluster: Send + Sync {
    /// Has the cluster run the job, and returns its answers: rows of (bin, rows landed).
    ///
    /// # Errors
    /// When the cluster fails the job, or cannot be reached.
    async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>, DataFusionError>;

    /// Ends what was submitted last, as far as the cluster can be reached.
    async fn cancel(&self);

    /// Whether the cluster can be reached now.
    async fn is_reachable(&self) -> bool;
}

/// How long a client holds on to a job that does not get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without a further bin, or a note of an executor that it gets on with one, for so long, the job is cancelled and submitted again. Longer
    /// than the longest file takes; executors note twice a minute.
    pub stall: Duration,
    /// How long a cluster may be out of reach.
    pub unreachable: Duration,
    /// Submissions in a row that may end without a further bin.
    pub fruitless: u32,
    /// How often the records of the run are looked at.
    pub poll: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_mins(15), unreachable: Duration::from_mins(5), fruitless: 3, poll: Duration::from_secs(1) }
    }
}

impl Patience {
    /// For a cluster inside this process: what fails there would fail again.
    #[must_use]
    pub fn embedded() -> Self {
        Self { fruitless: 1, ..Self::default() }
    }
}

/// Runs `job` on `cluster` to its commit.
///
/// The records of the bins, not the cluster's answers, decide when a run is whole: answers are lost with schedulers, executors and messages.
/// An answer that differs from them is only logged. `progress` is given the bins that others land; executors of this
/// process count theirs themselves. A run of which a greater share of the files than `max_unread_share` (0 to 1) could not be read is committed
/// and does not become current.
///
/// # Errors
/// See [`JobError`]. Whatever failed, the run can be resumed under its id, and bins with a record are not done again.
pub async fn run_job(
    cluster: &dyn JobCluster,
    job: &Job,
    stores: &Stores,
    clock: &dyn Clock,
    patience: Patience,
    max_unread_share: f64,
    progress: Option<&Progress>,
) -> Result<Finished, JobError> {
    let started_at_ms = clock.now_millis();
    let facts = stores.open(&job.facts)?.facts();
    let run_id = RunId::new(job.run.clone())?;
    facts.check_create_only(&fresh_attempt()?).await?;
    let mut run = OpenRun { facts: &facts, run: &run_id, progress, bins: None, done: BTreeSet::new(), has_begun: false };
    let answers = supervise(cluster, job, &mut run, patience).await?;

    let expected = run.index().await?;
    if let (Some(answers), Some(expected)) = (answers, &expected) {
        // The commit checks the records. Answers can be lost or come twice without harm, but a cluster that does so is worth knowing of.
        match landed_rows(&answers) {
            Ok(landed) => {
                if let Some(detail) = coverage_fault(expected, &landed) {
                    tracing::warn!(run = job.run, detail, "the cluster did not answer for every bin exactly once: its records decide");
                }
            }
            Err(error) => tracing::warn!(run = job.run, %error, "the cluster's answer is not readable: its records decide"),
        }
    }
    let interpreter = recorded_interpreter(facts.interpreter(&run_id).await?, job)?;
    let options =
        RecordedOptions { repo: job.repo.as_deref(), extract: &job.options, bins: &job.bins, comparable: job.options.comparable() };
    let request = CommitRequest {
        run_id,
        attempt: fresh_attempt()?,
        started_at_ms,
        corpus: job.corpus.clone(),
        schema_name: SCHEMA_NAME.to_owned(),
        schema_version: schema().metadata().get("schema_version").and_then(|v| v.parse().ok()).unwrap_or_default(),
        interpreter,
        options: serde_json::to_value(options).unwrap_or_default(),
        schema: schema_snapshot(),
        max_unread_share,
    };
    let committed = facts.commit(&request, &MerkleFold, clock).await?;
    let swept = facts.sweep_run(&committed.document).await;
    Ok(Finished { committed, swept })
}

/// Submits the job until every bin has a record; returns the answers if the last submission gave them.
async fn supervise(
    cluster: &dyn JobCluster,
    job: &Job,
    run: &mut OpenRun<'_>,
    patience: Patience,
) -> Result<Option<Vec<RecordBatch>>, JobError> {
    let mut fruitless = 0;
    run.look().await?;
    if run.is_whole() {
        // Of a client that died before its commit.
        return Ok(None);
    }
    loop {
        let before = run.done.len();
        run.has_begun = false;
        let ended = tokio::select! {
            answers = cluster.submit(job) => match answers {
                Ok(answers) => {
                    run.look().await?;
                    if run.is_whole() {
                        return Ok(Some(answers));
                    }
                    Ended::Failed(DataFusionError::Execution("the cluster answered before every bin was on record".to_owned()))
                }
                Err(error) => Ended::Failed(error),
            },
            watched = run.watch(patience) => watched?,
        };
        if let Ended::Failed(error) = &ended
            && is_lasting(error)
        {
            return Err(ended.into());
        }
        // A bin may have been recorded since the watch last looked.
        run.look().await?;
        if matches!(ended, Ended::Stalled(_)) || run.is_whole() {
            cluster.cancel().await;
        }
        if run.is_whole() {
            tracing::warn!(run = %run.run, reason = %ended, "every bin is on record: the run is completed without the cluster's answer");
            return Ok(None);
        }
        if run.done.len() > before {
            fruitless = 0;
        } else if cluster.is_reachable().await {
            fruitless += 1;
        }
        // What nobody has begun stands in line behind other jobs.
        let in_line = matches!(ended, Ended::Stalled(_)) && !run.has_begun && patience.fruitless > 1;
        let enough = if in_line { patience.fruitless.saturating_mul(IN_LINE) } else { patience.fruitless };
        if fruitless >= enough {
            return Err(ended.into());
        }
        if !reachable_within(cluster, patience.unreachable).await {
            return Err(JobError::Unreachable { seconds: patience.unreachable.as_secs(), last: ended.to_string() });
        }
        tracing::warn!(run = %run.run, reason = %ended, done = run.done.len(), "submitting the job again: bins with a record are not done again");
    }
}

/// How much more patience there is with a job that nobody has begun.
const IN_LINE: u32 = 10;

/// Waits for a cluster that is out of reach; says whether it came back.
async fn reachable_within(cluster: &dyn JobCluster, limit: Duration) -> bool {
    let retry = async {
        loop {
            // Also before the first look: what failed a job now may be on its way down.
            tokio::time::sleep(Duration::from_secs(1).min(limit / 4)).await;
            if cluster.is_reachable().await {
                return;
            }
        }
    };
    tokio::time::timeout(limit, retry).await.is_ok()
}

/// Why a submission ended without answers.
enum Ended {
    Failed(DataFusionError),
    Stalled(Duration),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => f.write_str(&words(error)),
            Self::Stalled(limit) => write!(f, "nothing has got on for {} s", limit.as_secs()),
        }
    }
}

impl From<Ended> for JobError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Failed(error) => error.into(),
            Ended::Stalled(limit) => Self::Stalled { seconds: limit.as_secs() },
        }
    }
}

/// A run under way, as its records show it.
struct OpenRun<'a> {
    facts: &'a FactsStore,
    run: &'a RunId,
    progress: Option<&'a Progress>,
    /// Known once the scheduler has recorded them.
    bins: Option<BinIndex>,
    done: BTreeSet<u32>,
    /// Whether anybody has worked on what was submitted last.
    has_begun: bool,
}

impl OpenRun<'_> {
    /// Watches the records until the job stalls, or is whole and its answer does not come.
    async fn watch(&mut self, patience: Patience) -> Result<Ended, JobError> {
        let (mut since, mut looked) = (Instant::now(), Duration::ZERO);
        let mut signs = Signs::begin(self.facts, self.run).await;
        let done_before = self.done.len();
        loop {
            // Looking lists all records: of a run of many bins it takes its time, and must not take most of it.
            tokio::time::sleep(patience.poll.max(looked * 10)).await;
            let (before, begun) = (self.done.len(), Instant::now());
            // A store that does not answer now may do so next time; whether it stalls the job is decided below.
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "cannot see how far the run is");
            }
            looked = begun.elapsed();
            if self.done.len() > before {
                since = Instant::now();
            }
            let limit = if self.is_whole() { ANSWER_DUE.min(patience.stall) } else { patience.stall };
            if since.elapsed() >= limit {
                // What goes on inside of bins is looked at only now: it costs a request.
                let gets_on = signs.are_new().await;
                self.has_begun = signs.any || self.done.len() > done_before;
                if !gets_on || self.is_whole() {
                    return Ok(Ended::Stalled(limit));
                }
                since = Instant::now();
            }
        }
    }

    /// Looks for further records.
    async fn look(&mut self) -> Result<(), JobError> {
        if self.bins.is_none() {
            self.bins = self.facts.bins(self.run).await?;
        }
        let finished = self.facts.finished_bins(self.run).await?;
        let new: Vec<u32> = finished.into_iter().filter(|bin| !self.done.contains(bin)).collect();
        let Some(progress) = self.progress else {
            self.done.extend(new);
            return Ok(());
        };
        let (facts, run) = (self.facts, self.run);
        let mut records =
            futures::stream::iter(new).map(async |bin| Ok((bin, facts.bin_record(run, bin).await?))).buffer_unordered(RECORDS);
        while let Some((bin, record)) = records.try_next().await.map_err(|error: LandingError| JobError::from(error))? {
            if let Some(record) = record {
                progress.add_record(&record.stats);
            }
            self.done.insert(bin);
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.bins.as_ref().is_some_and(|index| index.numbered().all(|(bin, _)| self.done.contains(&bin)))
    }

    async fn index(&mut self) -> Result<Option<BinIndex>, JobError> {
        match self.bins.take() {
            Some(index) => Ok(Some(index)),
            None => Ok(self.facts.bins(self.run).await?),
        }
    }
}

/// Records read at the same time.
const RECORDS: usize = 16;

/// How long an answer may take once all bins are on record.
const ANSWER_DUE: Duration = Duration::from_secs(20);

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
fn coverage_fault(expected: &BinIndex, landed: &BTreeMap<u32, Vec<u64>>) -> Option<String> {
    let mut faults = Vec::new();
    for (number, bin) in expected.numbered() {
        match landed.get(&number).map_or(&[][..], Vec::as_slice) {
            [rows] if *rows == bin.files => {}
            [] => faults.push(format!("bin {number} is missing")),
            [rows] => faults.push(format!("bin {number} has {rows} rows for {} files", bin.files)),
            answers => faults.push(format!("bin {number} came back {} times", answers.len())),
        }
    }
    let is_known = |bin: &u32| usize::try_from(*bin).is_ok_and(|bin| bin < expected.bins.len());
    faults.extend(landed.keys().filter(|bin| !is_known(bin)).map(|bin| format!("bin {bin} is not of this run")));
    const SHOWN: usize = 5;
    let more = faults.len().saturating_sub(SHOWN);
    faults.truncate(SHOWN);
    let text = faults.join(", ");
    (!text.is_empty()).then(|| if more > 0 { format!("{text}, and {more} more") } else { text })
}

#[cfg(test)]
mod tests {
    use bytefacts_landing::{AttemptId, IndexedBin, SystemClock};

    use super::*;

    /// Bins of so many files each.
    fn expect(files: &[u64]) -> BinIndex {
        let first = bytefacts_landing::FileName::new(None, "a.py");
        let bin = |files| IndexedBin { shard: 0, offset: 0, length: 0, files, source_bytes: 0, cost_us: 0, first: first.clone() };
        BinIndex { shards: Vec::new(), bins: files.iter().map(|files| bin(*files)).collect() }
    }

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

    /// A cluster that never answers, and notes some times that it gets on with a bin before it stands still.
    struct Standing {
        facts: FactsStore,
        notes: u32,
        submissions: std::sync::atomic::AtomicU32,
    }

    const STALL: Duration = Duration::from_millis(400);

    #[async_trait]
    impl JobCluster for Standing {
        async fn submit(&self, job: &Job) -> Result<Vec<RecordBatch>, DataFusionError> {
            let number = self.submissions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (run, attempt) = (RunId::new(job.run.clone()).unwrap(), AttemptId::new(format!("a{number}")).unwrap());
            for files in 0..self.notes {
                tokio::time::sleep(STALL / 2).await;
                self.facts.note_progress(&run, 0, &attempt, files).await.unwrap();
            }
            std::future::pending().await
        }
        async fn cancel(&self) {}
        async fn is_reachable(&self) -> bool {
            true
        }
    }

    /// How long the client holds on to a job, and how often it submits it.
    async fn patience_with(notes: u32, fruitless: u32) -> (Duration, u32) {
        let stores = Stores::default();
        stores.register("memory://", std::sync::Arc::new(object_store::memory::InMemory::new())).unwrap();
        let job = Job { facts: "memory:///facts".to_owned(), ..job(None) };
        let cluster = Standing { facts: stores.open(&job.facts).unwrap().facts(), notes, submissions: Default::default() };
        let patience = Patience { stall: STALL, fruitless, poll: Duration::from_millis(20), ..Patience::default() };
        let begun = Instant::now();
        let error = run_job(&cluster, &job, &stores, &SystemClock, patience, 1.0, None).await.unwrap_err();
        assert!(matches!(error, JobError::Stalled { .. }), "{error}");
        (begun.elapsed(), cluster.submissions.into_inner())
    }

    #[tokio::test]
    async fn files_done_inside_of_a_bin_are_progress() {
        let (stood, _) = patience_with(0, 1).await;
        assert!(stood >= STALL && stood < 3 * STALL, "{stood:?}");
        let (got_on, submissions) = patience_with(8, 1).await;
        assert!(got_on >= 4 * STALL && submissions == 1, "what is slow does not stand still: {got_on:?}");
    }

    #[tokio::test]
    async fn a_job_that_nobody_has_begun_stands_in_line() {
        assert_eq!(patience_with(1, 2).await.1, 2, "it was begun, and then stood still");
        assert_eq!(patience_with(0, 2).await.1, 2 * IN_LINE);
    }

    #[test]
    fn each_bin_once_with_a_row_a_file_is_no_fault() {
        let landed = BTreeMap::from([(0, vec![3]), (1, vec![2])]);
        assert_eq!(coverage_fault(&expect(&[3, 2]), &landed), None);
    }

    #[test]
    fn every_kind_of_fault_is_named() {
        let landed = BTreeMap::from([(0, vec![3, 3]), (1, vec![1]), (9, vec![1])]);
        assert_eq!(
            coverage_fault(&expect(&[3, 2, 1]), &landed).as_deref(),
            Some("bin 0 came back 2 times, bin 1 has 1 rows for 2 files, bin 2 is missing, bin 9 is not of this run")
        );
    }

    #[test]
    fn a_long_list_of_faults_is_cut() {
        assert!(coverage_fault(&expect(&[1; 8]), &BTreeMap::new()).unwrap().ends_with("bin 4 is missing, and 3 more"));
    }
}
