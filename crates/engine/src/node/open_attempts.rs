//! The attempts that a process has noted in journals of bins, until their bins are landed or the notes are taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytefacts_landing::{AttemptId, FactsStore, RunId};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The notes of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    pub(super) facts: FactsStore,
    pub(super) run: RunId,
    pub(super) bin: u32,
    pub(super) attempt: AttemptId,
    pub(super) begun: Instant,
}

/// The attempts that a process has noted and not taken back.
#[derive(Debug, Default)]
pub(crate) struct OpenAttempts(Mutex<BTreeMap<AttemptId, Notes>>);

/// How long an orderly end waits for the notes to be gone. What stays makes later attempts careful.
const FAREWELL: Duration = Duration::from_secs(5);

impl OpenAttempts {
    /// Clears the journal of a bin that has a record now; how long ago the attempt at it began.
    pub(crate) async fn landed(&self, facts: &FactsStore, run: &RunId, bin: u32) -> Option<Duration> {
        let mut took = None;
        lock(&self.0).retain(|_, notes| {
            let other = (&notes.run, notes.bin) != (run, bin);
            if !other {
                took = Some(notes.begun.elapsed());
            }
            other
        });
        clear(facts, run, bin, "").await;
        took
    }

    /// Bins that this process is at work on.
    pub(crate) fn bins(&self) -> u64 {
        let open = lock(&self.0);
        open.values().map(|notes| (&notes.run, notes.bin)).collect::<BTreeSet<_>>().len() as u64
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

    /// Takes the notes of an attempt back.
    pub(super) async fn take_back(&self, notes: &Notes) {
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
    /// None yet. `runtime` is the process's: a task's own may end before the notes are gone.
    pub(crate) fn new(open: &Arc<OpenAttempts>, runtime: &Handle) -> Self {
        Self(Arc::new(Own { open: Arc::clone(open), runtime: runtime.clone(), begun: Mutex::default() }))
    }

    pub(super) fn add(&self, notes: &Notes) {
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
