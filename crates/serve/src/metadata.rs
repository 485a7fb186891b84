//! What clients ask before they ask: catalogs, schemas, tables, keys, types, and what the service can do.

mod info;
mod types;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray as _, Int32Array, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter, like};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder, SqlInfoDataBuilder, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables};
use bytefacts_landing::RunId;
use datafusion::error::DataFusionError;

use crate::catalog::{FACTS, PUBLIC, RUNS};
use crate::contract::{self, Kind};
use crate::listing;
use crate::options::{ServeOptions, SessionOptions};
use crate::planner::Planner;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The columns of an answer; none of what is no question of this kind.
pub(crate) fn schema(command: &Command) -> Option<SchemaRef> {
    Some(match command {
        Command::CommandGetCatalogs(_) => GetCatalogsBuilder::new().schema(),
        Command::CommandGetDbSchemas(command) => GetDbSchemasBuilder::from(command.clone()).schema(),
        Command::CommandGetTables(command) => GetTablesBuilder::from(command.clone()).schema(),
        Command::CommandGetTableTypes(_) => table_types_schema(),
        Command::CommandGetSqlInfo(_) => Arc::new(SqlInfoDataBuilder::schema().clone()),
        Command::CommandGetXdbcTypeInfo(_) => XdbcTypeInfoDataBuilder::new().schema(),
        Command::CommandGetPrimaryKeys(_) => primary_keys_schema(),
        Command::CommandGetExportedKeys(_) | Command::CommandGetImportedKeys(_) | Command::CommandGetCrossReference(_) => {
            foreign_keys_schema()
        }
        _ => return None,
    })
}

/// The rows of an answer; none of what is no question of this kind.
///
/// # Errors
/// When the facts cannot be read.
pub(crate) async fn answer(
    command: Command,
    planner: &Planner,
    options: &SessionOptions,
    told: &ServeOptions,
    limit: Duration,
) -> Result<Option<RecordBatch>> {
    let Some(schema) = schema(&command) else { return Ok(None) };
    Ok(Some(match command {
        Command::CommandGetCatalogs(_) => {
            let mut catalogs = GetCatalogsBuilder::new();
            catalogs.append(FACTS);
            catalogs.append(RUNS);
            catalogs.build().map_err(arrow)?
        }
        Command::CommandGetDbSchemas(command) => schemas(command, planner).await?,
        Command::CommandGetTables(command) => tables(command, planner, options).await?,
        Command::CommandGetTableTypes(_) => {
            let mut names = Kind::ALL.map(Kind::name);
            names.sort_unstable();
            RecordBatch::try_new(schema, vec![Arc::new(StringArray::from_iter_values(names))])?
        }
        Command::CommandGetSqlInfo(command) => info::data(told, limit)?.record_batch(command.info).map_err(arrow)?,
        Command::CommandGetXdbcTypeInfo(command) => types::data()?.record_batch(command.data_type).map_err(arrow)?,
        Command::CommandGetPrimaryKeys(command) => primary_keys(&command, schema)?,
        // Ids of views refer to each other, but nothing declares it.
        _ => RecordBatch::new_empty(schema),
    }))
}

fn arrow(error: impl Into<arrow_flight::error::FlightError>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

/// The schemas of the catalog of what is shown.
fn shown_schemas() -> Vec<&'static str> {
    let mut schemas = vec![PUBLIC];
    schemas.extend(listing::all().map(|listing| listing.schema));
    schemas.dedup();
    schemas
}

async fn schemas(command: CommandGetDbSchemas, planner: &Planner) -> Result<RecordBatch> {
    let wants_runs = wants(command.catalog.as_deref(), RUNS);
    let mut schemas = GetDbSchemasBuilder::from(command);
    for name in shown_schemas() {
        schemas.append(FACTS, name);
    }
    if wants_runs {
        for run in planner.runs().headers().await? {
            schemas.append(RUNS, run.run_id.as_str());
        }
    }
    schemas.build().map_err(arrow)
}

/// Whether a filter on catalogs lets this one through.
fn wants(filter: Option<&str>, catalog: &str) -> bool {
    filter.is_none_or(|wanted| wanted == catalog)
}

/// Those of the names that a pattern of LIKE lets through.
fn matching(names: Vec<String>, pattern: Option<&str>) -> Result<Vec<String>> {
    let Some(pattern) = pattern else { return Ok(names) };
    let names = StringArray::from(names);
    let matched = like(&names, &StringArray::new_scalar(pattern))?;
    let kept = filter(&names, &matched)?;
    Ok(kept.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
}

/// Rows that are made at a time: with their schemas, those of a run are some hundred kilobytes.
const RUNS_AT_A_TIME: usize = 64;

async fn tables(command: CommandGetTables, planner: &Planner, options: &SessionOptions) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    let with_schemas = command.include_schema;
    if wants(command.catalog.as_deref(), FACTS) {
        let mut tables = GetTablesBuilder::from(command.clone());
        for name in contract::names() {
            let columns = if with_schemas { columns(planner, options, name).await? } else { Arc::new(Schema::empty()) };
            tables.append(FACTS, PUBLIC, name, contract::kind(name).unwrap_or(Kind::View).name(), &columns).map_err(arrow)?;
        }
        for listing in listing::all() {
            tables.append(FACTS, listing.schema, listing.name, Kind::System.name(), &listing.arrow_schema()).map_err(arrow)?;
        }
        batches.push(tables.build().map_err(arrow)?);
    }
    if wants(command.catalog.as_deref(), RUNS) {
        let runs = planner.runs().headers().await?.into_iter().map(|run| run.run_id.as_str().to_owned()).collect();
        let mut runs = matching(runs, command.db_schema_filter_pattern.as_deref())?;
        runs.sort_unstable();
        for runs in runs.chunks(RUNS_AT_A_TIME) {
            let mut tables = GetTablesBuilder::from(command.clone());
            for run in runs {
                for name in contract::names() {
                    let columns = if with_schemas { columns(planner, options, name).await? } else { Arc::new(Schema::empty()) };
                    tables.append(RUNS, run, name, contract::kind(name).unwrap_or(Kind::View).name(), &columns).map_err(arrow)?;
                }
            }
            batches.push(tables.build().map_err(arrow)?);
        }
    }
    let schema = GetTablesBuilder::from(command).schema();
    Ok(concat_batches(&schema, &batches)?)
}

/// The columns of a table with their meanings.
async fn columns(planner: &Planner, options: &SessionOptions, name: &'static str) -> Result<SchemaRef> {
    Ok(contract::with_docs(name, &*planner.columns_of(options.run.as_ref(), name).await?))
}

fn table_types_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]))
}

fn primary_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

fn foreign_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// The key of a table, in the catalog and schema that were asked about, or in those of what is shown.
fn primary_keys(command: &CommandGetPrimaryKeys, schema: SchemaRef) -> Result<RecordBatch> {
    let catalog = command.catalog.as_deref().unwrap_or(FACTS);
    let db_schema = command.db_schema.as_deref().unwrap_or(PUBLIC);
    let of_contract = (catalog == FACTS && db_schema == PUBLIC) || (catalog == RUNS && RunId::new(db_schema).is_ok());
    let key = if of_contract { contract::primary_key(&command.table) } else { None };
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(key.map(|_| value))) };
    let name = format!("{}_key", command.table);
    let columns = vec![
        text(catalog),
        text(db_schema),
        text(&command.table),
        text(key.unwrap_or_default()),
        text(&name),
        Arc::new(Int32Array::from_iter_values(key.map(|_| 1))) as ArrayRef,
    ];
    RecordBatch::try_new(schema, columns).map_err(|error: ArrowError| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(catalog: Option<&str>, db_schema: Option<&str>, table: &str) -> usize {
        let command =
            CommandGetPrimaryKeys { catalog: catalog.map(str::to_owned), db_schema: db_schema.map(str::to_owned), table: table.to_owned() };
        primary_keys(&command, primary_keys_schema()).unwrap().num_rows()
    }

    #[test]
    fn keys_are_of_tables_that_there_are() {
        assert_eq!(keys(None, None, "bytecode_files_v1"), 1);
        assert_eq!(keys(Some("runs"), Some("r-1"), "py_bc_blocks"), 1);
        assert_eq!(keys(Some("facts"), Some("system"), "py_bc_blocks"), 0);
        assert_eq!(keys(None, None, "py_bc_line_table"), 0);
        assert_eq!(keys(None, None, "nonsense"), 0);
    }

    #[test]
    fn patterns_are_those_of_like() {
        let names = || vec!["nightly-1".to_owned(), "nightly_1".to_owned(), "x".to_owned()];
        assert_eq!(matching(names(), None).unwrap().len(), 3);
        assert_eq!(matching(names(), Some("night%")).unwrap().len(), 2);
        assert_eq!(matching(names(), Some("nightly\\_1")).unwrap(), ["nightly_1"]);
    }
}
