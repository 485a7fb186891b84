//! `DoPut`: values for the parameters of prepared statements, and statements that answer no rows, of which there is `SET`.

use arrow::array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tonic::{Status, Streaming};

use super::{Service, command, no_transaction, unknown};
use crate::access::Caller;
use crate::gate::Statement;

/// Bytes of values that are bound to a statement.
const MAX_BOUND_BYTES: usize = 16 << 20;

impl Service {
    pub(super) async fn put(&self, caller: &mut Caller, messages: Streaming<FlightData>) -> Result<PutResult, Status> {
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
        if received > MAX_BOUND_BYTES { Err(too_many()) } else { Ok(message) }
    });
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages.map_err(|status| FlightError::Tonic(Box::new(status))));
    let (mut all, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await {
        let batch = match batch {
            Err(FlightError::Tonic(status)) => return Err(*status),
            batch => batch.map_err(|error| broken(&error))?,
        };
        bytes += batch.get_array_memory_size();
        if bytes > MAX_BOUND_BYTES {
            return Err(too_many());
        }
        all.push(batch);
    }
    let Some(first) = all.first() else { return Ok(None) };
    arrow::compute::concat_batches(&first.schema(), &all).map(Some).map_err(|error| broken(&error))
}
