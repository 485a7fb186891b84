//! The threads on which a query runs. An operator may keep its thread for a long time without giving way, and where all threads of a runtime are
//! kept, nobody hears signals, and no other query gets on: each has threads of its own, and is left alone with them when it is given up.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::DataFrame;
use futures::{Stream, StreamExt as _};
use tokio::runtime::{Builder, Runtime};

/// Runs a query on threads of its own. Whoever drops the stream gives it up.
///
/// # Errors
/// When it cannot be started, or the system has no threads.
pub async fn run(frame: DataFrame) -> Result<SendableRecordBatchStream> {
    let threads = Threads::start()?;
    let started = threads.runtime()?.spawn(frame.execute_stream()).await;
    let mut stream = started.map_err(|error| DataFusionError::External(Box::new(error)))??;
    let mut builder = RecordBatchReceiverStream::builder(stream.schema(), 2);
    let batches = builder.tx();
    let read = async move {
        while let Some(batch) = stream.next().await {
            if batches.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    builder.spawn_on(read, threads.runtime()?.handle());
    Ok(Box::pin(OnThreads { stream: builder.build(), _threads: threads }))
}

/// A runtime that can be let go of anywhere.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(crate::STACK_BYTES).thread_name("sql").build();
        Ok(Self(Some(runtime.map_err(DataFusionError::IoError)?)))
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.0.as_ref().ok_or_else(|| DataFusionError::Internal("there are no threads for the query".to_owned()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Nobody waits for what still runs.
            runtime.shutdown_background();
        }
    }
}

/// A stream, with the threads that make it.
struct OnThreads {
    stream: SendableRecordBatchStream,
    _threads: Threads,
}

impl Stream for OnThreads {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

impl RecordBatchStream for OnThreads {
    fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }
}
