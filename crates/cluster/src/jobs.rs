//! The jobs of a scheduler: each is counted once, from its submission to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_scheduler::metrics::SchedulerMetricsCollector;
use ballista_scheduler::scheduler_server::JobIdGenerator;
use serde::{Deserialize, Serialize};

use crate::events::{Event, Events};

/// Jobs that ended and are still told of.
const REMEMBERED: usize = 200;

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits to be planned, or is being planned: the corpus is listed.
    Queued,
    /// Its bins are done.
    Running,
    /// All of its bins are done.
    Completed,
    /// It came to nothing.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl JobState {
    /// Whether nothing more will come of the job.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A job as the scheduler itself keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    pub state: JobState,
    /// When it ended.
    pub ended_ms: Option<u64>,
}

/// The jobs since the scheduler started.
///
/// Ballista asks it for the id of each job that comes, and tells it what becomes of them. It may tell that more than once, and of jobs that it never
/// had: what counts is the first end of a job that came.
pub struct Jobs {
    events: Arc<Events>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    submitted: u64,
    ended: BTreeMap<JobState, u64>,
    jobs: BTreeMap<String, Submitted>,
    /// Those that are over, the oldest first.
    over: std::collections::VecDeque<String>,
}

impl Jobs {
    pub(crate) fn new(events: Arc<Events>) -> Self {
        Self { events, inner: Mutex::default() }
    }

    /// Jobs by what became of them: `submitted`, and of these `completed`, `failed` and `cancelled`. The others are queued or running.
    #[must_use]
    pub fn read(&self) -> [(&'static str, u64); 4] {
        let inner = self.lock();
        let ended = |state| inner.ended.get(&state).copied().unwrap_or_default();
        [
            ("submitted", inner.submitted),
            ("completed", ended(JobState::Completed)),
            ("failed", ended(JobState::Failed)),
            ("cancelled", ended(JobState::Cancelled)),
        ]
    }

    /// The jobs that are under way and the last that ended, by id, the oldest first.
    pub(crate) fn list(&self) -> Vec<(String, Submitted)> {
        let mut jobs: Vec<_> = self.lock().jobs.iter().map(|(id, job)| (id.clone(), *job)).collect();
        jobs.sort_by_key(|(_, job)| job.at_ms);
        jobs
    }

    /// The ids of those that are under way.
    pub(crate) fn under_way(&self) -> BTreeSet<String> {
        self.lock().jobs.iter().filter(|(_, job)| !job.state.is_over()).map(|(id, _)| id.clone()).collect()
    }

    fn begin(&self) -> String {
        let mut inner = self.lock();
        let at_ms = now_ms();
        inner.submitted += 1;
        // The number tells apart what comes at the same time, the time what comes to another scheduler.
        let id = format!("j{at_ms}-{}", inner.submitted);
        inner.jobs.insert(id.clone(), Submitted { at_ms, state: JobState::Queued, ended_ms: None });
        id
    }

    fn run(&self, id: &str) {
        if let Some(job) = self.lock().jobs.get_mut(id)
            && job.state == JobState::Queued
        {
            job.state = JobState::Running;
        }
    }

    fn end(&self, id: &str, state: JobState) {
        let mut inner = self.lock();
        let Some(job) = inner.jobs.get_mut(id).filter(|job| !job.state.is_over()) else { return };
        (job.state, job.ended_ms) = (state, Some(now_ms()));
        *inner.ended.entry(state).or_default() += 1;
        inner.over.push_back(id.to_owned());
        if inner.over.len() > REMEMBERED
            && let Some(oldest) = inner.over.pop_front()
        {
            inner.jobs.remove(&oldest);
        }
        drop(inner);
        // Of one that failed, what is under way may still be landed: whoever submits it again finds it done.
        if state == JobState::Cancelled {
            self.events.send(Event::Cancelled { job: id.to_owned() });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl JobIdGenerator for Jobs {
    async fn next_id(&self) -> String {
        self.begin()
    }
}

impl SchedulerMetricsCollector for Jobs {
    fn record_submitted(&self, job: &JobId, _: u64, _: u64) {
        self.run(job.as_str());
    }
    fn record_completed(&self, job: &JobId, _: u64, _: u64) {
        self.end(job.as_str(), JobState::Completed);
    }
    fn record_failed(&self, job: &JobId, _: u64, _: u64) {
        self.end(job.as_str(), JobState::Failed);
    }
    fn record_cancelled(&self, job: &JobId) {
        self.end(job.as_str(), JobState::Cancelled);
    }
    // Ballista 55 never calls this with anything but 0.
    fn set_pending_tasks_queue_size(&self, _: u64) {}
    // Metrics are served from a port of our own, for scheduler and executor alike.
    fn gather_metrics(&self) -> Result<Option<(Vec<u8>, String)>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs() -> Jobs {
        Jobs::new(Arc::new(Events::default()))
    }

    #[test]
    fn every_job_that_came_is_under_way_or_ended_once() {
        let jobs = jobs();
        let ids = [(); 5].map(|()| jobs.begin());
        // The first never gets so far as to run: planning failed.
        jobs.record_failed(&ids[0].as_str().into(), 0, 0);
        for id in &ids[1..] {
            jobs.record_submitted(&id.as_str().into(), 0, 0);
        }
        jobs.record_completed(&ids[1].as_str().into(), 0, 0);
        // A job that is cancelled fails too, one that failed may be cancelled, and anybody may cancel what never was.
        jobs.record_cancelled(&ids[2].as_str().into());
        jobs.record_failed(&ids[2].as_str().into(), 0, 0);
        jobs.record_failed(&ids[3].as_str().into(), 0, 0);
        jobs.record_cancelled(&ids[3].as_str().into());
        jobs.record_cancelled(&"never".into());
        assert_eq!(jobs.read(), [("submitted", 5), ("completed", 1), ("failed", 2), ("cancelled", 1)]);
        assert_eq!(jobs.under_way(), BTreeSet::from([ids[4].clone()]));
    }

    #[test]
    fn what_is_over_is_forgotten_in_time_and_stays_counted() {
        let jobs = jobs();
        let first = jobs.begin();
        for _ in 0..REMEMBERED + 50 {
            let id = jobs.begin();
            jobs.end(&id, JobState::Completed);
        }
        assert_eq!(jobs.list().len(), REMEMBERED + 1);
        assert!(jobs.list().iter().any(|(id, _)| *id == first), "what is under way is never forgotten");
        assert_eq!(jobs.read()[1], ("completed", REMEMBERED as u64 + 50));
    }
}
