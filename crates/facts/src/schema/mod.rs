//! The Arrow schema of `bytecode_files_v1`, the nested root table: one row per file.
//!
//! Each record is a constant table of [`Column`]s whose `doc` is its documentation; the Arrow types are derived from
//! these tables, so that documentation, types and the code that validates a landed table cannot drift apart.
//!
//! Lists hold non-null `element`s and maps are `key_value { key, value }`: the names that the Parquet format itself
//! prescribes, so a reader sees one and the same type with and without the embedded Arrow schema. Map values are
//! nullable because DataFusion's `map_entries` accepts nothing else.

mod code_object;
mod column;
mod file;
mod graph;
mod instruction;
mod metadata;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{Schema, SchemaRef};

pub(crate) use self::column::list_of;
pub use self::{
    code_object::{CODE_OBJECT, CONST, EVENT, EXCEPTION, FLAGS, LINE},
    column::{Column, Kind, Record},
    file::{ERROR, FILE},
    graph::{BLOCK, CFG_EDGE, DFG_EDGE},
    instruction::{BYTE_SPAN, CACHE, INSTRUCTION, POINT, SPAN},
};

/// The name of the root table, as views, manifests and the schema metadata give it.
pub const TABLE: &str = "bytecode_files_v1";

/// The schema of the root table in contract order, `repo` first, with the schema metadata.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let metadata: HashMap<String, String> =
            SCHEMA_METADATA.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Arc::new(Schema::new_with_metadata(FILE.fields(), metadata))
    });
    Arc::clone(&SCHEMA)
}

/// What the schema says about itself. The version is raised only when a column's meaning changes; columns are added
/// without it.
pub const SCHEMA_METADATA: &[(&str, &str)] = &[
    ("schema_name", TABLE),
    ("schema_version", "1"),
    ("bytecode_abi_version", "3.13"),
    ("bytecode_span_line_base", "0"),
    ("bytecode_span_col_unit", "byte"),
    ("bytecode_span_end_exclusive", "true"),
    ("required_non_null", "file_id,path"),
];

#[cfg(test)]
mod tests;
