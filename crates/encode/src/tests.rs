//! What is written reads back, value by value, as what the `parquet` crate's own writer writes.

use arrow::array::{BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{FieldRef, Fields, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use proptest::prelude::*;

use super::*;

/// Numbers that follow from a seed.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn bits(&mut self, len: usize, one_in: usize) -> Vec<bool> {
        (0..len).map(|_| self.below(one_in) > 0).collect()
    }

    /// A field of any type, lists and structs `depth` deep.
    fn field(&mut self, depth: usize) -> Field {
        let nullable = self.below(3) > 0;
        let data_type = match self.below(if depth > 0 { 10 } else { 6 }) {
            0 => DataType::Boolean,
            1 => DataType::Int32,
            2 => DataType::Int64,
            3 => DataType::Binary,
            4 => DataType::Utf8,
            5 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            6 => {
                let entry = [Field::new("key", DataType::Utf8, false), self.field(depth - 1).with_name("value")];
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(Fields::from_iter(entry)), false)), false)
            }
            7 | 8 => DataType::List(Arc::new(self.field(depth - 1).with_name("element"))),
            _ => DataType::Struct((0..=self.below(3)).map(|n| self.field(depth - 1).with_name(n.to_string())).collect()),
        };
        // The crate's reader finds fault with a struct that is never null inside one that may be, whoever wrote it.
        let nullable = nullable || data_type.is_nested();
        Field::new("field", data_type, nullable)
    }

    /// A column of so many values, nulls over values that are there among them.
    fn column(&mut self, field: &Field, len: usize) -> ArrayRef {
        let one_in = 2 + self.below(12);
        let nulls = (field.is_nullable() && self.below(3) > 0).then(|| NullBuffer::from(self.bits(len, one_in)));
        // Few values or many, near each other or anywhere.
        let spread = [1, 3, 200, usize::MAX][self.below(4)];
        match field.data_type() {
            DataType::Boolean => Arc::new(BooleanArray::new(self.bits(len, spread.min(2)).into(), nulls)),
            DataType::Int32 => Arc::new(Int32Array::new((0..len).map(|_| (self.below(spread) << 1) as i32).collect(), nulls)),
            DataType::Int64 => {
                let value = |noise: &mut Self| (noise.below(spread) as i64).wrapping_mul(noise.below(spread) as i64) << 2;
                Arc::new(Int64Array::new((0..len).map(|_| value(self)).collect(), nulls))
            }
            DataType::Binary => {
                let (offsets, bytes) = self.texts(len, spread, |number| number.to_le_bytes().repeat(number % 5));
                Arc::new(BinaryArray::new(offsets, bytes.into(), nulls))
            }
            DataType::Utf8 => {
                let (offsets, bytes) = self.texts(len, spread, |number| format!("é{number}{}", "x".repeat(number % 40)).into());
                Arc::new(StringArray::new(offsets, bytes.into(), nulls))
            }
            DataType::Dictionary(_, value) => {
                let count = 1 + self.below(spread.min(300));
                let values = self.column(&Field::new("value", value.as_ref().clone(), false), count);
                let keys = Int32Array::new((0..len).map(|_| self.below(count) as i32).collect(), nulls);
                Arc::new(DictionaryArray::new(keys, values))
            }
            DataType::List(element) => {
                let (offsets, elements) = self.lists(element, len);
                Arc::new(ListArray::new(element.clone(), offsets, elements, nulls))
            }
            DataType::Map(entry, _) => {
                let (offsets, entries) = self.lists(entry, len);
                Arc::new(MapArray::new(entry.clone(), offsets, entries.as_struct().clone(), nulls, false))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|field| self.column(field, len)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls))
            }
            other => panic!("{other}"),
        }
    }

    fn texts(&mut self, len: usize, spread: usize, text: impl Fn(usize) -> Vec<u8>) -> (OffsetBuffer<i32>, Vec<u8>) {
        let texts: Vec<Vec<u8>> = (0..len).map(|_| text(self.below(spread))).collect();
        (OffsetBuffer::from_lengths(texts.iter().map(Vec::len)), texts.concat())
    }

    fn lists(&mut self, element: &FieldRef, len: usize) -> (OffsetBuffer<i32>, ArrayRef) {
        let most = [1, 2, 12, 40][self.below(4)];
        // A list may begin behind the first element of its child, and end before the last.
        let (before, after) = (self.below(3), self.below(3));
        let lengths: Vec<usize> = (0..len).map(|_| self.below(most)).collect();
        let elements = self.column(element, before + lengths.iter().sum::<usize>() + after);
        let offsets = OffsetBuffer::<i32>::from_lengths(std::iter::once(before).chain(lengths));
        (offsets.slice(1, len), elements)
    }
}

fn read(file: Vec<u8>) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.with_batch_size(7).build().unwrap().map(std::result::Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Writes the batches, closing the row group after those named.
fn encode(schema: &SchemaRef, batches: &[RecordBatch], flushed: &[bool]) -> Vec<u8> {
    let properties = FileProperties::new(schema, &EncodeOptions::default()).unwrap();
    let mut encoder = FileEncoder::try_new(Vec::new(), schema, &properties).unwrap();
    for (batch, flush) in batches.iter().zip(flushed) {
        encoder.write(batch).unwrap();
        if *flush {
            encoder.flush().unwrap();
            assert_eq!((encoder.rows(), encoder.bytes()), (0, 0));
        }
    }
    encoder.finish().unwrap();
    encoder.inner().clone()
}

fn encode_with_arrow_writer(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
    // Told the Arrow schema, readers would make dictionaries of texts again.
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_nested_rows_read_back(
        seed in any::<u64>(),
        batches in proptest::collection::vec((prop_oneof![0..4_usize, 0..300_usize], 0..3_usize, any::<bool>()), 1..5),
    ) {
        let mut noise = Noise(seed);
        let fields: Vec<Field> = (0..=noise.below(3)).map(|n| noise.field(4).with_name(n.to_string())).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let flushed: Vec<bool> = batches.iter().map(|(_, _, flush)| *flush).collect();
        let batches: Vec<RecordBatch> = batches.into_iter().map(|(rows, cut, _)| {
            let columns = schema.fields().iter().map(|field| noise.column(field, rows + 2 * cut)).collect();
            RecordBatch::try_new(schema.clone(), columns).unwrap().slice(cut, rows)
        }).collect();
        let ours = read(encode(&schema, &batches, &flushed));
        prop_assert_eq!(&ours, &read(encode_with_arrow_writer(&schema, &batches)));
        let written = concat_batches(&schema, &batches).unwrap();
        for (read, written) in ours.columns().iter().zip(written.columns()) {
            prop_assert_eq!(read, &cast(written, read.data_type()).unwrap());
        }
    }
}
