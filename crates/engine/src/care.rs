//! Care: how an attempt at a bin goes about it, by what the bin's journal says of attempts before it.
//!
//! An attempt that finds others unfinished is careful, and no more: a note says that somebody began and not why there is no end. Whether a
//! file is a killer is found out by trials (`trial.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytefacts_corpus::Entry;
use bytefacts_landing::{AttemptId, FactsStore, RunId};
use bytes::Bytes;
use datafusion::common::Result;
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::error::{external, landing_error};
use crate::job::Job;
use crate::node::Node;
use crate::progress::NOTE_EVERY;
use crate::trial::{Killer, Trials};

/// One attempt at one bin, as its journal knows it.
#[derive(Debug)]
pub(crate) struct Care {
    node: Arc<Node>,
    notes: Notes,
    /// Whether attempts before this one have not ended.
    careful: bool,
    /// Used by one file at a time; none where this process cannot start a trial.
    trials: Option<Arc<AsyncMutex<Trials>>>,
    files_done: AtomicU32,
    noted_at: Mutex<Instant>,
}

/// The notes of one attempt.
#[derive(Clone, Debug)]
struct Notes {
    facts: FactsStore,
    run: RunId,
    bin: u32,
    attempt: AttemptId,
}

impl Care {
    /// Reads the journal and notes that this attempt begins. `own` takes the note back if the attempt ends before its bin is landed.
    pub(crate) async fn begin(job: &Job, facts: &FactsStore, run: &RunId, bin: u32, node: &Arc<Node>, own: &OwnAttempts) -> Result<Self> {
        let attempt = AttemptId::new(node.next_attempt()).map_err(external)?;
        let unfinished = facts.unfinished_attempts(run, bin).await.map_err(landing_error)?;
        let notes = Notes { facts: facts.clone(), run: run.clone(), bin, attempt };
        own.add(&notes);
        facts.note_attempt(run, bin, &notes.attempt).await.map_err(landing_error)?;
        let careful = unfinished > 0;
        let mut care = Self {
            node: Arc::clone(node),
            notes,
            careful,
            trials: None,
            files_done: AtomicU32::new(0),
            noted_at: Mutex::new(Instant::now()),
        };
        if careful {
            care.trials = node.trials(job)?.map(|trials| Arc::new(AsyncMutex::new(trials)));
            let tried = care.trials.is_some();
            tracing::warn!(%run, bin, unfinished, tried, "attempts at this bin did not end, or are still at work: its files are taken one by one");
        }
        Ok(care)
    }

    /// Whether files are to be tried before they are taken on.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful
    }

    /// Files that may be under way at a time.
    pub(crate) fn files_in_flight(&self) -> usize {
        if self.careful { 1 } else { self.node.files_in_flight() }
    }

    /// Memory for a file: for a careful one all that the node has, so that nothing else runs out of it meanwhile.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        self.node.reserve(if self.careful { u64::MAX } else { bytes }).await
    }

    /// Tries a file in a process of its own; says so if it kills.
    pub(crate) async fn try_alone(&self, entry: &Entry, source: &Bytes) -> Result<Option<Killer>> {
        let Some(trials) = &self.trials else { return Ok(None) };
        let (entry, source) = (entry.clone(), source.clone());
        let mut trials = Arc::clone(trials).lock_owned().await;
        // A task's own runtime need not know of processes. What is no longer waited for is aborted, and the process killed.
        let mut tried = JoinSet::new();
        tried.spawn_on(
            async move {
                let killer = trials.of(&entry, &source).await?;
                if let Some(Killer { deaths, how }) = &killer {
                    tracing::error!(
                        repo = entry.repo,
                        path = entry.path,
                        deaths,
                        how,
                        "this file kills whoever works on it: it becomes an error row"
                    );
                }
                Ok(killer)
            },
            self.node.runtime(),
        );
        match tried.join_next().await {
            Some(tried) => tried.map_err(external)?,
            None => Ok(None),
        }
    }

    /// Counts a file as done, and notes it if it is time. A note that fails is not missed: the next one comes.
    pub(crate) async fn file_done(&self) {
        let files = self.files_done.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut noted_at = lock(&self.noted_at);
            if noted_at.elapsed() < NOTE_EVERY {
                return;
            }
            *noted_at = Instant::now();
        }
        let Notes { facts, run, bin, attempt } = &self.notes;
        if let Err(error) = facts.note_progress(run, *bin, attempt, files).await {
            tracing::debug!(%error, %run, bin, files, "cannot note how far this attempt is");
        }
    }

    /// Takes the notes back: this attempt failed, but alive.
    pub(crate) async fn forget(&self) {
        self.node.open_attempts().take_back(&self.notes).await;
    }
}

/// The attempts that a process has noted and not taken back.
#[derive(Debug, Default)]
pub(crate) struct OpenAttempts(Mutex<BTreeMap<AttemptId, Notes>>);

/// How long an orderly end waits for the notes to be gone. What stays makes later attempts careful.
const FAREWELL: Duration = Duration::from_secs(5);

impl OpenAttempts {
    /// Clears the journal of a bin that has a record now.
    pub(crate) async fn landed(&self, facts: &FactsStore, run: &RunId, bin: u32) {
        lock(&self.0).retain(|_, notes| (&notes.run, notes.bin) != (run, bin));
        clear(facts, run, bin, "").await;
    }

    /// Takes back what this process has noted of a bin: it failed to land it, but alive.
    pub(crate) async fn failed(&self, run: &RunId, bin: u32) {
        let of_bin: Vec<_> = lock(&self.0).values().filter(|notes| (&notes.run, notes.bin) == (run, bin)).cloned().collect();
        for notes in of_bin {
            self.take_back(&notes).await;
        }
    }

    /// Takes everything back: this process ends, but in an orderly way.
    pub(crate) async fn leave(&self) {
        let all: Vec<_> = lock(&self.0).values().cloned().collect();
        let taken_back = futures::future::join_all(all.iter().map(|notes| self.take_back(notes)));
        if timeout(FAREWELL, taken_back).await.is_err() {
            tracing::debug!("not all notes of attempts could be taken back in time");
        }
    }

    async fn take_back(&self, notes: &Notes) {
        clear(&notes.facts, &notes.run, notes.bin, notes.attempt.as_str()).await;
        lock(&self.0).remove(&notes.attempt);
    }

    fn holds(&self, attempt: &AttemptId) -> bool {
        lock(&self.0).contains_key(attempt)
    }
}

/// The attempts of one stream of rows. When the stream is dropped, as by whoever cancels it, what is not landed is taken back.
#[derive(Clone, Debug)]
pub(crate) struct OwnAttempts(Arc<Own>);

#[derive(Debug)]
struct Own {
    open: Arc<OpenAttempts>,
    runtime: Handle,
    begun: Mutex<Vec<Notes>>,
}

impl OwnAttempts {
    pub(crate) fn new(node: &Node) -> Self {
        Self(Arc::new(Own { open: Arc::clone(node.open_attempts()), runtime: node.runtime().clone(), begun: Mutex::default() }))
    }

    fn add(&self, notes: &Notes) {
        lock(&self.0.open.0).insert(notes.attempt.clone(), notes.clone());
        lock(&self.0.begun).push(notes.clone());
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let begun = std::mem::take(&mut *lock(&self.begun));
        for notes in begun.into_iter().filter(|notes| self.open.holds(&notes.attempt)) {
            let open = Arc::clone(&self.open);
            self.runtime.spawn(async move { open.take_back(&notes).await });
        }
    }
}

/// Clears the journal of a bin, of the attempts whose names begin with `of`.
async fn clear(facts: &FactsStore, run: &RunId, bin: u32, of: &str) {
    if let Err(error) = facts.clear_journal(run, bin, of).await {
        tracing::debug!(%error, %run, bin, "the journal of a bin could not be cleared");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
