//! What `\d` shows: tables and views with their documentation, and the columns of one.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytefacts_facts::{schema::FILE, views};
use bytefacts_query::{CHANGES, FACTS_TABLE, listings};
use datafusion::common::Result;

/// A table or view.
#[derive(Clone)]
pub struct Table {
    /// As SQL names it.
    pub name: String,
    /// `table` or `view`.
    pub kind: &'static str,
    /// Its columns.
    pub schema: Arc<Schema>,
}

/// Rows of `\d`.
///
/// # Errors
/// Never: the columns are as long as each other.
pub fn list(tables: &[Table]) -> Result<RecordBatch> {
    let function = (format!("{CHANGES}('RUN', 'RUN')"), "function", "what differs between two runs, a row for each file");
    let listed = tables.iter().map(|table| (table.name.clone(), table.kind, table_doc(&table.name)));
    let all: Vec<_> = listed.chain([function]).collect();
    rows([
        ("name", all.iter().map(|(name, ..)| name.clone()).collect()),
        ("kind", all.iter().map(|(_, kind, _)| (*kind).to_owned()).collect()),
        ("description", all.iter().map(|(.., doc)| (*doc).to_owned()).collect()),
    ])
}

/// Rows of `\d NAME`, of its columns.
///
/// # Errors
/// Never: the columns are as long as each other.
pub fn describe(name: &str, schema: &Schema) -> Result<RecordBatch> {
    let fields = schema.fields().iter();
    rows([
        ("column", fields.clone().map(|field| field.name().clone()).collect()),
        ("type", fields.clone().map(|field| type_text(field.data_type())).collect()),
        ("meaning", fields.map(|field| column_doc(name, field)).collect()),
    ])
}

/// Names in order, each once.
pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

fn rows<const N: usize>(columns: [(&str, Vec<String>); N]) -> Result<RecordBatch> {
    let columns = columns.map(|(name, values)| (name, Arc::new(StringArray::from(values)) as ArrayRef));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn table_doc(name: &str) -> &'static str {
    if name == FACTS_TABLE {
        return "one row a file, whether it compiled or not; everything else is nested in it";
    }
    let listing = || {
        listings::ALL.iter().find(|listing| name.strip_prefix(listings::SCHEMA).is_some_and(|rest| rest == format!(".{}", listing.name)))
    };
    match views::all().iter().find(|view| view.name == name) {
        Some(view) => view.doc,
        None => listing().map_or("", |listing| listing.doc),
    }
}

/// What a column means: its own comment, or what the contract says.
fn column_doc(table: &str, field: &Field) -> String {
    if let Some(own) = field.metadata().get(listings::REMARKS) {
        return own.clone();
    }
    let name = field.name();
    let doc = match views::all().iter().find(|view| view.name == table) {
        Some(view) => view.columns.iter().find(|column| column.name == *name).map(|column| column.doc),
        None if table == FACTS_TABLE => FILE.column(name).map(|column| column.doc),
        None => None,
    };
    doc.unwrap_or_default().to_owned()
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

    use super::*;
    use crate::table::{Layout, Limits, render};

    #[test]
    fn tables_come_with_kind_and_meaning() {
        let table = |name: &str, kind| Table { name: name.to_owned(), kind, schema: schema() };
        let tables = [table(FACTS_TABLE, "table"), table("a_view", "view"), table("bytefacts.runs", "table")];
        let text = render(Layout::Csv, &list(&tables).unwrap()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with("bytecode_files_v1,table,\"one row a file"), "{text}");
        assert_eq!(lines[2], "a_view,view,\"\"");
        assert_eq!(lines[3], "bytefacts.runs,table,the committed runs");
        assert!(lines[4].contains("changes('RUN', 'RUN')") && lines[4].contains("function"), "{text}");
    }

    #[test]
    fn columns_come_with_short_types_and_meaning() {
        let batch = describe(FACTS_TABLE, &schema()).unwrap();
        let text = render(Layout::Grid(Limits::default()), &batch).unwrap();
        let row = |column: &str| text.lines().find(|line| line.trim_start().starts_with(column)).unwrap_or_default().to_owned();
        assert!(row("path").contains("| Utf8"), "{text}");
        assert!(row("code_objects").contains("| List<Struct of "), "{text}");
        assert!(row("attrs").contains("| Map<Utf8, Utf8>"), "{text}");
        assert!(row("path").split('|').nth(2).is_some_and(|doc| !doc.trim().is_empty()), "{text}");
        let text = render(Layout::Csv, &describe("bytefacts.files", &listings::FILES.arrow_schema()).unwrap()).unwrap();
        assert!(text.contains("key,Utf8,\"the Parquet file"), "{text}");
    }

    #[test]
    fn a_struct_names_its_fields() {
        let span = schema().field_with_name("errors").unwrap().data_type().clone();
        assert!(type_text(&span).starts_with("List<Struct of "));
        let DataType::List(item) = span else { panic!("errors are a list") };
        assert!(type_text(item.data_type()).starts_with("Struct<error_type, message, attrs"));
    }
}
