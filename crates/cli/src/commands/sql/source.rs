//! Who answers the shell: a session of this process over facts, or a server.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, SchemaRef};
use bytefacts_client::{Answer, Connection, TableInfo};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::common::collect;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use tokio::sync::OnceCell;

use super::complete::Names;
use super::input::Parsed;
use super::schema::{Table, sorted};
use super::threads;
use crate::commands::runs;
use crate::facts::Facts;
use crate::table::{Layout, Limits, render};

/// The schema of a server that is meant where a name has none.
const PUBLIC: &str = "public";

/// What `\runs` asks of a server.
const RUNS: &str =
    "SELECT run_id, is_current, committed_at, repositories, files, errors, corpus FROM bytefacts.runs ORDER BY sequence DESC, run_id DESC";

/// What a server's functions are called.
const FUNCTIONS: &str = "SELECT DISTINCT routine_name FROM information_schema.routines";

/// Who answers.
pub enum Source<'a> {
    /// This process.
    Here {
        /// The session.
        session: SessionContext,
        /// The facts that it reads.
        facts: &'a Facts,
    },
    /// A server.
    There(Arc<Server>),
}

/// Names, when whoever types asks for help.
pub enum AtHand {
    /// Those of a session as it is now.
    Here(Names),
    /// What a server has told by then.
    There(Arc<Server>),
}

impl AtHand {
    /// The names.
    pub fn names(&self) -> Cow<'_, Names> {
        match self {
            Self::Here(names) => Cow::Borrowed(names),
            Self::There(server) => Cow::Owned(Names::new(server.known_tables(), server.known_functions().to_vec())),
        }
    }
}

/// A server, and what it has told of itself.
pub struct Server {
    connection: Connection,
    tables: OnceCell<Vec<Table>>,
    functions: OnceCell<Vec<String>>,
}

impl Source<'_> {
    /// A server.
    pub fn server(connection: Connection) -> Self {
        Self::There(Arc::new(Server { connection, tables: OnceCell::new(), functions: OnceCell::new() }))
    }

    /// Tables and views, the root table first.
    ///
    /// # Errors
    /// When they cannot be told.
    pub async fn tables(&self) -> Result<Vec<Table>> {
        match self {
            Self::Here { session, .. } => tables_here(session).await,
            Self::There(server) => server.tables().await.map(<[_]>::to_vec),
        }
    }

    /// The columns of a table or view, also of one that is not listed.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn columns(&self, name: &str) -> Result<SchemaRef> {
        match self {
            Self::Here { session, .. } => Ok(session.table_provider(name).await?.schema()),
            Self::There(server) => match server.tables().await?.iter().find(|table| table.name == name) {
                Some(table) => Ok(Arc::clone(&table.schema)),
                None => Ok(server.connection.ask(&format!("SELECT * FROM {name} LIMIT 0")).await?.schema()),
            },
        }
    }

    /// Where the names are found that help whoever types now. Nobody waits for a server.
    ///
    /// # Errors
    /// When tables and views of this process cannot be told.
    pub async fn names(&self) -> Result<AtHand> {
        match self {
            Self::Here { session, .. } => {
                let state = session.state();
                let scalar = state.scalar_functions().keys().cloned();
                let aggregate = state.aggregate_functions().keys().cloned();
                let functions = scalar.chain(aggregate).chain(state.window_functions().keys().cloned()).collect();
                Ok(AtHand::Here(Names::new(&tables_here(session).await?, functions)))
            }
            Self::There(server) => {
                server.ask_in_background();
                Ok(AtHand::There(Arc::clone(server)))
            }
        }
    }

    /// What `\runs` shows.
    ///
    /// # Errors
    /// When the runs cannot be read.
    pub async fn runs(&self) -> anyhow::Result<String> {
        match self {
            Self::Here { facts, .. } => runs::list(facts).await,
            Self::There(server) => {
                let answer = server.connection.ask(RUNS).await?;
                let schema = answer.schema();
                let rows = collect(answer.into_stream()).await?;
                Ok(render(Layout::Grid(Limits::default()), &concat_batches(&schema, &rows)?)?)
            }
        }
    }

    /// Starts a statement. Whoever drops the stream, or this call, gives it up.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(&self, parsed: Parsed) -> Result<SendableRecordBatchStream> {
        match self {
            Self::Here { session, .. } => start_here(session, parsed.statement).await,
            Self::There(server) => server.connection.ask(&parsed.text).await.map(Answer::into_stream).map_err(Into::into),
        }
    }
}

impl Server {
    /// Asks for what it has not told yet, without anybody waiting.
    pub fn ask_in_background(self: &Arc<Self>) {
        if self.tables.initialized() && self.functions.initialized() {
            return;
        }
        let server = Arc::clone(self);
        tokio::spawn(async move {
            // Whoever needs them is told what is wrong.
            if let Err(error) = server.tables().await.and(server.functions().await) {
                tracing::debug!(%error, "the server does not tell what there is");
            }
        });
    }

    /// Tables and views, as far as it has told them.
    pub fn known_tables(&self) -> &[Table] {
        self.tables.get().map_or(&[], Vec::as_slice)
    }

    /// Names of functions, as far as it has told them.
    pub fn known_functions(&self) -> &[String] {
        self.functions.get().map_or(&[], Vec::as_slice)
    }

    /// What it lists. It lists the same as long as it runs.
    async fn tables(&self) -> Result<&[Table]> {
        let asked = async || self.connection.tables().await.map(|tables| ordered(tables.into_iter().map(told).collect()));
        Ok(self.tables.get_or_try_init(asked).await?)
    }

    async fn functions(&self) -> Result<&[String]> {
        let asked = async || {
            let rows = self.connection.rows(FUNCTIONS).await?;
            let texts = |batch: &RecordBatch| {
                let names = cast(batch.column(0), &DataType::Utf8)?;
                let names = names.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
                Ok::<_, DataFusionError>(names)
            };
            rows.iter().map(texts).collect::<Result<Vec<_>>>().map(|names| sorted(names.concat()))
        };
        Ok(self.functions.get_or_try_init(asked).await?)
    }
}

/// A table as a server tells of it.
fn told(table: TableInfo) -> Table {
    Table {
        name: if table.schema == PUBLIC { table.name } else { format!("{}.{}", table.schema, table.name) },
        kind: if table.kind == "VIEW" { "view" } else { "table" },
        schema: table.columns,
    }
}

/// All tables and views of a session; those of the information schema are left out.
async fn tables_here(session: &SessionContext) -> Result<Vec<Table>> {
    let state = session.state();
    let default = &state.config_options().catalog;
    let mut tables = Vec::new();
    for catalog in state.catalog_list().catalog_names() {
        let Some(schemas) = session.catalog(&catalog) else { continue };
        for schema_name in schemas.schema_names() {
            let Some(schema) = schemas.schema(&schema_name).filter(|_| schema_name != "information_schema") else { continue };
            for name in schema.table_names() {
                let Some(provider) = schema.table(&name).await? else { continue };
                let name = match (catalog == default.default_catalog, schema_name == default.default_schema) {
                    (true, true) => name,
                    (true, false) => format!("{schema_name}.{name}"),
                    _ => format!("{catalog}.{schema_name}.{name}"),
                };
                let kind = if provider.table_type() == TableType::View { "view" } else { "table" };
                tables.push(Table { name, kind, schema: provider.schema() });
            }
        }
    }
    Ok(ordered(tables))
}

/// The table that all views are made of comes first.
fn ordered(mut tables: Vec<Table>) -> Vec<Table> {
    tables.sort_by_key(|table| (table.name != bytefacts_query::FACTS_TABLE, table.name.contains('.'), table.name.clone()));
    tables
}

async fn start_here(session: &SessionContext, statement: Statement) -> Result<SendableRecordBatchStream> {
    // DataFusion lists tables in the order of a hash map.
    let is_unsorted = matches!(&statement, Statement::Statement(inner) if matches!(**inner, SqlStatement::ShowTables { .. }));
    let plan = session.state().statement_to_plan(statement).await?;
    let mut frame = session.execute_logical_plan(plan).await?;
    if is_unsorted {
        let columns: Vec<_> = frame.schema().columns().into_iter().map(|column| Expr::Column(column).sort(true, true)).collect();
        frame = frame.sort(columns)?;
    }
    threads::run(frame).await
}
