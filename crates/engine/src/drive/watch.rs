//! Work that a cluster does for its client, and how it is waited for: by its records, and by notes that it gets on.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytefacts_landing::LandingError;
use tokio::time::Instant;

use super::error::JobError;
use super::patience::{Ended, Patience};
use crate::signs::Signs;

/// Work that a cluster does for its client, as its records show it: a run, or an audit.
#[async_trait]
pub(crate) trait Watched: Send {
    /// Its name.
    fn name(&self) -> &str;

    /// Looks for further records.
    async fn look(&mut self) -> Result<(), JobError>;

    /// Records that were seen.
    fn done(&self) -> usize;

    /// Whether nothing is missing any more.
    fn is_whole(&self) -> bool;

    /// The names of what those who work on it have noted.
    async fn notes(&self) -> Result<BTreeSet<String>, LandingError>;
}

/// Watches the records until the work stalls, or is whole and its answer does not come; notes whether anybody has worked on it meanwhile.
pub(super) async fn watch(work: &mut dyn Watched, patience: Patience, has_begun: &mut bool) -> Result<Ended, JobError> {
    let (mut since, mut looked) = (Instant::now(), Duration::ZERO);
    let mut signs = Signs::begin(work.notes().await);
    let done_before = work.done();
    loop {
        // Looking lists all records: of work in many parts it takes its time, and must not take most of it.
        tokio::time::sleep(patience.poll.max(looked * 10)).await;
        let (before, begun) = (work.done(), Instant::now());
        // A store that does not answer now may do so next time; whether it stalls the job is decided below.
        if let Err(error) = work.look().await {
            tracing::debug!(%error, "cannot see how far the work is");
        }
        looked = begun.elapsed();
        if work.done() > before {
            since = Instant::now();
        }
        let limit = if work.is_whole() { ANSWER_DUE.min(patience.stall) } else { patience.stall };
        if since.elapsed() >= limit {
            // What goes on inside of bins is looked at only now: it costs a request.
            let gets_on = signs.are_new(work.notes().await);
            *has_begun = signs.any || work.done() > done_before;
            if !gets_on || work.is_whole() {
                return Ok(Ended::Stalled(limit));
            }
            since = Instant::now();
        }
    }
}

/// How long an answer may take once everything is on record.
const ANSWER_DUE: Duration = Duration::from_secs(20);
