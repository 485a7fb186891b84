//! How far a run has come, and what was asked of it.

use std::time::SystemTime;

use bytes::Bytes;

use crate::documents::{Created, FactsStore};
use crate::model::{Decision, RunDocument};
use crate::names::{RunId, keys};
use crate::{LandingError, Result};

/// How far a run has come.
#[derive(Clone, Debug, PartialEq)]
pub enum RunState {
    /// Nothing is known of it.
    New,
    /// Its bins are written; it can be worked on or resumed.
    Open,
    /// It is committed.
    Committed(Box<RunDocument>),
    /// It was given up and swept, or let go after its commit.
    Abandoned,
}

impl FactsStore {
    /// How far a run has come.
    ///
    /// # Errors
    /// If the store fails or holds something else than a decision.
    pub async fn run_state(&self, run: &RunId) -> Result<RunState> {
        Ok(match self.decision(run).await? {
            Some(Decision::Abandoned { .. }) => RunState::Abandoned,
            _ if self.let_go(run).await?.is_some() => RunState::Abandoned,
            Some(Decision::Committed(document)) => RunState::Committed(document),
            None if self.meta(&keys::bins(run)).await?.is_some() => RunState::Open,
            None => RunState::New,
        })
    }

    /// Runs that were begun and are neither committed nor given up, in order of their names, with the time of what was last written below
    /// their folders, in milliseconds since 1970, UTC, by the store's clock.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn unfinished(&self) -> Result<Vec<(RunId, u64)>> {
        let mut unfinished = Vec::new();
        for run in self.run_ids().await? {
            if self.meta(&keys::header(&run)).await?.is_some() || self.is_older(&run).await? || self.let_go(&run).await?.is_some() {
                continue;
            }
            let written = self.list(&keys::run_folder(&run)).await?;
            let written = written.iter().filter_map(|meta| u64::try_from(meta.last_modified.timestamp_millis()).ok()).max();
            unfinished.push((run, written.unwrap_or(0)));
        }
        Ok(unfinished)
    }

    /// When the store received the header of a committed run, by the clock that dates all its objects. This machine's may show another time.
    ///
    /// # Errors
    /// If the store fails or the run is not committed.
    pub async fn committed_at(&self, run: &RunId) -> Result<SystemTime> {
        let key = keys::header(run);
        match self.meta(&key).await? {
            Some(meta) => Ok(meta.last_modified.into()),
            None => Err(LandingError::Damaged { key, reason: "it is gone".to_owned() }),
        }
    }

    /// Writes down what a run was asked to do unless it is known: whoever resumes the run must ask for the same.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_job(&self, run: &RunId, job: Bytes) -> Result<Created> {
        self.create(&keys::job(run), job).await
    }

    /// What a run was asked to do.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn job(&self, run: &RunId) -> Result<Option<Bytes>> {
        self.bytes(&keys::job(run)).await
    }

    /// Writes down the interpreter of a run unless it is known: the first executor decides, and the others must have the same.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn create_interpreter(&self, run: &RunId, interpreter: Bytes) -> Result<Created> {
        self.create(&keys::interpreter(run), interpreter).await
    }

    /// The interpreter of a run, once an executor has begun to work on it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn interpreter(&self, run: &RunId) -> Result<Option<Bytes>> {
        self.bytes(&keys::interpreter(run)).await
    }
}
