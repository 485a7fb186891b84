//! The queries that are open, and the last that were.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tonic::Status;

use crate::audit_log::AuditLog;
use crate::error::ServeError;
use crate::execution::Execution;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::options::{Limits, ServeOptions};
use crate::outcome::Outcome;
use crate::plan::Planned;
use crate::query::{Query, Question, READY};
use crate::record::{Record, Whose};
use crate::work::Work;

/// Queries of which is told when they are over.
const REMEMBERED: usize = 200;
/// Queries that may be open, for each that may work at a time.
const WAITING: usize = 32;

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
        let (query, sender) = Query::new(question, &planned, admitted.begun)?;
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
            let is_read = query.is_read(patience).await;
            queries.forget(&query);
            if !is_read {
                query.give_up();
                query.close_connection();
            }
        });
        Ok(query)
    }

    fn end(&self, query: &Query, outcome: Outcome) {
        let name = outcome.name();
        let elapsed = query.end(outcome);
        self.metrics.open.dec();
        self.metrics.queries.with_label_values(&[name]).inc();
        self.metrics.seconds.observe(elapsed.as_secs_f64());
        let record = query.record();
        // Before anybody is told.
        self.audit_log.query(&record, query.question.client, &query.question.sha256, query.execution.name());
        query.announce();
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
        let known: BTreeSet<_> = over.iter().map(|record| record.id.clone()).collect();
        let open: Vec<_> =
            lock(&self.open).queries.values().map(|query| query.record()).filter(|record| !known.contains(&record.id)).collect();
        let mut all: Vec<_> = over.into_iter().chain(open).filter(|record| sees.includes(record)).collect();
        all.sort_by(|a, b| (a.started_at_ms, &a.id).cmp(&(b.started_at_ms, &b.id)));
        all
    }
}
