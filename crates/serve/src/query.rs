//! A query: what is known of it while it is open, and its result as far as it lies ready.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Status;

use crate::access::Caller;
use crate::audit_log;
use crate::connections::Connection;
use crate::error::{ServeError, fault, short};
use crate::lock::lock;
use crate::options::{Compression, Execution};
use crate::outcome::Outcome;
use crate::plan::Planned;
use crate::record::Record;
use crate::seal::random_id;
use crate::wire;

/// Messages that lie ready for a reader. A slow one makes its query wait.
pub(crate) const READY: usize = 2;

/// Who asks for what.
pub(crate) struct Question {
    /// The user.
    pub(crate) user: Option<String>,
    /// Where it is asked.
    pub(crate) client: Option<SocketAddr>,
    /// The statement, or its beginning.
    statement: String,
    /// What all of it hashes to.
    pub(crate) sha256: String,
    /// How the answer is sent.
    pub(crate) compression: Compression,
}

impl Question {
    /// What a caller asks.
    pub(crate) fn new(caller: &Caller, statement: &str) -> Self {
        Self {
            user: caller.user.clone(),
            client: caller.client,
            statement: short(statement),
            sha256: audit_log::sha256(statement),
            compression: caller.options.compression,
        }
    }
}

/// A query that is open.
pub(crate) struct Query {
    /// Its name.
    pub(crate) id: String,
    /// Who asks for what.
    pub(crate) question: Question,
    /// What is announced and delivered.
    pub(crate) schema: SchemaRef,
    /// Where its work is done.
    pub(crate) execution: Execution,
    /// When it came: its time runs from here.
    pub(crate) started: Instant,
    started_at: SystemTime,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Whether there is something to read, or never will be.
    ready: watch::Sender<bool>,
    stop: watch::Sender<Option<&'static str>>,
    ended: Mutex<Option<(Outcome, Duration)>>,
    /// When somebody was last told of it.
    told: Mutex<Instant>,
    /// Whether whoever read it is gone, or has read all.
    read: watch::Sender<bool>,
    result: Mutex<ResultOf>,
}

/// The result of a query, as far as it lies ready.
struct ResultOf {
    /// None once nobody is to read it.
    messages: Option<mpsc::Receiver<FlightData>>,
    /// Whether messages were let go that somebody may still come for: who does must not take what there is for all of it.
    is_given_up: bool,
    /// Since when somebody reads it.
    claimed: Option<Instant>,
    /// What it is read over, as long as it is.
    connection: Option<Connection>,
}

impl Query {
    /// One that has come at `started`, and what its messages are laid ready by. Whoever has the sender is at work on it.
    pub(crate) fn new(
        question: Question,
        planned: &Planned,
        started: Instant,
    ) -> Result<(Arc<Self>, mpsc::Sender<FlightData>), ServeError> {
        let (sender, receiver) = mpsc::channel(READY);
        let query = Self {
            id: random_id()?,
            question,
            schema: Arc::clone(&planned.schema),
            execution: if planned.executors.is_some() { Execution::Cluster } else { Execution::Local },
            started,
            started_at: SystemTime::now().checked_sub(started.elapsed()).unwrap_or_else(SystemTime::now),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ready: watch::Sender::new(false),
            stop: watch::Sender::new(None),
            ended: Mutex::new(None),
            told: Mutex::new(Instant::now()),
            read: watch::Sender::new(false),
            result: Mutex::new(ResultOf { messages: Some(receiver), is_given_up: false, claimed: None, connection: None }),
        };
        Ok((Arc::new(query), sender))
    }

    /// How it ends. Nobody is told before [`Query::announce`].
    pub(crate) fn end(&self, outcome: Outcome) -> Duration {
        let elapsed = self.started.elapsed();
        *lock(&self.ended) = Some((outcome, elapsed));
        elapsed
    }

    /// Tells whoever waits that there is something to read, or never will be.
    pub(crate) fn announce(&self) {
        self.ready.send_replace(true);
    }

    /// So much more is handed over.
    pub(crate) fn count(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until somebody cancels it; why.
    pub(crate) async fn cancelled(&self) -> &'static str {
        let mut stop = self.stop.subscribe();
        let why = stop.wait_for(Option::is_some).await.ok().and_then(|why| *why);
        why.unwrap_or("cancelled")
    }

    /// Waits until its reader is gone, or has read all, but no longer than this; whether it is so.
    pub(crate) async fn is_read(&self, patience: Duration) -> bool {
        timeout(patience, self.read.subscribe().wait_for(|read| *read)).await.is_ok()
    }

    /// Closes what it is read over.
    pub(crate) fn close_connection(&self) {
        let connection = lock(&self.result).connection.take();
        if let Some(connection) = connection {
            tracing::info!(query = self.id, "a connection is closed over which nothing is read");
            connection.close();
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        lock(&self.ended).as_ref().map(|(outcome, _)| outcome.clone())
    }

    /// Why it has failed, if it has.
    pub(crate) fn failure(&self) -> Option<Status> {
        self.outcome().and_then(|outcome| outcome.error())
    }

    /// Rows, if all of them are known.
    pub(crate) fn total(&self) -> Option<u64> {
        matches!(self.outcome(), Some(Outcome::Finished)).then(|| self.rows.load(Ordering::Relaxed))
    }

    /// Waits until there is something to read, or never will be, but no longer than this; whether it is so.
    pub(crate) async fn is_ready(&self, patience: Duration) -> bool {
        let mut ready = self.ready.subscribe();
        timeout(patience, ready.wait_for(|ready| *ready)).await.is_ok()
    }

    /// Ends it, unless it has ended; whether this has.
    pub(crate) fn cancel(&self, why: &'static str) -> bool {
        if self.outcome().is_some() {
            return false;
        }
        self.stop.send_if_modified(|stop| {
            stop.is_none() && {
                *stop = Some(why);
                true
            }
        })
    }

    /// Its messages, the schema first; once only. When the stream is dropped, the work ends.
    pub(crate) fn read(self: &Arc<Self>, connection: Option<Connection>) -> Option<Reader> {
        let mut result = lock(&self.result);
        if result.claimed.is_some() {
            return None;
        }
        result.claimed = Some(Instant::now());
        result.connection = connection;
        Some(Reader { query: Arc::clone(self), first: Some(wire::schema_message(&self.schema)), is_over: false })
    }

    /// Whether it counts among those that may be open: it works, or rows of it wait to be read.
    pub(crate) fn counts(&self) -> bool {
        self.outcome().is_none() || lock(&self.result).messages.is_some()
    }

    /// Lets go of what lies ready, which is memory.
    pub(crate) fn give_up(&self) {
        let mut result = lock(&self.result);
        (result.messages, result.is_given_up) = (None, true);
    }

    /// Waits until nobody was told of it for so long, or somebody reads it.
    pub(crate) async fn nobody_was_told_for(&self, patience: Duration) {
        let left = || patience.checked_sub(self.untold_for()).filter(|left| self.is_unclaimed() && !left.is_zero());
        while let Some(left) = left() {
            sleep(left).await;
        }
    }

    /// Somebody is told of it, and has from now on all the time to come for it.
    pub(crate) fn tell(&self) {
        *lock(&self.told) = Instant::now();
    }

    fn untold_for(&self) -> Duration {
        lock(&self.told).elapsed()
    }

    /// Whether nobody has come to read it.
    pub(crate) fn is_unclaimed(&self) -> bool {
        lock(&self.result).claimed.is_none()
    }

    /// Since when somebody reads it.
    pub(crate) fn claimed(&self) -> Option<Instant> {
        lock(&self.result).claimed
    }

    /// What is told of it now.
    pub(crate) fn record(&self) -> Record {
        let ended = lock(&self.ended).clone();
        let elapsed = ended.as_ref().map_or_else(|| self.started.elapsed(), |(_, elapsed)| *elapsed);
        Record {
            id: self.id.clone(),
            user: self.question.user.clone(),
            statement: self.question.statement.clone(),
            state: ended.as_ref().map_or("running", |(outcome, _)| outcome.name()),
            started_at_ms: self.started_at.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            milliseconds: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            error: ended.and_then(|(outcome, _)| outcome.error()).map(|status| status.message().to_owned()),
        }
    }
}

/// What is told of a result of which something was let go before it was read.
fn given_up() -> Status {
    Status::deadline_exceeded("the result was not read in time, and its rows are not all: ask again")
}

/// Whoever reads the messages of a query.
pub(crate) struct Reader {
    query: Arc<Query>,
    first: Option<FlightData>,
    is_over: bool,
}

impl Stream for Reader {
    type Item = Result<FlightData, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut result = lock(&self.query.result);
        let (next, is_given_up) = (result.messages.as_mut().map(|messages| messages.poll_recv(context)), result.is_given_up);
        drop(result);
        match next {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(Some(message))) => Poll::Ready(Some(Ok(message))),
            // How it has ended is written down before the last of it is read.
            None | Some(Poll::Ready(None)) => {
                self.is_over = true;
                lock(&self.query.result).messages = None;
                self.query.read.send_replace(true);
                let error = self.query.outcome().map_or_else(|| Some(fault()), |outcome| outcome.error());
                Poll::Ready(error.or_else(|| is_given_up.then(given_up)).map(Err))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut result = lock(&self.query.result);
        (result.messages, result.connection) = (None, None);
        self.query.read.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use futures::StreamExt as _;

    use super::*;

    /// A query that has ended well, with one message of its result still to be read.
    fn finished() -> Arc<Query> {
        let (sender, receiver) = mpsc::channel(READY);
        sender.try_send(FlightData::default()).unwrap();
        Arc::new(Query {
            id: "q".to_owned(),
            question: Question {
                user: None,
                client: None,
                statement: String::new(),
                sha256: String::new(),
                compression: Compression::None,
            },
            schema: Arc::new(Schema::empty()),
            execution: Execution::Local,
            started: Instant::now(),
            started_at: SystemTime::now(),
            rows: AtomicU64::new(1),
            bytes: AtomicU64::new(0),
            ready: watch::Sender::new(true),
            stop: watch::Sender::new(None),
            ended: Mutex::new(Some((Outcome::Finished, Duration::ZERO))),
            told: Mutex::new(Instant::now()),
            read: watch::Sender::new(false),
            result: Mutex::new(ResultOf { messages: Some(receiver), is_given_up: false, claimed: None, connection: None }),
        })
    }

    #[tokio::test]
    async fn a_result_that_was_given_up_is_never_taken_for_all_of_it() {
        let whole: Vec<_> = finished().read(None).unwrap().collect().await;
        assert!(whole.len() == 2 && whole.iter().all(Result::is_ok), "the schema and the message");

        // Given up under its reader's hands, and in the moment in which the reader came.
        let query = finished();
        let mut reader = query.read(None).unwrap();
        reader.next().await.unwrap().unwrap();
        assert!(query.counts());
        query.give_up();
        assert!(!query.counts());
        assert_eq!(reader.next().await.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);

        let query = finished();
        query.give_up();
        let answer: Vec<_> = query.read(None).unwrap().collect().await;
        assert!(answer[0].is_ok() && answer[1].is_err());
    }
}
