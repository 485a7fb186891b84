//! The work of a query: it waits for its place, runs the plan, and lays messages ready for whoever reads.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::FlightData;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, sleep_until};
use tonic::Status;

use crate::error::{internal, status};
use crate::execution::{self, Execution};
use crate::metrics::Metrics;
use crate::options::Limits;
use crate::outcome::Outcome;
use crate::plan::Planned;
use crate::query::{Query, READY};
use crate::wire::{self, Encoder};

/// A query at work.
pub(crate) struct Work {
    pub(crate) query: Arc<Query>,
    pub(crate) planned: Arc<Planned>,
    pub(crate) limits: Limits,
    pub(crate) message_bytes: usize,
    pub(crate) unclaimed: Duration,
    pub(crate) reader: Duration,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) execution: Arc<Execution>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Work {
    /// Until it ends, whatever ends it.
    pub(crate) async fn run(self, sender: &mpsc::Sender<FlightData>) -> Outcome {
        let limit = self.limits.time;
        let deadline = self.query.started + limit;
        let work = pin!(self.work(sender));
        tokio::select! {
            biased;
            why = self.query.cancelled() => Outcome::Cancelled(why),
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
        let mut encoder = Encoder::new(self.message_bytes, self.query.question.compression);
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
                self.query.count(rows as u64, bytes);
                self.metrics.rows.inc_by(rows as u64);
                self.metrics.bytes.inc_by(bytes);
                sent += 1;
                // What is over with its first message is announced as over.
                if sent == READY {
                    self.query.announce();
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
