//! A run under way, as its records show it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytefacts_landing::{BinIndex, FactsStore, LandingError, RunId};
use futures::{StreamExt as _, TryStreamExt as _};

use super::error::JobError;
use super::watch::Watched;
use crate::progress::Progress;

/// A run under way, as its records show it.
pub(super) struct OpenRun<'a> {
    facts: &'a FactsStore,
    run: &'a RunId,
    progress: Option<&'a Progress>,
    /// Known once the scheduler has recorded them.
    bins: Option<BinIndex>,
    done: BTreeSet<u32>,
}

impl<'a> OpenRun<'a> {
    /// A run of which nothing has been seen yet.
    pub(super) fn new(facts: &'a FactsStore, run: &'a RunId, progress: Option<&'a Progress>) -> Self {
        Self { facts, run, progress, bins: None, done: BTreeSet::new() }
    }

    /// The bins of the run, once they are known.
    pub(super) async fn index(&mut self) -> Result<Option<BinIndex>, JobError> {
        match self.bins.take() {
            Some(index) => Ok(Some(index)),
            None => Ok(self.facts.bins(self.run).await?),
        }
    }
}

#[async_trait]
impl Watched for OpenRun<'_> {
    fn name(&self) -> &str {
        self.run.as_str()
    }

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
        let read = |bin| async move { Ok((bin, facts.bin_record(run, bin).await?)) };
        let mut records = futures::stream::iter(new).map(read).buffer_unordered(RECORDS);
        while let Some((bin, record)) = records.try_next().await.map_err(|error: LandingError| JobError::from(error))? {
            if let Some(record) = record {
                progress.add_record(&record.stats);
            }
            self.done.insert(bin);
        }
        Ok(())
    }

    fn done(&self) -> usize {
        self.done.len()
    }

    fn is_whole(&self) -> bool {
        self.bins.as_ref().is_some_and(|index| index.numbered().all(|(bin, _)| self.done.contains(&bin)))
    }

    async fn notes(&self) -> Result<BTreeSet<String>, LandingError> {
        self.facts.notes_of_run(self.run).await
    }
}

/// Records read at the same time.
const RECORDS: usize = 16;
