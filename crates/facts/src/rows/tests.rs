use arrow::{
    array::{Array, ArrayRef, AsArray, StructArray},
    datatypes::{DataType, Int32Type, Int64Type},
};
use proptest::prelude::*;

use super::{
    column::{Booleans, Column, Int32s, List, Map, Texts, record},
    *,
};
use crate::{Severity, schema};

/// `tests/small.py` as CPython 3.13.0 marshals it, in version 2.
const SMALL: &[u8] = include_bytes!("tests/small.marshal");
const SMALL_SOURCE: &[u8] = include_bytes!("tests/small.py");

fn attrs(include_cfg: bool) -> RunAttrs {
    RunAttrs {
        python_version: "3.13.0".into(),
        python_magic: "f30d0d0a".into(),
        python_implementation: "CPython".into(),
        optimize: 0,
        dont_inherit: true,
        adaptive: false,
        include_cfg,
        analyzer_version: "0.1.0".into(),
    }
}

fn small() -> FileInput<'static> {
    FileInput { repo: Some("r"), path: "pkg/small.py", source: Some(SMALL_SOURCE), code: Some(SMALL), ..FileInput::default() }
}

fn builder(max_file_bytes: usize) -> RowBuilder {
    RowBuilder::new(&attrs(true), Options { max_file_bytes, ..Options::default() })
}

/// A value as text: structs as `{name: value}` without nulls and empty lists, lists one element a line.
fn show(array: &ArrayRef, row: usize, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match array.data_type() {
        DataType::Utf8 => out.push_str(&format!("{:?}", array.as_string::<i32>().value(row))),
        DataType::Int32 => out.push_str(&array.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => out.push_str(&array.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Boolean => out.push_str(&array.as_boolean().value(row).to_string()),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
            let pairs: Vec<_> = keys.iter().zip(values).map(|(key, value)| format!("{}: {}", key.unwrap(), value.unwrap())).collect();
            out.push_str(&format!("{{{}}}", pairs.join(", ")));
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            for item in 0..items.len() {
                out.push_str(&format!("\n{indent}- "));
                show(&items, item, depth + 1, out);
            }
        }
        DataType::Struct(fields) => {
            let array: &StructArray = array.as_struct();
            let mut separator = "";
            for (field, column) in fields.iter().zip(array.columns()) {
                let empty = match field.data_type() {
                    DataType::List(_) => column.as_list::<i32>().value_length(row) == 0,
                    DataType::Map(..) => column.as_map().value_length(row) == 0,
                    _ => false,
                };
                if column.is_valid(row) && !empty {
                    out.push_str(&format!("{separator}{}: ", field.name()));
                    separator = if depth < 2 { "\n" } else { ", " };
                    show(column, row, depth + 1, out);
                }
            }
        }
        other => panic!("{other}"),
    }
}

fn text_of(batch: RecordBatch) -> String {
    let rows: ArrayRef = Arc::new(StructArray::from(batch));
    let mut out = String::new();
    for row in 0..rows.len() {
        show(&rows, row, 0, &mut out);
        out.push_str("\n\n");
    }
    out
}

#[test]
fn columns_bear_the_names_of_the_schema() {
    use super::{file::Errors, flow::*, instruction::*, unit::*};
    let names = |record: &schema::Record| record.columns.iter().map(|column| column.name).collect::<Vec<_>>();
    for (record, columns) in [
        (&schema::FILE, Files::COLUMNS),
        (&schema::ERROR, Errors::COLUMNS),
        (&schema::CODE_OBJECT, Units::COLUMNS),
        (&schema::FLAGS, Flags::COLUMNS),
        (&schema::CONST, Consts::COLUMNS),
        (&schema::LINE, Lines::COLUMNS),
        (&schema::EXCEPTION, Exceptions::COLUMNS),
        (&schema::EVENT, Events::COLUMNS),
        (&schema::BLOCK, Blocks::COLUMNS),
        (&schema::CFG_EDGE, CfgEdges::COLUMNS),
        (&schema::DFG_EDGE, DfgEdges::COLUMNS),
        (&schema::INSTRUCTION, Instructions::COLUMNS),
        (&schema::CACHE, Caches::COLUMNS),
        (&schema::SPAN, Spans::COLUMNS),
        (&schema::POINT, Points::COLUMNS),
        (&schema::BYTE_SPAN, ByteSpans::COLUMNS),
    ] {
        assert_eq!(names(record), columns, "{}", record.name);
    }
}

#[test]
fn a_small_file_in_full() {
    let mut builder = builder(usize::MAX);
    let stats = builder.append(small()).unwrap();
    assert_eq!((stats.units, stats.errors.len()), (3, 0));
    assert_eq!(stats.bytes, builder.bytes() - RowBuilder::new(&attrs(true), Options::default()).bytes());
    insta::assert_snapshot!(text_of(builder.finish().unwrap()));
}

#[test]
fn a_file_that_failed_has_its_row_and_its_errors() {
    let mut builder = builder(usize::MAX);
    let error = FactError {
        error_type: "SyntaxError".into(),
        message: "invalid syntax".into(),
        stage: "compile".into(),
        line1: Some(1),
        col: Some(2),
        source_line: Some("x y".into()),
        ..FactError::default()
    };
    let warning = FactError { severity: Severity::Warning, error_type: "SyntaxWarning".into(), ..error.clone() };
    let errors = vec![error, warning];
    let broken = FileInput { path: "broken.py", source: Some(b"x y"), sha256: Some([7; 32]), errors, ..FileInput::default() };
    let stats = builder.append(broken).unwrap();
    assert_eq!((stats.units, stats.errors.len(), stats.marshal_digest), (0, 2, None));
    insta::assert_snapshot!(text_of(builder.finish().unwrap()));
}

#[test]
fn what_is_no_marshalled_code_is_an_error_row() {
    for bytes in [&b""[..], b"garbage", b"N", &SMALL[..SMALL.len() - 1]] {
        let mut builder = builder(usize::MAX);
        let stats = builder.append(FileInput { code: Some(bytes), ..small() }).unwrap();
        assert_eq!(stats.units, 0);
        assert_eq!((stats.errors[0].stage.as_str(), stats.errors[0].error_type.as_str()), ("marshal", "MarshalError"));
        assert_eq!(builder.finish().unwrap().num_rows(), 1);
    }
}

#[test]
fn a_damaged_unit_is_an_error_of_its_own_and_the_rest_stays() {
    let code = marshal::read_code(SMALL).unwrap();
    let table = &code.children().next().unwrap().1.linetable;
    let at = SMALL.windows(table.len()).position(|window| window == table).unwrap();
    let mut damaged = SMALL.to_vec();
    // An entry whose first byte lacks the bit that begins one.
    damaged[at] &= 0x7f;
    let mut builder = builder(usize::MAX);
    let stats = builder.append(FileInput { code: Some(&damaged), ..small() }).unwrap();
    assert_eq!(stats.units, 3);
    let [error] = stats.errors.as_slice() else { panic!("{:?}", stats.errors) };
    assert_eq!((error.stage.as_str(), error.error_type.as_str()), ("line_table", "LocationError"));
    let files = builder.finish().unwrap();
    let units = files.column_by_name("code_objects").unwrap().as_list::<i32>().value(0);
    let ids = units.as_struct().column_by_name("code_unit_id").unwrap();
    assert_eq!(error.code_unit_id.as_deref(), Some(ids.as_string::<i32>().value(1)));
    let instructions = units.as_struct().column_by_name("instructions").unwrap().as_list::<i32>();
    assert_eq!(instructions.value_length(1), 0);
    assert!(instructions.value_length(0) > 0 && instructions.value_length(2) > 0);
}

#[test]
fn a_file_beyond_the_limit_is_taken_back() {
    let size = builder(usize::MAX).append(small()).unwrap().bytes;
    let mut all = builder(usize::MAX);
    let expected = all.append(FileInput { path: "other.py", ..small() }).unwrap();
    // Whatever the limit cuts through, nothing of the file is left but its row.
    for limit in (0..size).step_by(97) {
        let mut builder = builder(limit);
        let stats = builder.append(small()).unwrap();
        if stats.units > 0 {
            assert!(limit > size / 2);
            continue;
        }
        assert_eq!(stats.errors[0].error_type, "FactsTooLarge");
        assert_eq!((stats.errors[0].stage.as_str(), stats.instructions), ("disassembly", 0));
        builder.max_file_bytes = usize::MAX;
        assert_eq!(builder.append(FileInput { path: "other.py", ..small() }).unwrap().digest, expected.digest);
        let batch = builder.finish().unwrap();
        assert_eq!(batch.column_by_name("code_objects").unwrap().as_list::<i32>().value_length(0), 0);
        let mut alone = RowBuilder::new(&attrs(true), Options::default());
        alone.append(FileInput { path: "other.py", ..small() }).unwrap();
        assert!(batch.slice(1, 1) == alone.finish().unwrap(), "limit {limit}");
    }
}

#[test]
fn a_finished_builder_begins_anew() {
    let mut builder = builder(usize::MAX);
    builder.append(small()).unwrap();
    let first = builder.finish().unwrap();
    assert_eq!((builder.rows(), builder.finish().unwrap().num_rows()), (0, 0));
    builder.append(small()).unwrap();
    assert!(builder.finish().unwrap() == first);
}

record! {
    /// A record with a column of each kind.
    Sample { number: Int32s, flag: Booleans, text: Texts, list: List<Texts>, map: Map }
}

#[derive(Debug, Clone)]
struct Row {
    number: Option<i32>,
    flag: bool,
    text: Option<String>,
    list: Vec<String>,
}

impl Sample {
    fn push(&mut self, row: &Option<Row>) {
        let Some(row) = row else { return self.push_null() };
        self.number.push_optional(row.number);
        self.flag.push(row.flag);
        self.text.push_optional(row.text.as_deref());
        for item in &row.list {
            self.list.items.push(item);
            self.map.entry(item, "value");
        }
        self.list.close();
        self.map.close();
    }
}

fn row() -> impl Strategy<Value = Option<Row>> {
    let row = (any::<Option<i32>>(), any::<bool>(), any::<Option<String>>(), proptest::collection::vec("[a-z]{0,3}", 0..3));
    proptest::option::weighted(0.8, row.prop_map(|(number, flag, text, list)| Row { number, flag, text, list }))
}

proptest! {
    /// Cutting back undoes appending, to the last bit of a validity bitmap.
    #[test]
    fn truncating_undoes_appending(kept in proptest::collection::vec(row(), 0..40), cut in proptest::collection::vec(row(), 0..40),
        after in proptest::collection::vec(row(), 0..40)) {
        let list = schema::Kind::Texts.data_type();
        let map = schema::Kind::Map.data_type();
        let types = [("number", DataType::Int32), ("flag", DataType::Boolean), ("text", DataType::Utf8), ("list", list), ("map", map)];
        let fields = types.into_iter().map(|(name, data_type)| arrow::datatypes::Field::new(name, data_type, true));
        let data_type = DataType::Struct(fields.collect());
        let (mut sample, mut expected) = (Sample::default(), Sample::default());
        kept.iter().chain(&cut).for_each(|row| sample.push(row));
        sample.truncate(kept.len());
        after.iter().for_each(|row| sample.push(row));
        kept.iter().chain(&after).for_each(|row| expected.push(row));
        prop_assert_eq!(sample.len(), kept.len() + after.len());
        prop_assert_eq!(&sample.finish(&data_type).unwrap(), &expected.finish(&data_type).unwrap());
        prop_assert_eq!(sample.len(), 0);
    }

    /// Whatever the bytes are, the file is a row and the batch holds.
    #[test]
    fn mutated_code_never_fails_a_batch(
        changes in proptest::collection::vec((0..SMALL.len(), any::<u8>()), 1..6),
        cut in proptest::option::weighted(0.1, 0..SMALL.len()),
    ) {
        let mut code = SMALL.to_vec();
        for (at, byte) in changes {
            code[at] = byte;
        }
        code.truncate(cut.unwrap_or(code.len()));
        let mut builder = builder(1 << 20);
        let stats = builder.append(FileInput { code: Some(&code), ..small() }).unwrap();
        prop_assert!(stats.units > 0 || !stats.errors.is_empty());
        builder.append(small()).unwrap();
        prop_assert_eq!(builder.finish().unwrap().num_rows(), 2);
    }
}
