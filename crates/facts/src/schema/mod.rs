//! The Arrow schema of `bytecode_files_v1`, the nested root table: one row per file.
//!
//! Each record is a constant table of [`Column`]s whose `doc` is its documentation; the Arrow types are derived from
//! these tables, so that documentation, types and the code that validates a landed table cannot drift apart.
//!
//! Lists hold non-null `element`s and maps are `key_value { key, value }`: the names that the Parquet format itself
//! prescribes, so a reader sees one and the same type with and without the embedded Arrow schema. Map values are
//! nullable because DataFusion's `map_entries` accepts nothing else.

mod code_object;
mod file;
mod graph;
mod instruction;
mod metadata;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

pub use self::{
    code_object::{CODE_OBJECT, CONST, EVENT, EXCEPTION, FLAGS, LINE},
    file::{ERROR, FILE},
    graph::{BLOCK, CFG_EDGE, DFG_EDGE},
    instruction::{BYTE_SPAN, CACHE, INSTRUCTION, POINT, SPAN},
};

/// The name of the root table, as views, manifests and the schema metadata give it.
pub const TABLE: &str = "bytecode_files_v1";

/// A record of the contract: the root row or a struct nested in it.
#[derive(Debug)]
pub struct Record {
    /// The record's name in the documentation, e.g. `CODE_OBJ`.
    pub name: &'static str,
    /// The columns in the order of the contract, added ones last.
    pub columns: &'static [Column],
}

/// One column of a [`Record`].
#[derive(Debug)]
pub struct Column {
    /// The field name.
    pub name: &'static str,
    /// The type, from which the Arrow type is derived.
    pub kind: Kind,
    /// Whether a value may be null where the record itself is not.
    pub nullable: bool,
    /// Meaning, unit and condition of a null.
    pub doc: &'static str,
    /// Arrow field metadata.
    pub metadata: &'static [(&'static str, &'static str)],
}

/// The type of a [`Column`]; only plain Arrow types that Parquet holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `Utf8`.
    Text,
    /// `Int32`.
    Int32,
    /// `Int64`.
    Int64,
    /// `Boolean`.
    Boolean,
    /// `List<Utf8>`.
    Texts,
    /// `List<Int32>`.
    Int32s,
    /// `Map<Utf8, Utf8>`, keys in the order written.
    Map,
    /// A struct.
    Struct(&'static Record),
    /// A list of structs.
    List(&'static Record),
}

/// A column that never holds a null.
const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc, metadata: &[] }
}

/// A column that may hold a null.
const fn nullable(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc, metadata: &[] }
}

impl Column {
    const fn with_metadata(mut self, metadata: &'static [(&'static str, &'static str)]) -> Self {
        self.metadata = metadata;
        self
    }

    /// The Arrow field of this column.
    pub fn field(&self) -> Field {
        let metadata = self.metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Field::new(self.name, self.kind.data_type(), self.nullable).with_metadata(metadata)
    }
}

impl Kind {
    /// The Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Boolean => DataType::Boolean,
            Self::Texts => list_of(DataType::Utf8),
            Self::Int32s => list_of(DataType::Int32),
            Self::Map => DataType::Map(MAP_ENTRIES.clone(), false),
            Self::Struct(record) => DataType::Struct(record.fields()),
            Self::List(record) => list_of(DataType::Struct(record.fields())),
        }
    }
}

impl Record {
    /// The Arrow fields of the record, in order.
    pub fn fields(&self) -> Fields {
        self.columns.iter().map(Column::field).collect()
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

static MAP_ENTRIES: LazyLock<FieldRef> = LazyLock::new(|| {
    let entry = [Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    Arc::new(Field::new("key_value", DataType::Struct(Fields::from_iter(entry)), false))
});

/// A list of elements that are not null.
pub(crate) fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", element, false)))
}

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
