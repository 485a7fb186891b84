//! What an executor has beside the plan: an interpreter, compile workers, a cache, object stores, a memory budget and counters.
//!
//! None of it travels. A codec instance holds the node of its process and hands it to the operators that it decodes.
//!
//! ```text
//! one file to its row, on a Node: read ▶ cache ▶ compile ▶ judge ▶ append    (file.rs, outcome.rs, judge.rs)
//! one attempt at a bin: notes in its journal, careful after others failed    (attempt.rs, open_attempts.rs)
//! a file that may be a killer is tried in a process of its own               (trial/)
//! a bin of which nothing changed is taken over                               (reuse.rs)
//! ```

pub(crate) mod attempt;
pub(crate) mod budget;
mod compilers;
pub(crate) mod file;
pub(crate) mod judge;
pub(crate) mod open_attempts;
mod outcome;
pub(crate) mod reuse;
pub mod trial;

use std::sync::Arc;
use std::time::Duration;

use bytefacts_cache::Cache;
use bytefacts_compile::{Interpreter, PoolStats, WorkerSettings};
use bytefacts_landing::{AttemptId, Created, FactsStore, RunId};
use bytefacts_stores::Stores;
use datafusion::common::Result;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::time::timeout;

use self::budget::Budget;
use self::compilers::{CompilerSets, CompilerSettings, Compilers};
use self::open_attempts::OpenAttempts;
use self::reuse::LandedBins;
use self::trial::{TrialCommand, Trials};
use crate::attempt_id::AttemptIds;
use crate::error::{landing_error, lasting};
use crate::job::{InterpreterId, Job};
use crate::progress::Progress;

/// How a node is equipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// Compile workers, that is, files compiled at a time.
    pub workers: usize,
    /// Bytes of source and compiled code that may be in memory at a time. More makes files wait, never fail.
    pub memory_budget_bytes: u64,
    /// What an audit varies and nobody else should.
    pub worker: WorkerSettings,
}

/// Files that may wait for the shared cache at a time: it answers in tens of milliseconds, a compile takes a few.
const SHARED_LOOKUPS: usize = 16;

/// How long a worker may take to end when nobody waits for its file any more.
const WORKERS_END: Duration = Duration::from_secs(5);

/// The services of one executor.
pub struct Node {
    options: NodeOptions,
    interpreter: Interpreter,
    stores: Arc<Stores>,
    cache: Option<Arc<Cache>>,
    progress: Arc<Progress>,
    compilers: Mutex<CompilerSets>,
    budget: Budget,
    /// Where the pool lives: a task's own runtime may end before the workers do.
    runtime: Handle,
    attempt_ids: AttemptIds,
    open_attempts: Arc<OpenAttempts>,
    trial: Option<TrialCommand>,
    pool_stats: PoolCounts,
    /// Why the last run that came could not be worked on with this interpreter.
    disagreement: std::sync::Mutex<Option<String>>,
}

/// What compile workers have done, of those that are gone too, so that no counter ever falls.
#[derive(Debug, Default)]
struct PoolCounts {
    gone: std::sync::Mutex<PoolStats>,
    told: std::sync::Mutex<PoolStats>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("options", &self.options).field("interpreter", &self.interpreter).finish_non_exhaustive()
    }
}

impl Node {
    /// Equips a node. Workers start with the first job, on the runtime that this is called from.
    #[must_use]
    pub fn new(
        options: NodeOptions,
        interpreter: Interpreter,
        stores: Arc<Stores>,
        cache: Option<Arc<Cache>>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            budget: Budget::new(options.memory_budget_bytes),
            options,
            interpreter,
            stores,
            cache,
            progress,
            compilers: Mutex::default(),
            runtime: Handle::current(),
            attempt_ids: AttemptIds::new(),
            open_attempts: Arc::default(),
            trial: None,
            pool_stats: PoolCounts::default(),
            disagreement: std::sync::Mutex::default(),
        }
    }

    /// Has files that may be killers tried by processes that are started so. Without it nobody finds out which file kills: a bin is tried again
    /// until somebody loses patience.
    #[must_use]
    pub fn with_trials(self, command: TrialCommand) -> Self {
        Self { trial: Some(command), ..self }
    }

    /// Trials of the files of a job, if this node can make any.
    ///
    /// # Errors
    /// Never for a job that travelled: it is serialised once more.
    pub(crate) fn trials(&self, job: &Job) -> Result<Option<Trials>> {
        let Some(command) = self.trial.clone() else { return Ok(None) };
        Trials::new(command, job, &self.interpreter, &self.options.worker, self.runtime.clone()).map(Some)
    }

    /// The attempts that are noted in journals.
    pub(crate) fn open_attempts(&self) -> &Arc<OpenAttempts> {
        &self.open_attempts
    }

    /// The runtime of this process, which outlives those of tasks.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// What this node compiles with.
    #[must_use]
    pub fn interpreter_id(&self) -> InterpreterId {
        InterpreterId::of(&self.interpreter)
    }

    /// The interpreter.
    pub(crate) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// The object stores.
    #[must_use]
    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// The cache of compiled code, unless it is off.
    #[must_use]
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// The bins that this node landed before, as far as the job may take them over.
    pub(crate) fn landed_bins(&self, job: &Job) -> Option<LandedBins> {
        LandedBins::of(job, &InterpreterId::of(&self.interpreter), self.cache().filter(|_| job.use_cache)?)
    }

    /// The counters of this process.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Files worth having under way at a time: enough that no compile worker waits for an analysis or for the shared cache, and few enough to
    /// bound memory.
    #[must_use]
    pub fn files_in_flight(&self) -> usize {
        let lookups = if self.cache.as_ref().is_some_and(|cache| cache.is_shared()) { SHARED_LOOKUPS } else { 0 };
        self.options.workers + 2 + lookups
    }

    /// A name for an attempt at a bin that no other attempt of any process has.
    pub(crate) fn next_attempt(&self) -> AttemptId {
        self.attempt_ids.next()
    }

    /// The interpreter of the whole run, which is this node's. It must be the one that the job names, if it names one, and the one that the
    /// first node to work on the run has written down: a run may be begun by one cluster and finished by another.
    ///
    /// # Errors
    /// When this node has another one, or the store of the facts fails.
    pub async fn interpreter_of(&self, job: &Job, facts: &FactsStore, run: &RunId) -> Result<InterpreterId> {
        let own = InterpreterId::of(&self.interpreter);
        self.agree(&own, job.interpreter.as_ref().unwrap_or(&own), run)?;
        let mine = serde_json::to_vec(&own).map_err(lasting)?;
        if let Created::Existing(first) = facts.create_interpreter(run, mine.into()).await.map_err(landing_error)? {
            self.agree(&own, &serde_json::from_slice(&first).map_err(lasting)?, run)?;
        }
        Ok(own)
    }

    fn agree(&self, own: &InterpreterId, expected: &InterpreterId, run: &RunId) -> Result<()> {
        let agreed = agree(own, expected, run);
        *lock(&self.disagreement) = agreed.as_ref().err().cloned();
        agreed.map_err(lasting)
    }

    /// Why this node could not work on the last run that came, if its interpreter is another one than the run's.
    #[must_use]
    pub fn disagreement(&self) -> Option<String> {
        lock(&self.disagreement).clone()
    }

    /// The compile workers for `job`, started when there are none that compile as it wants it.
    ///
    /// # Errors
    /// When workers cannot be started.
    pub(crate) async fn compilers(&self, job: &Job) -> Result<Compilers> {
        let wanted = CompilerSettings::of(&job.options);
        let mut sets = self.compilers.lock().await;
        if let Some(running) = sets.get(&wanted) {
            return Ok(running);
        }
        let (interpreter, workers, worker) = (self.interpreter.clone(), self.options.workers, self.options.worker.clone());
        let settings = wanted.clone();
        let started = self.runtime.spawn(async move { Compilers::start(settings, &interpreter, workers, worker).await });
        let started = started.await.map_err(lasting)??;
        if let Some(gone) = sets.insert(wanted, started.clone()) {
            let mut counts = lock(&self.pool_stats.gone);
            *counts = counts.plus(gone.pool.stats());
        }
        Ok(started)
    }

    /// What the compile workers have done. While some are being started it is what was told last.
    #[must_use]
    pub fn pool_stats(&self) -> PoolStats {
        let mut told = lock(&self.pool_stats.told);
        if let Ok(sets) = self.compilers.try_lock() {
            let gone = *lock(&self.pool_stats.gone);
            *told = sets.iter().map(|compilers| compilers.pool.stats()).fold(gone, PoolStats::plus);
        }
        *told
    }

    /// Bins that are being worked on.
    #[must_use]
    pub fn open_bins(&self) -> u64 {
        self.open_attempts.bins()
    }

    /// The memory budget, in bytes.
    #[must_use]
    pub fn memory_budget_bytes(&self) -> u64 {
        self.options.memory_budget_bytes
    }

    /// Files that wait for the memory budget now.
    #[must_use]
    pub fn waiting_for_memory(&self) -> u64 {
        self.budget.waiting()
    }

    /// Bytes of the memory budget that are taken now.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.budget.used()
    }

    /// Ends the compile workers, and waits until they are gone: only then does the system know their CPU time. What the shared cache is still
    /// to get is uploaded, as far as it can be in some seconds.
    /// Notes of attempts under way are taken back: they ended, but not by dying.
    pub async fn shutdown(&self) {
        self.open_attempts.leave().await;
        if let Some(cache) = &self.cache
            && !cache.flush().await
        {
            tracing::warn!("not all of what was compiled has reached the shared cache");
        }
        for compilers in self.compilers.lock().await.take() {
            // Of what was given up a worker may be at work for ever. It ends with this process.
            if timeout(WORKERS_END, compilers.pool.shutdown()).await.is_err() {
                tracing::warn!("a worker is still at a file that nobody waits for: it is left to the end of the process");
            }
        }
    }

    /// Waits until `bytes` fit the memory budget; a single file larger than the whole budget takes all of it.
    ///
    /// # Errors
    /// Never: the budget is not closed.
    pub async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        self.budget.reserve(bytes).await
    }

    /// The most bytes of source that the memory budget and the workers of one setting have held at a time, for those who tune them.
    pub async fn peaks(&self) -> Peaks {
        let sets = self.compilers.lock().await;
        let parallel_bytes = sets.iter().map(|compilers| compilers.parallel.peak()).max().unwrap_or(0);
        Peaks { memory_bytes: self.budget.peak(), parallel_bytes }
    }
}

/// How much of its budgets a node has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Of `memory_budget_bytes`.
    pub memory_bytes: u64,
    /// Of `parallel_max_bytes`.
    pub parallel_bytes: u64,
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Refuses a node whose interpreter is not the run's.
fn agree(own: &InterpreterId, expected: &InterpreterId, run: &RunId) -> Result<(), String> {
    if own == expected {
        return Ok(());
    }
    Err(format!(
        "this executor has {} {} (magic {}), but run {run} is made with {} {} (magic {}): give every executor the same interpreter",
        own.implementation, own.version, own.magic, expected.implementation, expected.version, expected.magic
    ))
}

#[cfg(test)]
mod tests {
    use bytefacts_corpus::{BinOptions, Target};
    use datafusion::error::DataFusionError;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;
    use crate::job::ExtractOptions;

    fn python(version: &str) -> InterpreterId {
        InterpreterId { version: version.to_owned(), magic: "f30d0d0a".to_owned(), implementation: "cpython".to_owned() }
    }

    /// A node that has this interpreter, and has started nothing.
    fn node(version: &str) -> Node {
        let InterpreterId { version, magic, implementation } = python(version);
        let interpreter =
            Interpreter { executable: "/nowhere/bin/python3.13".into(), version, magic, implementation, stdlib: "/nowhere/lib".into() };
        let options = NodeOptions { workers: 1, memory_budget_bytes: 1 << 20, worker: WorkerSettings::default() };
        Node::new(options, interpreter, Arc::new(Stores::default()), None, Arc::new(Progress::default()))
    }

    fn job(interpreter: Option<InterpreterId>) -> Job {
        Job {
            corpus: "file:///nowhere".to_owned(),
            repo: None,
            facts: "memory:///facts".to_owned(),
            run: "r1".to_owned(),
            options: ExtractOptions::default(),
            bins: BinOptions { target: Target::Bins(1) },
            interpreter,
            use_cache: true,
        }
    }

    #[test]
    fn one_interpreter_makes_a_run() {
        let run = RunId::new("r1").unwrap();
        agree(&python("3.13.0"), &python("3.13.0"), &run).unwrap();
        let error = agree(&python("3.13.5"), &python("3.13.0"), &run).unwrap_err();
        assert!(error.contains("3.13.5") && error.contains("3.13.0") && error.contains("r1"), "{error}");
    }

    /// Executors need not be of one image, and a job that goes to a cluster names no interpreter: what the first has written down binds the others,
    /// even one whose interpreter is the very one that the job names.
    #[tokio::test]
    async fn an_executor_with_another_interpreter_than_the_first_has_no_part_in_a_run() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let run = RunId::new("r1").unwrap();
        let (first, other) = (node("3.13.0"), node("3.13.5"));
        assert_eq!(first.interpreter_of(&job(None), &facts, &run).await.unwrap(), python("3.13.0"));
        for job in [job(None), job(Some(python("3.13.5")))] {
            let error = other.interpreter_of(&job, &facts, &run).await.unwrap_err();
            assert!(matches!(error, DataFusionError::External(_)), "no retry heals it: {error:?}");
            let error = error.to_string();
            assert!(error.contains("3.13.5") && error.contains("3.13.0") && error.contains("r1"), "{error}");
        }
        // Nobody has changed what is written down, and the first goes on.
        assert_eq!(facts.interpreter(&run).await.unwrap().unwrap(), serde_json::to_vec(&python("3.13.0")).unwrap());
        assert_eq!(first.interpreter_of(&job(None), &facts, &run).await.unwrap(), python("3.13.0"));
        // Another run is nobody's yet.
        let run = RunId::new("r2").unwrap();
        assert_eq!(other.interpreter_of(&job(None), &facts, &run).await.unwrap(), python("3.13.5"));
        first.interpreter_of(&job(None), &facts, &run).await.unwrap_err();
    }

    #[tokio::test]
    async fn an_executor_without_the_interpreter_of_the_job_does_not_begin_its_run() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let run = RunId::new("r1").unwrap();
        let asked = job(Some(python("3.13.0")));
        let error = node("3.13.5").interpreter_of(&asked, &facts, &run).await.unwrap_err().to_string();
        assert!(error.contains("3.13.5") && error.contains("3.13.0"), "{error}");
        assert_eq!(facts.interpreter(&run).await.unwrap(), None, "whoever has the right one can still begin it");
        assert_eq!(node("3.13.0").interpreter_of(&asked, &facts, &run).await.unwrap(), python("3.13.0"));
    }
}
