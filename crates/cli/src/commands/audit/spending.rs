//! What of a night's CPU time is spent, by this process and by those that worked on it before.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::commands::extract::cpu_time;

/// CPU time of a night. All that this process takes is charged to what it has done since the last charge, so that what is on record adds up to what
/// was taken, however much was done at once.
pub(super) struct Spending {
    limit: Duration,
    /// What the records charge that others have made.
    before: Duration,
    /// What this process had taken when it began.
    begun: Duration,
    charged: Mutex<Duration>,
}

impl Spending {
    /// A night of which so much was spent before.
    ///
    /// # Errors
    /// When the CPU time cannot be read.
    pub(super) fn new(limit: Duration, before: Duration) -> anyhow::Result<Self> {
        let begun = cpu_time()?;
        Ok(Self { limit, before, begun, charged: Mutex::new(begun) })
    }

    /// Whether nothing more is to be begun.
    ///
    /// # Errors
    /// When the CPU time cannot be read.
    pub(super) fn is_over(&self) -> anyhow::Result<bool> {
        Ok(self.before + cpu_time()?.saturating_sub(self.begun) >= self.limit)
    }

    /// What has been taken since it was asked last, in microseconds.
    ///
    /// # Errors
    /// When the CPU time cannot be read.
    pub(super) fn charge(&self) -> anyhow::Result<u64> {
        let now = cpu_time()?;
        let mut charged = self.charged.lock().unwrap_or_else(PoisonError::into_inner);
        let charge = now.saturating_sub(*charged);
        *charged = now.max(*charged);
        Ok(u64::try_from(charge.as_micros()).unwrap_or(u64::MAX))
    }
}
