//! The nested table as flat tables: one for each list and map in it, whose rows are the elements.
//!
//! They are what the [`views`](crate::views) are made of, for one reason: DataFusion prunes columns and not what is nested in them, so that
//! SQL over the nested table reads every instruction to count the units. Here each field is a column, and [`FlatTable::narrowed`] says how
//! little of the nested schema some of them need.
//!
//! A table is named by the path of its list, the names joined by `_`. Its columns are the fields of the element (a struct whole and, its parts
//! joined by `_`, each of them) and behind them the plain fields of what is around the element, from the inside out. Of two columns of a name
//! the inner one is shown, as in any scope.

mod unnest;

use std::sync::LazyLock;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use crate::schema::{Column, FILE, Kind, Record, list_of};

/// The schema of SQL that holds the flat tables.
pub const SCHEMA: &str = "records";

/// The elements of a list or of a map, over the whole corpus.
#[derive(Debug)]
pub struct FlatTable {
    /// Its name, as `code_objects_instructions`.
    pub name: String,
    /// The lists from the root down, the last of which the rows are the elements of.
    pub path: Vec<&'static str>,
    /// Whether the last of them is a map, whose elements are its entries.
    pub is_map: bool,
    /// Its columns.
    pub columns: Vec<FlatColumn>,
}

/// A column of a [`FlatTable`].
#[derive(Debug)]
pub struct FlatColumn {
    /// Its name.
    pub name: String,
    /// How many lists lie around the record that has the field: 0 for the file, the length of the table's path for the element.
    pub level: usize,
    /// The field, and the field in that, down to the value.
    pub fields: Vec<&'static str>,
    /// Its type.
    pub kind: Kind,
    /// Whether a value may be null. What comes out of a list always may, as in SQL.
    pub nullable: bool,
    /// Meaning, unit and condition of a null.
    pub doc: &'static str,
}

/// The flat tables of the schema, outer lists first.
pub fn all() -> &'static [FlatTable] {
    static TABLES: LazyLock<Vec<FlatTable>> = LazyLock::new(|| {
        let mut tables = Vec::new();
        push_tables(&[("", &FILE)], &mut tables);
        tables
    });
    &TABLES
}

/// The flat table of that name.
pub fn by_name(name: &str) -> Option<&'static FlatTable> {
    all().iter().find(|table| table.name == name)
}

impl FlatTable {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&FlatColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The table's schema.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| Field::new(&column.name, column.kind.data_type(), column.nullable));
        Schema::new(fields.collect::<Vec<_>>()).into()
    }

    /// The fields of the root table that some of the columns are made of, each with no more nested in it than is needed.
    ///
    /// A struct in a list keeps at least one field that data files of every version have: without any of its fields a reader would know
    /// neither how long the list is nor that the file just lacks a newer field.
    pub fn narrowed<'a>(&self, columns: impl IntoIterator<Item = &'a FlatColumn>) -> Fields {
        let paths: Vec<Vec<&str>> =
            columns.into_iter().map(|column| self.path.iter().take(column.level).chain(&column.fields).copied().collect()).collect();
        let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
        narrow(&FILE, &self.path, &paths, false)
    }
}

/// The entries of a map, as Arrow has them.
const ENTRY: Record = Record {
    name: "ENTRY",
    columns: &[
        Column { name: "key", kind: Kind::Text, nullable: false, doc: "key", metadata: &[] },
        Column { name: "value", kind: Kind::Text, nullable: true, doc: "value", metadata: &[] },
    ],
};

/// Appends the tables of the lists and maps in the last of these records, which lie in one another.
fn push_tables(around: &[(&'static str, &'static Record)], tables: &mut Vec<FlatTable>) {
    for column in around.last().into_iter().flat_map(|(_, record)| record.columns) {
        let element = match column.kind {
            Kind::List(record) => record,
            Kind::Map => &ENTRY,
            _ => continue,
        };
        let mut records = around.to_vec();
        records.push((column.name, element));
        let path: Vec<_> = records.iter().skip(1).map(|(list, _)| *list).collect();
        tables.push(FlatTable { name: path.join("_"), columns: columns(&records), path, is_map: matches!(column.kind, Kind::Map) });
        push_tables(&records, tables);
    }
}

/// The columns of a table: those of the innermost record, and the plain ones of the records around it.
fn columns(records: &[(&'static str, &'static Record)]) -> Vec<FlatColumn> {
    let mut columns: Vec<FlatColumn> = Vec::new();
    for (level, (_, record)) in records.iter().enumerate().rev() {
        let mut own = Vec::new();
        if level + 1 == records.len() {
            push_parts(&[], record, level, &mut own);
        } else {
            let plain =
                record.columns.iter().filter(|column| matches!(column.kind, Kind::Text | Kind::Int32 | Kind::Int64 | Kind::Boolean));
            own.extend(plain.map(|column| flat(&[], column, level)));
        }
        own.retain(|column| columns.iter().all(|inner| inner.name != column.name));
        columns.extend(own);
    }
    columns
}

fn push_parts(parents: &[&'static str], record: &'static Record, level: usize, columns: &mut Vec<FlatColumn>) {
    for column in record.columns {
        columns.push(flat(parents, column, level));
        if let Kind::Struct(parts) = column.kind {
            push_parts(&[parents, &[column.name]].concat(), parts, level, columns);
        }
    }
}

fn flat(parents: &[&'static str], column: &Column, level: usize) -> FlatColumn {
    let fields = [parents, &[column.name]].concat();
    FlatColumn { name: fields.join("_"), level, fields, kind: column.kind, nullable: level > 0 || column.nullable, doc: column.doc }
}

/// The fields of a record that lie on the way to a list, or on a path to a value; a path that ends at a field wants all of it.
fn narrow(record: &Record, list: &[&str], paths: &[&[&str]], anchored: bool) -> Fields {
    let below = |column: &Column| -> Vec<&[&str]> {
        let inside = paths.iter().filter_map(|path| path.split_first().filter(|(first, _)| **first == column.name).map(|(_, rest)| rest));
        inside.collect()
    };
    let on_the_way = |column: &Column| list.first() == Some(&column.name);
    let wanted = |column: &Column| on_the_way(column) || !below(column).is_empty();
    let has_anchor = !anchored || record.columns.iter().any(|column| !column.nullable && wanted(column));
    let anchor = anchor(record).filter(|_| !has_anchor);

    let kept = record.columns.iter().filter(|column| wanted(column) || anchor.is_some_and(|anchor| anchor.name == column.name));
    let fields = kept.map(|column| {
        let paths = below(column);
        if paths.iter().any(|path| path.is_empty()) {
            return column.field();
        }
        let list = if on_the_way(column) { list.get(1..).unwrap_or_default() } else { &[] };
        match column.kind {
            Kind::Struct(parts) => column.field().with_data_type(DataType::Struct(narrow(parts, list, &paths, true))),
            Kind::List(element) => column.field().with_data_type(list_of(DataType::Struct(narrow(element, list, &paths, true)))),
            _ => column.field(),
        }
    });
    fields.collect()
}

/// The field of a record that files of every version have and that costs least to read. Required fields were there from the start; of a record
/// without any the first one was.
fn anchor(record: &Record) -> Option<&Column> {
    let required = |column: &&Column| !column.nullable;
    let mut numbers = record.columns.iter().filter(|column| matches!(column.kind, Kind::Int32 | Kind::Boolean)).filter(required);
    numbers.next().or_else(|| record.columns.iter().find(required)).or_else(|| record.columns.first())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves that some columns of a table need, as paths.
    fn leaves(table: &str, columns: &[&str]) -> Vec<String> {
        let table = by_name(table).unwrap_or_else(|| panic!("{table}"));
        let columns = columns.iter().map(|name| table.column(name).unwrap_or_else(|| panic!("{name}")));
        let mut leaves = Vec::new();
        push_leaves("", &table.narrowed(columns), &mut leaves);
        leaves
    }

    fn push_leaves(parent: &str, fields: &Fields, leaves: &mut Vec<String>) {
        for field in fields {
            let path = format!("{parent}{}", field.name());
            let mut data_type = field.data_type();
            if let DataType::List(element) = data_type {
                data_type = element.data_type();
            }
            match data_type {
                DataType::Struct(parts) => push_leaves(&format!("{path}."), parts, leaves),
                _ => leaves.push(path),
            }
        }
    }

    #[test]
    fn a_column_needs_its_leaf_and_no_other() {
        assert_eq!(leaves("code_objects_instructions", &["opname"]), ["code_objects.firstlineno1", "code_objects.instructions.opname"]);
        assert_eq!(
            leaves("code_objects_instructions", &["path", "code_unit_id", "offset"]),
            ["path", "code_objects.firstlineno1", "code_objects.instructions.offset", "code_objects.code_unit_id"]
        );
        assert_eq!(
            leaves("code_objects_instructions", &["opcode", "span_end_col"]),
            [
                "code_objects.firstlineno1",
                "code_objects.instructions.opcode",
                "code_objects.instructions.span.start.line0",
                "code_objects.instructions.span.end.line0",
                "code_objects.instructions.span.end.col"
            ]
        );
    }

    #[test]
    fn without_a_column_the_lengths_of_the_lists_are_read_from_one_leaf() {
        assert_eq!(leaves("code_objects", &[]), ["code_objects.firstlineno1"]);
        assert_eq!(leaves("errors_attrs", &[]), ["errors.error_type", "errors.attrs"]);
    }

    #[test]
    fn a_nested_column_comes_whole() {
        let table = by_name("code_objects").unwrap();
        let consts = table.narrowed(table.column("consts"));
        let DataType::List(unit) = consts[0].data_type() else { panic!("{consts:?}") };
        let DataType::Struct(unit) = unit.data_type() else { panic!("{unit:?}") };
        assert_eq!(unit.find("consts").unwrap().1.data_type(), &table.column("consts").unwrap().kind.data_type());
    }

    #[test]
    fn all_columns_need_the_whole_record() {
        let units = by_name("code_objects").unwrap();
        let narrowed = units.narrowed(&units.columns);
        assert!(narrowed.find("code_objects").unwrap().1 == FILE.fields().find("code_objects").unwrap().1);
    }

    #[test]
    fn names_are_unique_and_inner_ones_win() {
        let mut names: Vec<_> = all().iter().map(|table| &table.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for table in all() {
            let mut names: Vec<_> = table.columns.iter().map(|column| &column.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: {names:?}", table.name);
        }
        let digest = |table: &str| by_name(table).unwrap().column("facts_digest").unwrap().level;
        assert_eq!((digest("code_objects_blocks"), digest("errors")), (1, 0));
    }

    #[test]
    fn tables_of_the_schema() {
        let names: Vec<_> = all().iter().map(|table| table.name.as_str()).collect();
        insta::assert_snapshot!(names.join("\n"));
    }
}
