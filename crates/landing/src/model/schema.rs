//! The tables of a run as clients saw them when it was committed, and what has changed since the run before it.
//!
//! A snapshot is a document of its own, named by its digest: runs of one schema share it, and manifests stay small.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::RunId;

/// All tables and views of a run's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSnapshot {
    /// In order of their names.
    pub tables: Vec<TableSnapshot>,
}

/// A table or a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSnapshot {
    /// Its name.
    pub name: String,
    /// `BASE TABLE` or `VIEW`, as `information_schema.tables` says.
    pub table_type: String,
    /// Its columns in order, each followed by what is nested in it.
    pub columns: Vec<ColumnSnapshot>,
}

/// A column, or a field nested in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSnapshot {
    /// The column's name, and for a nested field the names on the way to it, joined by dots.
    pub path: String,
    /// Its type; of a nested one the outermost part only, since the fields stand below it.
    pub data_type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// What a manifest says about the schema of its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRecord {
    /// SHA-256 of the snapshot's document, lower hex; [`crate::FactsStore::schema_snapshot`] reads it.
    pub snapshot: String,
    /// What is new against the run before.
    pub delta: SchemaDelta,
}

/// How one snapshot differs from another. Without a difference all lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaDelta {
    /// The run compared with; null if there was none, or none that recorded a snapshot. The lists are empty then.
    pub since: Option<RunId>,
    /// Tables that are new.
    pub added_tables: Vec<String>,
    /// Tables that are gone.
    pub removed_tables: Vec<String>,
    /// Columns that are new in tables that are not.
    pub added_columns: Vec<ColumnChange>,
    /// Columns that are gone from tables that are not.
    pub removed_columns: Vec<ColumnChange>,
    /// Columns, and tables, whose type or nullability is another.
    pub retyped: Vec<Retyped>,
    /// Tables whose columns are in another order.
    pub reordered_tables: Vec<String>,
}

/// A column that came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnChange {
    /// The table.
    pub table: String,
    /// The column's path.
    pub column: String,
    /// Its type, with ` NOT NULL` behind it if it may not be null.
    pub data_type: String,
}

/// A column of another type than before, or a table that became a view or the other way round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retyped {
    /// The table.
    pub table: String,
    /// The column's path; null if it is the table itself.
    pub column: Option<String>,
    /// The type before, with ` NOT NULL` behind it if it was never null.
    pub from: String,
    /// The type now.
    pub to: String,
}

impl ColumnSnapshot {
    fn type_text(&self) -> String {
        format!("{}{}", self.data_type, if self.nullable { "" } else { " NOT NULL" })
    }

    fn change(&self, table: &TableSnapshot) -> ColumnChange {
        ColumnChange { table: table.name.clone(), column: self.path.clone(), data_type: self.type_text() }
    }
}

impl SchemaDelta {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self { since: self.since.clone(), ..Self::default() }
    }
}

impl SchemaSnapshot {
    /// What is different here from `before`, which was taken of the run `since`.
    #[must_use]
    pub fn delta(&self, since: &RunId, before: &Self) -> SchemaDelta {
        let mut delta = SchemaDelta { since: Some(since.clone()), ..SchemaDelta::default() };
        let (now, then) = (self.by_name(), before.by_name());
        delta.added_tables = now.keys().filter(|name| !then.contains_key(*name)).map(|name| (*name).to_owned()).collect();
        delta.removed_tables = then.keys().filter(|name| !now.contains_key(*name)).map(|name| (*name).to_owned()).collect();
        for (name, table) in &now {
            if let Some(before) = then.get(name) {
                delta.compare(table, before);
            }
        }
        delta
    }

    fn by_name(&self) -> BTreeMap<&str, &TableSnapshot> {
        self.tables.iter().map(|table| (table.name.as_str(), table)).collect()
    }
}

impl SchemaDelta {
    fn compare(&mut self, now: &TableSnapshot, then: &TableSnapshot) {
        let retyped = |column, from: String, to: String| Retyped { table: now.name.clone(), column, from, to };
        if now.table_type != then.table_type {
            self.retyped.push(retyped(None, then.table_type.clone(), now.table_type.clone()));
        }
        let before: BTreeMap<&str, &ColumnSnapshot> = then.columns.iter().map(|column| (column.path.as_str(), column)).collect();
        let after: BTreeMap<&str, &ColumnSnapshot> = now.columns.iter().map(|column| (column.path.as_str(), column)).collect();
        for column in &now.columns {
            match before.get(column.path.as_str()) {
                None => self.added_columns.push(column.change(now)),
                Some(was) if was.type_text() != column.type_text() => {
                    self.retyped.push(retyped(Some(column.path.clone()), was.type_text(), column.type_text()));
                }
                Some(_) => {}
            }
        }
        let gone = then.columns.iter().filter(|column| !after.contains_key(column.path.as_str()));
        self.removed_columns.extend(gone.map(|column| column.change(then)));

        let kept = now.columns.iter().map(|column| column.path.as_str()).filter(|path| before.contains_key(path));
        let kept_before = then.columns.iter().map(|column| column.path.as_str()).filter(|path| after.contains_key(path));
        if !kept.eq(kept_before) {
            self.reordered_tables.push(now.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, columns: &[(&str, &str)]) -> TableSnapshot {
        let columns = columns.iter().map(|(path, data_type)| ColumnSnapshot {
            path: (*path).to_owned(),
            data_type: (*data_type).to_owned(),
            nullable: true,
        });
        TableSnapshot { name: name.to_owned(), table_type: "VIEW".to_owned(), columns: columns.collect() }
    }

    fn delta(now: &[TableSnapshot], then: &[TableSnapshot]) -> SchemaDelta {
        let snapshot = |tables: &[TableSnapshot]| SchemaSnapshot { tables: tables.to_vec() };
        snapshot(now).delta(&RunId::new("before").unwrap(), &snapshot(then))
    }

    #[test]
    fn equal_snapshots_have_no_delta() {
        let tables = [table("a", &[("x", "Utf8"), ("y", "Int32")])];
        let delta = delta(&tables, &tables);
        assert!(delta.is_empty());
        assert_eq!(delta.since.unwrap().as_str(), "before");
    }

    #[test]
    fn tables_and_columns_come_go_and_change() {
        let mut strict = table("c", &[("x", "Utf8")]);
        strict.columns[0].nullable = false;
        let now = [table("a", &[("x", "Utf8"), ("n", "Struct"), ("n.z", "Int32")]), table("b", &[]), strict];
        let then = [table("a", &[("x", "Int64"), ("n", "Struct"), ("y", "Utf8")]), table("c", &[("x", "Utf8")]), table("d", &[])];
        let delta = delta(&now, &then);
        assert!(!delta.is_empty());
        assert_eq!((delta.added_tables, delta.removed_tables), (vec!["b".to_owned()], vec!["d".to_owned()]));
        let texts = |changes: Vec<ColumnChange>| changes.into_iter().map(|c| format!("{}.{} {}", c.table, c.column, c.data_type));
        assert_eq!(texts(delta.added_columns).collect::<Vec<_>>(), ["a.n.z Int32"]);
        assert_eq!(texts(delta.removed_columns).collect::<Vec<_>>(), ["a.y Utf8"]);
        let retyped = delta.retyped.iter().map(|r| format!("{}.{} {} -> {}", r.table, r.column.as_deref().unwrap_or(""), r.from, r.to));
        assert_eq!(retyped.collect::<Vec<_>>(), ["a.x Int64 -> Utf8", "c.x Utf8 -> Utf8 NOT NULL"]);
        assert!(delta.reordered_tables.is_empty());
    }

    #[test]
    fn another_order_of_the_same_columns_is_a_change() {
        let delta = delta(&[table("a", &[("x", "Utf8"), ("y", "Utf8")])], &[table("a", &[("y", "Utf8"), ("x", "Utf8")])]);
        assert_eq!(delta.reordered_tables, ["a"]);
        assert!(!delta.is_empty());
    }
}
