//! Care: how an attempt at a bin goes about it, by what the bin's journal says of attempts before it.

use bytefacts_landing::{AttemptId, FactsStore, Journal, RunId};
use datafusion::common::Result;

use crate::error::{external, landing_error};
use crate::node::Node;

/// One attempt at one bin, as its journal knows it.
#[derive(Debug)]
pub(crate) struct Care {
    facts: FactsStore,
    run: RunId,
    bin: u32,
    attempt: AttemptId,
    before: Journal,
    quarantine_after: u32,
}

impl Care {
    /// Reads the journal and notes that this attempt begins.
    pub(crate) async fn begin(facts: &FactsStore, run: &RunId, bin: u32, node: &Node, quarantine_after: u32) -> Result<Self> {
        let attempt = AttemptId::new(node.next_attempt()).map_err(external)?;
        let before = facts.journal(run, bin).await.map_err(landing_error)?;
        facts.note_attempt(run, bin, &attempt).await.map_err(landing_error)?;
        if before.deaths > 0 {
            tracing::warn!(%run, bin, deaths = before.deaths, "attempts at this bin ended without a word: its files are taken one by one");
        }
        Ok(Self { facts: facts.clone(), run: run.clone(), bin, attempt, before, quarantine_after })
    }

    /// Files that may be under way at a time, `usual` when nobody died.
    pub(crate) fn files_in_flight(&self, usual: usize) -> usize {
        if self.is_careful() { 1 } else { usual }
    }

    fn is_careful(&self) -> bool {
        self.before.deaths > 0
    }

    /// Notes, in a careful attempt, that the file of this index comes next; says whether it is to be left alone.
    pub(crate) async fn next_file(&self, index: u32) -> Result<bool> {
        if !self.is_careful() {
            return Ok(false);
        }
        let deaths = self.before.last_files.get(&index).copied().unwrap_or(0);
        if deaths >= self.quarantine_after {
            tracing::error!(run = %self.run, bin = self.bin, file = index, deaths, "this file killed whoever worked on it: it becomes an error row");
            return Ok(true);
        }
        self.facts.note_file(&self.run, self.bin, &self.attempt, index).await.map_err(landing_error)?;
        Ok(false)
    }

    /// Takes the notes back: this attempt failed, but alive.
    pub(crate) async fn forget(&self) {
        clear(&self.facts, &self.run, self.bin, self.attempt.as_str()).await;
    }
}

/// Clears the journal of a bin, of the attempts whose names begin with `of`. What cannot be cleared makes later attempts careful and no more.
pub(crate) async fn clear(facts: &FactsStore, run: &RunId, bin: u32, of: &str) {
    if let Err(error) = facts.clear_journal(run, bin, of).await {
        tracing::debug!(%error, %run, bin, "the journal of a bin could not be cleared");
    }
}
