//! What clients ask before they ask: catalogs, schemas, tables, keys, types, and what the service can do.
//!
//! Answers are streams: tables of all runs are as many as runs, each with all of its columns, and are made as they are read.

mod info;
mod types;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray as _, Int32Array, RecordBatch, StringArray};
use arrow::compute::{filter, like};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder, SqlInfoDataBuilder, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables};
use bytefacts_landing::RunId;
use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::catalog::{FACTS, PUBLIC, RUNS};
use crate::contract::{self, Kind};
use crate::listing;
use crate::options::{ServeOptions, SessionOptions};
use crate::planner::Planner;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The rows of an answer, some at a time, each made when it is asked for.
pub(crate) type Answer = BoxStream<'static, Result<RecordBatch>>;

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
) -> Result<Option<Answer>> {
    let Some(schema) = schema(&command) else { return Ok(None) };
    let rows = match command {
        Command::CommandGetCatalogs(_) => {
            let mut catalogs = GetCatalogsBuilder::new();
            catalogs.append(FACTS);
            catalogs.append(RUNS);
            catalogs.build().map_err(arrow)?
        }
        Command::CommandGetDbSchemas(command) => schemas(command, planner).await?,
        Command::CommandGetTables(command) => return tables(command, planner, options).await.map(Some),
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
    };
    Ok(Some(stream::iter([Ok(rows)]).boxed()))
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

/// Runs whose tables are one batch.
const RUNS_AT_A_TIME: usize = 256;

/// The same where columns are wanted too: of one run they are some hundred kilobytes.
const RUNS_WITH_COLUMNS: usize = 4;

/// A table or view that every run has.
struct Shared {
    name: &'static str,
    kind: &'static str,
    columns: SchemaRef,
}

async fn tables(command: CommandGetTables, planner: &Planner, options: &SessionOptions) -> Result<Answer> {
    let mut shared = Vec::new();
    for name in contract::names() {
        let columns = if command.include_schema { columns(planner, options, name).await? } else { Arc::new(Schema::empty()) };
        shared.push(Shared { name, kind: contract::kind(name).unwrap_or(Kind::View).name(), columns });
    }
    let mut runs = Vec::new();
    if wants(command.catalog.as_deref(), RUNS) {
        let all = planner.runs().headers().await?.into_iter().map(|run| run.run_id.as_str().to_owned()).collect();
        runs = matching(all, command.db_schema_filter_pattern.as_deref())?;
        runs.sort_unstable();
    }
    Ok(stream::iter(rows_of_tables(command, shared, runs)).boxed())
}

/// Those that are shown, where they are wanted, and then those of runs: some at a time, in the order of their names.
fn rows_of_tables(command: CommandGetTables, shared: Vec<Shared>, runs: Vec<String>) -> impl Iterator<Item = Result<RecordBatch>> {
    let shown = wants(command.catalog.as_deref(), FACTS).then(|| tables_shown(&command, &shared));
    let at_a_time = if command.include_schema { RUNS_WITH_COLUMNS } else { RUNS_AT_A_TIME };
    let mut runs = runs.into_iter();
    let of_runs = std::iter::from_fn(move || {
        let next: Vec<_> = runs.by_ref().take(at_a_time).collect();
        (!next.is_empty()).then(|| tables_of_runs(&command, &shared, &next))
    });
    shown.into_iter().chain(of_runs)
}

fn tables_shown(command: &CommandGetTables, shared: &[Shared]) -> Result<RecordBatch> {
    let mut tables = GetTablesBuilder::from(command.clone());
    for Shared { name, kind, columns } in shared {
        tables.append(FACTS, PUBLIC, *name, *kind, columns).map_err(arrow)?;
    }
    for listing in listing::all() {
        tables.append(FACTS, listing.schema, listing.name, Kind::System.name(), &listing.arrow_schema()).map_err(arrow)?;
    }
    tables.build().map_err(arrow)
}

fn tables_of_runs(command: &CommandGetTables, shared: &[Shared], runs: &[String]) -> Result<RecordBatch> {
    let mut tables = GetTablesBuilder::from(command.clone());
    for run in runs {
        for Shared { name, kind, columns } in shared {
            tables.append(RUNS, run, *name, *kind, columns).map_err(arrow)?;
        }
    }
    tables.build().map_err(arrow)
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
    use arrow_flight::IpcMessage;
    use bytefacts_query::FACTS_TABLE;

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

    /// Whoever reads slowly holds the tables of a few runs, and not those of all.
    #[test]
    fn tables_of_many_runs_come_some_at_a_time_with_all_of_their_columns() {
        let columns = contract::with_docs(FACTS_TABLE, &bytefacts_facts::schema());
        let shared = || ["a", "b"].map(|name| Shared { name, kind: "TABLE", columns: Arc::clone(&columns) }).into();
        let runs = || (0..1000).map(|n| format!("night-{n:04}")).collect::<Vec<_>>();
        for (include_schema, most) in [(true, 2 * RUNS_WITH_COLUMNS), (false, 2 * RUNS_AT_A_TIME)] {
            let command = CommandGetTables { catalog: Some(RUNS.to_owned()), include_schema, ..CommandGetTables::default() };
            let batches: Vec<_> = rows_of_tables(command.clone(), shared(), runs()).map(Result::unwrap).collect();
            assert!(batches.iter().all(|batch| batch.num_rows() <= most && batch.get_array_memory_size() < 4 << 20));
            let all = arrow::compute::concat_batches(&schema(&Command::CommandGetTables(command)).unwrap(), &batches).unwrap();
            let names = all.column(1).as_string::<i32>().iter().flatten().zip(all.column(2).as_string::<i32>().iter().flatten());
            let expected = runs().into_iter().flat_map(|run| [(run.clone(), "a"), (run, "b")]).collect::<Vec<_>>();
            assert!(names.map(|(run, table)| (run.to_owned(), table)).eq(expected));
            if include_schema {
                let told = all.column(4).as_binary::<i32>().iter().flatten();
                let told = told.map(|bytes| Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap());
                assert!(told.eq(std::iter::repeat_n(columns.as_ref().clone(), 2000)), "columns are told exactly");
            }
        }
    }
}
