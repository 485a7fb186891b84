//! The edge: what leaves is plain, as it was announced, and in messages that clients take.
//!
//! Views, dictionaries and runs are of use inside; drivers know none of them, or only some. Messages are compressed
//! for those who ask for it: the JDBC driver cannot read such.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::{FlightData, SchemaAsIpc};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use tonic::Status;

use crate::error::{internal, status};
use crate::options::Compression;

/// Bytes that a message of several rows may have: enough that the rest of it weighs nothing, and little to hold for a slow reader.
const TARGET: usize = 4 << 20;

/// What may stand in a message beside the bytes of its batch.
pub(crate) const ENVELOPE: usize = 64 << 10;

/// The schema as clients get it.
pub(crate) fn schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(plain_field);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain(field.data_type());
    if &plain == field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(Field::new(field.name(), plain, field.is_nullable()).with_metadata(field.metadata().clone()))
}

/// The type that holds the same values in the form that every client knows.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::List(element) | DataType::ListView(element) => DataType::List(plain_field(element)),
        DataType::LargeList(element) | DataType::LargeListView(element) => DataType::LargeList(plain_field(element)),
        DataType::FixedSizeList(element, length) => DataType::FixedSizeList(plain_field(element), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        other => other.clone(),
    }
}

/// A batch under the schema that was announced.
///
/// # Errors
/// When the values are others than those announced: a null where none may be, or a type that is not the same in another form.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))
}

/// The message that a result begins with.
pub(crate) fn schema_message(schema: &Schema) -> FlightData {
    SchemaAsIpc::new(schema, &IpcWriteOptions::default()).into()
}

/// The messages of batches, each made when it is asked for.
pub(crate) fn messages(
    batches: BoxStream<'static, Result<RecordBatch, DataFusionError>>,
    message_bytes: usize,
) -> impl Stream<Item = Result<FlightData, Status>> {
    stream::try_unfold((Encoder::new(message_bytes, Compression::None), batches), async |(mut encoder, mut batches)| {
        loop {
            if let Some((message, _)) = encoder.next()? {
                return Ok(Some((message, (encoder, batches))));
            }
            match batches.next().await {
                Some(batch) => encoder.take(batch.map_err(|error| status(&error))?),
                None => return Ok(None),
            }
        }
    })
}

/// Makes messages of batches, one at a time, so that a large batch does not lie in memory a second time.
pub(crate) struct Encoder {
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
    /// Bytes that one row may have.
    most: usize,
    /// What is still to be sent, the next one last.
    pending: Vec<RecordBatch>,
}

impl Encoder {
    /// Of messages of at most so many bytes, sent like this.
    pub(crate) fn new(message_bytes: usize, compression: Compression) -> Self {
        let compression = match compression {
            Compression::None => None,
            Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
            Compression::Zstd => Some(CompressionType::ZSTD),
        };
        Self {
            // Refused only of a version of the format that is not the default.
            options: IpcWriteOptions::default().try_with_compression(compression).unwrap_or_default(),
            dictionaries: DictionaryTracker::new(false),
            context: IpcWriteContext::default(),
            most: message_bytes.saturating_sub(ENVELOPE),
            pending: Vec::new(),
        }
    }

    /// Takes the next batch, once [`Self::next`] has none left.
    pub(crate) fn take(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
    }

    /// The next message and its rows.
    ///
    /// # Errors
    /// When a single row is too large for a message.
    pub(crate) fn next(&mut self) -> Result<Option<(FlightData, usize)>, Status> {
        while let Some(batch) = self.pending.pop() {
            let message = self.message(&batch)?;
            let (bytes, rows) = (message.data_header.len() + message.data_body.len(), batch.num_rows());
            if bytes <= TARGET.min(self.most) || (rows == 1 && bytes <= self.most) {
                return Ok(Some((message, rows)));
            }
            if rows == 1 {
                let most = self.most;
                return Err(Status::resource_exhausted(format!(
                    "a row of the result is {bytes} bytes, and a message holds {most}: ask for fewer columns, or for parts of the long ones"
                )));
            }
            let step = (rows / bytes.div_ceil(TARGET.min(self.most).max(1))).clamp(1, rows - 1);
            let starts = (0..rows).step_by(step).collect::<Vec<_>>();
            self.pending.extend(starts.into_iter().rev().map(|start| batch.slice(start, step.min(rows - start))));
        }
        Ok(None)
    }

    fn message(&mut self, batch: &RecordBatch) -> Result<FlightData, Status> {
        let encoded = IpcDataGenerator::default().encode(batch, &mut self.dictionaries, &self.options, &mut self.context);
        let (dictionaries, batch) = encoded.map_err(internal)?;
        if !dictionaries.is_empty() {
            return Err(internal("a result has dictionaries, which were to be cast"));
        }
        Ok(batch.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::{
        Array as _, ArrayRef, AsArray as _, DictionaryArray, Int32Array, ListArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Int32Type;
    use arrow_flight::utils::flight_data_to_arrow_batch;
    use tonic::Code;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn what_drivers_do_not_know_becomes_plain_however_deep_it_lies() {
        let views: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("a text that is longer than a view holds")]));
        let words: DictionaryArray<Int32Type> = vec![Some("x"), Some("y"), Some("x")].into_iter().collect();
        let inner = StructArray::from(vec![(Arc::new(Field::new("view", DataType::Utf8View, true)), Arc::clone(&views))]);
        let list = ListArray::new(
            Arc::new(Field::new("element", inner.data_type().clone(), false)),
            OffsetBuffer::from_lengths([1, 0, 2]),
            Arc::new(inner),
            None,
        );
        let batch = batch(vec![("views", views), ("words", Arc::new(words)), ("list", Arc::new(list))]);
        let schema = schema(batch.schema_ref());
        assert_eq!(
            schema.fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>(),
            ["Utf8", "Utf8", "List(non-null Struct(\"view\": Utf8), field: 'element')"]
        );
        let conformed = conform(&batch, &schema).unwrap();
        assert_eq!(conformed.column(1).as_string::<i32>().value(1), "y");
        assert!(conformed.column(0).is_null(1));
        assert_eq!(conformed.schema(), schema);
    }

    #[test]
    fn a_null_where_none_was_announced_is_an_error() {
        let batch = batch(vec![("a", Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef)]);
        let announced = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
        assert!(conform(&batch, &announced).is_err());
    }

    /// What comes out of an encoder, decoded again.
    fn sent(batch: RecordBatch, message_bytes: usize) -> Result<Vec<RecordBatch>, Status> {
        let mut encoder = Encoder::new(message_bytes, Compression::None);
        let schema = batch.schema();
        encoder.take(batch);
        let mut batches = Vec::new();
        while let Some((message, rows)) = encoder.next()? {
            assert!(message.data_header.len() + message.data_body.len() <= message_bytes - ENVELOPE);
            let batch = flight_data_to_arrow_batch(&message, Arc::clone(&schema), &HashMap::new()).unwrap();
            assert_eq!(batch.num_rows(), rows);
            batches.push(batch);
        }
        Ok(batches)
    }

    #[test]
    fn batches_are_split_by_their_bytes() {
        // Rows are not alike: most of the bytes are in a few of them.
        let texts = (0..1000).map(|n| if n % 250 == 7 { "x".repeat(6 << 20) } else { n.to_string() });
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        let batch = batch(vec![("text", texts), ("n", Arc::new(Int32Array::from_iter_values(0..1000)))]);
        let batches = sent(batch.clone(), 16 << 20).unwrap();
        assert!(batches.len() > 4, "{}", batches.len());
        assert_eq!(arrow::compute::concat_batches(&batch.schema(), &batches).unwrap(), batch);
    }

    /// The JDBC driver cannot read what is compressed.
    #[test]
    fn messages_are_not_compressed() {
        let mut encoder = Encoder::new(1 << 20, Compression::None);
        encoder.take(batch(vec![("text", Arc::new(StringArray::from(vec!["x".repeat(100_000)])) as ArrayRef)]));
        let (message, _) = encoder.next().unwrap().unwrap();
        let header = arrow_ipc::root_as_message(&message.data_header).unwrap();
        assert!(header.header_as_record_batch().unwrap().compression().is_none());
        assert!(message.data_body.len() > 100_000);
    }

    #[test]
    fn a_row_that_no_message_holds_is_an_error_in_words() {
        let long = |bytes: usize| batch(vec![("text", Arc::new(StringArray::from(vec!["x".repeat(bytes)])) as ArrayRef)]);
        assert_eq!(sent(long(15 << 20), 16 << 20).unwrap().len(), 1);
        let error = sent(long(17 << 20), 16 << 20).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(error.message().contains("fewer columns"), "{}", error.message());
        assert_eq!(sent(long(17 << 20), 32 << 20).unwrap().len(), 1, "unless messages may be larger");
    }

    #[test]
    fn rows_may_have_no_column() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(sent(batch, 1 << 20).unwrap()[0].num_rows(), 3);
    }
}
