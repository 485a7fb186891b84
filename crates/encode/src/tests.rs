//! What is written reads back, value by value, as what the `parquet` crate's own writer writes.

use arrow::array::{BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, MapArray, StringArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{FieldRef, Fields, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{BoundaryOrder, Encoding, Type};
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ColumnChunkMetaDataBuilder, ColumnIndexBuilder, ParquetColumnIndex, ParquetOffsetIndex, RowGroupMetaData};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::{Statistics, ValueStatistics};
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
    read_with(ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap())
}

/// Reads some rows; the reader finds by the index in which pages they are, and looks at no other.
fn read_rows(file: Vec<u8>, rows: RowSelection) -> RecordBatch {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    read_with(ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::from(file), options).unwrap().with_row_selection(rows))
}

fn read_with(reader: ParquetRecordBatchReaderBuilder<Bytes>) -> RecordBatch {
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> = reader.with_batch_size(7).build().unwrap().map(std::result::Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Writes the batches, closing the row group after those named.
fn encode(schema: &SchemaRef, batches: &[RecordBatch], flushed: &[bool]) -> Vec<u8> {
    encode_and_count(schema, batches, flushed).0
}

/// The same, and how many elements the lists have.
fn encode_and_count(schema: &SchemaRef, batches: &[RecordBatch], flushed: &[bool]) -> (Vec<u8>, BTreeMap<String, u64>) {
    let properties = FileProperties::new(schema, &EncodeOptions::default()).unwrap();
    let mut encoder = FileEncoder::try_new(Vec::new(), schema, &properties).unwrap();
    for (batch, flush) in batches.iter().zip(flushed) {
        encoder.write(batch).unwrap();
        assert!(encoder.memory() >= encoder.bytes());
        if *flush {
            encoder.flush().unwrap();
            assert_eq!((encoder.rows(), encoder.bytes()), (0, 0));
        }
    }
    encoder.finish().unwrap();
    (encoder.inner().clone(), encoder.elements())
}

fn encode_with_arrow_writer(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
    encode_with_arrow_writer_in_pages(schema, batches, 1 << 20)
}

/// Pages of so many rows.
fn encode_with_arrow_writer_in_pages(schema: &SchemaRef, batches: &[RecordBatch], rows: usize) -> Vec<u8> {
    // Told the Arrow schema, readers would make dictionaries of texts again.
    let properties = WriterProperties::builder()
        .set_statistics_truncate_length(Some(bound::MAX_BYTES))
        .set_column_index_truncate_length(Some(bound::MAX_BYTES))
        .set_data_page_row_count_limit(rows)
        .set_write_batch_size(rows)
        .build();
    let options = ArrowWriterOptions::new().with_skip_arrow_metadata(true).with_properties(properties);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn metadata(file: &[u8]) -> ParquetMetaData {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.parse_and_finish(&Bytes::copy_from_slice(file)).unwrap()
}

type Bound<'a> = Option<(&'a [u8], bool)>;

/// Null count, least and greatest value of a leaf in a row group; of these whether they are exact.
fn statistics(metadata: &ParquetMetaData, group: usize, leaf: usize) -> Option<(Option<u64>, Bound<'_>, Bound<'_>)> {
    let found = metadata.row_group(group).column(leaf).statistics()?;
    let least = found.min_bytes_opt().map(|least| (least, found.min_is_exact()));
    let greatest = found.max_bytes_opt().map(|greatest| (greatest, found.max_is_exact()));
    Some((found.null_count_opt(), least, greatest))
}

/// Texts around the length of a bound, of characters that can and that cannot be put up by one.
fn long_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![Just('a'), Just('é'), Just('\u{7f}'), Just('\u{d7ff}'), Just('\u{10ffff}'), any::<char>()];
    let tail = proptest::collection::vec(any::<char>(), 0..4).prop_map(String::from_iter);
    (character, 0..=bound::MAX_BYTES + 2, tail)
        .prop_map(|(character, count, tail)| format!("{}{tail}", character.to_string().repeat(count)))
}

fn filtered_row() -> impl Strategy<Value = Filtered> {
    let optional_text = proptest::option::of(any::<String>());
    (proptest::option::of(long_text()), long_text(), any::<String>(), optional_text, proptest::option::of(any::<(i32, i64)>()))
}

/// A row of the columns that readers filter by.
type Filtered = (Option<String>, String, String, Option<String>, Option<(i32, i64)>);

fn filtered(rows: &[Filtered]) -> RecordBatch {
    let optional = |of: fn(&Filtered) -> Option<String>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let columns = [
        ("repo", optional(|row| row.0.clone()), true),
        ("path", optional(|row| Some(row.1.clone())), false),
        ("file_id", optional(|row| Some(row.2.clone())), false),
        ("file_sha256", optional(|row| row.3.clone()), true),
        ("source_lines", Arc::new(rows.iter().map(|row| row.4.map(|(lines, _)| lines)).collect::<Int32Array>()), true),
        ("source_bytes", Arc::new(rows.iter().map(|row| row.4.map(|(_, bytes)| bytes)).collect::<Int64Array>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn a_column_of_nulls_alone_has_their_count() {
    let batch = filtered(&[(None, "a".into(), "1".into(), None, None), (None, "b".into(), "2".into(), None, None)]);
    let file = encode(&batch.schema(), &[batch], &[true]);
    assert_eq!(statistics(&metadata(&file), 0, 3), Some((Some(2), None, None)));
}

#[test]
fn files_say_what_they_are_sorted_by_and_who_wrote_them() {
    let batch = filtered(&[(None, "a".into(), "1".into(), None, None)]);
    let metadata = metadata(&encode(&batch.schema(), std::slice::from_ref(&batch), &[true]));
    let sorting = metadata.row_group(0).sorting_columns().unwrap();
    let sorting: Vec<_> = sorting.iter().map(|column| (column.column_idx, column.descending, column.nulls_first)).collect();
    assert_eq!(sorting, [(0, false, true), (1, false, false)]);
    // What parquet-java's pattern needs: `(.*?) version (.*?) \(build (.*?)\)`.
    let (application, version) = metadata.file_metadata().created_by().unwrap().split_once(" version ").unwrap();
    let (version, build) = version.split_once(" (build ").unwrap();
    assert_eq!((application, version), ("bytefacts", env!("CARGO_PKG_VERSION")));
    assert!(build.strip_suffix(')').is_some_and(|build| !build.is_empty()), "{build}");
}

/// Not all readers know the encodings that Parquet has got later.
#[test]
fn texts_are_encoded_as_old_readers_know_it() {
    let [few, many]: [ArrayRef; 2] =
        [1, 1000].map(|distinct| Arc::new((0..1000).map(|n| Some(format!("{}", n % distinct))).collect::<StringArray>()) as ArrayRef);
    let batch = RecordBatch::try_from_iter([("few", few), ("many", many)]).unwrap();
    let metadata = metadata(&encode(&batch.schema(), &[batch], &[true]));
    let encodings = |leaf: usize| metadata.row_group(0).column(leaf).encodings().collect::<Vec<_>>();
    assert_eq!(encodings(0), [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY]);
    assert_eq!(encodings(1), [Encoding::PLAIN, Encoding::RLE]);
}

/// Texts that a dictionary makes small are large again for who reads them.
#[test]
fn a_row_group_is_closed_before_a_leaf_is_too_large_decoded() {
    let values: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000)]));
    let texts: ArrayRef = Arc::new(DictionaryArray::new(Int32Array::from(vec![0; 10]), values));
    let element = Arc::new(Field::new("element", texts.data_type().clone(), false));
    // Rows of 3, 1, 0 and 6 texts.
    let lists = ListArray::new(element, OffsetBuffer::from_lengths([3, 1, 0, 6]), texts, None);
    let batch = RecordBatch::try_from_iter([("texts", Arc::new(lists) as ArrayRef)]).unwrap();
    let options = EncodeOptions { leaf_bytes: 4100, ..EncodeOptions::default() };
    let properties = FileProperties::new(&batch.schema(), &options).unwrap();
    let mut encoder = FileEncoder::try_new(Vec::new(), &batch.schema(), &properties).unwrap();
    encoder.write(&batch).unwrap();
    encoder.finish().unwrap();
    let metadata = metadata(encoder.inner());
    // The last row takes more than a row group should, alone.
    assert_eq!(metadata.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [3, 1]);
    let expected = cast(batch.column(0), read(encoder.inner().clone()).column(0).data_type()).unwrap();
    assert_eq!(read(encoder.inner().clone()).column(0), &expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn statistics_and_indexes_are_those_of_the_crates_own_writer(
        rows in proptest::collection::vec(filtered_row(), 1..12),
        in_page in 1..5_usize,
    ) {
        let batch = filtered(&rows);
        let pages: Vec<RecordBatch> =
            (0..rows.len()).step_by(in_page).map(|start| batch.slice(start, in_page.min(rows.len() - start))).collect();
        let file = encode(&batch.schema(), &pages, &vec![false; pages.len()]);
        let ours = metadata(&file);
        let theirs = metadata(&encode_with_arrow_writer_in_pages(&batch.schema(), std::slice::from_ref(&batch), in_page));
        for leaf in 0..batch.num_columns() {
            prop_assert!(statistics(&ours, 0, leaf).is_some());
            prop_assert_eq!(statistics(&ours, 0, leaf), statistics(&theirs, 0, leaf));
            prop_assert_eq!(column_index(&ours, leaf), column_index(&theirs, leaf));
            let first_rows = |metadata: &ParquetMetaData| {
                let pages = metadata.offset_index().unwrap()[0][leaf].page_locations();
                pages.iter().map(|page| page.first_row_index).collect::<Vec<_>>()
            };
            prop_assert_eq!(first_rows(&ours), first_rows(&theirs));
        }
        prop_assert_eq!(check(&file, ours), []);
    }
}

/// What the index says of the pages of a leaf, but for the histograms of levels, which only the crate writes.
fn column_index(metadata: &ParquetMetaData, leaf: usize) -> String {
    let index = &metadata.column_index().unwrap()[0][leaf];
    let text = format!("{index:?}");
    let (before, histograms) = text.split_once("repetition_level_histograms").unwrap();
    format!("{before} {} {:?}", histograms.split_once("min_values").map_or("", |(_, values)| values), index.null_counts())
}

/// What [`StatisticsCheck`] finds in a file that says this of itself.
fn check(file: &[u8], metadata: ParquetMetaData) -> Vec<Violation> {
    let mut check = StatisticsCheck::new(Arc::new(metadata));
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(file)).unwrap();
    reader.with_batch_size(3).build().unwrap().for_each(|batch| check.take(&batch.unwrap()));
    check.finish()
}

/// A file of two row groups, the first of two pages, with a value changed in what it says of itself.
fn damaged(change: impl FnOnce(&mut Vec<RowGroupMetaData>, &mut ParquetColumnIndex, &mut ParquetOffsetIndex)) -> Vec<String> {
    let row = |path: &str, sha256: Option<&str>| {
        (Some("r".to_owned()), path.to_owned(), path.to_owned(), sha256.map(str::to_owned), Some((1, path.len() as i64)))
    };
    let batches = [
        filtered(&[row("a", None), row("b", Some("x"))]),
        filtered(&[row("c", None)]),
        filtered(&[row("dd", Some("y")), row("e", Some("z"))]),
    ];
    let file = encode(&batches[0].schema(), &batches, &[false, true, false]);
    let metadata = metadata(&file);
    let (mut groups, mut columns, mut offsets) =
        (metadata.row_groups().to_vec(), metadata.column_index().unwrap().clone(), metadata.offset_index().unwrap().clone());
    change(&mut groups, &mut columns, &mut offsets);
    let builder = metadata.into_builder().set_row_groups(groups);
    let metadata = builder.set_column_index(Some(columns)).set_offset_index(Some(offsets)).build();
    check(&file, metadata).iter().map(ToString::to_string).collect()
}

/// A row group whose column has other statistics.
fn with_statistics(group: &RowGroupMetaData, leaf: usize, statistics: Option<Statistics>) -> RowGroupMetaData {
    let mut columns = group.columns().to_vec();
    let builder = columns[leaf].clone().into_builder().clear_statistics();
    columns[leaf] = statistics.into_iter().fold(builder, ColumnChunkMetaDataBuilder::set_statistics).build().unwrap();
    group.clone().into_builder().set_column_metadata(columns).build().unwrap()
}

fn texts(least: &str, greatest: &str, nulls: Option<u64>) -> Option<Statistics> {
    let bound = |text: &str| Some(ByteArray::from(text.as_bytes().to_vec()));
    Some(Statistics::ByteArray(ValueStatistics::new(bound(least), bound(greatest), None, nulls, false)))
}

#[test]
fn whatever_a_file_says_of_its_values_and_is_not_so_is_found() {
    assert_eq!(damaged(|_, _, _| ()), [""; 0]);
    // Chunks: a count of nulls that is missing or wrong, bounds that leave values out, bounds of nothing.
    let statistics =
        |leaf, statistics: Option<Statistics>| damaged(|groups, _, _| groups[0] = with_statistics(&groups[0], leaf, statistics));
    assert_eq!(statistics(3, texts("x", "x", None)), ["row group 0, column file_sha256: bounds without a count of nulls"]);
    assert_eq!(statistics(3, texts("x", "x", Some(1))), ["row group 0, column file_sha256: 1 nulls, where there are 2"]);
    assert_eq!(statistics(1, texts("b", "c", Some(0))), [r#"row group 0, column path: least value "b", where it is "a""#]);
    assert_eq!(statistics(1, texts("a", "b", Some(0))), [r#"row group 0, column path: greatest value "b", where it is "c""#]);
    let numbers = Statistics::int64(Some(2), Some(2), None, Some(0), false);
    assert_eq!(statistics(5, Some(numbers)).len(), 2);
    assert_eq!(statistics(1, None), [""; 0]);
    // Pages: the same of each, and what order they are in.
    let page = |leaf, change: fn(&mut ColumnIndexBuilder)| {
        damaged(|_, columns, _| {
            let mut builder = ColumnIndexBuilder::new(Type::BYTE_ARRAY);
            builder.set_boundary_order(BoundaryOrder::ASCENDING);
            change(&mut builder);
            columns[0][leaf] = builder.build().unwrap();
        })
    };
    let sound = page(1, |index| {
        index.append(false, b"a".into(), b"b".into(), 0);
        index.append(false, b"c".into(), b"c".into(), 0);
    });
    assert_eq!(sound, [""; 0]);
    let found = page(1, |index| {
        index.append(false, b"a".into(), b"a".into(), 0);
        index.append(false, b"c".into(), b"c".into(), 1);
    });
    assert_eq!(
        found,
        [
            r#"row group 0, column path, page 0: greatest value "a", where it is "b""#,
            "row group 0, column path, page 1: 1 nulls, where there are 0"
        ]
    );
    let found = page(3, |index| {
        index.append(true, Vec::new(), Vec::new(), 1);
        index.append(false, b"x".into(), b"x".into(), 1);
    });
    let nulls = ["a page of nulls alone: true", "a page of nulls alone: false", "bounds of no values"];
    assert!(nulls.iter().all(|reason| found.iter().any(|found| found.ends_with(reason))), "{found:?}");
    let found = page(1, |index| {
        index.append(false, b"a".into(), b"b".into(), 0);
        index.append(false, b"c".into(), b"c".into(), 0);
        index.set_boundary_order(BoundaryOrder::DESCENDING);
    });
    assert_eq!(found, ["row group 0, column path: pages that are said to descend"]);
    let found = page(1, |index| index.append(false, b"a".into(), b"c".into(), 0));
    assert_eq!(found, ["row group 0, column path: an index of 1 pages, where there are 2"]);
    // Where pages begin.
    let offset = |change: fn(&mut OffsetIndexMetaData)| damaged(|_, _, offsets| change(&mut offsets[0][2]));
    assert!(!offset(|index| index.page_locations[1].first_row_index = 1).is_empty());
    assert!(!offset(|index| index.page_locations[1].first_row_index = 3).is_empty());
    assert!(!offset(|index| index.page_locations[1].offset -= 1).is_empty());
    assert!(!offset(|index| index.page_locations[1].compressed_page_size += 1).is_empty());
    assert!(!offset(|index| index.page_locations.truncate(1)).is_empty());
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
        let (file, elements) = encode_and_count(&schema, &batches, &flushed);
        let ours = read(file.clone());
        // Counted from levels where they are written, from offsets where they are read.
        let mut counts = ElementCounts::default();
        counts.take(&ours);
        prop_assert_eq!(elements, counts.finish());
        prop_assert_eq!(&ours, &read(encode_with_arrow_writer(&schema, &batches)));
        prop_assert_eq!(check(&file, metadata(&file)), []);
        // Any rows are found by the index that says which pages they are in.
        let start = noise.below(ours.num_rows() + 1);
        let length = noise.below(ours.num_rows() - start + 1);
        let some = RowSelection::from_consecutive_ranges(std::iter::once(start..start + length), ours.num_rows());
        prop_assert_eq!(&ours.slice(start, length), &read_rows(file, some));
        let written = concat_batches(&schema, &batches).unwrap();
        for (read, written) in ours.columns().iter().zip(written.columns()) {
            prop_assert_eq!(read, &cast(written, read.data_type()).unwrap());
        }
    }
}
