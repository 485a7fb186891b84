//! Rows of real files: the standard library, Parquet and back, the same bytes every time.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{DataType, Int32Type},
};
use bytefacts_facts::{FactError, FileInput, Options, RowBuilder, digest, schema};
use common::{Unit, attrs, standard_library};
use parquet::arrow::{
    ArrowSchemaConverter, ArrowWriter,
    arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    parquet_to_arrow_schema,
};
use sha2::{Digest, Sha256};

fn input(unit: &Unit) -> FileInput<'_> {
    let errors = if unit.code.is_empty() {
        vec![FactError { stage: "compile".into(), error_type: "SyntaxError".into(), ..FactError::default() }]
    } else {
        vec![]
    };
    FileInput {
        repo: Some("cpython"),
        path: &unit.path,
        source: Some(&unit.source),
        sha256: Some(Sha256::digest(&unit.source).into()),
        code: (!unit.code.is_empty()).then_some(unit.code.as_slice()),
        errors,
    }
}

fn build<'a>(units: impl IntoIterator<Item = &'a Unit>, include_cfg: bool) -> RecordBatch {
    let mut builder = RowBuilder::new(&attrs(include_cfg), Options::default());
    for unit in units {
        builder.append(input(unit)).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn the_standard_library_has_no_fault_and_every_operand_a_place() {
    let units = standard_library(7);
    assert!(units.len() > 200, "{} files", units.len());
    let mut builder = RowBuilder::new(&attrs(true), Options::default());
    let (mut rows, mut instructions) = (0, 0);
    for unit in &units {
        let stats = builder.append(input(unit)).unwrap();
        assert!(unit.code.is_empty() || stats.errors.is_empty(), "{}: {:?}", unit.path, stats.errors);
        assert_eq!(stats.units == 0, unit.code.is_empty(), "{}", unit.path);
        instructions += stats.instructions;
        if builder.bytes() > 64 << 20 {
            rows += builder.finish().unwrap().num_rows();
        }
    }
    rows += builder.finish().unwrap().num_rows();
    assert_eq!(rows, units.len());
    assert!(instructions > 400_000, "{instructions} instructions");
}

#[test]
fn parquet_gives_back_the_schema_and_the_rows() {
    let units = standard_library(40);
    let batch = build(&units, true);
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let file = bytes::Bytes::from(file);

    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    assert!(*reader.schema() == schema(), "the schema differs");
    let read: Vec<_> = reader.with_batch_size(10).build().unwrap().map(Result::unwrap).collect();
    // Batches come without the metadata of the schema.
    assert!(concat_batches(&read[0].schema(), &read).unwrap().columns() == batch.columns(), "the rows differ");

    // A reader that ignores the embedded Arrow schema sees the same types.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    let types = |schema: &arrow::datatypes::Schema| -> Vec<(String, DataType, bool)> {
        let fields = schema.fields().iter();
        fields.map(|field| (field.name().clone(), without_metadata(field.data_type()), field.is_nullable())).collect()
    };
    assert!(types(reader.schema()) == types(&schema()), "the types differ");
}

/// Parquet itself has no place for the metadata of nested fields.
fn without_metadata(data_type: &DataType) -> DataType {
    let clean = |field: &Arc<arrow::datatypes::Field>| {
        let data_type = without_metadata(field.data_type());
        Arc::new(arrow::datatypes::Field::new(field.name(), data_type, field.is_nullable()))
    };
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(clean).collect()),
        DataType::List(element) => DataType::List(clean(element)),
        DataType::Map(entries, sorted) => DataType::Map(clean(entries), *sorted),
        other => other.clone(),
    }
}

#[test]
fn list_and_map_names_are_those_of_the_parquet_format() {
    let parquet = ArrowSchemaConverter::new().convert(&schema()).unwrap();
    for column in parquet.columns() {
        for (parent, child) in column.path().parts().iter().zip(column.path().parts().iter().skip(1)) {
            assert!(parent != "list" || child == "element", "{}", column.path());
        }
    }
    let back = parquet_to_arrow_schema(&parquet, None).unwrap();
    let clean =
        |schema: &arrow::datatypes::Schema| schema.fields().iter().map(|field| without_metadata(field.data_type())).collect::<Vec<_>>();
    assert!(clean(&back) == clean(&schema()), "the types differ");
}

#[test]
fn the_same_files_give_the_same_bytes_in_any_order_and_batch() {
    let units = standard_library(60);
    let together = build(&units, true);
    assert!(build(&units, true) == together);
    let reversed = build(units.iter().rev(), true);
    for (row, unit) in units.iter().enumerate() {
        assert!(reversed.slice(units.len() - 1 - row, 1) == together.slice(row, 1), "{}", unit.path);
        assert!(build([unit], true) == together.slice(row, 1), "{}", unit.path);
    }
}

#[test]
fn without_derivations_the_lists_are_empty_and_the_rest_is_equal() {
    let units = standard_library(100);
    let (with, without) = (build(&units, true), build(&units, false));
    let unit = |batch: &RecordBatch, column: &str| {
        let units = batch.column_by_name("code_objects").unwrap().as_list::<i32>().values().clone();
        units.as_struct().column_by_name(column).unwrap().clone()
    };
    for list in ["blocks", "cfg_edges", "dfg_edges", "def_use_events"] {
        assert!(!unit(&with, list).as_list::<i32>().values().is_empty());
        assert!(unit(&without, list).as_list::<i32>().values().is_empty());
        assert_eq!(unit(&without, list).null_count(), 0);
    }
    let instruction = |batch: &RecordBatch, column: &str| {
        let instructions = unit(batch, "instructions").as_list::<i32>().values().clone();
        instructions.as_struct().column_by_name(column).unwrap().clone()
    };
    for column in ["stack_depth_before", "stack_depth_after", "pops", "pushes", "operands", "block_index", "block_start_offset"] {
        let array = instruction(&without, column);
        assert_eq!(array.as_primitive::<Int32Type>().null_count(), array.len());
        assert!(instruction(&with, column).null_count() < array.len() / 10);
    }
    for column in ["argrepr", "argval_str", "span", "cache_info", "label"] {
        assert!(instruction(&with, column) == instruction(&without, column), "{column}");
    }
}

#[test]
fn digests_know_neither_path_nor_repository() {
    let units = standard_library(50);
    let mut builder = RowBuilder::new(&attrs(true), Options::default());
    let mut digests = Vec::new();
    for unit in &units {
        let here = builder.append(input(unit)).unwrap();
        let there = builder.append(FileInput { repo: None, path: "elsewhere.py", ..input(unit) }).unwrap();
        assert_eq!(here.digest, there.digest, "{}", unit.path);
        assert_eq!(here.marshal_digest, there.marshal_digest);
        digests.push((unit.path.as_str(), here.digest));
    }
    let different: std::collections::BTreeSet<_> = digests.iter().map(|(_, digest)| digest).collect();
    assert_eq!(different.len(), digests.len());
    let forward = digest::fold_repository(digests.iter().copied());
    assert_eq!(forward, digest::fold_repository(digests.iter().rev().copied()));
}
