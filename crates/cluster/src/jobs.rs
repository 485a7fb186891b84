//! What a scheduler counts of its jobs.

use std::sync::atomic::{AtomicU64, Ordering};

use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_scheduler::metrics::SchedulerMetricsCollector;

/// Jobs since the scheduler started.
#[derive(Debug, Default)]
pub struct JobCounters {
    submitted: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
}

impl JobCounters {
    /// Jobs by what became of them: `submitted`, `completed`, `failed`, `cancelled`.
    #[must_use]
    pub fn read(&self) -> [(&'static str, u64); 4] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("submitted", read(&self.submitted)),
            ("completed", read(&self.completed)),
            ("failed", read(&self.failed)),
            ("cancelled", read(&self.cancelled)),
        ]
    }
}

impl SchedulerMetricsCollector for JobCounters {
    fn record_submitted(&self, _: &JobId, _: u64, _: u64) {
        self.submitted.fetch_add(1, Ordering::Relaxed);
    }
    fn record_completed(&self, _: &JobId, _: u64, _: u64) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }
    fn record_failed(&self, _: &JobId, _: u64, _: u64) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
    fn record_cancelled(&self, _: &JobId) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }
    // Ballista 55 never calls this with anything but 0.
    fn set_pending_tasks_queue_size(&self, _: u64) {}
    // Metrics are served from a port of our own, for scheduler and executor alike.
    fn gather_metrics(&self) -> Result<Option<(Vec<u8>, String)>> {
        Ok(None)
    }
}
