//! The queries that are open, and the last that were.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tonic::Status;

use crate::access::Caller;
use crate::audit_log::{self, AuditLog};
use crate::connections::Connection;
use crate::error::{ServeError, fault, internal, short, status};
use crate::execution::{self, Execution};
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::options::{Execution as Where, Limits, ServeOptions};
use crate::plan::Planned;
use crate::seal::random_id;
use crate::wire::{self, Encoder};

/// Messages that lie ready for a reader. A slow one makes its query wait.
const READY: usize = 2;
/// Queries of which is told when they are over.
const REMEMBERED: usize = 200;
/// Queries that may be open, for each that may work at a time.
const WAITING: usize = 32;

/// How a query has ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// All rows are handed over.
    Finished,
    /// It has failed.
    Failed(Status),
    /// Somebody has cancelled it.
    Cancelled(&'static str),
    /// Its reader is gone.
    Left,
    /// Nobody has come for its result.
    Expired,
    /// Its reader has taken nothing for so long.
    Idle(Duration),
}

impl Outcome {
    /// The names of all.
    pub(crate) const NAMES: [&str; 6] = ["finished", "failed", "cancelled", "left", "expired", "idle"];

    /// Its name in metrics and tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Cancelled(_) => "cancelled",
            Self::Left => "left",
            Self::Expired => "expired",
            Self::Idle(_) => "idle",
        }
    }

    /// What its reader is told; nothing if all is well.
    fn error(&self) -> Option<Status> {
        match self {
            Self::Finished | Self::Left => None,
            Self::Failed(status) => Some(status.clone()),
            Self::Cancelled(why) => Some(Status::cancelled(*why)),
            Self::Expired => Some(Status::deadline_exceeded("nobody came for the result in time: ask again")),
            Self::Idle(patience) => Some(Status::deadline_exceeded(format!(
                "nothing of the result was read for {} s, and it was given up: read it as it comes, or ask for less at a time",
                patience.as_secs()
            ))),
        }
    }
}

/// Whose queries somebody is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Everybody's.
    All,
    /// Those of a user.
    Of(String),
}

impl Whose {
    fn includes(&self, record: &Record) -> bool {
        match self {
            Self::All => true,
            Self::Of(user) => record.user.as_ref() == Some(user),
        }
    }
}

/// Who asks for what.
pub(crate) struct Question {
    /// The user.
    pub(crate) user: Option<String>,
    /// Where it is asked.
    client: Option<SocketAddr>,
    /// The statement, or its beginning.
    statement: String,
    /// What all of it hashes to.
    sha256: String,
}

impl Question {
    /// What a caller asks.
    pub(crate) fn new(caller: &Caller, statement: &str) -> Self {
        Self { user: caller.user.clone(), client: caller.client, statement: short(statement), sha256: audit_log::sha256(statement) }
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
    execution: Where,
    started: Instant,
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

/// What is told of a query.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) user: Option<String>,
    pub(crate) statement: String,
    pub(crate) state: &'static str,
    pub(crate) started_at_ms: u64,
    pub(crate) milliseconds: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) error: Option<String>,
}

impl Query {
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
    fn counts(&self) -> bool {
        self.outcome().is_none() || lock(&self.result).messages.is_some()
    }

    /// Lets go of what lies ready, which is memory.
    fn give_up(&self) {
        let mut result = lock(&self.result);
        (result.messages, result.is_given_up) = (None, true);
    }

    /// Waits until nobody was told of it for so long, or somebody reads it.
    async fn nobody_was_told_for(&self, patience: Duration) {
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

    fn is_unclaimed(&self) -> bool {
        lock(&self.result).claimed.is_none()
    }

    /// Since when somebody reads it.
    fn claimed(&self) -> Option<Instant> {
        lock(&self.result).claimed
    }

    fn record(&self) -> Record {
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

/// All queries.
pub(crate) struct Queries {
    open: Mutex<Open>,
    over: Mutex<VecDeque<Record>>,
    /// What may work at a time.
    places: Arc<Semaphore>,
    running: usize,
    audit_log: AuditLog,
    metrics: Arc<Metrics>,
}

/// The queries that are open, and those that are to be.
#[derive(Default)]
struct Open {
    queries: BTreeMap<String, Arc<Query>>,
    /// How many of each user are being planned.
    planned: BTreeMap<Option<String>, usize>,
}

impl Open {
    /// Forgets those that have nothing to be read, the ones that have waited for the longest first, where they have become many.
    fn make_room(&mut self, most: usize) {
        let mut empty: Vec<_> = self.queries.values().filter(|query| !query.counts()).cloned().collect();
        empty.sort_by_key(|query| query.started);
        for query in empty.iter().rev().skip(most) {
            self.queries.remove(&query.id);
        }
    }

    fn release(&mut self, user: &Option<String>) {
        if let Some(count) = self.planned.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.planned.remove(user);
            }
        }
    }
}

/// The place of a query that is to be: it counts from before its plan is made, so that calls at the same time do not race past a limit.
pub(crate) struct Admitted {
    queries: Arc<Queries>,
    user: Option<String>,
    /// When it came: its time runs from here.
    begun: Instant,
    is_used: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.is_used {
            lock(&self.queries.open).release(&self.user);
        }
    }
}

impl Admitted {
    /// How much of its time is left.
    pub(crate) fn left(&self, limits: &Limits) -> Duration {
        limits.time.saturating_sub(self.begun.elapsed())
    }
}

impl std::fmt::Debug for Queries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queries").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Queries {
    /// None yet.
    pub(crate) fn new(running: usize, audit_log: AuditLog, metrics: Arc<Metrics>) -> Self {
        let running = running.max(1);
        let places = Arc::new(Semaphore::new(running));
        Self { open: Mutex::default(), over: Mutex::default(), places, running, audit_log, metrics }
    }

    /// Lets a further query in, unless too many are open.
    pub(crate) fn admit(self: &Arc<Self>, user: Option<&str>, limits: &Limits) -> Result<Admitted, Status> {
        let mut open = lock(&self.open);
        let counted = open.queries.values().filter(|query| query.counts()).count();
        let (all, most) = (counted + open.planned.values().sum::<usize>(), self.running * WAITING);
        if all >= most {
            return Err(Status::resource_exhausted(format!("{all} queries are open, of {most} at most: try again in a while")));
        }
        let user = user.map(str::to_owned);
        let of_user = open.queries.values().filter(|query| query.question.user == user && query.counts()).count();
        let own = of_user + open.planned.get(&user).copied().unwrap_or_default();
        if own >= limits.queries {
            let text = format!("{own} queries of yours are open, of {} at most: read or cancel them first", limits.queries);
            return Err(Status::resource_exhausted(text));
        }
        *open.planned.entry(user.clone()).or_default() += 1;
        drop(open);
        Ok(Admitted { queries: Arc::clone(self), user, begun: Instant::now(), is_used: false })
    }

    /// Starts a query.
    pub(crate) fn start(
        self: &Arc<Self>,
        mut admitted: Admitted,
        question: Question,
        planned: Planned,
        limits: Limits,
        options: &ServeOptions,
        execution: &Arc<Execution>,
    ) -> Result<Arc<Query>, ServeError> {
        let (sender, receiver) = mpsc::channel(READY);
        let query = Arc::new(Query {
            id: random_id()?,
            question,
            schema: Arc::clone(&planned.schema),
            execution: if planned.executors.is_some() { Where::Cluster } else { Where::Local },
            started: admitted.begun,
            started_at: SystemTime::now().checked_sub(admitted.begun.elapsed()).unwrap_or_else(SystemTime::now),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ready: watch::Sender::new(false),
            stop: watch::Sender::new(None),
            ended: Mutex::new(None),
            told: Mutex::new(Instant::now()),
            read: watch::Sender::new(false),
            result: Mutex::new(ResultOf { messages: Some(receiver), is_given_up: false, claimed: None, connection: None }),
        });
        let mut open = lock(&self.open);
        open.release(&admitted.user);
        admitted.is_used = true;
        open.make_room(self.running * WAITING);
        open.queries.insert(query.id.clone(), Arc::clone(&query));
        drop(open);
        self.metrics.open.inc();
        let work = Work {
            query: Arc::clone(&query),
            planned: Arc::new(planned),
            limits,
            message_bytes: options.message_bytes,
            unclaimed: options.unclaimed,
            reader: options.reader,
            places: Arc::clone(&self.places),
            execution: Arc::clone(execution),
            metrics: Arc::clone(&self.metrics),
        };
        let (queries, unclaimed, reader) = (Arc::clone(self), options.unclaimed, options.reader);
        tokio::spawn(async move {
            let query = Arc::clone(&work.query);
            let outcome = work.run(&sender).await;
            let is_idle = matches!(outcome, Outcome::Idle(_));
            let is_whole = matches!(outcome, Outcome::Finished);
            queries.end(&query, outcome);
            if is_idle || (!is_whole && query.is_unclaimed()) {
                // Nobody is about to read it, or shall.
                query.give_up();
            }
            // Only now, so that whoever reads to the end finds the outcome.
            drop(sender);
            query.nobody_was_told_for(unclaimed).await;
            if query.is_unclaimed() {
                query.give_up();
                queries.forget(&query);
                return;
            }
            // Who does not take the last of it, or the word that it was given up, holds what is being sent, and its connection, for ever.
            let patience = if is_idle { reader } else { reader.saturating_mul(READY as u32 + 1) };
            let is_read = timeout(patience, query.read.subscribe().wait_for(|read| *read)).await.is_ok();
            queries.forget(&query);
            if !is_read {
                query.give_up();
                let connection = lock(&query.result).connection.take();
                if let Some(connection) = connection {
                    tracing::info!(query = query.id, "a connection is closed over which nothing is read");
                    connection.close();
                }
            }
        });
        Ok(query)
    }

    fn end(&self, query: &Query, outcome: Outcome) {
        let elapsed = query.started.elapsed();
        self.metrics.open.dec();
        self.metrics.queries.with_label_values(&[outcome.name()]).inc();
        self.metrics.seconds.observe(elapsed.as_secs_f64());
        *lock(&query.ended) = Some((outcome, elapsed));
        let record = query.record();
        // Before anybody is told.
        self.audit_log.query(&record, query.question.client, &query.question.sha256, query.execution.name());
        query.ready.send_replace(true);
        let mut over = lock(&self.over);
        over.push_back(record);
        if over.len() > REMEMBERED {
            over.pop_front();
        }
    }

    /// Forgets a query that has ended; what is left of it is its reader's.
    pub(crate) fn forget(&self, query: &Query) {
        if query.outcome().is_some() {
            lock(&self.open).queries.remove(&query.id);
        }
    }

    /// The query of this name, if it is open or waits to be fetched.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Query>> {
        lock(&self.open).queries.get(id).cloned()
    }

    /// Ends all.
    pub(crate) fn cancel_all(&self, why: &'static str) {
        let open: Vec<_> = lock(&self.open).queries.values().cloned().collect();
        for query in open {
            query.cancel(why);
        }
    }

    /// What is told of queries to whoever sees these.
    pub(crate) fn records(&self, sees: &Whose) -> Vec<Record> {
        let over = lock(&self.over).clone();
        let known: std::collections::BTreeSet<_> = over.iter().map(|record| record.id.clone()).collect();
        let open: Vec<_> =
            lock(&self.open).queries.values().map(|query| query.record()).filter(|record| !known.contains(&record.id)).collect();
        let mut all: Vec<_> = over.into_iter().chain(open).filter(|record| sees.includes(record)).collect();
        all.sort_by(|a, b| (a.started_at_ms, &a.id).cmp(&(b.started_at_ms, &b.id)));
        all
    }
}

/// A query at work.
struct Work {
    query: Arc<Query>,
    planned: Arc<Planned>,
    limits: Limits,
    message_bytes: usize,
    unclaimed: Duration,
    reader: Duration,
    places: Arc<Semaphore>,
    execution: Arc<Execution>,
    metrics: Arc<Metrics>,
}

impl Work {
    /// Until it ends, whatever ends it.
    async fn run(self, sender: &mpsc::Sender<FlightData>) -> Outcome {
        let mut stop = self.query.stop.subscribe();
        let limit = self.limits.time;
        let deadline = self.query.started + limit;
        let work = pin!(self.work(sender));
        tokio::select! {
            biased;
            stopped = stop.wait_for(Option::is_some) => Outcome::Cancelled(stopped.ok().and_then(|why| *why).unwrap_or("cancelled")),
            () = sender.closed() => Outcome::Left,
            () = sleep_until(deadline.into()) => {
                let text = format!("the query has taken {} s, which is all that it may: ask for less at a time", limit.as_secs());
                Outcome::Failed(Status::deadline_exceeded(text))
            }
            () = self.nobody_comes() => Outcome::Expired,
            outcome = work => outcome,
        }
    }

    async fn nobody_comes(&self) {
        self.query.nobody_was_told_for(self.unclaimed).await;
        if !self.query.is_unclaimed() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for its place, and works.
    async fn work(&self, sender: &mpsc::Sender<FlightData>) -> Outcome {
        let place = match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            Err(error) => return Outcome::Failed(internal(error)),
        };
        let rows = Rows {
            query: Arc::clone(&self.query),
            planned: Arc::clone(&self.planned),
            most: self.limits.rows,
            message_bytes: self.message_bytes,
            patience: self.reader,
            sender: sender.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let mut running = match self.execution.start(&self.planned, place, rows.hand_over()) {
            Ok(running) => running,
            Err(error) => return Outcome::Failed(internal(format!("the system gives no threads for the query: {error}"))),
        };
        // An operator that panics must not look like the end of the rows.
        running.done().await.unwrap_or_else(|error| Outcome::Failed(execution::panicked(&error)))
    }
}

/// What hands over the rows of a query.
struct Rows {
    query: Arc<Query>,
    planned: Arc<Planned>,
    most: Option<u64>,
    message_bytes: usize,
    patience: Duration,
    sender: mpsc::Sender<FlightData>,
    metrics: Arc<Metrics>,
}

impl Rows {
    /// Hands over messages until there are none left.
    async fn hand_over(self) -> Outcome {
        match self.messages().await {
            Ok(()) => Outcome::Finished,
            Err(outcome) => outcome,
        }
    }

    async fn messages(&self) -> Result<(), Outcome> {
        let failed = |status: Status| Outcome::Failed(status);
        let mut batches = execution::rows(&self.planned).await.map_err(|error| failed(status(&error)))?;
        let mut encoder = Encoder::new(self.message_bytes);
        let (mut seen, mut sent) = (0, 0);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| failed(status(&error)))?;
            seen += batch.num_rows() as u64;
            if let Some(most) = self.most.filter(|most| seen > *most) {
                return Err(failed(Status::resource_exhausted(format!(
                    "the result has more than {most} rows, which is all that it may: add a LIMIT"
                ))));
            }
            encoder.take(wire::conform(&batch, &self.planned.schema).map_err(|error| failed(internal(error)))?);
            while let Some((message, rows)) = encoder.next().map_err(failed)? {
                let bytes = message.data_body.len() as u64;
                self.send(message).await?;
                self.query.rows.fetch_add(rows as u64, Ordering::Relaxed);
                self.query.bytes.fetch_add(bytes, Ordering::Relaxed);
                self.metrics.rows.inc_by(rows as u64);
                self.metrics.bytes.inc_by(bytes);
                sent += 1;
                // What is over with its first message is announced as over.
                if sent == READY {
                    self.query.ready.send_replace(true);
                }
            }
        }
        Ok(())
    }

    /// Lays a message ready, once there is room for it: whoever reads slowly makes the query wait, and whoever does not read at all ends it.
    async fn send(&self, message: FlightData) -> Result<(), Outcome> {
        let begun = Instant::now();
        let mut sending = pin!(self.sender.send(message));
        loop {
            // Whoever has not come yet is another matter.
            let waiting_since = self.query.claimed().map_or_else(Instant::now, |claimed| claimed.max(begun));
            let left = self.patience.saturating_sub(waiting_since.elapsed());
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(|_| Outcome::Left),
                () = sleep(left) => {}
            }
            if self.query.claimed().is_some_and(|claimed| claimed.max(begun).elapsed() >= self.patience) {
                return Err(Outcome::Idle(self.patience));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    /// A query that has ended well, with one message of its result still to be read.
    fn finished() -> Arc<Query> {
        let (sender, receiver) = mpsc::channel(READY);
        sender.try_send(FlightData::default()).unwrap();
        Arc::new(Query {
            id: "q".to_owned(),
            question: Question { user: None, client: None, statement: String::new(), sha256: String::new() },
            schema: Arc::new(Schema::empty()),
            execution: Where::Local,
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
