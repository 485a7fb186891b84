//! `DoPut`: values for the parameters of prepared statements, and statements that answer no rows, of which there is `SET`.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{Service, command, no_transaction, unknown};
use crate::access::Caller;
use crate::error::{internal, status};
use crate::gate::Statement;
use crate::width;

/// Bytes of values that are bound to a statement.
const MAX_BOUND_BYTES: usize = 16 << 20;

/// Clients that put values at a time; the others wait for their turn.
pub(crate) const PUTS: usize = 16;

/// The longest that values may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

impl Service {
    /// What is put by whoever is done with it in time.
    pub(super) async fn put_in_time(&self, caller: &mut Caller, messages: Streaming<FlightData>) -> Result<PutResult, Status> {
        let put = async {
            let _place = self.puts.acquire().await.map_err(internal)?;
            self.put(caller, messages).await
        };
        let late = || Status::deadline_exceeded(format!("what is put has not come within {} s", PATIENCE.as_secs()));
        timeout(PATIENCE, put).await.unwrap_or_else(|_| Err(late()))
    }

    async fn put(&self, caller: &mut Caller, messages: Streaming<FlightData>) -> Result<PutResult, Status> {
        let mut messages = messages.peekable();
        let first = std::pin::Pin::new(&mut messages).peek().await;
        let descriptor = match first {
            Some(Ok(first)) => first.flight_descriptor.clone(),
            Some(Err(status)) => return Err(status.clone()),
            None => None,
        };
        let Some(descriptor) = descriptor else {
            return Err(Status::invalid_argument("what is put says in its first message what it is for"));
        };
        match command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(update) => {
                no_transaction(update.transaction_id.as_deref())?;
                let statement = self.read(&update.query, caller).await?;
                self.update(caller, &statement).await
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let prepared = self.prepared.get(&update.prepared_statement_handle, caller.user.as_deref())?;
                self.update(caller, &prepared.statement).await
            }
            Command::CommandPreparedStatementQuery(query) => {
                let handle = query.prepared_statement_handle;
                self.prepared.get(&handle, caller.user.as_deref())?;
                let values = values(messages).await?;
                if let Some(values) = values {
                    self.prepared.bind(&handle, caller.user.as_deref(), values)?;
                }
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            other => Err(unknown(other.type_url())),
        }
    }

    async fn update(&self, caller: &mut Caller, statement: &Statement) -> Result<PutResult, Status> {
        let Statement::Set { name, value } = statement else {
            return Err(Status::invalid_argument("the statement answers rows: run it as a query, not as an update"));
        };
        self.set(caller, name, value.as_deref()).await?;
        Ok(PutResult { app_metadata: DoPutUpdateResult { record_count: 0 }.encode_to_vec().into() })
    }
}

/// The values that were put, in one batch.
async fn values(messages: futures::stream::Peekable<Streaming<FlightData>>) -> Result<Option<RecordBatch>, Status> {
    let broken = |error: &dyn std::fmt::Display| Status::invalid_argument(format!("the values cannot be read: {error}"));
    let too_many = || Status::resource_exhausted(format!("the values are more than {MAX_BOUND_BYTES} bytes"));
    // Counted as they come: dictionaries make no batch.
    let mut received = 0;
    let messages = messages.map(move |message| {
        let message = message?;
        received += message.data_header.len() + message.data_body.len();
        if received > MAX_BOUND_BYTES {
            return Err(too_many());
        }
        if is_compressed(&message) {
            // It says itself how large it becomes, and that much is taken before anybody counts.
            return Err(Status::invalid_argument("the values are compressed: send them as they are"));
        }
        Ok(message)
    });
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(|status| FlightError::Tonic(Box::new(status))));
    let (mut all, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await {
        let batch = match batch {
            Err(FlightError::Tonic(status)) => return Err(*status),
            batch => batch.map_err(|error| broken(&error))?,
        };
        width::check_values(&batch.schema()).map_err(|error| status(&error))?;
        bytes += batch.get_array_memory_size();
        if bytes > MAX_BOUND_BYTES {
            return Err(too_many());
        }
        all.push(batch);
    }
    let Some(first) = all.first() else { return Ok(None) };
    arrow::compute::concat_batches(&first.schema(), &all).map(Some).map_err(|error| broken(&error))
}

/// Whether the buffers of a message are compressed. What is no message is refused by whoever reads it.
fn is_compressed(message: &FlightData) -> bool {
    let Ok(message) = arrow_ipc::root_as_message(&message.data_header) else { return false };
    let batch = message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch()?.data());
    batch.is_some_and(|batch| batch.compression().is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};
    use arrow_flight::encode::FlightDataEncoderBuilder;
    use arrow_ipc::CompressionType;
    use arrow_ipc::writer::IpcWriteOptions;

    use super::*;

    #[tokio::test]
    async fn values_that_say_themselves_how_large_they_become_are_seen() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1_000)]));
        let batch = RecordBatch::try_from_iter([("v", texts)]).unwrap();
        for (compression, expected) in [(None, false), (Some(CompressionType::LZ4_FRAME), true), (Some(CompressionType::ZSTD), true)] {
            let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
            let rows = futures::stream::iter([Ok(batch.clone())]);
            let messages: Vec<_> = FlightDataEncoderBuilder::new().with_options(options).build(rows).try_collect().await.unwrap();
            assert_eq!(messages.iter().any(is_compressed), expected, "{compression:?}");
        }
    }
}
