//! CPython as the judge: every column that `dis` has, and spans cut out of odd sources.

#![expect(clippy::panic, reason = "a test fails by a panic")]

mod common;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray},
    datatypes::{Int32Type, Int64Type},
};
use bytefacts_bytecode::Positions;
use bytefacts_facts::{FileInput, Options, RowBuilder, source::SourceMap};
use common::{attrs, run_python, standard_library, standard_library_folder};
use serde_json::{Value, json};

/// Of how many files one is compared; the whole library is another crate's test.
const EVERY_NTH: usize = 45;

/// A value of a column as JSON.
fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        arrow::datatypes::DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        arrow::datatypes::DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        arrow::datatypes::DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        arrow::datatypes::DataType::Boolean => json!(array.as_boolean().value(row)),
        other => panic!("{other}"),
    }
}

fn column<'a>(record: &'a StructArray, name: &str) -> &'a ArrayRef {
    record.column_by_name(name).unwrap_or_else(|| panic!("{name}"))
}

/// The records of a list column, and the range of them that belongs to a row.
fn list(record: &StructArray, name: &str, row: usize) -> StructArray {
    let list: &ListArray = column(record, name).as_list::<i32>();
    list.value(row).as_struct().clone()
}

fn files(batch: &RecordBatch) -> StructArray {
    StructArray::from(batch.clone())
}

fn instruction_row(instructions: &StructArray, row: usize) -> Value {
    const COLUMNS: [&str; 18] = [
        "instr_index",
        "offset",
        "start_offset",
        "end_offset",
        "opname",
        "baseopname",
        "opcode",
        "baseopcode",
        "arg",
        "argval_kind",
        "argval_int",
        "argval_str",
        "argrepr",
        "line_number",
        "starts_line",
        "label",
        "is_jump_target",
        "jump_target",
    ];
    let mut values: Vec<_> = COLUMNS.iter().map(|name| value(column(instructions, name), row)).collect();
    assert_eq!(value(column(instructions, "oparg"), row), values[8]);
    let caches = list(instructions, "cache_info", row);
    let cache = |row| json!([value(caches.column(0), row), value(caches.column(1), row), value(caches.column(2), row)]);
    values.push((0..caches.len()).map(cache).collect());
    let span = column(instructions, "span").as_struct();
    let point = |name| {
        let point = column(span, name).as_struct();
        // Line 0, which only the module's RESUME has, is null as a 0-based line.
        let line1 = match value(point.column(0), row) {
            Value::Null if column(span, name).is_valid(row) => json!(0),
            line0 => line0.as_i64().map_or(Value::Null, |line0| json!(line0 + 1)),
        };
        [line1, value(point.column(1), row)]
    };
    values.push(point("start").into_iter().chain(point("end")).collect());
    Value::Array(values)
}

#[test]
fn every_column_that_dis_has_is_equal() {
    let expected = run_python("expected.py", &[&standard_library_folder(), &EVERY_NTH.to_string()]);
    let expected = String::from_utf8(expected).unwrap();
    let mut builder = RowBuilder::new(&attrs(false), Options::default());
    let library = standard_library(EVERY_NTH);
    let compiled: Vec<_> = library.iter().filter(|unit| !unit.code.is_empty()).collect();
    let mut compared = 0;
    for (unit, line) in compiled.iter().zip(expected.lines()) {
        builder.append(FileInput { path: &unit.path, source: Some(&unit.source), code: Some(&unit.code), ..FileInput::default() }).unwrap();
        let files = files(&builder.finish().unwrap());
        let units = list(&files, "code_objects", 0);
        let expected: Value = serde_json::from_str(line).unwrap();
        assert_eq!(expected[0], json!(unit.path));
        let expected = expected[1].as_array().unwrap();
        assert_eq!(units.len(), expected.len(), "{}", unit.path);
        for (row, expected) in expected.iter().enumerate() {
            let qualpath = value(column(&units, "qualname"), row);
            assert_eq!(qualpath, expected[0]);
            let instructions = list(&units, "instructions", row);
            let rows: Vec<_> = (0..instructions.len()).map(|row| instruction_row(&instructions, row)).collect();
            compared += rows.len();
            for (found, expected) in rows.iter().zip(expected[1].as_array().unwrap()) {
                assert_eq!(found, expected, "{} {qualpath}", unit.path);
            }
            assert_eq!(rows.len(), expected[1].as_array().unwrap().len());
            let lines = list(&units, "line_table", row);
            let starts: Value = (0..lines.len()).map(|row| json!([value(lines.column(0), row), value(lines.column(1), row)])).collect();
            assert_eq!(starts, expected[2], "{} {qualpath}", unit.path);
            let consts = list(&units, "consts", row);
            let texts: Value = (0..consts.len()).map(|row| value(column(&consts, "const_repr"), row)).collect();
            assert_eq!(texts, expected[3], "{} {qualpath}", unit.path);
            let json: Value = serde_json::from_str(value(column(&units, "consts_json"), row).as_str().unwrap()).unwrap();
            assert_eq!(json, expected[3]);
        }
    }
    assert_eq!(expected.lines().count(), compiled.len());
    assert!(compared > 50_000, "{compared} instructions compared");
}

#[test]
fn spans_cut_the_same_text_out_of_the_raw_bytes() {
    let cases: Value = serde_json::from_slice(&run_python("spans.py", &[])).unwrap();
    let bytes = |value: &Value| -> Vec<u8> {
        let hex = value.as_str().unwrap().as_bytes();
        hex.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    let mut spans = 0;
    for case in cases.as_array().unwrap() {
        let raw = bytes(&case[0]);
        let map = SourceMap::new(&raw);
        for node in case[1].as_array().unwrap() {
            let number = |index: usize| Some(i32::try_from(node[index].as_i64().unwrap()).unwrap());
            let positions = Positions { line: number(0), col: number(1), end_line: number(2), end_col: number(3) };
            let span = map.byte_span(positions).unwrap_or_else(|| panic!("{node} in {:?}", String::from_utf8_lossy(&raw)));
            let start = usize::try_from(span.start).unwrap();
            let text = &raw[start..start + usize::try_from(span.len).unwrap()];
            let text = String::from_utf8(text.to_vec()).unwrap().replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(text.as_bytes(), bytes(&node[4]), "{node}");
            spans += 1;
        }
    }
    assert!(spans > 140, "{spans} spans");
}
