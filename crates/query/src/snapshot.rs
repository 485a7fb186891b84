//! The tables that a session has, as a run records them.

use arrow::datatypes::{DataType, Field, Fields};
use bytefacts_facts::{schema as facts_schema, views};
use bytefacts_landing::{ColumnSnapshot, SchemaSnapshot, TableSnapshot};

use crate::session::FACTS_TABLE;

/// What `information_schema` says in a session over facts: the root table and every view, with what is nested in their columns.
#[must_use]
pub fn schema_snapshot() -> SchemaSnapshot {
    let table = |name: &str, table_type: &str, fields: &Fields| {
        let mut columns = Vec::new();
        push_fields("", fields, &mut columns);
        TableSnapshot { name: name.to_owned(), table_type: table_type.to_owned(), columns }
    };
    let root = table(FACTS_TABLE, "BASE TABLE", facts_schema().fields());
    let views = views::all().iter().map(|view| table(view.name, "VIEW", view.schema().fields()));
    let mut tables: Vec<_> = views.chain([root]).collect();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    SchemaSnapshot { tables }
}

fn push_fields(parent: &str, fields: &Fields, columns: &mut Vec<ColumnSnapshot>) {
    for field in fields {
        let path = if parent.is_empty() { field.name().clone() } else { format!("{parent}.{}", field.name()) };
        columns.push(ColumnSnapshot { path: path.clone(), data_type: outermost(field.data_type()), nullable: field.is_nullable() });
        if let Some(nested) = nested(field.data_type()) {
            push_fields(&path, nested, columns);
        }
    }
}

/// The type without the fields of structs, which have lines of their own.
fn outermost(data_type: &DataType) -> String {
    match data_type {
        DataType::Struct(_) => "Struct".to_owned(),
        DataType::List(item) => format!("List<{}>", outermost(item.data_type())),
        DataType::Map(entries, _) => {
            let types = nested(entries.data_type()).into_iter().flatten().map(|field: &std::sync::Arc<Field>| outermost(field.data_type()));
            format!("Map<{}>", types.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// The fields of a struct, or of the structs in a list.
fn nested(data_type: &DataType) -> Option<&Fields> {
    match data_type {
        DataType::Struct(fields) => Some(fields),
        DataType::List(item) => nested(item.data_type()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_nested_fields_by_their_paths() {
        let snapshot = schema_snapshot();
        assert_eq!(snapshot.tables.len(), 1 + views::all().len());
        let root = snapshot.tables.iter().find(|table| table.name == FACTS_TABLE).unwrap();
        let column = |path: &str| {
            let column = root.columns.iter().find(|column| column.path == path).unwrap_or_else(|| panic!("{path}"));
            (column.data_type.as_str(), column.nullable)
        };
        assert_eq!(column("path"), ("Utf8", false));
        assert_eq!(column("attrs"), ("Map<Utf8, Utf8>", true));
        assert_eq!(column("code_objects"), ("List<Struct>", true));
        assert_eq!(column("code_objects.varnames"), ("List<Utf8>", true));
        assert_eq!(column("code_objects.instructions.span.start.line0"), ("Int32", true));
    }
}
