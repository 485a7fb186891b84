//! The flat views over the nested table: one row of each list, with the ids that join them.
//!
//! A view is SQL for DataFusion over one of the [flat tables](crate::flat), which the session has in the schema
//! [`SCHEMA`](crate::flat::SCHEMA), or over the table named [`TABLE`](crate::schema::TABLE). Ids come from two variadic functions that the session must have: `bytefacts_hash64(prefix, part,
//! …)` and `bytefacts_hash128(prefix, part, …)` join the parts by `:`, a null being an empty field, and put the prefix before
//! [`hash64`](crate::ids::hash64) or [`hash128`](crate::ids::hash128) of that. An id of something that is not there is null.
//!
//! An empty or null list, as a file that failed has, gives no row.

mod definition;
mod semantic;
mod tables;

use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::definition::Definition;
use crate::{flat, schema};

/// A view of the contract.
#[derive(Debug)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// A SELECT over the flat table or the nested one.
    pub sql: String,
    /// The same over the nested one alone, for sessions without flat tables. It reads far more than what is asked for.
    pub unnested: String,
    /// The names, types and meanings of its columns, in order.
    pub columns: Vec<ViewColumn>,
    /// Whether it says what code means, joined from several lists, and not what one list holds.
    pub of_meaning: bool,
}

/// A column of a [`View`].
#[derive(Debug, Clone)]
pub struct ViewColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type; nullability of the column itself is not part of it.
    pub data_type: DataType,
    /// The type as `arrow_typeof` and `information_schema.columns` print it.
    pub type_text: String,
    /// Meaning and unit.
    pub doc: &'static str,
}

impl View {
    /// The statement that creates the view, replacing one of that name.
    pub fn create_statement(&self) -> String {
        format!("CREATE OR REPLACE VIEW {} AS {}", self.name, self.sql)
    }

    /// The columns as a schema in which any may be null.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| Field::new(column.name, column.data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn new(definition: &Definition) -> Self {
        let columns: Vec<_> = definition
            .all_columns()
            .map(|column| {
                let data_type = definition.kind(column).data_type();
                let doc = definition.doc(column);
                ViewColumn { name: column.name, type_text: data_type.to_string(), data_type, doc }
            })
            .collect();
        let (from, unnested) = match definition.table() {
            Some(table) => (format!("{}.{}", flat::SCHEMA, table.name), format!("({})", table.unnested(&definition.needed(table)))),
            None => (schema::TABLE.to_owned(), schema::TABLE.to_owned()),
        };
        Self {
            name: definition.name,
            doc: definition.doc,
            sql: sql(definition, &from),
            unnested: sql(definition, &unnested),
            columns,
            of_meaning: false,
        }
    }
}

/// All views: those of the contract in its order, and those of meaning, each behind the ones that it is made of.
pub fn all() -> &'static [View] {
    static VIEWS: LazyLock<Vec<View>> =
        LazyLock::new(|| tables::ALL.iter().map(View::new).chain(semantic::ALL.iter().map(View::of_meaning)).collect());
    &VIEWS
}

/// The view of that name.
pub fn by_name(name: &str) -> Option<&'static View> {
    all().iter().find(|view| view.name == name)
}

fn sql(definition: &Definition, from: &str) -> String {
    let mut sql = String::from("SELECT");
    for (nth, column) in definition.all_columns().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(sql, "{}\n  {} AS \"{}\"", if nth == 0 { "" } else { "," }, column.expression(), column.name);
    }
    let _ = write!(sql, "\nFROM {from}");
    if let Some(condition) = definition.condition {
        let _ = write!(sql, "\nWHERE {condition}");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_those_of_the_contract() {
        let names: Vec<_> = all().iter().map(|view| view.name).collect();
        assert_eq!(
            names,
            [
                "py_bc_code_units",
                "py_bc_instructions",
                "py_bc_line_table",
                "bytecode_exception_table",
                "py_bc_blocks",
                "py_bc_cfg_edges",
                "py_bc_dfg_edges",
                "py_bc_consts",
                "py_bc_cache_entries",
                "py_bc_flags_detail",
                "py_bc_instruction_attrs",
                "py_bc_cfg_edge_attrs",
                "py_bc_error_attrs",
                "py_bc_instruction_spans",
                "bytecode_errors",
                "py_bc_metadata",
                "py_bc_def_use_events",
                "py_bc_reaches",
                "py_bc_attributes",
                "py_bc_calls",
                "py_bc_call_arguments",
                "py_bc_bases",
                "py_bc_decorators",
                "py_bc_imports",
                "py_bc_handlers",
                "py_bc_names",
                "py_bc_constants",
                "py_bc_awaits",
                "py_bc_global_writes",
            ]
        );
    }

    #[test]
    fn no_view_has_two_columns_of_a_name() {
        for view in all() {
            let mut names: Vec<_> = view.columns.iter().map(|column| column.name).collect();
            names.sort_unstable();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{}: {names:?}", view.name);
        }
    }

    #[test]
    fn every_column_that_a_view_names_is_in_its_table() {
        for definition in tables::ALL {
            for column in definition.all_columns() {
                assert!(!definition.doc(column).is_empty(), "{}.{}", definition.name, column.name);
            }
        }
    }

    #[test]
    fn no_piece_of_a_view_is_left_open() {
        for view in all() {
            assert!(!view.sql.contains('{') && !view.unnested.contains('{'), "{}: {}", view.name, view.sql);
            assert!(!view.unnested.contains(&format!("{}.", flat::SCHEMA)), "{}: {}", view.name, view.unnested);
        }
    }

    #[test]
    fn sql_and_columns_of_the_views() {
        let mut text = String::new();
        for view in all() {
            writeln!(text, "-- {}: {}\n{};", view.name, view.doc, view.sql).unwrap();
            for column in &view.columns {
                writeln!(text, "-- {} {}: {}", column.name, column.type_text, column.doc).unwrap();
            }
            text.push('\n');
        }
        insta::assert_snapshot!(text);
    }
}
