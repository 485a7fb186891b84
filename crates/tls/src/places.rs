//! Places of connections: so many and no more, and none that a client which says nothing keeps from one that speaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Has a connection end.
type LetGo = Box<dyn FnOnce() + Send>;

/// Places; clones are the same ones.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    taken: Mutex<Taken>,
    /// A place is free again.
    freed: Notify,
}

struct Taken {
    free: usize,
    /// The number of the next connection: the oldest has the least.
    next: u64,
    /// Connections that have a place and have said nothing yet.
    silent: BTreeMap<u64, LetGo>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// So many.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let taken = Taken { free: count, next: 0, silent: BTreeMap::new() };
        Self(Arc::new(Shared { taken: Mutex::new(taken), freed: Notify::new() }))
    }

    /// A place for a new connection; where all are taken, that of the connection that has been silent for longest, which is let go. None if all of
    /// them speak. `let_go` has the new connection end, should that come to it.
    pub fn take(&self, let_go: impl FnOnce() + Send + 'static) -> Option<Place> {
        let mut taken = self.0.lock();
        let mut oldest = None;
        if taken.free > 0 {
            taken.free -= 1;
        } else {
            oldest = Some(taken.silent.pop_first()?.1);
        }
        let number = taken.next;
        taken.next += 1;
        taken.silent.insert(number, Box::new(let_go));
        drop(taken);
        if let Some(let_go) = oldest {
            let_go();
        }
        Some(Place { shared: Arc::clone(&self.0), number, speaks: false })
    }

    /// Waits until a place is given back. To be called by one at a time.
    pub(crate) async fn freed(&self) {
        self.0.freed.notified().await;
    }
}

/// A place of a connection. Dropping it gives it back.
pub struct Place {
    shared: Arc<Shared>,
    number: u64,
    speaks: bool,
}

impl Place {
    /// Its client has said something, and keeps the place from now on. False if the place was given to another before.
    #[must_use]
    pub fn keep(&mut self) -> bool {
        self.speaks = self.speaks || self.shared.lock().silent.remove(&self.number).is_some();
        self.speaks
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        if self.speaks || taken.silent.remove(&self.number).is_some() {
            taken.free += 1;
            drop(taken);
            self.shared.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_connection_that_is_silent_for_longest_makes_room_and_none_that_speaks() {
        let places = Places::new(2);
        let left = Arc::new(AtomicUsize::new(0));
        let take = |name: usize| {
            let left = Arc::clone(&left);
            places.take(move || left.store(name, Ordering::SeqCst))
        };
        let (mut first, mut second) = (take(1).unwrap(), take(2).unwrap());
        assert!(first.keep());
        let mut third = take(3).unwrap();
        assert_eq!(left.load(Ordering::SeqCst), 2, "the first speaks, and the second is older than the third");
        assert!(!second.keep(), "it has no place any more");
        assert!(third.keep() && third.keep());
        assert!(take(4).is_none(), "all speak");
        drop(second);
        assert!(take(4).is_none(), "who was let go gives nothing back");
        drop(first);
        let fourth = take(4);
        assert!(fourth.is_some());
        drop(fourth);
        assert!(take(5).is_some(), "who has said nothing gives its place back too");
    }
}
