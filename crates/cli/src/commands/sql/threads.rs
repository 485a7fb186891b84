//! The threads on which queries run. An operator may keep its thread for a long time without giving way, and where all threads of a runtime are
//! kept, nobody hears signals: those are heard by another.

use anyhow::Context as _;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::prelude::DataFrame;
use futures::StreamExt as _;
use tokio::runtime::{Builder, Runtime};

/// A runtime of their own.
pub struct Threads(Option<Runtime>);

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// When the system has none.
    pub fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(crate::STACK_BYTES).thread_name("sql").build();
        Ok(Self(Some(runtime.context("cannot start the threads for queries")?)))
    }

    /// Runs a query. Whoever drops the stream gives it up.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(&self, frame: DataFrame) -> Result<SendableRecordBatchStream> {
        let Some(runtime) = &self.0 else { return Err(DataFusionError::Internal("there are no threads for queries".to_owned())) };
        let started = runtime.spawn(frame.execute_stream()).await;
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
        builder.spawn_on(read, runtime.handle());
        Ok(builder.build())
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
