//! The layouts on one batch that holds what is hard: nulls, nested values, quotes, line breaks, wide characters.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, MapBuilder, StringArray, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use insta::assert_snapshot;

use super::*;

fn batch() -> RecordBatch {
    let names = StringArray::from(vec![Some("plain"), Some("漢字, \"q\""), Some(""), None]);
    let counts = Int64Array::from(vec![Some(1), Some(-20_000), None, Some(i64::MAX)]);
    let shares = Float64Array::from(vec![Some(0.5), Some(f64::NAN), None, Some(1e300)]);
    let text = StringArray::from(vec!["one\ntwo", "\tx\x1b[31m", " padded ", "é"]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), Some(vec![]), None, Some(vec![Some(3)])]);
    let point = StructArray::from(vec![
        (
            Arc::new(Field::new("line", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)])) as ArrayRef,
        ),
        (Arc::new(Field::new("exact", DataType::Boolean, true)), Arc::new(BooleanArray::from(vec![true, false, true, false])) as ArrayRef),
    ]);
    let mut attrs = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    attrs.keys().append_value("k");
    attrs.values().append_value("v \"w\"");
    for _ in 0..4 {
        attrs.append(true).unwrap();
    }
    let columns: [(&str, ArrayRef); 7] = [
        ("name", Arc::new(names)),
        ("n", Arc::new(counts)),
        ("share", Arc::new(shares)),
        ("text", Arc::new(text)),
        ("list", Arc::new(list)),
        ("point", Arc::new(point)),
        ("attrs", Arc::new(attrs.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

#[test]
fn a_grid_aligns_by_width_and_breaks_lines() {
    assert_snapshot!(render(Layout::Grid(Limits::default()), &batch()).unwrap());
}

#[test]
fn a_grid_fits_the_line() {
    let limits = Limits { rows: Some(2), width: Some(60) };
    assert_snapshot!(render(Layout::Grid(limits), &batch()).unwrap());
}

#[test]
fn expanded_rows_have_a_line_a_value() {
    let limits = Limits { rows: Some(2), width: None };
    assert_snapshot!(render(Layout::Expanded(limits), &batch()).unwrap());
}

#[test]
fn csv_tells_null_from_empty_and_quotes_what_needs_it() {
    assert_snapshot!(render(Layout::Csv, &batch()).unwrap());
}

#[test]
fn json_keeps_nested_values_and_nulls() {
    let text = render(Layout::Json, &batch()).unwrap();
    assert_snapshot!(text);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["text"], "one\ntwo");
    assert_eq!(rows[0]["list"], serde_json::json!([1, null]));
    assert_eq!(rows[1]["point"], serde_json::json!({ "line": null, "exact": false }));
    assert_eq!(rows[0]["attrs"]["k"], "v \"w\"");
    assert_eq!(rows[3]["name"], serde_json::Value::Null);
    assert_eq!(rows[3]["n"], i64::MAX);
}

#[test]
fn several_batches_make_one_result() {
    let batch = batch();
    for layout in [Layout::Csv, Layout::Json, Layout::Grid(Limits::default())] {
        let (mut whole, mut parts) = (String::new(), String::new());
        let mut writer = RowWriter::new(layout, &batch.schema());
        writer.write(&batch, &mut whole).unwrap();
        writer.finish(&mut whole).unwrap();
        let mut writer = RowWriter::new(layout, &batch.schema());
        for row in 0..batch.num_rows() {
            writer.write(&batch.slice(row, 1), &mut parts).unwrap();
        }
        writer.finish(&mut parts).unwrap();
        assert_eq!(whole, parts, "{layout:?}");
    }
}

#[test]
fn no_rows_are_a_header_or_an_empty_array() {
    let none = batch().slice(0, 0);
    assert_eq!(render(Layout::Csv, &none).unwrap(), "name,n,share,text,list,point,attrs\n");
    assert_eq!(serde_json::from_str::<Vec<()>>(&render(Layout::Json, &none).unwrap()).unwrap(), []);
    assert!(render(Layout::Grid(Limits::default()), &none).unwrap().starts_with(" name | n | share"));
    assert_eq!(render(Layout::Json, &none).unwrap(), "[]\n");
    assert!(render(Layout::Expanded(Limits::default()), &none).unwrap().starts_with("name  |\nn     |\n"));
    // A stream may end without any batch.
    for (layout, begins) in [
        (Layout::Csv, "name,n,"),
        (Layout::Json, "[]\n"),
        (Layout::Grid(Limits::default()), " name | n | share"),
        (Layout::Expanded(Limits::default()), "name  |\n"),
    ] {
        let mut out = String::new();
        RowWriter::new(layout, &none.schema()).finish(&mut out).unwrap();
        assert!(out.starts_with(begins), "{layout:?}: {out}");
    }
}

#[test]
fn null_is_told_from_the_empty_text() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some(""), None]));
    let batch = RecordBatch::try_from_iter_with_nullable([("text", texts, true)]).unwrap();
    assert_eq!(render(Layout::Grid(Limits::default()), &batch).unwrap(), " text\n------\n\n ∅\n");
    let expanded = render(Layout::Expanded(Limits::default()), &batch).unwrap();
    assert_eq!(expanded, "-[ row 1 ]--------------------\ntext |\n-[ row 2 ]--------------------\ntext | ∅\n");
}

#[test]
fn expanded_values_are_never_cut() {
    let long = "x".repeat(500);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![long.as_str()]));
    let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let limits = Limits { rows: None, width: Some(100) };
    assert!(render(Layout::Expanded(limits), &batch).unwrap().contains(&long));
}

#[test]
fn a_grid_of_many_rows_is_streamed() {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..20_000));
    let batch = RecordBatch::try_from_iter([("number", numbers)]).unwrap();
    let mut writer = RowWriter::new(Layout::Grid(Limits::default()), &batch.schema());
    let mut out = String::new();
    writer.write(&batch, &mut out).unwrap();
    assert!(out.lines().count() > 15_000, "rows beyond those measured wait for the end");
    writer.finish(&mut out).unwrap();
    assert_eq!(out.lines().count(), 20_002);
    assert_eq!(out.lines().last(), Some("  19999"));
}

/// Three columns: a number, and two texts of 30 and 50 characters.
fn wide() -> RecordBatch {
    let number: ArrayRef = Arc::new(Int64Array::from(vec![12_345_678_901_234_567]));
    let text = |length: usize| Arc::new(StringArray::from(vec!["abcdefghij".repeat(length / 10)])) as ArrayRef;
    RecordBatch::try_from_iter([("number", number), ("thirty", text(30)), ("fifty", text(50))]).unwrap()
}

fn fitted(width: usize) -> (String, Vec<String>) {
    let (mut writer, mut out) = (RowWriter::new(Layout::Grid(Limits { rows: None, width: Some(width) }), &wide().schema()), String::new());
    writer.write(&wide(), &mut out).unwrap();
    let left_out = writer.finish(&mut out).unwrap();
    assert!(out.lines().all(|line| width::of(line) <= width), "{width}: {out}");
    (out, left_out)
}

#[test]
fn texts_are_cut_to_the_line_and_numbers_never() {
    assert!(!fitted(105).0.contains('…'));
    let (text, left_out) = fitted(90);
    assert!(text.contains("12345678901234567") && left_out.is_empty());
    assert_eq!(text.matches('…').count(), 1, "the widest gives first: {text}");
    let (text, left_out) = fitted(60);
    assert_eq!((text.matches('…').count(), left_out.len()), (2, 0), "{text}");
}

#[test]
fn columns_that_find_no_room_are_named() {
    let (text, left_out) = fitted(40);
    assert!(text.contains("thirty") && !text.contains("fifty"), "{text}");
    assert_eq!(left_out, ["fifty"]);
    assert_eq!(fitted(25).1, ["thirty", "fifty"]);
}

#[test]
fn auto_is_a_grid_where_that_fits_and_else_a_line_a_value() {
    let shown = |width: usize| render(Layout::Auto(Limits { rows: None, width: Some(width) }), &wide()).unwrap();
    assert_eq!(shown(105), render(Layout::Grid(Limits::default()), &wide()).unwrap());
    assert_eq!(shown(104), render(Layout::Expanded(Limits::default()), &wide()).unwrap());
    let none = wide().slice(0, 0);
    assert!(render(Layout::Auto(Limits { rows: None, width: Some(80) }), &none).unwrap().starts_with(" number | thirty"));
}
