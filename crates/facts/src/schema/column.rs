//! What records and columns are made of, and their Arrow types.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

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
pub(super) const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc, metadata: &[] }
}

/// A column that may hold a null.
pub(super) const fn nullable(name: &'static str, kind: Kind, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc, metadata: &[] }
}

impl Column {
    pub(super) const fn with_metadata(mut self, metadata: &'static [(&'static str, &'static str)]) -> Self {
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
