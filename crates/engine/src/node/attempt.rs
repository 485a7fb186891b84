//! One attempt at a bin: how it goes about it, by what the bin's journal says of attempts before it.
//!
//! An attempt that finds others unfinished is careful, and no more: a note says that somebody began and not why there is no end. Whether a
//! file is a killer is found out by trials (`trial/`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytefacts_corpus::Entry;
use bytefacts_landing::{FactsStore, RunId};
use bytes::Bytes;
use datafusion::common::Result;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Node;
use super::open_attempts::{Notes, OwnAttempts};
use super::trial::{Killer, Trials};
use crate::error::landing_error;
use crate::job::Job;
use crate::signs::NOTE_EVERY;

/// One attempt at one bin, as its journal knows it.
#[derive(Debug)]
pub(crate) struct Attempt {
    node: Arc<Node>,
    notes: Notes,
    /// Whether attempts before this one have not ended.
    careful: bool,
    /// None where this process cannot start a trial.
    trials: Option<Trials>,
    files_done: AtomicU32,
    noted_at: Mutex<Instant>,
}

impl Attempt {
    /// Reads the journal and notes that this attempt begins. `own` takes the note back if the attempt ends before its bin is landed.
    pub(crate) async fn begin(job: &Job, facts: &FactsStore, run: &RunId, bin: u32, node: &Arc<Node>, own: &OwnAttempts) -> Result<Self> {
        let unfinished = facts.unfinished_attempts(run, bin).await.map_err(landing_error)?;
        let notes = Notes { facts: facts.clone(), run: run.clone(), bin, attempt: node.next_attempt(), begun: std::time::Instant::now() };
        own.add(&notes);
        facts.note_attempt(run, bin, &notes.attempt).await.map_err(landing_error)?;
        let careful = unfinished > 0;
        let mut this = Self {
            node: Arc::clone(node),
            notes,
            careful,
            trials: None,
            files_done: AtomicU32::new(0),
            noted_at: Mutex::new(Instant::now()),
        };
        if careful {
            this.trials = node.trials(job)?;
            let tried = this.trials.is_some();
            tracing::warn!(%run, bin, unfinished, tried, "attempts at this bin did not end, or are still at work: its files are taken one by one");
        }
        Ok(this)
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
        match &self.trials {
            Some(trials) => trials.of(entry.clone(), source.clone()).await,
            None => Ok(None),
        }
    }

    /// Counts a file as done, and notes it if it is time. A note that fails is not missed: the next one comes.
    pub(crate) async fn file_done(&self) {
        let files = self.files_done.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut noted_at = self.noted_at.lock().unwrap_or_else(PoisonError::into_inner);
            if noted_at.elapsed() < NOTE_EVERY {
                return;
            }
            *noted_at = Instant::now();
        }
        let Notes { facts, run, bin, attempt, .. } = &self.notes;
        if let Err(error) = facts.note_progress(run, *bin, attempt, files).await {
            tracing::debug!(%error, %run, bin, files, "cannot note how far this attempt is");
        }
    }

    /// Takes the notes back: this attempt failed, but alive.
    pub(crate) async fn forget(&self) {
        self.node.open_attempts().take_back(&self.notes).await;
    }
}
