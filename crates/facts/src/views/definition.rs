//! The form in which views are written down.

use std::borrow::Cow;

use crate::schema::{Kind, Record};

/// A view: columns of an expression each, over a derived table whose column `r` is the record of the row.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    /// The columns that say where the row belongs.
    pub(super) identity: &'static [Column],
    /// The record that `r` is, of which fields are shown.
    pub(super) record: &'static Record,
    pub(super) columns: &'static [Column],
    /// What stands behind FROM.
    pub(super) from: &'static str,
    /// What stands behind WHERE.
    pub(super) condition: Option<&'static str>,
}

/// A column of a view.
pub(super) struct Column {
    pub(super) name: &'static str,
    value: Value,
}

enum Value {
    /// A field of `r`.
    Field(&'static str),
    /// Any other expression, its type and its meaning.
    Expression { sql: &'static str, kind: Kind, doc: &'static str },
}

/// The field of the record that has the column's name.
pub(super) const fn field(name: &'static str) -> Column {
    renamed(name, name)
}

/// A field of the record under another name.
pub(super) const fn renamed(name: &'static str, field: &'static str) -> Column {
    Column { name, value: Value::Field(field) }
}

/// An expression of SQL.
pub(super) const fn computed(name: &'static str, kind: Kind, sql: &'static str, doc: &'static str) -> Column {
    Column { name, value: Value::Expression { sql, kind, doc } }
}

impl Definition {
    /// The columns in the order in which they are shown.
    pub(super) fn all_columns(&self) -> impl Iterator<Item = &'static Column> {
        self.identity.iter().chain(self.columns)
    }
}

impl Column {
    pub(super) fn expression(&self) -> Cow<'static, str> {
        match self.value {
            Value::Field(field) => format!("r['{field}']").into(),
            Value::Expression { sql, .. } => sql.into(),
        }
    }

    /// A field that the record does not have is shown as text without a meaning, which a test refuses.
    pub(super) fn kind(&self, record: &Record) -> Kind {
        match self.value {
            Value::Field(field) => record.column(field).map_or(Kind::Text, |column| column.kind),
            Value::Expression { kind, .. } => kind,
        }
    }

    pub(super) fn doc(&self, record: &Record) -> &'static str {
        match self.value {
            Value::Field(field) => record.column(field).map_or("", |column| column.doc),
            Value::Expression { doc, .. } => doc,
        }
    }
}
