//! How far a process has come, as counters that its executors add to, and that progress bars and metrics read; and whether a run that others
//! work on gets on, as its notes show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytefacts_landing::{BinStats, FactsStore, RunId};
use tokio::time::{Instant, interval_at};

use crate::work::Work;

/// Errors by the stage that they arose in.
pub type StageCounts = BTreeMap<String, u64>;

/// Counters since the start of this process. Attempts count, so after a retry they may run ahead of the landed rows; the run's manifest, not
/// this, is the record.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Reading>);

/// A reading of [`Progress`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Files whose row has been built, or found landed.
    pub files: u64,
    /// Bytes of source in them.
    pub source_bytes: u64,
    /// Errors (not warnings) in them.
    pub errors: StageCounts,
    /// Units in the files that were analysed here.
    pub units: u64,
    /// Instructions in the files that were analysed here.
    pub instructions: u64,
    /// CPU microseconds that compile workers spent on them.
    pub compile_cpu_us: u64,
    /// Microseconds spent on decoding, analysis and rows.
    pub analyse_us: u64,
    /// Files whose compiled unit came from the cache.
    pub cache_hits: u64,
    /// Files that were compiled.
    pub cache_misses: u64,
    /// Bins landed here.
    pub bins: u64,
    /// Bytes of Parquet landed here.
    pub landed_bytes: u64,
}

impl Progress {
    /// Counts one file's row.
    pub(crate) fn add_file(&self, work: &Work, errors: &StageCounts) {
        self.change(|now| {
            now.files += 1;
            now.source_bytes += work.source_bytes;
            now.units += work.units;
            now.instructions += work.instructions;
            now.compile_cpu_us += work.compile_cpu_us;
            now.analyse_us += work.analyse_us;
            *(if work.cache_hit { &mut now.cache_hits } else { &mut now.cache_misses }) += 1;
            for (stage, count) in errors {
                *now.errors.entry(stage.clone()).or_default() += count;
            }
        });
    }

    /// Counts the files of a bin that somebody else has landed.
    pub fn add_landed(&self, files: u64, source_bytes: u64) {
        self.change(|now| {
            now.files += files;
            now.source_bytes += source_bytes;
        });
    }

    /// Counts a bin that an executor elsewhere has landed.
    pub fn add_record(&self, stats: &BinStats) {
        self.change(|now| {
            now.files += stats.files;
            now.source_bytes += stats.source_bytes;
            for error in stats.errors.iter().filter(|error| error.severity == "error") {
                *now.errors.entry(error.stage.clone()).or_default() += error.count;
            }
        });
    }

    /// Counts a bin landed here, with its bytes of Parquet.
    pub(crate) fn add_bin(&self, bytes: u64) {
        self.change(|now| {
            now.bins += 1;
            now.landed_bytes += bytes;
        });
    }

    /// The counters now.
    #[must_use]
    pub fn read(&self) -> Reading {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Reading {
    /// Errors of all stages.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// How often somebody at work on a run notes that it gets on: one small put, well within anybody's patience.
pub(crate) const NOTE_EVERY: Duration = Duration::from_secs(30);

/// Waits for the plan of a run, and notes now and then that it is being made: a large corpus takes long to list.
pub(crate) async fn note_planning<T>(facts: &FactsStore, run: &RunId, plan: impl Future<Output = T>) -> T {
    let mut ticks = interval_at(Instant::now() + NOTE_EVERY, NOTE_EVERY);
    tokio::pin!(plan);
    for tick in 1.. {
        tokio::select! {
            biased;
            plan = &mut plan => return plan,
            _ = ticks.tick() => {
                if let Err(error) = facts.note_planning(run, tick).await {
                    tracing::debug!(%error, %run, "cannot note that the run is being planned");
                }
            }
        }
    }
    plan.await
}

/// What a run's notes show to somebody who waits for it: that a bin was begun, that one gets on, that the run is being planned.
pub(crate) struct Signs<'a> {
    facts: &'a FactsStore,
    run: &'a RunId,
    seen: BTreeSet<String>,
    /// Whether there has been any since this began.
    pub(crate) any: bool,
}

impl<'a> Signs<'a> {
    /// Begins to look for signs. What is there already is none.
    pub(crate) async fn begin(facts: &'a FactsStore, run: &'a RunId) -> Self {
        let seen = facts.notes_of_run(run).await.unwrap_or_default();
        Self { facts, run, seen, any: false }
    }

    /// Whether there are new ones since the last look. A store that does not answer shows none.
    pub(crate) async fn are_new(&mut self) -> bool {
        let now = self.facts.notes_of_run(self.run).await.unwrap_or_else(|error| {
            tracing::debug!(%error, run = %self.run, "cannot see whether the run gets on");
            BTreeSet::new()
        });
        let new = !now.is_subset(&self.seen);
        self.any |= new;
        self.seen.extend(now);
        new
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytefacts_landing::AttemptId;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::*;

    #[tokio::test]
    async fn new_notes_are_signs_and_old_ones_are_not() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let (run, attempt) = (RunId::new("r").unwrap(), AttemptId::new("a").unwrap());
        facts.note_attempt(&run, 0, &attempt).await.unwrap();
        let mut signs = Signs::begin(&facts, &run).await;
        assert!(!signs.are_new().await && !signs.any, "it was there before");
        facts.note_progress(&run, 0, &attempt, 7).await.unwrap();
        assert!(signs.are_new().await);
        assert!(!signs.are_new().await);
        facts.clear_journal(&run, 0, "").await.unwrap();
        assert!(!signs.are_new().await, "what was taken back is no sign");
        facts.note_planning(&run, 1).await.unwrap();
        assert!(signs.are_new().await && signs.any);
    }
}
