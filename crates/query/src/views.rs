//! The views of a session, each planned when it is first asked for: a query needs a few of them, and planning all takes longer than most answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytefacts_facts::views::{self, View};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
    TableProvider,
};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, internal_err};
use datafusion::datasource::ViewTable;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{DdlStatement, LogicalPlan, TableType};
use datafusion::optimizer::Analyzer;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

/// A schema with every view of the contract, and with what is registered in it.
#[derive(Clone)]
pub(crate) struct Views(Arc<Shared>);

struct Shared {
    /// What views are planned with, but for their schema: functions and settings.
    planner: SessionState,
    /// Other schemas of the catalog, by name.
    beside: BTreeMap<&'static str, Arc<dyn SchemaProvider>>,
    /// Tables that are no views of the contract, and such as whoever asks has made.
    tables: MemorySchemaProvider,
    /// Views that were planned.
    planned: Mutex<BTreeMap<&'static str, Arc<dyn TableProvider>>>,
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Views").finish_non_exhaustive()
    }
}

impl Views {
    /// The views, planned with the functions and settings of a session, over tables that are registered here and over the schemas `beside`.
    pub(crate) fn new(session: SessionState, beside: BTreeMap<&'static str, Arc<dyn SchemaProvider>>) -> Self {
        // Without the session's catalogs, among which this schema will be: they would keep each other for ever.
        let planner = SessionStateBuilder::new_from_existing(session).with_catalog_list(Arc::new(MemoryCatalogProviderList::new())).build();
        Self(Arc::new(Shared { planner, beside, tables: MemorySchemaProvider::new(), planned: Mutex::default() }))
    }

    async fn plan(&self, view: &View) -> Result<Arc<dyn TableProvider>> {
        let options = self.0.planner.config().options();
        let dialect = options.sql_parser.dialect;
        let planner = self.planner()?;
        let statement = planner.sql_to_statement(&format!("CREATE VIEW {} AS {}", view.name, view.sql), &dialect)?;
        let LogicalPlan::Ddl(DdlStatement::CreateView(created)) = planner.statement_to_plan(statement).await? else {
            return internal_err!("the statement of view {} creates none", view.name);
        };
        // As the engine does where it is told to create one.
        let coercion = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
        let plan = coercion.execute_and_check(Arc::unwrap_or_clone(created.input), &ConfigOptions::default(), |_, _| {})?;
        Ok(Arc::new(ViewTable::new(plan, created.definition)))
    }

    /// A state whose catalog has this schema and those beside it. It is made for one view, since one that were kept would keep itself.
    fn planner(&self) -> Result<SessionState> {
        let of_session = &self.0.planner.config().options().catalog;
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(&of_session.default_schema, Arc::new(self.clone()))?;
        for (name, schema) in &self.0.beside {
            catalog.register_schema(name, Arc::clone(schema))?;
        }
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(of_session.default_catalog.clone(), Arc::new(catalog));
        Ok(SessionStateBuilder::new_from_existing(self.0.planner.clone()).with_catalog_list(Arc::new(catalogs)).build())
    }
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.0.tables.table_names();
        names.extend(views::all().iter().filter(|view| !self.0.tables.table_exist(view.name)).map(|view| view.name.to_owned()));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.0.tables.table(name).await? {
            return Ok(Some(table));
        }
        let Some(view) = views::all().iter().find(|view| view.name == name) else { return Ok(None) };
        let planned = || self.0.planned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = planned().get(view.name) {
            return Ok(Some(Arc::clone(table)));
        }
        // Who asks at the same time plans it as well: nothing is locked that another view may be waited for with.
        let table = self.plan(view).await?;
        planned().insert(view.name, Arc::clone(&table));
        Ok(Some(table))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        match self.0.tables.table(name).await? {
            Some(table) => Ok(Some(table.table_type())),
            None => Ok(views::all().iter().any(|view| view.name == name).then_some(TableType::View)),
        }
    }

    fn register_table(&self, name: String, table: Arc<dyn TableProvider>) -> Result<Option<Arc<dyn TableProvider>>> {
        self.0.tables.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.0.tables.deregister_table(name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.0.tables.table_exist(name) || views::all().iter().any(|view| view.name == name)
    }
}
