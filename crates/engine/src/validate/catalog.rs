//! The session's own account of tables and views, compared with the contract by value.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use bytefacts_facts::validate::{Check, Tally};
use bytefacts_facts::{schema as facts_schema, views};
use bytefacts_landing::RunId;
use bytefacts_query::{FACTS_TABLE, facts_session};
use bytefacts_stores::Stores;
use datafusion::prelude::SessionContext;

use super::error::ValidateError;

/// Names of columns and their types as text.
type Columns = Vec<(String, String)>;

/// Compares `information_schema.columns` and `arrow_typeof` of every column with the contract.
pub(crate) async fn check(stores: &Stores, location: &str, run: &RunId, tally: &mut Tally) -> Result<(), ValidateError> {
    let session = facts_session(stores, location, Some(run.clone()))?;
    // A row is enough, and a batch of nested rows may be large.
    session.sql("SET datafusion.execution.batch_size = 8").await?.collect().await?;
    let root = facts_schema().fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect();
    let of_views = views::all().iter().map(|view| {
        let columns = view.columns.iter().map(|column| (column.name.to_owned(), column.type_text.clone())).collect();
        // The first row of a view of meaning costs as much as all of them.
        (view.name, columns, usize::from(!view.of_meaning))
    });
    let tables: Vec<(&str, Columns, usize)> = std::iter::once((FACTS_TABLE, root, 1)).chain(of_views).collect();
    for (table, expected, rows) in &tables {
        let found = in_catalog(&session, table).await?;
        compare(Check::SchemaCatalog, table, expected, &found, tally);
        match types(&session, table, expected, *rows).await {
            Ok(found) => compare(Check::SchemaTypes, table, expected, &found, tally),
            // Data that cannot be read has been found fault with where it stands; a view that cannot be planned or run is one here.
            Err(error) => tally.expect(Check::SchemaTypes, false, None, None, || format!("{table} cannot be queried: {error}")),
        }
    }
    Ok(())
}

fn compare(check: Check, table: &str, expected: &Columns, found: &Columns, tally: &mut Tally) {
    for nth in 0..expected.len().max(found.len()) {
        let (expected, found) = (expected.get(nth), found.get(nth));
        tally.expect(check, expected == found, None, None, || {
            let text =
                |column: Option<&(String, String)>| column.map_or("nothing".to_owned(), |(name, type_text)| format!("{name} {type_text}"));
            format!("column {nth} of {table} is {} and should be {}", text(found), text(expected))
        });
    }
}

async fn in_catalog(session: &SessionContext, table: &str) -> Result<Columns, ValidateError> {
    let sql =
        format!("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{table}' ORDER BY ordinal_position");
    let rows = session.sql(&sql).await?.collect().await?;
    Ok(rows.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| (text(batch, 0, row), text(batch, 1, row)))).collect())
}

/// What `arrow_typeof` says of each column, whether or not there is a row, of so many rows.
async fn types(session: &SessionContext, table: &str, columns: &Columns, rows: usize) -> Result<Columns, ValidateError> {
    let types: Vec<_> = columns.iter().map(|(name, _)| format!("arrow_typeof(t.\"{name}\")")).collect();
    let sql = format!("SELECT {} FROM (SELECT 1 AS one) o LEFT JOIN (SELECT * FROM {table} LIMIT {rows}) t ON true", types.join(", "));
    let rows = session.sql(&sql).await?.collect().await?;
    let Some(batch) = rows.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Columns::new()) };
    Ok(columns.iter().enumerate().map(|(nth, (name, _))| (name.clone(), text(batch, nth, 0))).collect())
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    let texts = batch.columns().get(column).and_then(|column| column.as_string_opt::<i32>());
    texts.filter(|texts| row < texts.len() && texts.is_valid(row)).map(|texts| texts.value(row).to_owned()).unwrap_or_default()
}
