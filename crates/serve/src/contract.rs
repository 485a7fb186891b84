//! What every run can be asked through: the root table and the views, with what is known of them beside their types.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytefacts_facts::schema::FILE;
use bytefacts_facts::views;
use bytefacts_query::FACTS_TABLE;
use bytefacts_query::listings::documented;

/// Whether it is the root table or a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The root table.
    Table,
    /// A view.
    View,
    /// What the service itself tells.
    System,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Table, Self::View, Self::System];

    /// As drivers call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::System => "SYSTEM TABLE",
        }
    }
}

/// The names of the root table and the views, in the order of the contract.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(FACTS_TABLE).chain(views::all().iter().map(|view| view.name))
}

/// What a name is; none if it is not of the contract.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    if name == FACTS_TABLE { Some(Kind::Table) } else { views::by_name(name).map(|_| Kind::View) }
}

/// The columns with their meanings, as a query of all of them answers; `planned` is their schema there.
pub(crate) fn with_docs(name: &str, planned: &Schema) -> SchemaRef {
    let doc = |column: &str| match views::by_name(name) {
        Some(view) => view.columns.iter().find(|known| known.name == column).map(|known| known.doc),
        None => FILE.column(column).map(|known| known.doc),
    };
    let fields = planned.fields().iter().map(|field| documented(field.as_ref().clone(), doc(field.name()).unwrap_or_default()));
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), planned.metadata().clone()))
}

/// The column that tells rows of a table or view apart, where one does.
pub(crate) fn primary_key(name: &str) -> Option<&'static str> {
    const KEYS: [(&str, &str); 12] = [
        (FACTS_TABLE, "file_id"),
        ("py_bc_metadata", "file_id"),
        ("py_bc_code_units", "code_unit_id"),
        ("py_bc_flags_detail", "code_unit_id"),
        ("py_bc_instructions", "instr_id"),
        ("py_bc_instruction_spans", "instr_id"),
        ("bytecode_exception_table", "exc_entry_id"),
        ("py_bc_blocks", "block_id"),
        ("py_bc_cfg_edges", "edge_id"),
        ("py_bc_dfg_edges", "edge_id"),
        ("py_bc_consts", "const_id"),
        ("py_bc_cache_entries", "cache_entry_id"),
    ];
    KEYS.iter().find(|(table, _)| *table == name).map(|(_, column)| *column)
}

#[cfg(test)]
mod tests {
    use bytefacts_query::listings::REMARKS;

    use super::*;

    #[test]
    fn keys_are_columns_of_their_tables() {
        let mut keys = 0;
        for name in names() {
            let Some(key) = primary_key(name) else { continue };
            keys += 1;
            match views::by_name(name) {
                Some(view) => assert!(view.columns.iter().any(|column| column.name == key), "{name}.{key}"),
                None => assert!(FILE.column(key).is_some(), "{name}.{key}"),
            }
        }
        assert_eq!(keys, 12);
    }

    #[test]
    fn every_column_of_the_contract_has_its_meaning() {
        for view in views::all() {
            let schema = with_docs(view.name, &view.schema());
            for field in schema.fields() {
                assert!(!field.metadata()[REMARKS].is_empty(), "{}.{}", view.name, field.name());
            }
        }
        let root = with_docs(FACTS_TABLE, &bytefacts_facts::schema());
        assert!(root.field_with_name("path").unwrap().metadata()[REMARKS].contains("inside the repository"));
    }
}
