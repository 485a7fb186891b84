//! What `\d` shows: tables and views with their documentation, and the columns of one.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema};
use bytefacts_facts::{schema::FILE, views};
use bytefacts_query::FACTS_TABLE;
use datafusion::common::Result;
use datafusion::logical_expr::TableType;
use datafusion::prelude::SessionContext;

/// A table or view of the session.
pub struct Table {
    /// As SQL names it.
    pub name: String,
    /// `table` or `view`.
    pub kind: &'static str,
    /// Its columns.
    pub schema: Arc<Schema>,
}

/// All tables and views of the session, by name; those of the information schema are left out.
///
/// # Errors
/// When a table's provider cannot be had.
pub async fn tables(session: &SessionContext) -> Result<Vec<Table>> {
    let state = session.state();
    let default = &state.config_options().catalog;
    let mut tables = Vec::new();
    for catalog in state.catalog_list().catalog_names() {
        let Some(schemas) = session.catalog(&catalog) else { continue };
        for schema_name in schemas.schema_names() {
            let Some(schema) = schemas.schema(&schema_name).filter(|_| schema_name != "information_schema") else { continue };
            for name in schema.table_names() {
                let Some(provider) = schema.table(&name).await? else { continue };
                let is_default = catalog == default.default_catalog && schema_name == default.default_schema;
                tables.push(Table {
                    name: if is_default { name } else { format!("{catalog}.{schema_name}.{name}") },
                    kind: if provider.table_type() == TableType::View { "view" } else { "table" },
                    schema: provider.schema(),
                });
            }
        }
    }
    // The table that all views are made of comes first.
    tables.sort_by_key(|table| (table.name != FACTS_TABLE, table.name.clone()));
    Ok(tables)
}

/// Rows of `\d`.
///
/// # Errors
/// As [`tables`].
pub async fn list(session: &SessionContext) -> Result<RecordBatch> {
    let tables = tables(session).await?;
    rows([
        ("name", tables.iter().map(|table| table.name.clone()).collect()),
        ("kind", tables.iter().map(|table| table.kind.to_owned()).collect()),
        ("description", tables.iter().map(|table| table_doc(&table.name).to_owned()).collect()),
    ])
}

/// Rows of `\d NAME`.
///
/// # Errors
/// When there is no table or view of that name.
pub async fn describe(session: &SessionContext, name: &str) -> Result<RecordBatch> {
    let schema = session.table_provider(name).await?.schema();
    let fields = schema.fields().iter();
    rows([
        ("column", fields.clone().map(|field| field.name().clone()).collect()),
        ("type", fields.clone().map(|field| type_text(field.data_type())).collect()),
        ("meaning", fields.map(|field| column_doc(name, field.name()).to_owned()).collect()),
    ])
}

fn rows<const N: usize>(columns: [(&str, Vec<String>); N]) -> Result<RecordBatch> {
    let columns = columns.map(|(name, values)| (name, Arc::new(StringArray::from(values)) as ArrayRef));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn table_doc(name: &str) -> &'static str {
    if name == FACTS_TABLE {
        return "one row a file, whether it compiled or not; everything else is nested in it";
    }
    views::all().iter().find(|view| view.name == name).map_or("", |view| view.doc)
}

fn column_doc(table: &str, column: &str) -> &'static str {
    if table == FACTS_TABLE {
        return FILE.column(column).map_or("", |column| column.doc);
    }
    let view = views::all().iter().find(|view| view.name == table);
    view.and_then(|view| view.columns.iter().find(|c| c.name == column)).map_or("", |column| column.doc)
}

/// A type in few words: nested types name their fields, not those of their fields.
fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("List<{}>", outline(item.data_type())),
        DataType::Struct(fields) => format!("Struct<{}>", fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")),
        other => outline(other),
    }
}

fn outline(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("List<{}>", outline(item.data_type())),
        DataType::Struct(fields) => format!("Struct of {}", fields.len()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                format!("Map<{}>", fields.iter().map(|field| outline(field.data_type())).collect::<Vec<_>>().join(", "))
            }
            other => format!("Map<{}>", outline(other)),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use bytefacts_facts::schema;
    use datafusion::datasource::empty::EmptyTable;

    use super::*;
    use crate::table::{Layout, Limits, render};

    async fn session() -> SessionContext {
        let session = SessionContext::new();
        session.register_table(FACTS_TABLE, Arc::new(EmptyTable::new(schema()))).unwrap();
        session.sql("CREATE VIEW a_view AS SELECT 1 AS one").await.unwrap();
        session
    }

    #[tokio::test]
    async fn tables_come_with_kind_and_meaning() {
        let text = render(Layout::Csv, &list(&session().await).await.unwrap()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("bytecode_files_v1,table,\"one row a file"), "{text}");
        assert_eq!(lines[2], "a_view,view,\"\"");
    }

    #[tokio::test]
    async fn columns_come_with_short_types_and_meaning() {
        let batch = describe(&session().await, FACTS_TABLE).await.unwrap();
        let text = render(Layout::Grid(Limits::default()), &batch).unwrap();
        let row = |column: &str| text.lines().find(|line| line.trim_start().starts_with(column)).unwrap_or_default().to_owned();
        assert!(row("path").contains("| Utf8"), "{text}");
        assert!(row("code_objects").contains("| List<Struct of "), "{text}");
        assert!(row("attrs").contains("| Map<Utf8, Utf8>"), "{text}");
        assert!(row("path").split('|').nth(2).is_some_and(|doc| !doc.trim().is_empty()), "{text}");
    }

    #[tokio::test]
    async fn a_table_that_is_not_there_is_an_error() {
        assert!(describe(&session().await, "nope").await.is_err());
    }

    #[test]
    fn a_struct_names_its_fields() {
        let span = schema().field_with_name("errors").unwrap().data_type().clone();
        assert!(type_text(&span).starts_with("List<Struct of "));
        let DataType::List(item) = span else { panic!("errors are a list") };
        assert!(type_text(item.data_type()).starts_with("Struct<error_type, message, attrs"));
    }
}
