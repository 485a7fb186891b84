//! Bytes that may be in use at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::lasting;

/// One semaphore permit stands for this many bytes: permits are 32-bit, budgets may be larger.
const UNIT: u64 = 4096;

/// A number of bytes, handed out in the order of asking. What does not fit waits, and what is larger than the whole takes all of it:
/// nothing is ever refused.
#[derive(Debug)]
pub struct Budget {
    whole: u32,
    left: Arc<Semaphore>,
    peak: AtomicU64,
    waiting: AtomicU64,
}

impl Budget {
    /// A budget of about `bytes` (in pages of 4 KiB, at least one).
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let most = u64::from(u32::MAX).min(Semaphore::MAX_PERMITS as u64);
        let whole = u32::try_from((bytes / UNIT).clamp(1, most)).unwrap_or(u32::MAX);
        Self { whole, left: Arc::new(Semaphore::new(whole as usize)), peak: AtomicU64::new(0), waiting: AtomicU64::new(0) }
    }

    /// Waits until `bytes` fit. They are given back when the permit is dropped.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub async fn reserve(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT).clamp(1, u64::from(self.whole));
        let units = u32::try_from(units).unwrap_or(self.whole);
        let permit = {
            let _waiting = Waiting::begin(&self.waiting);
            Arc::clone(&self.left).acquire_many_owned(units).await.map_err(lasting)?
        };
        self.peak.fetch_max(self.used(), Ordering::Relaxed);
        Ok(permit)
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used(&self) -> u64 {
        (u64::from(self.whole) - self.left.available_permits() as u64) * UNIT
    }

    /// How many wait for bytes now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The most bytes that were in use at a time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

/// Counted while it lives: whoever waits may also be dropped.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn begin(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_waits_until_it_does() {
        let budget = Budget::new(10 * UNIT);
        let first = budget.reserve(6 * UNIT).await.unwrap();
        let second = budget.reserve(4 * UNIT).await.unwrap();
        assert!(budget.reserve(1).now_or_never().is_none());
        drop(second);
        assert!(budget.reserve(1).now_or_never().is_some());
        assert!(budget.reserve(5 * UNIT).now_or_never().is_none());
        drop(first);
        assert!(budget.reserve(5 * UNIT).now_or_never().is_some());
        assert_eq!(budget.peak(), 10 * UNIT);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_whole_takes_all_of_it() {
        let budget = Budget::new(10 * UNIT);
        let huge = budget.reserve(u64::MAX).now_or_never().expect("it waits for no one").unwrap();
        assert!(budget.reserve(1).now_or_never().is_none());
        drop(huge);
        assert_eq!(budget.peak(), 10 * UNIT);
        assert!(Budget::new(0).reserve(5).now_or_never().is_some(), "a budget is never nothing");
    }
}
