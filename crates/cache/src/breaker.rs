//! A circuit breaker: a store that fails is left alone for a while, so that each lookup does not wait for it anew.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a store is left alone after its first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Closed while all is well. Open, it lets one request through after each pause, as a trial.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    retry_at: Instant,
    pause: Duration,
}

impl Breaker {
    /// Whether a request may be made. Whoever makes it says how it ended.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        match self.state().as_mut() {
            None => true,
            Some(open) if now >= open.retry_at => {
                // The next trial is set now: nothing hangs on this one ever coming back.
                open.pause = (open.pause * 2).min(LONGEST_PAUSE);
                open.retry_at = now + open.pause;
                true
            }
            Some(_) => false,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().is_none()
    }

    /// A request went well; returns whether that closed the breaker.
    pub(crate) fn succeeded(&self) -> bool {
        self.state().take().is_some()
    }

    /// A request failed. Requests that were under way when the first one failed change nothing.
    pub(crate) fn failed(&self, now: Instant) {
        self.state().get_or_insert(Open { retry_at: now + FIRST_PAUSE, pause: FIRST_PAUSE });
    }

    /// As if the pause were over.
    #[cfg(test)]
    pub(crate) fn make_due(&self) {
        if let Some(open) = self.state().as_mut() {
            open.retry_at = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_pauses_and_a_success_ends_the_pause() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        assert!(breaker.admits(start) && breaker.is_closed());
        assert!(!breaker.succeeded(), "it was closed");
        breaker.failed(start);
        assert!(!breaker.admits(start + FIRST_PAUSE - Duration::from_millis(1)));
        assert!(breaker.admits(start + FIRST_PAUSE));
        assert!(!breaker.is_closed(), "a trial is no success");
        assert!(breaker.succeeded());
        assert!(breaker.admits(start + FIRST_PAUSE) && breaker.is_closed());
    }

    #[test]
    fn trials_come_one_by_one_and_ever_more_rarely() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        breaker.failed(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let since = now;
            while !breaker.admits(now) {
                breaker.failed(now); // a straggler
                now += Duration::from_secs(1);
            }
            assert!(!breaker.admits(now), "one at a time");
            breaker.failed(now);
            pauses.push((now - since).as_secs());
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
    }
}
