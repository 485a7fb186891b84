//! What a scheduler tells its executors without being asked: that there is work, and that a job was cancelled.
//!
//! Executors of Ballista ask for work twenty times a second, which is most of what an idle cluster does, and learn in no way that a job was
//! cancelled. Ours hold a connection open on which they are told (`follow.rs`), and ask once a second for fear of a message that is lost. They dial,
//! here too.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures::Stream;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// Events that wait for a slow executor. Who loses some still asks once a second.
const WAITING: usize = 256;

/// How often a scheduler says that it is there.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// One line on the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// There may be work.
    Work,
    /// A job was cancelled: what is still done for it is done in vain.
    Cancelled { job: String },
    /// The scheduler is there.
    Alive,
}

/// How an executor introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    /// Its id in the cluster.
    pub id: String,
    /// The node that it runs on.
    pub node: String,
    /// The version of bytefacts.
    pub version: String,
    /// The version of CPython that compiles.
    pub python: String,
}

/// How it takes its leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Goodbye {
    /// Its id in the cluster.
    pub id: String,
}

/// The executors that listen, and what they are told.
#[derive(Default)]
pub(crate) struct Events {
    listeners: Mutex<BTreeMap<String, (Introduction, broadcast::Sender<Event>)>>,
    members: Mutex<Members>,
}

/// Who is of the cluster, and who has gone how.
#[derive(Default)]
struct Members {
    /// Those who have introduced themselves and have not said goodbye.
    staying: BTreeSet<String>,
    lost: u64,
}

impl Events {
    /// Tells all who listen.
    pub(crate) fn send(&self, event: Event) {
        for (_, listener) in self.lock().values() {
            // One that has just gone needs to know nothing.
            let _: Result<usize, _> = listener.send(event.clone());
        }
    }

    /// How an executor has introduced itself, if it listens.
    pub(crate) fn introduction(&self, id: &str) -> Option<Introduction> {
        self.lock().get(id).map(|(introduction, _)| introduction.clone())
    }

    /// An executor is about to go.
    pub(crate) fn goodbye(&self, id: &str) {
        self.members().staying.remove(id);
    }

    /// An executor is no longer of the cluster; one that has not said goodbye is lost.
    pub(crate) fn removed(&self, id: &str) {
        let mut members = self.members();
        if members.staying.remove(id) {
            members.lost += 1;
        }
    }

    /// Executors that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.members().lost
    }

    /// The lines for one executor, until it goes.
    pub(crate) fn listen(self: &Arc<Self>, introduction: Introduction) -> impl Stream<Item = Result<String, Infallible>> + use<> {
        if introduction.version != env!("CARGO_PKG_VERSION") {
            let (executor, node, version) = (&introduction.id, &introduction.node, &introduction.version);
            tracing::warn!(executor, node, version, "an executor of another version than the scheduler's: upgrade one of them");
        }
        let (sender, receiver) = broadcast::channel(WAITING);
        let listener = Listener { events: Arc::clone(self), id: introduction.id.clone(), sender: sender.clone() };
        self.members().staying.insert(introduction.id.clone());
        self.lock().insert(introduction.id.clone(), (introduction, sender));
        futures::stream::unfold((listener, receiver, true), |(listener, mut receiver, first)| async move {
            let event = if first {
                // There may have been work before it listened.
                Event::Work
            } else {
                match timeout(SIGN_OF_LIFE, receiver.recv()).await {
                    Err(_) => Event::Alive,
                    Ok(Ok(event)) => event,
                    Ok(Err(broadcast::error::RecvError::Lagged(_))) => Event::Work,
                    Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                }
            };
            let line = serde_json::to_string(&event).ok()? + "\n";
            Some((Ok(line), (listener, receiver, false)))
        })
    }

    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Introduction, broadcast::Sender<Event>)>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an executor off the list when its connection ends, unless it has connected anew.
struct Listener {
    events: Arc<Events>,
    id: String,
    sender: broadcast::Sender<Event>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.events.lock();
        if listeners.get(&self.id).is_some_and(|(_, sender)| sender.same_channel(&self.sender)) {
            listeners.remove(&self.id);
        }
    }
}

/// A body that streams the lines for one executor.
pub(crate) fn body(events: &Arc<Events>, introduction: Introduction) -> Body {
    Body::from_stream(events.listen(introduction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::follow::Lines;

    fn introduction(id: &str) -> Introduction {
        Introduction { id: id.to_owned(), node: "n".to_owned(), version: "1".to_owned(), python: "3.13.0".to_owned() }
    }

    #[tokio::test]
    async fn who_listens_is_told_at_once_and_who_goes_is_forgotten() {
        let events = Arc::new(Events::default());
        let mut lines = Lines::of(body(&events, introduction("e1")));
        let said = async |lines: &mut Lines| serde_json::from_slice::<Event>(&lines.next().await.unwrap()).unwrap();
        assert_eq!(said(&mut lines).await, Event::Work, "what came before");
        let cancelled = Event::Cancelled { job: "j1\n".to_owned() };
        events.send(cancelled.clone());
        events.send(Event::Work);
        assert_eq!((said(&mut lines).await, said(&mut lines).await), (cancelled, Event::Work));
        assert_eq!(events.introduction("e1"), Some(introduction("e1")));

        // A new connection takes the place of the old one, whose end then changes nothing.
        let again = body(&events, introduction("e1"));
        drop(lines);
        assert!(events.introduction("e1").is_some());
        drop(again);
        assert_eq!(events.introduction("e1"), None);
    }

    #[tokio::test]
    async fn who_goes_without_a_word_is_lost_once() {
        let events = Arc::new(Events::default());
        let _lines = ["e1", "e2"].map(|id| Lines::of(body(&events, introduction(id))));
        events.goodbye("e1");
        for id in ["e1", "e2", "e2", "never"] {
            events.removed(id);
        }
        assert_eq!(events.lost(), 1);
        // One that was lost and comes back can be lost again.
        let _again = body(&events, introduction("e2"));
        events.removed("e2");
        assert_eq!(events.lost(), 2);
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_that_there_may_be_work() {
        let events = Arc::new(Events::default());
        let mut lines = Lines::of(body(&events, introduction("e1")));
        lines.next().await.unwrap();
        for n in 0..WAITING * 2 {
            events.send(Event::Cancelled { job: n.to_string() });
        }
        assert_eq!(serde_json::from_slice::<Event>(&lines.next().await.unwrap()).unwrap(), Event::Work);
    }
}
