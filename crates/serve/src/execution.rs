//! Where queries run: the one seam between the service and what does the work.
//!
//! A planned query goes in and a stream of batches comes out: of this process, on threads of its own, or of a cluster. Dropping the stream ends the
//! work.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::STACK_BYTES;
use crate::error::ServeError;
use crate::planner::Planned;

/// The threads that plan and work, apart from those that talk to clients, so that a heavy query keeps nobody from being answered.
pub(crate) struct Execution {
    /// Taken away when it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Execution {
    /// With so many threads.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(crate) fn new(threads: usize) -> std::result::Result<Self, ServeError> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(threads.max(1)).thread_stack_size(STACK_BYTES).thread_name("bytefacts-sql").enable_all();
        let runtime = builder.build().map_err(ServeError::Threads)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Starts a query.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) async fn run(&self, planned: &Planned) -> Result<SendableRecordBatchStream> {
        let plan = Arc::clone(&planned.plan);
        match &planned.executors {
            Some(executors) => executors.run(plan, planned.context.session_config()).await,
            None => {
                let _threads = self.handle.enter();
                execute_stream(plan, Arc::clone(&planned.context))
            }
        }
    }

    /// Does something on the threads; when what is returned is dropped, it is given up.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let task = self.handle.spawn(work);
        Task { abort: task.abort_handle(), task }
    }

    /// Does something on the threads to its end.
    pub(crate) fn detach(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where nobody can wait; what still runs has nobody left to read it.
            runtime.shutdown_background();
        }
    }
}

/// Work that ends with whoever waits for it.
pub(crate) struct Task<T> {
    task: JoinHandle<T>,
    abort: AbortHandle,
}

impl<T> Future for Task<T> {
    type Output = std::result::Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
