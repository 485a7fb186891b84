//! The form in which views are written down.

use std::borrow::Cow;

use crate::flat::{self, FlatColumn, FlatTable};
use crate::schema::Kind;

/// A view: columns of an expression each, over a table.
pub(super) struct Definition {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    /// The columns that say where the row belongs.
    pub(super) identity: &'static [Column],
    pub(super) columns: &'static [Column],
    /// The name of the flat table; the root table itself without one.
    pub(super) from: Option<&'static str>,
    /// What stands behind WHERE.
    pub(super) condition: Option<&'static str>,
}

/// A column of a view.
pub(super) struct Column {
    pub(super) name: &'static str,
    value: Value,
}

enum Value {
    /// A column of the flat table.
    Field(&'static str),
    /// Any other expression, its type and its meaning.
    Expression { sql: &'static str, kind: Kind, doc: &'static str },
}

/// The flat table's column of that name.
pub(super) const fn field(name: &'static str) -> Column {
    renamed(name, name)
}

/// A column of the flat table under another name.
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

    /// The type of a column. One that the flat table does not have is shown as text without a meaning, which a test refuses.
    pub(super) fn kind(&self, column: &Column) -> Kind {
        match column.value {
            Value::Field(field) => self.flat_column(field).map_or(Kind::Text, |column| column.kind),
            Value::Expression { kind, .. } => kind,
        }
    }

    /// The meaning of a column.
    pub(super) fn doc(&self, column: &Column) -> &'static str {
        match column.value {
            Value::Field(field) => self.flat_column(field).map_or("", |column| column.doc),
            Value::Expression { doc, .. } => doc,
        }
    }

    /// The flat table that it is over.
    pub(super) fn table(&self) -> Option<&'static FlatTable> {
        flat::by_name(self.from?)
    }

    /// The columns of the table that stand in the view's expressions, and any whose name does.
    pub(super) fn needed(&self, table: &'static FlatTable) -> Vec<&'static FlatColumn> {
        let expressions: Vec<_> = self.all_columns().map(Column::expression).chain(self.condition.map(Cow::from)).collect();
        let words = |text: &str, name: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
        table.columns.iter().filter(|column| expressions.iter().any(|expression| words(expression, &column.name))).collect()
    }

    fn flat_column(&self, name: &str) -> Option<&'static FlatColumn> {
        self.table()?.column(name)
    }
}

impl Column {
    /// In SQL. Names are quoted because `offset` and others are words of it.
    pub(super) fn expression(&self) -> Cow<'static, str> {
        match self.value {
            Value::Field(field) => format!("\"{field}\"").into(),
            Value::Expression { sql, .. } => sql.into(),
        }
    }
}
