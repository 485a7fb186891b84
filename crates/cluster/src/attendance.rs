//! Clients that wait for what they have submitted.
//!
//! A client holds a connection open while it waits. That of one which is killed, or whose machine goes down, ends without a word: the scheduler then
//! ends the jobs that it has left, which would hold places for nobody, and get into the way of the client that comes in its stead. A client that
//! leaves its job to the cluster holds no connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::events::SIGN_OF_LIFE;
use crate::follow::{Lines, RECONNECT, SILENCE};
use crate::remote::{CLIENTS, RemoteScheduler};
use crate::view::SchedulerView;

/// How long a client may be away until its jobs are ended: it comes back within [`RECONNECT`] when only the connection was lost.
const GRACE: Duration = Duration::from_secs(10);

/// Who waits, by the name that its jobs have behind the slash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attendant {
    pub client: String,
}

/// The clients of a scheduler that wait, each with the number of its connections.
#[derive(Default)]
pub(crate) struct Attendance {
    present: Mutex<BTreeMap<String, usize>>,
}

impl Attendance {
    /// A body that goes on for as long as the client reads it. Some time after the last of a client has ended, its jobs are.
    pub(crate) fn body(self: &Arc<Self>, who: Attendant, view: SchedulerView) -> Body {
        *self.lock().entry(who.client.clone()).or_default() += 1;
        let connection = Connection { attendance: Arc::clone(self), client: who.client, view };
        Body::from_stream(futures::stream::unfold((connection, Duration::ZERO), |(connection, wait)| async move {
            sleep(wait).await;
            Some((Ok::<_, Infallible>("\n"), (connection, SIGN_OF_LIFE)))
        }))
    }

    fn is_present(&self, client: &str) -> bool {
        self.lock().contains_key(client)
    }

    /// One connection less.
    fn leave(&self, client: &str) {
        let mut present = self.lock();
        if let Some(connections) = present.get_mut(client) {
            *connections -= 1;
            if *connections == 0 {
                present.remove(client);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's connection, as the scheduler has it.
struct Connection {
    attendance: Arc<Attendance>,
    client: String,
    view: SchedulerView,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.attendance.leave(&self.client);
        // Without a runtime the scheduler itself has ended.
        let Ok(runtime) = Handle::try_current() else { return };
        let (attendance, client, view) = (Arc::clone(&self.attendance), std::mem::take(&mut self.client), self.view.clone());
        runtime.spawn(async move {
            sleep(GRACE).await;
            if !attendance.is_present(&client) {
                view.end_jobs_of(&client).await;
            }
        });
    }
}

/// The client's side: it is present until this is dropped.
pub(crate) struct Attending {
    _connection: JoinSet<()>,
}

impl Attending {
    /// Is there before a job is submitted, so that there is none that nobody waits for. A scheduler that cannot be told runs the job all the same.
    pub(crate) async fn begin(scheduler: &RemoteScheduler, client: &str) -> Self {
        let (scheduler, who) = (scheduler.clone(), Attendant { client: client.to_owned() });
        let mut answer = scheduler.post(CLIENTS, &who).await;
        let mut connection = JoinSet::new();
        connection.spawn(async move {
            loop {
                match answer {
                    Ok(body) => {
                        let mut lines = Lines::of(body);
                        while let Ok(Some(_)) = timeout(SILENCE, lines.next()).await {}
                    }
                    Err(error) => tracing::debug!(%error, "the scheduler does not know that its client waits"),
                }
                sleep(RECONNECT).await;
                answer = scheduler.post(CLIENTS, &who).await;
            }
        });
        Self { _connection: connection }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_present_until_its_last_connection_ends() {
        let attendance = Attendance::default();
        for _ in 0..2 {
            *attendance.lock().entry("c".to_owned()).or_default() += 1;
        }
        attendance.leave("c");
        assert!(attendance.is_present("c"), "it has connected anew before the old connection was seen to end");
        attendance.leave("c");
        attendance.leave("c");
        assert!(!attendance.is_present("c"));
    }
}
