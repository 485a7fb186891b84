//! Rows that come as they are read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::{Action, CancelFlightInfoRequest, FlightInfo};
use bytefacts_query::Underway;
use datafusion::common::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_plan::EmptyRecordBatchStream;
use futures::{Stream, StreamExt as _};
use prost::Message as _;

use crate::connect::Client;
use crate::error::ClientError;

/// What a server answers to a statement.
pub struct Answer {
    stream: SendableRecordBatchStream,
    has_rows: bool,
}

impl Answer {
    /// That of a statement without rows.
    pub(crate) fn empty(schema: SchemaRef) -> Self {
        Self { stream: Box::pin(EmptyRecordBatchStream::new(schema)), has_rows: false }
    }

    /// Of a stream that was just begun.
    pub(crate) fn new(schema: SchemaRef, stream: FlightRecordBatchStream, underway: Underway, address: String) -> Self {
        Self { stream: Box::pin(Rows { schema, stream, underway, address }), has_rows: true }
    }

    /// Its columns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// Whether it is of a query, not of a statement that sets something.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        self.has_rows
    }

    /// Its rows, in batches.
    #[must_use]
    pub fn into_stream(self) -> SendableRecordBatchStream {
        self.stream
    }
}

struct Rows {
    schema: SchemaRef,
    stream: FlightRecordBatchStream,
    underway: Underway,
    address: String,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.stream.poll_next_unpin(context));
        if !matches!(next, Some(Ok(_))) {
            self.underway.is_over();
        }
        Poll::Ready(next.map(|batch| batch.map_err(|error| ClientError::of_flight(&self.address, error).into())))
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

/// Ends a query on the server. It may be over meanwhile, or the server gone: then there is nothing to end.
pub(crate) async fn cancel(mut client: Client, info: FlightInfo) {
    let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec().into();
    if let Err(error) = client.do_action(Action { r#type: "CancelFlightInfo".to_owned(), body }).await {
        tracing::debug!(%error, "a query that nobody waits for could not be ended");
    }
}
