use arrow::datatypes::{DataType, Field, FieldRef};

use super::*;

/// The columns of the contract as it lists them: name, type, and `y` if null is allowed. Added columns come after them and are
/// nullable.
const CONTRACT: &[(&Record, &str)] = &[
    (
        &FILE,
        "repo Utf8 y, path Utf8 n, file_id Utf8 n, file_sha256 Utf8 y, code_objects List<CODE_OBJ> y, errors List<ERROR> y, attrs Map y",
    ),
    (
        &CODE_OBJECT,
        "code_id Utf8 y, qualname Utf8 n, co_qualname Utf8 y, co_filename Utf8 y, name Utf8 n, firstlineno1 Int32 n, argcount Int32 y, \
         posonlyargcount Int32 y, kwonlyargcount Int32 y, nlocals Int32 y, flags Int32 y, stacksize Int32 y, code_len Int32 y, \
         flags_detail FLAGS y, varnames List<Utf8> y, freevars List<Utf8> y, cellvars List<Utf8> y, names List<Utf8> y, \
         consts List<CONST> y, consts_json Utf8 y, line_table List<LINE> y, instructions List<INSTR> y, exception_table List<EXC> y, \
         blocks List<BLOCK> y, cfg_edges List<CFG_EDGE> y, dfg_edges List<DFG_EDGE> y, attrs Map y",
    ),
    (
        &FLAGS,
        "is_optimized Boolean y, is_newlocals Boolean y, has_varargs Boolean y, has_varkeywords Boolean y, is_nested Boolean y, \
         is_generator Boolean y, is_nofree Boolean y, is_coroutine Boolean y, is_iterable_coroutine Boolean y, \
         is_async_generator Boolean y",
    ),
    (&CONST, "const_index Int32 n, const_repr Utf8 n"),
    (&LINE, "offset Int32 n, line1 Int32 y, line0 Int32 y, attrs Map y"),
    (
        &EXCEPTION,
        "exc_index Int32 n, start_offset Int32 y, end_offset Int32 y, target_offset Int32 y, depth Int32 y, lasti Boolean y, attrs Map y",
    ),
    (&BLOCK, "start_offset Int32 n, end_offset Int32 n, kind Utf8 n, attrs Map y"),
    (
        &CFG_EDGE,
        "src_block_start Int32 n, src_block_end Int32 n, dst_block_start Int32 n, dst_block_end Int32 n, kind Utf8 n, edge_key Utf8 n, \
         cond_instr_index Int32 y, cond_instr_offset Int32 y, exc_index Int32 y, attrs Map y",
    ),
    (&DFG_EDGE, "src_instr_index Int32 n, dst_instr_index Int32 n, kind Utf8 n, attrs Map y"),
    (&CACHE, "name Utf8 n, size Int32 y, data_hex Utf8 y"),
    (&ERROR, "error_type Utf8 n, message Utf8 n, attrs Map y"),
    (
        &INSTRUCTION,
        "instr_index Int32 n, offset Int32 n, start_offset Int32 y, end_offset Int32 y, opname Utf8 n, baseopname Utf8 y, \
         opcode Int32 n, baseopcode Int32 y, arg Int32 y, oparg Int32 y, argval_kind Utf8 y, argval_int Int64 y, argval_str Utf8 y, \
         argrepr Utf8 y, line_number Int32 y, starts_line Int32 y, label Int32 y, is_jump_target Boolean y, jump_target Int32 y, \
         cache_info List<CACHE> y, span SPAN y, attrs Map y",
    ),
    (&SPAN, "start POINT y, end POINT y, end_exclusive Boolean y, col_unit Utf8 y, byte_span BYTE_SPAN y"),
];

fn describe(column: &Column) -> String {
    let kind = match column.kind {
        Kind::Text => "Utf8".to_owned(),
        Kind::Int32 => "Int32".to_owned(),
        Kind::Int64 => "Int64".to_owned(),
        Kind::Boolean => "Boolean".to_owned(),
        Kind::Texts => "List<Utf8>".to_owned(),
        Kind::Int32s => "List<Int32>".to_owned(),
        Kind::Map => "Map".to_owned(),
        Kind::Struct(record) => record.name.to_owned(),
        Kind::List(record) => format!("List<{}>", record.name),
    };
    format!("{} {kind} {}", column.name, if column.nullable { "y" } else { "n" })
}

#[test]
fn the_contract_comes_first_and_what_is_added_may_be_null() {
    for (record, contract) in CONTRACT {
        let contract: Vec<_> = contract.split(", ").collect();
        let columns: Vec<_> = record.columns.iter().map(describe).collect();
        assert_eq!(columns[..contract.len()], contract, "{}", record.name);
        assert!(record.columns[contract.len()..].iter().all(|column| column.nullable), "{}", record.name);
    }
}

#[test]
fn every_column_has_one_name_and_a_meaning() {
    for (record, _) in CONTRACT {
        for column in record.columns {
            assert!(!column.doc.is_empty(), "{}.{}", record.name, column.name);
            assert_eq!(record.columns.iter().filter(|other| other.name == column.name).count(), 1);
        }
    }
}

#[test]
fn metadata_says_what_lines_and_columns_count() {
    let schema = schema();
    assert_eq!(schema.metadata["schema_name"], "bytecode_files_v1");
    assert_eq!(schema.metadata["required_non_null"], "file_id,path");
    let span = INSTRUCTION.column("span").unwrap().field();
    assert_eq!(span.metadata()["line_base"], "0");
    assert_eq!(span.metadata()["col_unit"], "byte");
    assert_eq!(span.metadata()["end_exclusive"], "true");
    assert_eq!(LINE.column("line1").unwrap().field().metadata()["line_base"], "1");
}

#[test]
fn the_whole_schema_by_value() {
    fn write(out: &mut String, depth: usize, field: &Field) {
        let indent = "  ".repeat(depth);
        let null = if field.is_nullable() { "" } else { " not null" };
        let mut metadata: Vec<_> = field.metadata().iter().map(|(key, value)| format!(" {key}={value}")).collect();
        metadata.sort();
        let (name, children): (&str, Vec<&FieldRef>) = match field.data_type() {
            DataType::Struct(fields) => ("Struct", fields.iter().collect()),
            DataType::List(element) => ("List", vec![element]),
            DataType::Map(entries, _) => ("Map", vec![entries]),
            DataType::Utf8 => ("Utf8", vec![]),
            DataType::Int32 => ("Int32", vec![]),
            DataType::Int64 => ("Int64", vec![]),
            DataType::Boolean => ("Boolean", vec![]),
            other => panic!("{other} is no type of the contract"),
        };
        out.push_str(&format!("{indent}{}: {name}{null}{}\n", field.name(), metadata.concat()));
        for child in children {
            write(out, depth + 1, child);
        }
    }
    let mut out = String::new();
    for field in schema().fields() {
        write(&mut out, 0, field);
    }
    insta::assert_snapshot!(out);
}
