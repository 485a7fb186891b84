//! The queries that are open, and the last that were.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;
use tonic::Status;

use crate::error::{ServeError, internal, status};
use crate::execution::Execution;
use crate::metrics::Metrics;
use crate::options::{Limits, ServeOptions};
use crate::planner::Planned;
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
}

impl Outcome {
    /// Its name in metrics and tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Cancelled(_) => "cancelled",
            Self::Left => "left",
            Self::Expired => "expired",
        }
    }

    /// What its reader is told; nothing if all is well.
    fn error(&self) -> Option<Status> {
        match self {
            Self::Finished | Self::Left => None,
            Self::Failed(status) => Some(status.clone()),
            Self::Cancelled(why) => Some(Status::cancelled(*why)),
            Self::Expired => Some(Status::deadline_exceeded("nobody came for the result in time: ask again")),
        }
    }
}

/// Who asks for what.
pub(crate) struct Question {
    /// The user.
    pub(crate) user: Option<String>,
    /// The statement, or its beginning.
    pub(crate) statement: String,
}

/// A query that is open.
pub(crate) struct Query {
    /// Its name.
    pub(crate) id: String,
    /// Who asks for what.
    pub(crate) question: Question,
    /// What is announced and delivered.
    pub(crate) schema: SchemaRef,
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
    messages: Mutex<Option<mpsc::Receiver<FlightData>>>,
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
        tokio::time::timeout(patience, ready.wait_for(|ready| *ready)).await.is_ok()
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
    pub(crate) fn read(self: &Arc<Self>) -> Option<impl Stream<Item = Result<FlightData, Status>> + Send + 'static> {
        let messages = lock(&self.messages).take()?;
        let first = wire::schema_message(&self.schema);
        let query = Arc::clone(self);
        let rest = futures::stream::unfold(Some(messages), move |messages| {
            let query = Arc::clone(&query);
            async move {
                let mut messages = messages?;
                match messages.recv().await {
                    Some(message) => Some((Ok(message), Some(messages))),
                    // How it has ended is written down before the last of it is read.
                    None => match query.outcome() {
                        Some(outcome) => outcome.error().map(|status| (Err(status), None)),
                        None => Some((Err(fault()), None)),
                    },
                }
            }
        });
        Some(futures::stream::once(async { Ok(first) }).chain(rest))
    }

    /// Whether it counts among those that its user may have open: it works, or all of its rows wait to be read.
    fn counts(&self) -> bool {
        self.outcome().is_none_or(|outcome| matches!(outcome, Outcome::Finished) && self.is_unclaimed())
    }

    /// Somebody is told of it, and has from now on all the time to come for it.
    pub(crate) fn tell(&self) {
        *lock(&self.told) = Instant::now();
    }

    fn untold_for(&self) -> Duration {
        lock(&self.told).elapsed()
    }

    fn is_unclaimed(&self) -> bool {
        lock(&self.messages).is_some()
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

/// All queries.
pub(crate) struct Queries {
    open: Mutex<BTreeMap<String, Arc<Query>>>,
    over: Mutex<VecDeque<Record>>,
    /// What may work at a time.
    places: Arc<Semaphore>,
    running: usize,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Queries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queries").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Queries {
    /// None yet.
    pub(crate) fn new(running: usize, metrics: Arc<Metrics>) -> Self {
        let running = running.max(1);
        let places = Arc::new(Semaphore::new(running));
        Self { open: Mutex::default(), over: Mutex::default(), places, running, metrics }
    }

    /// Refuses a further query where too many are open.
    pub(crate) fn admit(&self, user: Option<&str>, limits: &Limits) -> Result<(), Status> {
        let open = lock(&self.open);
        let (all, most) = (open.len(), self.running * WAITING);
        if all >= most {
            return Err(Status::resource_exhausted(format!("{all} queries are open, of {most} at most: try again in a while")));
        }
        let own = open.values().filter(|query| query.question.user.as_deref() == user && query.counts()).count();
        if own >= limits.queries {
            let text = format!("{own} queries of yours are open, of {} at most: read or cancel them first", limits.queries);
            return Err(Status::resource_exhausted(text));
        }
        Ok(())
    }

    /// Starts a query.
    pub(crate) fn start(
        self: &Arc<Self>,
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
            started: Instant::now(),
            started_at: SystemTime::now(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            ready: watch::Sender::new(false),
            stop: watch::Sender::new(None),
            ended: Mutex::new(None),
            told: Mutex::new(Instant::now()),
            messages: Mutex::new(Some(receiver)),
        });
        lock(&self.open).insert(query.id.clone(), Arc::clone(&query));
        self.metrics.open.inc();
        let work = Work {
            query: Arc::clone(&query),
            planned,
            limits,
            message_bytes: options.message_bytes,
            unclaimed: options.unclaimed,
            places: Arc::clone(&self.places),
            execution: Arc::clone(execution),
            metrics: Arc::clone(&self.metrics),
        };
        let (queries, unclaimed) = (Arc::clone(self), options.unclaimed);
        execution.detach(async move {
            let query = Arc::clone(&work.query);
            // An operator that panics must not look like the end of the rows, nor keep its place.
            let outcome = AssertUnwindSafe(work.run(&sender)).catch_unwind().await.unwrap_or_else(|_| Outcome::Failed(fault()));
            queries.end(&query, outcome);
            // Only now, so that whoever reads to the end finds the outcome.
            drop(sender);
            if query.is_unclaimed() {
                sleep(unclaimed).await;
            }
            queries.forget(&query);
        });
        Ok(query)
    }

    fn end(&self, query: &Query, outcome: Outcome) {
        let elapsed = query.started.elapsed();
        self.metrics.open.dec();
        self.metrics.queries.with_label_values(&[outcome.name()]).inc();
        self.metrics.seconds.observe(elapsed.as_secs_f64());
        *lock(&query.ended) = Some((outcome, elapsed));
        query.ready.send_replace(true);
        let record = query.record();
        tracing::info!(
            query = record.id,
            user = record.user,
            outcome = record.state,
            milliseconds = record.milliseconds,
            rows = record.rows,
            bytes = record.bytes,
            error = record.error,
            statement = record.statement,
            "a query is over"
        );
        let mut over = lock(&self.over);
        over.push_back(record);
        if over.len() > REMEMBERED {
            over.pop_front();
        }
    }

    /// Forgets a query that has ended; what is left of it is its reader's.
    pub(crate) fn forget(&self, query: &Query) {
        if query.outcome().is_some() {
            lock(&self.open).remove(&query.id);
        }
    }

    /// The query of this name, if it is open or waits to be fetched.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Query>> {
        lock(&self.open).get(id).cloned()
    }

    /// Ends all.
    pub(crate) fn cancel_all(&self, why: &'static str) {
        let open: Vec<_> = lock(&self.open).values().cloned().collect();
        for query in open {
            query.cancel(why);
        }
    }

    /// What is told of the queries of a user; of all, where there are no users.
    pub(crate) fn records(&self, user: Option<&str>) -> Vec<Record> {
        let over = lock(&self.over).clone();
        let known: std::collections::BTreeSet<_> = over.iter().map(|record| record.id.clone()).collect();
        let open: Vec<_> = lock(&self.open).values().map(|query| query.record()).filter(|record| !known.contains(&record.id)).collect();
        let mut all: Vec<_> = over.into_iter().chain(open).filter(|record| record.user.as_deref() == user).collect();
        all.sort_by(|a, b| (a.started_at_ms, &a.id).cmp(&(b.started_at_ms, &b.id)));
        all
    }
}

/// A query at work.
struct Work {
    query: Arc<Query>,
    planned: Planned,
    limits: Limits,
    message_bytes: usize,
    unclaimed: Duration,
    places: Arc<Semaphore>,
    execution: Arc<Execution>,
    metrics: Arc<Metrics>,
}

impl Work {
    /// Until it ends, whatever ends it.
    async fn run(self, sender: &mpsc::Sender<FlightData>) -> Outcome {
        let mut stop = self.query.stop.subscribe();
        let limit = self.limits.time;
        let work = pin!(self.produce(sender));
        tokio::select! {
            biased;
            stopped = stop.wait_for(Option::is_some) => Outcome::Cancelled(stopped.ok().and_then(|why| *why).unwrap_or("cancelled")),
            () = sender.closed() => Outcome::Left,
            () = sleep(limit) => {
                let text = format!("the query has taken {} s, which is all that it may: ask for less at a time", limit.as_secs());
                Outcome::Failed(Status::deadline_exceeded(text))
            }
            () = self.nobody_comes() => Outcome::Expired,
            done = work => match done {
                Ok(()) => Outcome::Finished,
                Err(status) => Outcome::Failed(status),
            },
        }
    }

    async fn nobody_comes(&self) {
        while let Some(left) = self.unclaimed.checked_sub(self.query.untold_for()).filter(|left| !left.is_zero()) {
            sleep(left).await;
        }
        if !self.query.is_unclaimed() {
            std::future::pending::<()>().await;
        }
    }

    /// Hands over messages until there are none left.
    async fn produce(&self, sender: &mpsc::Sender<FlightData>) -> Result<(), Status> {
        let _place = self.places.acquire().await.map_err(internal)?;
        let mut batches = self.execution.run(&self.planned).await.map_err(|error| status(&error))?;
        let mut encoder = Encoder::new(self.message_bytes);
        let (mut seen, mut sent) = (0, 0);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| status(&error))?;
            seen += batch.num_rows() as u64;
            if let Some(most) = self.limits.rows.filter(|most| seen > *most) {
                return Err(Status::resource_exhausted(format!(
                    "the result has more than {most} rows, which is all that it may: add a LIMIT"
                )));
            }
            encoder.take(wire::conform(&batch, &self.planned.schema).map_err(internal)?);
            while let Some((message, rows)) = encoder.next()? {
                let bytes = message.data_body.len() as u64;
                // Whoever has gone away is noticed by whoever waits for that.
                if sender.send(message).await.is_err() {
                    return std::future::pending().await;
                }
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
}

fn fault() -> Status {
    Status::internal("the query failed by a fault of this server, and its rows are not all: the server's log says more")
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
