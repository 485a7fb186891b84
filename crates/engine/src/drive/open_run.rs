//! A run under way, as its records show it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytefacts_landing::{BinIndex, FactsStore, LandingError, RunId};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;

use super::error::JobError;
use super::patience::{Ended, Patience};
use crate::progress::Progress;
use crate::signs::Signs;

/// A run under way, as its records show it.
pub(super) struct OpenRun<'a> {
    facts: &'a FactsStore,
    pub(super) run: &'a RunId,
    progress: Option<&'a Progress>,
    /// Known once the scheduler has recorded them.
    bins: Option<BinIndex>,
    pub(super) done: BTreeSet<u32>,
    /// Whether anybody has worked on what was submitted last.
    pub(super) has_begun: bool,
}

impl<'a> OpenRun<'a> {
    /// A run of which nothing has been seen yet.
    pub(super) fn new(facts: &'a FactsStore, run: &'a RunId, progress: Option<&'a Progress>) -> Self {
        Self { facts, run, progress, bins: None, done: BTreeSet::new(), has_begun: false }
    }

    /// Watches the records until the job stalls, or is whole and its answer does not come.
    pub(super) async fn watch(&mut self, patience: Patience) -> Result<Ended, JobError> {
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
    pub(super) async fn look(&mut self) -> Result<(), JobError> {
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

    pub(super) fn is_whole(&self) -> bool {
        self.bins.as_ref().is_some_and(|index| index.numbered().all(|(bin, _)| self.done.contains(&bin)))
    }

    /// The bins of the run, once they are known.
    pub(super) async fn index(&mut self) -> Result<Option<BinIndex>, JobError> {
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
