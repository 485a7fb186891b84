//! Whether a run that others work on gets on: what they note, and what somebody who waits makes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytefacts_landing::{FactsStore, LandingError, RunId};
use tokio::time::{Instant, interval_at};

use crate::attempt_id::fresh_attempt;

/// How often somebody at work on a run notes that it gets on: one small put, well within anybody's patience.
pub const NOTE_EVERY: Duration = Duration::from_secs(30);

/// Waits for the plan of a run, and notes `every` now and then that it is being made: a large corpus takes long to list.
pub(crate) async fn note_planning<T>(facts: &FactsStore, run: &RunId, every: Duration, plan: impl Future<Output = T>) -> T {
    let (attempt, mut ticks) = (fresh_attempt(), interval_at(Instant::now() + every, every));
    tokio::pin!(plan);
    for tick in 1.. {
        tokio::select! {
            biased;
            plan = &mut plan => return plan,
            _ = ticks.tick() => {
                if let Err(error) = facts.note_planning(run, &attempt, tick).await {
                    tracing::debug!(%error, %run, "cannot note that the run is being planned");
                }
            }
        }
    }
    plan.await
}

/// What the notes of a run, or of an audit, show to somebody who waits for it: that a bin was begun, that one gets on, that it is being planned.
pub(crate) struct Signs {
    seen: BTreeSet<String>,
    /// Whether there has been any since this began.
    pub(crate) any: bool,
}

impl Signs {
    /// Begins to look for signs. What is there already is none.
    pub(crate) fn begin(notes: Result<BTreeSet<String>, LandingError>) -> Self {
        Self { seen: notes.unwrap_or_default(), any: false }
    }

    /// Whether there are new ones since the last look. A store that does not answer shows none.
    pub(crate) fn are_new(&mut self, notes: Result<BTreeSet<String>, LandingError>) -> bool {
        let now = notes.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot see whether the work gets on");
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
        let notes = async || facts.notes_of_run(&run).await;
        let mut signs = Signs::begin(notes().await);
        assert!(!signs.are_new(notes().await) && !signs.any, "it was there before");
        facts.note_progress(&run, 0, &attempt, 7).await.unwrap();
        assert!(signs.are_new(notes().await));
        assert!(!signs.are_new(notes().await));
        facts.clear_journal(&run, 0, "").await.unwrap();
        assert!(!signs.are_new(notes().await), "what was taken back is no sign");
        facts.note_planning(&run, &attempt, 1).await.unwrap();
        assert!(signs.are_new(notes().await) && signs.any);
    }

    /// A scheduler that is lost while it plans has left notes. Those of the next one are signs from the first on.
    #[tokio::test]
    async fn every_plan_of_a_run_shows_that_it_is_being_made() {
        let facts = FactsStore::new(Arc::new(InMemory::new()), Path::from("facts"));
        let run = RunId::new("r").unwrap();
        for plan in 0..3 {
            let notes = async || facts.notes_of_run(&run).await;
            let mut signs = Signs::begin(notes().await);
            let planned = async {
                for _ in 0..3 {
                    while !signs.are_new(notes().await) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            };
            let noted = note_planning(&facts, &run, Duration::from_millis(1), planned);
            assert!(tokio::time::timeout(Duration::from_mins(1), noted).await.is_ok(), "plan {plan} shows no sign");
        }
    }
}
