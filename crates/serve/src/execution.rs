//! Where statements are planned and queries run: the one seam between the service and what does the work.
//!
//! Neither happens on the threads that talk to clients, and neither can be made to give way: the engine plans in one go, and a function may keep its
//! thread for as long as its values are long. So planning has few places, each with a thread, and a query of this process has threads of its own. Who
//! is given up is left alone with them, and keeps its place until they have really ended: it starves nobody, and there are never more of them than
//! places.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout_at;
use tonic::Status;

use crate::STACK_BYTES;
use crate::error::{ServeError, fault, internal};
use crate::lock::lock;
use crate::plan::Planned;

/// Statements that are planned at a time, for each thread of a query.
const PLANS: usize = 4;
/// The least number of them.
const FEWEST_PLANS: usize = 8;

/// The threads that plan, and how those that work are made.
pub(crate) struct Execution {
    /// Taken away when it is dropped.
    planning: Option<Runtime>,
    planner: Handle,
    plans: Arc<Semaphore>,
    places: usize,
    /// How many places each user has.
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
    threads: usize,
}

impl Execution {
    /// With so many threads for each query, and as many places to plan in.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(crate) fn new(threads: usize) -> Result<Self, ServeError> {
        let places = (threads * PLANS).max(FEWEST_PLANS);
        // One more thread than there are places sees to what the others wait for.
        let planning = runtime("bytefacts-plan", places + 1).map_err(ServeError::Threads)?;
        let (planner, plans) = (planning.handle().clone(), Arc::new(Semaphore::new(places)));
        Ok(Self { planner, planning: Some(planning), plans, places, taken: Arc::default(), threads })
    }

    /// Does what belongs to planning for somebody, within a time. No user has more than half of the places.
    ///
    /// # Errors
    /// When there is no place, or it is not done in time. It is then given up, and keeps its place until it notices.
    pub(crate) async fn plan<T: Send + 'static>(
        &self,
        user: Option<&str>,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        let deadline = (Instant::now() + limit).into();
        let own = user.map(|user| Own::of(&self.taken, user, self.places / 2)).transpose()?;
        let Ok(place) = timeout_at(deadline, Arc::clone(&self.plans).acquire_owned()).await else {
            return Err(Status::resource_exhausted("too many statements are being planned: ask again in a while"));
        };
        let place = place.map_err(internal)?;
        let planning = Task(self.planner.spawn(async move {
            let done = work.await;
            drop((place, own));
            done
        }));
        match timeout_at(deadline, planning.done()).await {
            Ok(done) => done.map_err(|error| panicked(&error)),
            Err(_) => {
                let text =
                    format!("planning the statement has taken {} s, which is all that it may: ask for less at a time", limit.as_secs());
                Err(Status::deadline_exceeded(text))
            }
        }
    }

    /// Starts what hands over the rows of a query, on threads of its own; of one that a cluster runs, on those that talk to clients, since there is
    /// little left to do.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        planned: &Planned,
        place: OwnedSemaphorePermit,
        work: impl Future<Output = T> + Send + 'static,
    ) -> std::io::Result<Running<T>> {
        if planned.executors.is_some() {
            return Ok(Running { task: Task(tokio::spawn(work)), threads: None, place: Some(place) });
        }
        let threads = runtime("bytefacts-sql", self.threads.max(1))?;
        Ok(Running { task: Task(threads.spawn(work)), threads: Some(threads), place: Some(place) })
    }
}

/// A place that a user has.
struct Own {
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
    user: String,
}

impl Own {
    fn of(taken: &Arc<Mutex<BTreeMap<String, usize>>>, user: &str, most: usize) -> Result<Self, Status> {
        let mut all = lock(taken);
        let count = all.entry(user.to_owned()).or_default();
        if *count >= most {
            return Err(Status::resource_exhausted(format!("{most} statements of yours are being planned: ask again in a while")));
        }
        *count += 1;
        Ok(Self { taken: Arc::clone(taken), user: user.to_owned() })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut all = lock(&self.taken);
        if let Some(count) = all.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.user);
            }
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Some(runtime) = self.planning.take() {
            // It may be dropped where nobody can wait; what still runs has nobody left to read it.
            runtime.shutdown_background();
        }
    }
}

fn runtime(name: &str, threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).thread_stack_size(STACK_BYTES).thread_name(name).enable_all().build()
}

/// The rows of a planned query. To be called on the threads that it runs on.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn rows(planned: &Planned) -> Result<SendableRecordBatchStream> {
    let plan = Arc::clone(&planned.plan);
    match &planned.executors {
        Some(executors) => executors.run(plan, planned.context.session_config()).await,
        None => execute_stream(plan, Arc::clone(&planned.context)),
    }
}

/// What a task that has not ended by itself is to its client.
pub(crate) fn panicked(error: &JoinError) -> Status {
    tracing::error!(%error, "a statement has met a fault");
    fault()
}

/// A query at work. Dropping it gives it up.
pub(crate) struct Running<T> {
    task: Task<T>,
    threads: Option<Runtime>,
    place: Option<OwnedSemaphorePermit>,
}

impl<T> Running<T> {
    /// Waits for its end.
    pub(crate) async fn done(&mut self) -> Result<T, JoinError> {
        (&mut self.task.0).await
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        let (Some(threads), place) = (self.threads.take(), self.place.take()) else { return };
        self.task.0.abort();
        // Waits for what does not give way. It would be nothing for the threads that talk to clients.
        let held = Arc::new(Mutex::new(Some((threads, place))));
        let waiting = Arc::clone(&held);
        let wait = move || {
            let held = lock(&waiting).take();
            drop(held);
        };
        if let Err(error) = std::thread::Builder::new().name("bytefacts-end".to_owned()).spawn(wait) {
            tracing::warn!(%error, "no thread waits for the end of a query");
            if let Some((threads, _place)) = lock(&held).take() {
                threads.shutdown_background();
            }
        }
    }
}

/// A task that ends with whoever waits for it.
struct Task<T>(JoinHandle<T>);

impl<T> Task<T> {
    async fn done(mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
